//! Plain requests: head and chunks in, head and chunks out, with back-pressure both ways.

use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, ErrorCode, Field, Fields, Handler, Head, InvalidField, ResponseHead, SendError,
    Settings, StreamId, UnaryCall,
};

use crate::peer::*;

/// Opens a plain stream; answers its id as the handler sees it.
fn open(peer: &mut Peer, stream: u32, flags: u8) -> StreamId {
    struct Catch(Option<StreamId>);
    impl Handler for Catch {
        fn unary(&mut self, _: UnaryCall<'_>) -> Answer {
            Answer::Later
        }
        fn open(&mut self, stream: StreamId, _: &Arc<Head>, _: bool) {
            self.0 = Some(stream);
        }
        fn data(&mut self, _: StreamId, _: Bytes, _: bool) {}
        fn trailers(&mut self, _: StreamId, _: Vec<Field>) {}
        fn cancelled(&mut self, _: StreamId, _: Cancelled) {}
    }
    let mut catch = Catch(None);
    let tick = peer.tick();
    peer.connection.input(&plain(stream, flags, &[]), tick, &mut Vec::new(), &mut catch);
    catch.0.unwrap()
}

fn chunk(len: usize) -> Bytes {
    Bytes::from(vec![b'c'; len])
}

fn head(status: u16) -> ResponseHead {
    ResponseHead::new(status).unwrap()
}

#[test]
fn a_request_comes_in_parts() {
    let mut peer = Peer::usual();
    peer.send(
        &[
            plain(1, 0, &[]),
            frame(DATA, 0, 1, b"one"),
            frame(DATA, PADDED, 1, b"\x02two\0\0"),
            frame(DATA, 0, 1, b""),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x", "y")])),
            plain(3, END_STREAM, &[]),
            plain(5, 0, &[]),
            frame(DATA, END_STREAM, 5, b""),
        ]
        .concat(),
    );
    assert_eq!(
        peer.events(),
        [
            "open 1 /plain",
            "data 1 3",
            "data 1 3",
            "trailers 1 1",
            "open 3 /plain end",
            "open 5 /plain",
            "data 5 0 end"
        ]
    );
}

#[test]
fn an_answer_goes_out_in_parts() {
    let mut peer = Peer::usual();
    let id = open(&mut peer, 1, END_STREAM);
    let mut out = Vec::new();
    assert_eq!(peer.connection.send_data(id, chunk(1), false, &mut out), Err(SendError::OutOfOrder));
    let sent = peer.does(|connection, out| {
        connection.send_head(id, &head(100), false, out).unwrap();
        connection.send_head(id, &head(200), false, out).unwrap();
        connection.send_data(id, chunk(3), false, out).unwrap();
        connection.send_data(id, chunk(0), false, out).unwrap();
        connection.send_data(id, chunk(4), true, out).unwrap();
    });
    assert_eq!(sent, ["HEADERS 1 :status=100", "HEADERS 1 200", "DATA 1 3", "DATA 1 4 end"]);
    assert_eq!(peer.connection.send_data(id, chunk(1), false, &mut out), Err(SendError::Gone));
    assert_eq!(peer.connection.stream_count(), 0);
}

#[test]
fn an_answer_ends_with_head_data_or_trailers() {
    let mut peer = Peer::usual();
    let id = open(&mut peer, 1, END_STREAM);
    let sent = peer.does(|connection, out| connection.send_head(id, &head(204), true, out).unwrap());
    assert_eq!(sent, ["HEADERS 1 204 end"]);
    let id = open(&mut peer, 3, END_STREAM);
    let sent = peer.does(|connection, out| {
        connection.send_head(id, &head(404), false, out).unwrap();
        connection.send_data(id, Bytes::new(), true, out).unwrap();
    });
    assert_eq!(sent, ["HEADERS 3 404", "DATA 3 0 end"]);
    let id = open(&mut peer, 5, END_STREAM);
    let mut trailers = Fields::new();
    trailers.push(b"x-t", b"1").unwrap();
    let sent = peer.does(|connection, out| {
        connection.send_head(id, &head(200), false, out).unwrap();
        connection.send_data(id, chunk(2), false, out).unwrap();
        connection.send_trailers(id, trailers, out).unwrap();
    });
    assert_eq!(sent, ["HEADERS 5 200", "DATA 5 2", "HEADERS 5 x-t=1 end"]);
}

#[test]
fn trailers_wait_behind_data() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 5)]);
    let id = open(&mut peer, 1, END_STREAM);
    let mut trailers = Fields::new();
    trailers.push(b"x-t", b"1").unwrap();
    let sent = peer.does(|connection, out| {
        connection.send_head(id, &head(200), false, out).unwrap();
        connection.send_data(id, chunk(8), false, out).unwrap();
        connection.send_trailers(id, trailers, out).unwrap();
    });
    assert_eq!(sent, ["HEADERS 1 200", "DATA 1 5"]);
    assert_eq!(peer.send(&window_update(1, 9)), ["DATA 1 3", "HEADERS 1 x-t=1 end"]);
}

#[test]
fn an_answer_before_the_requests_end_ends_both() {
    let mut peer = Peer::usual();
    let id = open(&mut peer, 1, 0);
    let sent = peer.does(|connection, out| connection.send_head(id, &head(413), true, out).unwrap());
    assert_eq!(sent, ["HEADERS 1 :status=413 end", "RST 1 NO_ERROR"]);
    assert!(peer.send(&frame(DATA, END_STREAM, 1, &[0; 1000])).is_empty());
    assert_eq!(peer.connection.end(), None);
}

#[test]
fn a_full_buffer_refuses_and_tells_when_there_is_room() {
    let mut peer = Peer::with(&Settings { send_buffer: 1000, ..Settings::default() }, &[(4, 100)]);
    let id = open(&mut peer, 1, END_STREAM);
    let mut out = Vec::new();
    peer.connection.send_head(id, &head(200), false, &mut out).unwrap();
    assert_eq!(peer.connection.room(id), 1000);
    peer.connection.send_data(id, chunk(900), false, &mut out).unwrap();
    assert_eq!(peer.connection.room(id), 200);
    peer.connection.send_data(id, chunk(500), false, &mut out).unwrap();
    assert_eq!(peer.connection.room(id), 0);
    assert_eq!(peer.connection.send_data(id, chunk(1), false, &mut out), Err(SendError::Full));
    assert_eq!(peer.connection.next_writable(), None);
    peer.send(&window_update(1, 700));
    assert_eq!(peer.connection.next_writable(), None, "more than half is still in use");
    peer.send(&window_update(1, 100));
    assert_eq!(peer.connection.next_writable(), Some(id));
    assert_eq!(peer.connection.next_writable(), None);
    assert_eq!(peer.connection.room(id), 500);
}

#[test]
fn only_live_streams_are_named_writable() {
    let mut peer = Peer::with(&Settings { send_buffer: 10, ..Settings::default() }, &[(4, 100)]);
    let id = open(&mut peer, 1, END_STREAM);
    let mut out = Vec::new();
    peer.connection.send_head(id, &head(200), false, &mut out).unwrap();
    peer.connection.send_data(id, chunk(10), false, &mut out).unwrap();
    peer.send(&reset(1, 8));
    assert_eq!(peer.connection.next_writable(), None);
}

#[test]
fn windows_come_back_when_the_handler_has_used_the_body() {
    let mut peer = Peer::usual();
    let id = open(&mut peer, 1, 0);
    for _ in 0..2 {
        assert!(peer.send(&frame(DATA, 0, 1, &[0; 16_384])).is_empty());
    }
    let granted = peer.does(|connection, out| connection.consumed(id, 32_767, out));
    assert_eq!(granted, ["WINDOW_UPDATE 1 32767"]);
    // More than was handed over is not given back.
    assert!(peer.does(|connection, out| connection.consumed(id, 1 << 30, out)).is_empty());
    assert_eq!(peer.send(&frame(DATA, PADDED, 1, &[[200].as_slice(), &[0; 200]].concat())).len(), 0);
}

#[test]
fn padding_alone_does_not_eat_the_windows() {
    let mut peer = Peer::usual();
    open(&mut peer, 1, 0);
    let padding = frame(DATA, PADDED, 1, &[[255].as_slice(), &[0; 255]].concat());
    for _ in 0..1000 {
        peer.send(&padding);
    }
    assert_eq!(peer.connection.end(), None);
    assert_eq!(peer.connection.stream_count(), 1);
}

#[test]
fn what_a_dead_stream_held_of_the_window_comes_back() {
    let mut peer = Peer::usual();
    for round in 0..100 {
        let id = 1 + 2 * round;
        peer.send(&plain(id, 0, &[]));
        for _ in 0..3 {
            peer.send(&frame(DATA, 0, id, &[0; 16_384]));
        }
        peer.send(&reset(id, 8));
    }
    assert_eq!(peer.connection.end(), None);
}

#[test]
fn a_handler_may_give_a_stream_up() {
    let mut peer = Peer::usual();
    let id = open(&mut peer, 1, 0);
    let sent = peer.does(|connection, out| connection.abort(id, ErrorCode::INTERNAL_ERROR, out).unwrap());
    assert_eq!(sent, ["RST 1 INTERNAL"]);
    assert!(peer.events().is_empty());
    let mut out = Vec::new();
    assert_eq!(peer.connection.abort(id, ErrorCode::CANCEL, &mut out), Err(SendError::Gone));
    assert!(peer.send(&frame(DATA, 0, 1, b"late")).is_empty());
}

#[test]
fn a_reset_is_told_until_the_answer_is_handed_over() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 0)]);
    let first = open(&mut peer, 1, END_STREAM);
    let second = open(&mut peer, 3, END_STREAM);
    let mut out = Vec::new();
    for id in [first, second] {
        peer.connection.send_head(id, &head(200), false, &mut out).unwrap();
        peer.connection.send_data(id, chunk(10), id == second, &mut out).unwrap();
    }
    peer.send(&[reset(1, 8), reset(3, 8)].concat());
    assert_eq!(peer.events(), [format!("cancelled 1 ByPeer({:?})", ErrorCode::CANCEL)]);
}

#[test]
fn illegal_fields_are_refused_where_they_are_made() {
    assert_eq!(head(200).push(b"Connection", b"close"), Err(InvalidField));
    assert_eq!(head(200).push(b"x", b"a\nb"), Err(InvalidField));
}
