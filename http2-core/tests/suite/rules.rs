//! The rules of RFC 9113, one by one: what a breach leads to.

use http2_core::{End, Settings, Violation};

use crate::peer::*;

/// Sends `bytes` on a connection with calls that wait on streams 1 and 3 (whose request has ended) and an
/// unfinished one on stream 5; stream 7 was answered, stream 9 reset by us. Expects the connection to end so.
fn ends(bytes: &[u8], violation: Violation) {
    let mut peer = busy();
    let answer = peer.send(bytes);
    assert_eq!(peer.connection.end(), Some(End::Violation(violation)), "{answer:?}");
    assert!(answer.last().is_some_and(|last| last.starts_with("GOAWAY ")), "{answer:?}");
    let mut told = peer.events();
    told.sort();
    assert_eq!(told, ["cancelled 1 ConnectionEnded", "cancelled 3 ConnectionEnded"]);
    assert!(peer.send(&whole_call(11, "/now", b"x")).is_empty(), "an ended connection answers nothing");
}

/// The same, expecting this answer and a connection that goes on.
fn answers(bytes: &[u8], expected: &[&str]) {
    let mut peer = busy();
    assert_eq!(peer.send(bytes), expected);
    assert_eq!(peer.connection.end(), None);
    let answer = peer.send(&whole_call(99, "/now", b"x"));
    assert_eq!(answer.len(), 3, "the connection goes on: {answer:?}");
}

fn busy() -> Peer {
    let mut peer = Peer::usual();
    peer.send(&whole_call(1, "/later", b"one"));
    peer.send(&whole_call(3, "/later", b"three"));
    peer.send(&call(5, "/now"));
    peer.send(&whole_call(7, "/now", b"seven"));
    let answer = peer.send(&plain(9, 0, &[("connection", "close")]));
    assert_eq!(answer, ["RST 9 PROTOCOL"]);
    peer.events();
    peer
}

#[test]
fn the_connection_begins_with_preface_and_settings() {
    for (first, violation) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Violation::Preface),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Violation::Preface),
        (&[PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(), Violation::FirstFrame),
        (&[PREFACE, &frame(SETTINGS, ACK, 0, &[])].concat(), Violation::FirstFrame),
        (&[PREFACE, &frame(DATA, 0, 1, &[])].concat(), Violation::FirstFrame),
    ] {
        let mut peer = Peer::new(&Settings::default());
        let answer = peer.send(first);
        assert_eq!(answer[0], "SETTINGS");
        assert_eq!(answer.last().unwrap(), "GOAWAY 0 PROTOCOL");
        assert_eq!(peer.connection.end(), Some(End::Violation(violation)));
    }
}

#[test]
fn nothing_is_written_before_the_preface_is_whole() {
    let mut peer = Peer::new(&Settings::default());
    assert!(peer.send(&PREFACE[..23]).is_empty());
    assert_eq!(peer.send(&PREFACE[23..])[0], "SETTINGS");
}

#[test]
fn frames_have_their_lengths() {
    let mut long = frame(DATA, 0, 5, &[]);
    long[..3].copy_from_slice(&[0, 0x40, 1]);
    ends(&long, Violation::FrameTooLong);
    ends(&frame(PING, 0, 0, &[0; 7]), Violation::FrameLength);
    ends(&frame(SETTINGS, 0, 0, &[0; 5]), Violation::FrameLength);
    ends(&frame(SETTINGS, ACK, 0, &[0; 6]), Violation::FrameLength);
    ends(&frame(RESET, 0, 1, &[0; 5]), Violation::FrameLength);
    ends(&frame(WINDOW_UPDATE, 0, 1, &[0; 3]), Violation::FrameLength);
    ends(&frame(GOAWAY, 0, 0, &[0; 7]), Violation::FrameLength);
    ends(&frame(HEADERS, END_HEADERS | WITH_PRIORITY, 11, &[0; 4]), Violation::FrameLength);
    ends(&frame(PRIORITY, 0, 11, &[0; 4]), Violation::FrameLength);
    answers(&frame(PRIORITY, 0, 1, &[0; 4]), &["RST 1 SIZE"]);
    answers(&frame(PRIORITY, 0, 7, &[0; 4]), &["RST 7 SIZE"]);
}

#[test]
fn frames_belong_to_streams_or_to_the_connection() {
    for kind in [DATA, HEADERS, PRIORITY, RESET] {
        ends(&frame(kind, END_HEADERS, 0, &[0; 4]), Violation::StreamId);
    }
    for kind in [SETTINGS, PING, GOAWAY] {
        ends(&frame(kind, 0, 1, &[0; 8]), Violation::StreamId);
    }
    ends(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 8]), Violation::PushPromise);
    answers(&frame(0xbe, 0xff, 77, b"whatever"), &[]);
}

#[test]
fn idle_streams_are_opened_by_headers_alone() {
    for id in [11, 2] {
        ends(&frame(DATA, 0, id, b"x"), Violation::IdleStream);
        ends(&reset(id, 0), Violation::IdleStream);
        ends(&window_update(id, 1), Violation::IdleStream);
        answers(&frame(PRIORITY, 0, id, &[0, 0, 0, 1, 0]), &[]);
    }
    ends(&frame(HEADERS, END_HEADERS, 2, &[0x82]), Violation::EvenStream);
}

#[test]
fn ended_streams_take_nothing_more() {
    ends(&plain(7, 0, &[]), Violation::ClosedStream);
    ends(&frame(DATA, 0, 7, b"x"), Violation::ClosedStream);
    answers(&reset(7, 0), &[]);
    answers(&window_update(7, 1), &[]);
    answers(&plain(1, END_STREAM, &[]), &["RST 1 CLOSED"]);
    answers(&frame(DATA, END_STREAM, 1, b"x"), &["RST 1 CLOSED"]);
    let mut peer = Peer::usual();
    peer.send(&whole_call(5, "/now", b"x"));
    peer.send(&plain(3, 0, &[]));
    assert_eq!(peer.connection.end(), Some(End::Violation(Violation::SkippedStream)));
}

#[test]
fn what_comes_late_for_a_stream_we_reset_is_swallowed() {
    answers(&frame(DATA, END_STREAM, 9, b"late"), &[]);
    answers(&plain(9, END_STREAM, &[]), &[]);
    answers(&reset(9, 8), &[]);
    answers(&window_update(9, 1), &[]);
}

#[test]
fn a_refused_block_still_counts_for_the_table() {
    let mut peer = Peer::usual();
    // Inserts `x-a: 1` into the table, within a head that is malformed.
    let mut head = block(&[(":method", "GET")]);
    head.extend([0x40, 3, b'x', b'-', b'a', 1, b'1']);
    assert_eq!(peer.send(&frame(HEADERS, END_HEADERS, 1, &head)), ["RST 1 PROTOCOL"]);
    // Refers to it, on the stream that was reset and on a new one.
    assert!(peer.send(&frame(HEADERS, END_HEADERS, 1, &[0xbe])).is_empty());
    let mut head = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/p")]);
    head.push(0xbe);
    assert!(peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &head)).is_empty());
    assert_eq!(peer.events(), ["open 3 /p end"]);
}

#[test]
fn a_header_block_goes_on_without_interruption() {
    let whole = call(11, "/now");
    let (first, rest) = whole[9..].split_at(10);
    let begin = frame(HEADERS, 0, 11, first);
    for other in [
        frame(PING, 0, 0, &[0; 8]),
        frame(DATA, 0, 11, &[]),
        frame(CONTINUATION, 0, 13, rest),
        frame(0xbe, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[]),
    ] {
        ends(&[&begin[..], &other].concat(), Violation::HeaderBlockInterrupted);
    }
    ends(&frame(CONTINUATION, END_HEADERS, 1, &[]), Violation::UnexpectedContinuation);
    let mut peer = Peer::usual();
    let parts = [
        begin,
        frame(CONTINUATION, 0, 11, &rest[..5]),
        frame(CONTINUATION, 0, 11, &[]),
        frame(CONTINUATION, END_HEADERS, 11, &rest[5..]),
        frame(DATA, END_STREAM, 11, &message(b"hello")),
    ];
    assert_eq!(peer.send(&parts.concat()).len(), 3);
    assert_eq!(peer.events(), ["call 11 /now 5"]);
}

#[test]
fn a_block_that_does_not_decode_ends_the_connection() {
    ends(&frame(HEADERS, END_HEADERS, 11, &[0x80]), Violation::Compression);
    ends(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &[0xff]), Violation::Compression);
    ends(&frame(HEADERS, END_HEADERS, 9, &[0x40]), Violation::Compression);
}

#[test]
fn streams_do_not_depend_on_themselves() {
    answers(&frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), &["RST 1 PROTOCOL"]);
    ends(&frame(PRIORITY, 0, 11, &[0x80, 0, 0, 11, 0]), Violation::SelfDependency);
    let mut payload = vec![0, 0, 0, 11, 0];
    payload.extend(&plain(11, 0, &[])[9..]);
    answers(&frame(HEADERS, END_HEADERS | WITH_PRIORITY, 11, &payload), &["RST 11 PROTOCOL"]);
}

#[test]
fn padding_fits_its_frame_and_counts_for_windows_only() {
    ends(&frame(DATA, PADDED, 5, &[4, 0, 0, 0]), Violation::Padding);
    ends(&frame(HEADERS, PADDED | END_HEADERS, 11, &[1]), Violation::Padding);
    let mut peer = Peer::usual();
    peer.send(&call_with(1, "/now", &[("content-length", "7")]));
    let mut payload = vec![100];
    payload.extend(message(b"hi"));
    payload.extend([0; 100]);
    assert_eq!(peer.send(&frame(DATA, PADDED | END_STREAM, 1, &payload)).len(), 3);
}

#[test]
fn settings_have_legal_values() {
    ends(&settings(&[(2, 2)]), Violation::SettingValue);
    ends(&settings(&[(4, 0x8000_0000)]), Violation::WindowOverflow);
    ends(&settings(&[(5, 16_383)]), Violation::SettingValue);
    answers(&settings(&[(2, 0), (3, 5), (0x99, 7)]), &["SETTINGS ack"]);
}

#[test]
fn windows_grow_by_something_and_not_beyond_31_bits() {
    ends(&window_update(0, 0), Violation::ZeroIncrement);
    ends(&window_update(0, 0x7fff_ffff), Violation::WindowOverflow);
    answers(&window_update(1, 0), &["RST 1 PROTOCOL"]);
    answers(&window_update(1, 0x7fff_ffff), &["RST 1 FLOW"]);
    // A stream's window that was widened may overflow by a larger initial window.
    let widened = [window_update(1, 0x7fff_ffff - 65_535), settings(&[(4, 65_536)])].concat();
    ends(&widened, Violation::WindowOverflow);
}

#[test]
fn more_data_than_the_windows_allow_is_refused() {
    let mut peer = Peer::usual();
    peer.send(&plain(1, 0, &[]));
    for _ in 0..3 {
        assert!(peer.send(&frame(DATA, 0, 1, &[0; 16_384])).is_empty());
    }
    assert_eq!(peer.send(&frame(DATA, 0, 1, &[0; 16_384])), ["RST 1 FLOW"]);
    assert_eq!(peer.events().last().unwrap(), "cancelled 1 Violation(WindowOverrun)");
    // The connection's window: many streams whose bodies nobody consumes.
    let mut peer = Peer::usual();
    for id in 0..21 {
        peer.send(&plain(1 + 2 * id, 0, &[]));
        for _ in 0..3 {
            peer.send(&frame(DATA, 0, 1 + 2 * id, &[0; 16_384]));
        }
    }
    assert_eq!(peer.connection.end(), None);
    peer.send(&plain(101, 0, &[]));
    peer.send(&frame(DATA, 0, 101, &[0; 16_384]));
    assert_eq!(peer.connection.end(), None);
    peer.send(&frame(DATA, 0, 101, &[0]));
    assert_eq!(peer.connection.end(), Some(End::Violation(Violation::WindowOverrun)));
}

#[test]
fn data_that_is_dropped_gives_the_connections_window_back() {
    let mut peer = Peer::usual();
    let mut granted = 0u64;
    for round in 0..100 {
        let id = 1 + 2 * round;
        let bad = plain(id, 0, &[("content-length", "1")]);
        for frame in peer.send_raw(&[bad, frame(DATA, 0, id, &[0; 16_384])].concat()) {
            if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
                granted += u64::from(frame.number(0));
            }
        }
    }
    assert_eq!(peer.connection.end(), None);
    assert!(granted >= 100 * 16_384 - 524_288, "{granted}");
}

#[test]
fn late_data_gives_the_connections_window_back() {
    let mut peer = Peer::usual();
    peer.send(&plain(1, 0, &[("te", "gzip")]));
    // Five times the window, all of it for a stream that we reset.
    for _ in 0..320 {
        peer.send(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    assert_eq!(peer.connection.end(), None);
}

#[test]
fn malformed_heads_reset_their_stream() {
    for fields in [
        &[(":method", "GET"), (":scheme", "http")][..],
        &[(":method", "GET"), (":scheme", "http"), (":path", "")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("Upper", "x")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":status", "200")],
        &[(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("te", "gzip")],
    ] {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, 11, &block(fields));
        answers(&head, &["RST 11 PROTOCOL"]);
    }
}

#[test]
fn bodies_have_the_length_that_was_announced() {
    answers(&plain(11, END_STREAM, &[("content-length", "1")]), &["RST 11 PROTOCOL"]);
    let with = |length: &str, parts: &[(&[u8], u8)]| {
        let mut bytes = plain(11, 0, &[("content-length", length)]);
        for (part, flags) in parts {
            bytes.extend(frame(DATA, *flags, 11, part));
        }
        bytes
    };
    answers(&with("3", &[(b"ab", 0), (b"cd", 0)]), &["RST 11 PROTOCOL"]);
    answers(&with("5", &[(b"ab", 0), (b"cd", END_STREAM)]), &["RST 11 PROTOCOL"]);
    answers(&with("4", &[(b"ab", 0), (b"cd", END_STREAM)]), &[]);
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 11, &block(&[("x", "y")]));
    answers(&[with("4", &[(b"ab", 0)]), trailers.clone()].concat(), &["RST 11 PROTOCOL"]);
    answers(&[with("2", &[(b"ab", 0)]), trailers].concat(), &[]);
}

#[test]
fn trailers_end_their_stream_and_have_no_pseudo_header_fields() {
    let trailers = |flags, fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | flags, 5, &block(fields));
    answers(&trailers(0, &[("x", "y")]), &["RST 5 PROTOCOL"]);
    answers(&trailers(END_STREAM, &[(":path", "/")]), &["RST 5 PROTOCOL"]);
    let mut peer = Peer::usual();
    peer.send(&[call(1, "/now"), frame(DATA, 0, 1, &message(b"hi"))].concat());
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x", "y")]));
    assert_eq!(peer.send(&trailers).len(), 3);
    assert_eq!(peer.events(), ["call 1 /now 2"]);
}

/// A table that is lowered: the client may go on until it knows, and then begins with a size update.
#[test]
fn the_clients_table_is_what_it_was_told() {
    let offered = Settings { header_table: 0, ..Settings::default() };
    let hello = |memo| {
        let mut peer = Peer::new(&Settings { header_memo: memo, ..offered });
        let told = peer.send_raw(&[PREFACE, &settings(&[])].concat()).swap_remove(0);
        assert!(told.payload.ends_with(&[0, 1, 0, 0, 0, 0]), "{:?}", told.payload);
        peer
    };
    for memo in [false, true] {
        let mut peer = hello(memo);
        // The same block, so that the memo knows it.
        assert_eq!(peer.send(&whole_call(1, "/now", b"x")).len(), 3);
        assert_eq!(peer.send(&whole_call(3, "/now", b"x")).len(), 3);
        peer.send(&frame(SETTINGS, ACK, 0, &[]));
        assert_eq!(peer.send(&whole_call(5, "/now", b"x")), ["GOAWAY 5 COMPRESSION"]);
        assert_eq!(peer.connection.end(), Some(End::Violation(Violation::Compression)));

        let mut peer = hello(memo);
        peer.send(&frame(SETTINGS, ACK, 0, &[]));
        let head = frames(&call(1, "/now")).swap_remove(0).payload;
        let updated = frame(HEADERS, END_HEADERS, 1, &[&[0x20], &head[..]].concat());
        assert_eq!(peer.send(&[updated, frame(DATA, END_STREAM, 1, &message(b"x"))].concat()).len(), 3);
        assert_eq!(peer.send(&whole_call(3, "/now", b"x")).len(), 3, "once is enough");
    }
}
