//! Requests that come whole: handed over in one step, however their one frame was cut; and what comes otherwise.

use bytes::Bytes;
use http2_core::{Settings, Tick};

use crate::peer::*;

const DONE: &str = "HEADERS 1 grpc-status=0 end";
const OK: &str = "HEADERS 1 200 content-type=application/grpc";

fn taking_whole() -> Peer {
    let mut peer = Peer::usual();
    peer.handler.takes_whole = true;
    peer
}

#[test]
fn a_body_in_one_frame_is_handed_over_at_once() {
    let mut peer = taking_whole();
    assert_eq!(peer.send(&whole_call(1, "/now", b"hello")), [OK, "DATA 1 15", DONE]);
    assert_eq!(peer.events(), ["whole 1 /now 10"]);
    assert_eq!(peer.send(&whole_call(3, "/head", b"")), ["HEADERS 3 204 end"]);
    assert_eq!(peer.send(&whole_call(5, "/status", b"")).len(), 1);
    assert_eq!(peer.connection.stream_count(), 0);
}

#[test]
fn where_the_bytes_are_cut_does_not_matter() {
    let mut peer = taking_whole();
    let bytes = [whole_call(1, "/now", b"hello"), whole_call(3, "/now", b"again")].concat();
    let answers: Vec<_> = bytes.iter().flat_map(|byte| peer.send(&[*byte])).collect();
    assert_eq!(answers.len(), 6);
    assert_eq!(peer.events(), ["whole 1 /now 10", "whole 3 /now 10"]);
}

#[test]
fn frames_of_other_streams_may_come_between() {
    let mut peer = taking_whole();
    let body = |stream| frame(DATA, END_STREAM, stream, &message(b"x"));
    peer.send(&[call(1, "/now"), call(3, "/now"), body(3), body(1)].concat());
    assert_eq!(peer.events(), ["whole 3 /now 6", "whole 1 /now 6"]);
}

#[test]
fn a_body_in_several_frames_comes_in_parts() {
    let mut peer = taking_whole();
    peer.send(&[call(1, "/now"), frame(DATA, 0, 1, &[0; 40]), frame(DATA, END_STREAM, 1, &[0; 2])].concat());
    peer.send(
        &[call(3, "/now"), frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&[("x", "y")]))].concat(),
    );
    let ended = frame(HEADERS, END_HEADERS | END_STREAM, 5, &call(5, "/now")[9..]);
    peer.send(&ended);
    assert_eq!(
        peer.events(),
        ["open 1 /now", "data 1 40", "data 1 2 end", "open 3 /now", "trailers 3 1", "open 5 /now end"]
    );
}

#[test]
fn a_handler_may_ask_for_parts_after_all() {
    let mut peer = taking_whole();
    peer.send(&whole_call(1, "/parts", b"x"));
    assert_eq!(peer.events(), ["whole 1 /parts 6", "open 1 /parts", "data 1 6 end"]);
}

#[test]
fn a_body_that_does_not_come_soon_comes_in_parts() {
    let mut peer = taking_whole();
    peer.send(&call(1, "/now"));
    assert!(peer.events().is_empty());
    peer.wait(1);
    assert_eq!(peer.events(), ["open 1 /now"]);
    peer.send(&frame(DATA, END_STREAM, 1, &message(b"x")));
    assert_eq!(peer.events(), ["data 1 6 end"]);
}

#[test]
fn what_is_taken_back_before_anybody_heard_of_it_is_counted() {
    let mut peer = taking_whole();
    peer.send(&[call(1, "/now"), reset(1, 8)].concat());
    peer.send(&[whole_call(3, "/now", b"x"), reset(3, 8)].concat());
    assert_eq!(peer.handler.taken_back, 2);
    // What was answered in an earlier read was heard of.
    peer.send(&whole_call(5, "/now", b"x"));
    peer.send(&reset(5, 8));
    assert_eq!(peer.handler.taken_back, 2);
    assert_eq!(peer.events(), ["whole 3 /now 6", "whole 5 /now 6"]);
}

#[test]
fn the_windows_come_back() {
    let mut peer = taking_whole();
    let body = message(&[7; 16_000]);
    let sent: usize = (0..100)
        .map(|number| 1 + 2 * number)
        .map(|id| {
            let answer = peer.send_raw(&[call(id, "/head"), frame(DATA, END_STREAM, id, &body)].concat());
            answer
                .iter()
                .filter(|frame| frame.kind == WINDOW_UPDATE)
                .map(|frame| frame.number(0) as usize)
                .sum::<usize>()
        })
        .sum();
    // All but what has not come to half a window.
    assert!(sent > 1_000_000, "{sent} of {} bytes", 100 * body.len());
}

#[test]
fn lent_bytes_are_not_copied_and_not_kept() {
    let mut peer = Peer::with(&Settings::default(), &[(4, 8)]);
    peer.handler.takes_whole = true;
    let lent = Bytes::from(whole_call(1, "/now", b"does not fit the window"));
    let mut out = Vec::new();
    peer.connection.input_lent(&lent, Tick::from_millis(1), &mut out, &mut peer.handler);
    assert_eq!(peer.events(), ["whole 1 /now 28"]);
    assert!(lent.is_unique(), "an answer that waits has bytes of its own");
    assert_eq!(frames(&out).iter().map(Frame::short).collect::<Vec<_>>(), [OK, "DATA 1 8"]);
}
