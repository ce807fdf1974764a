//! Answers to unary calls: how they look, and how they keep to windows.

use bytes::Bytes;
use http2_core::{Answer, Cancelled, Field, Handler, Head};
use http2_core::{ErrorCode, Fields, Message, Reply, SendError, Settings, StreamId, UnaryCall};
use std::sync::Arc;

use crate::peer::*;

const OK: &str = "HEADERS 1 200 content-type=application/grpc";
const DONE: &str = "HEADERS 1 grpc-status=0 end";

/// The id of the call that waits.
fn waiting(peer: &mut Peer, stream: u32, path: &str) -> StreamId {
    struct Catch(Option<StreamId>);
    impl Handler for Catch {
        fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
            self.0 = Some(call.stream);
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
    peer.connection.input(&whole_call(stream, path, b"x"), tick, &mut Vec::new(), &mut catch);
    catch.0.unwrap()
}

#[test]
fn an_answer_is_head_message_and_status() {
    let mut peer = Peer::usual();
    let frames = peer.send_raw(&whole_call(1, "/now", b"hello"));
    assert_eq!(frames.iter().map(Frame::short).collect::<Vec<_>>(), [OK, "DATA 1 10", DONE]);
    assert_eq!(frames[1].payload, message(b"hello"));
    assert_eq!(peer.connection.stream_count(), 0);
}

#[test]
fn an_empty_message_is_a_message() {
    let mut peer = Peer::usual();
    assert_eq!(peer.send(&whole_call(1, "/now", b"")), [OK, "DATA 1 5", DONE]);
}

#[test]
fn a_status_without_message_is_one_frame() {
    let mut peer = Peer::usual();
    assert_eq!(
        peer.send(&whole_call(1, "/status", b"x")),
        ["HEADERS 1 200 content-type=application/grpc grpc-status=5 grpc-message=nothing here end"]
    );
}

#[test]
fn the_content_type_of_the_call_is_kept() {
    let mut peer = Peer::usual();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/now"),
        ("content-type", "application/grpc+json"),
    ];
    let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    let answer = peer.send(&[head, frame(DATA, END_STREAM, 1, &message(b"{}"))].concat());
    assert_eq!(answer[0], "HEADERS 1 200 content-type=application/grpc+json");
}

#[test]
fn a_body_that_is_not_one_message_is_answered_by_status() {
    for (body, status) in [
        (&b""[..], "12 grpc-message=request has no message"),
        (&[0, 0], "13 grpc-message=request ended within its message"),
        (&[0, 0, 0, 0, 9, 1], "13 grpc-message=request ended within its message"),
        (&[2, 0, 0, 0, 0], "13 grpc-message=message begins with neither 0 nor 1"),
        (&[0; 10], "12 grpc-message=request has more than one message"),
        (
            &[0, 0, 0x40, 0, 1],
            "8 grpc-message=message of 4194305 bytes is larger than the limit of 4194304 bytes",
        ),
    ] {
        let expected = [format!("{OK} grpc-status={status} end")];
        let mut peer = Peer::usual();
        assert_eq!(peer.send(&[call(1, "/now"), frame(DATA, END_STREAM, 1, body)].concat()), expected);
        let mut in_pieces = call(1, "/now");
        for byte in body {
            in_pieces.extend(frame(DATA, 0, 1, &[*byte]));
        }
        in_pieces.extend(frame(DATA, END_STREAM, 1, &[]));
        let answer = Peer::usual().send(&in_pieces);
        assert_eq!(answer[..1], expected);
        assert!(answer.len() == 1 || answer[1..] == ["RST 1 NO_ERROR"], "{answer:?}");
    }
    let mut peer = Peer::usual();
    let mut head = call(1, "/now");
    head[4] |= END_STREAM;
    assert_eq!(peer.send(&head), [format!("{OK} grpc-status=12 grpc-message=request has no message end")]);
    assert!(peer.events().is_empty());
}

#[test]
fn a_message_too_large_is_refused_by_its_prefix() {
    let mut peer = Peer::usual();
    let answer = peer.send(&[call(1, "/now"), frame(DATA, 0, 1, &[0, 6, 0x40, 0, 0])].concat());
    assert_eq!(answer[1..], ["RST 1 NO_ERROR"]);
    assert!(answer[0].contains("grpc-status=8"));
    // The rest that was under way is swallowed, and the connection lives on.
    assert!(peer.send(&frame(DATA, 0, 1, &[0; 16_384])).is_empty());
    assert_eq!(peer.send(&whole_call(3, "/now", b"x")).len(), 3);
}

#[test]
fn a_large_message_gets_its_window_at_once() {
    let mut peer = Peer::usual();
    let body = message(&vec![7; 300_000]);
    let mut answer = peer.send(&[call(1, "/now"), frame(DATA, 0, 1, &body[..1000])].concat());
    assert_eq!(answer, [format!("WINDOW_UPDATE 1 {}", 300_005 - 65_535)]);
    answer = Vec::new();
    for part in body[1000..].chunks(16_384) {
        answer = peer.send(&frame(DATA, 0, 1, part));
        assert!(answer.iter().all(|frame| frame.starts_with("WINDOW_UPDATE")), "{answer:?}");
    }
    assert!(answer.iter().all(|frame| frame == "WINDOW_UPDATE 1 1"), "{answer:?}");
    peer.send(&frame(DATA, END_STREAM, 1, &[]));
    assert_eq!(peer.events(), ["call 1 /now 300000"]);
    assert_eq!(peer.connection.buffered(), 300_005 - 65_535);
}

#[test]
fn answers_wait_for_windows_and_take_turns() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 10)]);
    assert_eq!(peer.send(&whole_call(1, "/now", &[1; 20])), [OK, "DATA 1 10"]);
    assert_eq!(peer.send(&whole_call(3, "/now", &[1; 20]))[1], "DATA 3 10");
    assert_eq!(peer.send(&window_update(1, 4)), ["DATA 1 4"]);
    // A larger initial window reaches both streams; a smaller one takes it back.
    assert_eq!(peer.send(&settings(&[(4, 13)])), ["SETTINGS ack", "DATA 1 3", "DATA 3 3"]);
    assert_eq!(peer.send(&settings(&[(4, 8)])), ["SETTINGS ack"]);
    assert!(peer.send(&window_update(1, 5)).is_empty());
    assert_eq!(peer.send(&window_update(1, 100)), ["DATA 1 8", DONE]);
    assert_eq!(peer.send(&window_update(3, 17)), ["DATA 3 12", "HEADERS 3 grpc-status=0 end"]);
}

#[test]
fn the_connections_window_is_shared_in_turns() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 1 << 20)]);
    let first = peer.send(&[whole_call(1, "/big", b"x"), whole_call(3, "/big", b"x")].concat());
    let sent = |answer: &[String], stream: u32| -> usize {
        let of = format!("DATA {stream} ");
        answer.iter().filter_map(|f| f.strip_prefix(&of)).map(|len| len.parse::<usize>().unwrap()).sum()
    };
    assert_eq!(sent(&first, 1) + sent(&first, 3), 65_535);
    let second = peer.send(&window_update(0, 4 * 16_384));
    assert_eq!((sent(&second, 1), sent(&second, 3)), (32_768, 32_768));
}

#[test]
fn the_peers_frame_size_is_kept() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 1 << 20)]);
    peer.send(&window_update(0, 1 << 20));
    for frame in peer.send_raw(&whole_call(1, "/big", b"x")) {
        assert!(frame.payload.len() <= 16_384);
    }
    let id = waiting(&mut peer, 3, "/later");
    let mut reply = Reply::ok(Bytes::from_static(b"x"));
    reply.metadata.push(b"x-long", &[b'v'; 40_000]).unwrap();
    let mut out = Vec::new();
    peer.connection.respond(id, reply, &mut out).unwrap();
    let kinds: Vec<u8> = frames(&out).iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [HEADERS, CONTINUATION, CONTINUATION, DATA, HEADERS]);
}

#[test]
fn a_lowered_table_is_acknowledged_in_the_next_block_once() {
    let mut peer = Peer::with(&Settings::default(), &[(1, 0)]);
    assert_eq!(
        peer.send(&whole_call(1, "/now", b"x"))[0],
        "HEADERS 1 table=0 200 content-type=application/grpc"
    );
    assert_eq!(peer.send(&whole_call(3, "/now", b"x"))[0], "HEADERS 3 200 content-type=application/grpc");
    peer.send(&settings(&[(1, 4096), (1, 100)]));
    assert_eq!(peer.send(&whole_call(5, "/now", b"x"))[0], "HEADERS 5 200 content-type=application/grpc");
}

#[test]
fn a_capped_output_leaves_the_rest_to_the_pump() {
    let offered = Settings { output_bytes: 100, ..Settings::default() };
    let mut peer = Peer::with(&offered, &[(4, 1 << 20)]);
    let first = peer.send(&[whole_call(1, "/now", &[1; 60]), whole_call(3, "/now", &[1; 60])].concat());
    assert_eq!(first, [OK, "DATA 1 65", DONE, "HEADERS 3 200 content-type=application/grpc"]);
    assert!(peer.connection.wants_pump());
    let tick = peer.tick();
    let rest = peer.does(|connection, out| connection.pump(tick, out));
    assert_eq!(rest, ["DATA 3 65", "HEADERS 3 grpc-status=0 end"]);
    assert!(!peer.connection.wants_pump());
}

#[test]
fn turns_are_short_however_long_the_peers_frames_may_be() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 1 << 20), (5, 1 << 20)]);
    peer.send(&[whole_call(1, "/big", b"x"), whole_call(3, "/big", b"x")].concat());
    let sent = peer.send(&window_update(0, 2 * 16_384));
    assert_eq!(sent, ["DATA 1 16384", "DATA 3 16384"]);
}

#[test]
fn an_answer_that_is_cancelled_leaves_the_queue() {
    let mut peer = Peer::with(&Settings { output_bytes: 10, ..Settings::default() }, &[]);
    peer.send(&whole_call(1, "/now", b"x"));
    assert!(peer.connection.wants_pump());
    peer.send(&reset(1, 8));
    assert!(!peer.connection.wants_pump());
}

#[test]
fn an_answer_does_not_overtake_those_that_wait() {
    let mut peer = Peer::with(&Settings { output_bytes: 100, ..Settings::default() }, &[]);
    let id = waiting(&mut peer, 1, "/later");
    // Its head fills the output, so its message waits for the next.
    let other = waiting(&mut peer, 3, "/later");
    let mut long = Reply::ok(Bytes::from_static(b"first"));
    long.metadata.push(b"x-long", &[b'v'; 100]).unwrap();
    peer.does(|connection, out| connection.respond(id, long, out).unwrap());
    let reply = Reply::ok(Bytes::from_static(b"second"));
    let sent = peer.does(|connection, out| connection.respond(other, reply, out).unwrap());
    let data: Vec<_> = sent.iter().filter(|frame| frame.starts_with("DATA")).collect();
    assert_eq!(data, ["DATA 1 10", "DATA 3 11"]);
}

#[test]
fn a_late_answer_finds_its_call_or_nobody() {
    let mut peer = Peer::usual();
    let id = waiting(&mut peer, 1, "/later");
    let mut reply = Reply { status: 3, ..Reply::ok(Bytes::from_static(b"part")) };
    reply.metadata.push(b"x-a", b"1").unwrap();
    reply.trailers.push(b"x-b-bin", b"AA").unwrap();
    assert_eq!(
        peer.does(|connection, out| connection.respond(id, reply.clone(), out).unwrap()),
        [
            "HEADERS 1 200 content-type=application/grpc x-a=1",
            "DATA 1 9",
            "HEADERS 1 grpc-status=3 x-b-bin=AA end"
        ]
    );
    let mut out = Vec::new();
    assert_eq!(peer.connection.respond(id, reply.clone(), &mut out), Err(SendError::Gone));
    let id = waiting(&mut peer, 3, "/later");
    assert!(peer.send(&reset(3, 8)).is_empty());
    assert_eq!(peer.events(), [format!("cancelled 3 ByPeer({:?})", ErrorCode::CANCEL)]);
    assert_eq!(peer.connection.respond(id, reply, &mut out), Err(SendError::Gone));
    assert!(out.is_empty());
}

#[test]
fn a_compressed_message_says_so_both_ways() {
    let mut peer = Peer::usual();
    let mut body = message(b"zip");
    body[0] = 1;
    let head = call_with(1, "/later", &[("grpc-encoding", "gzip")]);
    peer.send(&[head, frame(DATA, END_STREAM, 1, &body)].concat());
    assert_eq!(peer.events(), ["call 1 /later 3 compressed"]);
    let id = waiting(&mut peer, 3, "/later");
    let mut out = Vec::new();
    let message = Some(Message { bytes: Bytes::from_static(b"zip"), compressed: true });
    let reply = Reply { message, metadata: Fields::new(), ..Reply::default() };
    peer.connection.respond(id, reply, &mut out).unwrap();
    assert_eq!(frames(&out)[1].payload, [1, 0, 0, 0, 3, b'z', b'i', b'p']);
}

#[test]
fn a_cancelled_call_is_told_once_and_only_while_it_waits() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 0)]);
    peer.send(&whole_call(1, "/now", b"answered, but stuck"));
    peer.send(&call(3, "/now"));
    peer.send(&whole_call(5, "/later", b"x"));
    peer.events();
    peer.send(&[reset(1, 8), reset(3, 8), reset(5, 8)].concat());
    assert_eq!(peer.events(), [format!("cancelled 5 ByPeer({:?})", ErrorCode::CANCEL)]);
    assert_eq!((peer.connection.stream_count(), peer.connection.buffered()), (0, 0));
    assert!(peer.send(&window_update(0, 1000)).is_empty());
}
