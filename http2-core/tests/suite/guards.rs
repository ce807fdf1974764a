//! The guards: what a hostile or dead client may do, and what ends it. Each case goes one past its limit.

use http2_core::{Allowance, Cutoff, End, Limits, Settings};
use std::time::Duration;

use crate::peer::*;

fn with(limits: Limits) -> Peer {
    Peer::with(&Settings { limits, ..Settings::default() }, &[])
}

/// Repeats `bytes(round)` until the connection ends; answers how often it was sent.
fn flood(peer: &mut Peer, mut bytes: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for round in 0..100_000 {
        let answer = peer.send(&bytes(round));
        if peer.connection.is_closed() {
            assert!(answer.last().unwrap().starts_with("GOAWAY"), "{answer:?}");
            return round;
        }
    }
    panic!("the flood was not stopped");
}

fn ended_by(peer: &Peer) -> Cutoff {
    match peer.connection.end() {
        Some(End::Cutoff(cutoff)) => {
            assert_eq!(peer.handler.cutoffs.last(), Some(&cutoff));
            cutoff
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn rapid_resets_are_stopped() {
    let mut peer = Peer::usual();
    let rounds = flood(&mut peer, |round| {
        let id = 1 + 2 * round;
        [call(id, "/now"), reset(id, 8)].concat()
    });
    assert_eq!((rounds, ended_by(&peer)), (1000, Cutoff::ResetFlood));
    let mut peer = Peer::usual();
    let rounds = flood(&mut peer, |round| {
        let id = 1 + 2 * round;
        [whole_call(id, "/later", b"x"), reset(id, 8)].concat()
    });
    assert_eq!((rounds, ended_by(&peer)), (1000, Cutoff::ResetFlood));
}

#[test]
fn streams_that_make_us_reset_are_stopped() {
    for bad in [
        |id| plain(id, END_STREAM, &[("content-length", "1")]),
        |id| plain(id, END_STREAM, &[("te", "gzip")]),
        |id| [plain(id, 0, &[]), window_update(id, 0)].concat(),
        |id| [plain(id, 0, &[]), window_update(id, 0x7fff_ffff)].concat(),
        |id| [plain(id, 0, &[]), plain(id, 0, &[])].concat(),
    ] {
        let mut peer = Peer::usual();
        let rounds = flood(&mut peer, |round| bad(1 + 2 * round));
        assert_eq!((rounds, ended_by(&peer)), (1000, Cutoff::ResetFlood));
    }
}

#[test]
fn more_streams_than_allowed_are_refused_then_stopped() {
    let mut peer = Peer::usual();
    for id in 0..200 {
        assert!(peer.send(&call(1 + 2 * id, "/now")).is_empty());
    }
    assert_eq!(peer.send(&call(401, "/now")), ["RST 401 REFUSED"]);
    assert_eq!(peer.handler.cutoffs, [Cutoff::StreamLimit]);
    let rounds = flood(&mut peer, |round| call(403 + 2 * round, "/now"));
    assert_eq!((rounds, ended_by(&peer)), (999, Cutoff::ResetFlood));
}

#[test]
fn answered_requests_and_time_earn_resets() {
    let mut peer = Peer::usual();
    for round in 0..5000 {
        let id = 1 + 4 * round;
        peer.send(&[call(id, "/now"), reset(id, 8), whole_call(id + 2, "/now", b"x")].concat());
    }
    assert_eq!(peer.connection.end(), None);
    let mut peer = Peer::usual();
    for round in 0..5000 {
        peer.now += 5;
        let id = 1 + 2 * round;
        peer.send(&[call(id, "/now"), reset(id, 8)].concat());
    }
    assert_eq!(peer.connection.end(), None);
}

#[test]
fn frames_that_carry_nothing_are_stopped() {
    for (flooding, rounds) in [
        (frame(PING, 0, 0, &[0; 8]), 9_988),
        (frame(PING, ACK, 0, &[0; 8]), 9_988),
        (settings(&[]), 998),
        (frame(SETTINGS, ACK, 0, &[]), 9_988),
        (frame(PRIORITY, 0, 7, &[0; 5]), 9_988),
        (window_update(0, 1), 9_988),
        (window_update(1, 1), 9_988),
        (frame(0xbe, 0, 0, b"unknown"), 9_988),
        (frame(DATA, 0, 1, b""), 9_988),
        (frame(DATA, 0, 1, b"x"), 9_988),
        (frame(DATA, 0, 3, &[0; 100]), 9_988),
        (reset(5, 8), 9_988),
        (frame(GOAWAY, 0, 0, &[0; 8]), 9_988),
    ] {
        let mut peer = Peer::usual();
        // Stream 1 is open, 3 was reset by us, 5 by the client.
        peer.send(&[plain(1, 0, &[]), plain(3, 0, &[("te", "x")]), plain(5, 0, &[]), reset(5, 8)].concat());
        let sent = flood(&mut peer, |_| flooding.clone());
        assert_eq!(ended_by(&peer), Cutoff::ControlFlood);
        assert!(rounds - 1 <= sent && sent <= rounds + 1, "{flooding:?}: {sent}");
    }
}

#[test]
fn endless_header_blocks_are_stopped() {
    let begin = frame(HEADERS, 0, 1, &[]);
    let mut peer = Peer::usual();
    peer.send(&begin);
    assert_eq!(flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[])), 16);
    assert_eq!(ended_by(&peer), Cutoff::ContinuationFlood);
    let mut peer = Peer::usual();
    peer.send(&begin);
    assert_eq!(flood(&mut peer, |_| frame(CONTINUATION, 0, 1, &[0; 16_384])), 4);
    assert_eq!(ended_by(&peer), Cutoff::HeaderBlockSize);
}

/// A block that inserts a field of 4,000 bytes and refers to it `times` times.
fn bomb(times: usize) -> Vec<u8> {
    let mut bomb = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/a")]);
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend([b'v'; 4000]);
    bomb.extend(vec![0xbe; times]);
    bomb
}

#[test]
fn heads_beyond_the_limit_are_answered_431_and_paid_for() {
    let mut peer = Peer::usual();
    let fits = peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(2)));
    assert!(fits.is_empty());
    let answer = peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &bomb(4)));
    assert_eq!(answer, ["HEADERS 3 :status=431 end"]);
    let answer = peer.send(&frame(HEADERS, END_HEADERS, 5, &bomb(4)));
    assert_eq!(answer, ["HEADERS 5 :status=431 end", "RST 5 NO_ERROR"]);
    assert_eq!(peer.handler.cutoffs, [Cutoff::HeaderListSize; 2]);
    let rounds =
        flood(&mut peer, |round| frame(HEADERS, END_HEADERS | END_STREAM, 7 + 2 * round, &bomb(9000)));
    assert_eq!(ended_by(&peer), Cutoff::ControlFlood);
    assert!(rounds < 90, "{rounds}");
}

#[test]
fn a_grpc_call_with_too_much_metadata_is_told_in_its_own_words() {
    let mut peer = Peer::usual();
    let value = "v".repeat(15_900);
    let answer = peer.send(&call_with(1, "/now", &[("x", &value), ("y", &value[..300])]));
    assert_eq!(answer.len(), 2);
    assert!(answer[0].contains("grpc-status=8") && answer[0].contains("16384"), "{answer:?}");
}

#[test]
fn blocks_for_dead_streams_are_paid_for_by_length() {
    let mut peer = Peer::usual();
    peer.send(&plain(1, 0, &[("te", "gzip")]));
    let rounds = flood(&mut peer, |_| frame(HEADERS, END_HEADERS, 1, &bomb(12_000)));
    assert_eq!(ended_by(&peer), Cutoff::ControlFlood);
    assert!(rounds < 80, "{rounds}");
}

#[test]
fn unfinished_messages_are_bounded_together() {
    let mut peer = with(Limits { unfinished_bytes: 100_000, ..Limits::default() });
    let half = |id| [call(id, "/now"), frame(DATA, 0, id, &message(&[0; 16_384])[..16_300])].concat();
    for id in 0..6 {
        assert!(peer.send(&half(1 + 2 * id)).is_empty());
    }
    let answer = peer.send(&half(13));
    assert!(answer[0].contains("grpc-status=8"), "{answer:?}");
    assert_eq!(answer[1], "RST 13 NO_ERROR");
    assert_eq!(peer.handler.cutoffs, [Cutoff::BodyBudget]);
    assert!(peer.connection.buffered() < 100_000);
    // Whoever finishes makes room.
    let rest = message(&[0; 16_384])[16_300..].to_vec();
    let answer = peer.send(&frame(DATA, END_STREAM, 1, &rest));
    assert_eq!(answer.last().unwrap(), "HEADERS 1 grpc-status=0 end");
    assert!(peer.send(&half(15)).is_empty());
}

#[test]
fn a_slow_preface_is_cut_off() {
    for begin in [&b""[..], &PREFACE[..10], PREFACE] {
        let mut peer = Peer::new(&Settings::default());
        peer.send(begin);
        assert!(peer.wait(9).is_empty());
        let answer = peer.wait(1);
        assert_eq!(answer.last().unwrap(), "GOAWAY 0 PROTOCOL");
        assert_eq!(ended_by(&peer), Cutoff::PrefaceTimeout);
    }
}

#[test]
fn settings_without_acknowledgement_are_cut_off() {
    let mut peer = Peer::new(&Settings::default());
    peer.send(&[PREFACE, &settings(&[])].concat());
    assert!(peer.wait(9).is_empty());
    assert_eq!(peer.wait(1), ["GOAWAY 0 TIMEOUT"]);
    assert_eq!(ended_by(&peer), Cutoff::SettingsTimeout);
}

#[test]
fn a_header_block_without_end_is_cut_off() {
    let mut peer = Peer::usual();
    peer.send(&frame(HEADERS, 0, 1, &[]));
    peer.wait(9);
    assert_eq!(peer.wait(1), ["GOAWAY 0 CALM"]);
    assert_eq!(ended_by(&peer), Cutoff::HeaderBlockTimeout);
}

#[test]
fn a_message_that_stalls_or_dribbles_is_reset() {
    let mut peer = Peer::usual();
    peer.send(&[call(1, "/now"), frame(DATA, 0, 1, &[0, 0, 0, 1, 0])].concat());
    assert!(peer.wait(9).is_empty());
    assert_eq!(peer.wait(2), ["RST 1 CANCEL"]);
    assert_eq!(peer.handler.cutoffs, [Cutoff::BodyStall]);
    peer.send(&[call(3, "/now"), frame(DATA, 0, 3, &[0, 0, 0, 1, 0])].concat());
    let mut answer = Vec::new();
    for _ in 0..8 {
        answer.extend(peer.wait(4));
        peer.send(&frame(DATA, 0, 3, b"x"));
    }
    assert_eq!(answer, ["RST 3 CANCEL"]);
    assert_eq!(peer.handler.cutoffs, [Cutoff::BodyStall, Cutoff::BodyTimeout]);
    assert!(peer.events().is_empty(), "a call that was not handed over is not cancelled");
}

#[test]
fn a_silent_plain_stream_is_reset() {
    let mut peer = with(Limits { stream_idle: Duration::from_secs(5), ..Limits::default() });
    peer.send(&plain(1, 0, &[]));
    peer.wait(4);
    peer.send(&frame(DATA, 0, 1, &[0; 100]));
    assert!(peer.wait(4).is_empty());
    assert_eq!(peer.wait(3), ["RST 1 CANCEL"]);
    assert_eq!(peer.events().last().unwrap(), "cancelled 1 Cutoff(StreamIdle)");
}

#[test]
fn an_answer_that_nobody_takes_is_reset() {
    let limits = Limits { keepalive_interval: Duration::ZERO, ..Limits::default() };
    let mut peer = Peer::with(&Settings { limits, ..Settings::default() }, &[(4, 0)]);
    peer.send(&whole_call(1, "/now", b"x"));
    peer.wait(50);
    peer.send(&window_update(1, 1));
    assert!(peer.wait(59).is_empty());
    assert_eq!(peer.wait(2), ["RST 1 CANCEL"]);
    assert_eq!(peer.handler.cutoffs, [Cutoff::AnswerStall]);
}

#[test]
fn a_call_that_runs_for_long_is_left_alone() {
    let mut peer = with(Limits { keepalive_interval: Duration::ZERO, ..Limits::default() });
    peer.send(&whole_call(1, "/later", b"x"));
    assert!(peer.wait(1000).is_empty());
    assert_eq!(peer.connection.end(), None);
}

#[test]
fn an_idle_connection_ends() {
    let mut peer = with(Limits { keepalive_interval: Duration::ZERO, ..Limits::default() });
    peer.send(&whole_call(1, "/now", b"x"));
    assert!(peer.wait(299).is_empty());
    assert_eq!(peer.wait(1), ["GOAWAY 1 NO_ERROR"]);
    assert_eq!(ended_by(&peer), Cutoff::Idle);
    assert_eq!(peer.connection.due(), None);
}

#[test]
fn a_dead_peer_is_found_by_ping() {
    let mut peer = Peer::usual();
    peer.send(&whole_call(1, "/later", b"x"));
    assert!(peer.wait(59).is_empty());
    assert_eq!(peer.wait(1), ["PING"]);
    peer.wait(10);
    peer.send(&frame(PING, ACK, 0, b"are you?"));
    assert_eq!(peer.wait(60), ["PING"]);
    assert!(peer.wait(19).is_empty());
    assert_eq!(peer.wait(1), ["GOAWAY 1 NO_ERROR"]);
    assert_eq!(ended_by(&peer), Cutoff::KeepaliveTimeout);
    assert_eq!(peer.events().last().unwrap(), "cancelled 1 ConnectionEnded");
}

#[test]
fn budgets_are_settings() {
    let none = Allowance { burst: 20, per_second: 0 };
    let mut peer = with(Limits { control_budget: none, ..Limits::default() });
    assert_eq!(flood(&mut peer, |_| frame(PING, 0, 0, &[0; 8])), 9);
}

#[test]
fn a_drain_lets_calls_finish_and_then_ends() {
    let mut peer = Peer::usual();
    peer.send(&whole_call(1, "/later", b"x"));
    let tick = peer.tick();
    let notice = peer.does(|connection, out| connection.drain(tick, out));
    assert_eq!(notice, ["GOAWAY 2147483647 NO_ERROR", "PING"]);
    assert!(peer.does(|connection, out| connection.drain(tick, out)).is_empty());
    // What the client opened before it knew is taken.
    assert_eq!(peer.send(&whole_call(3, "/now", b"x")).len(), 3);
    assert_eq!(peer.send(&frame(PING, ACK, 0, b"draining")), ["GOAWAY 3 NO_ERROR"]);
    // What it opens now is not processed.
    assert!(peer.send(&whole_call(5, "/now", b"x")).is_empty());
    assert_eq!(peer.connection.end(), None);
    peer.send(&reset(1, 8));
    assert_eq!(peer.connection.end(), Some(End::Drained));
}

#[test]
fn a_drain_does_not_wait_for_a_ping_that_never_comes() {
    let mut peer = Peer::usual();
    let tick = peer.tick();
    peer.does(|connection, out| connection.drain(tick, out));
    assert_eq!(peer.wait(1), ["GOAWAY 0 NO_ERROR"]);
    assert_eq!(peer.connection.end(), Some(End::Drained));
    let mut silent = Peer::new(&Settings::default());
    let answer = silent.does(|connection, out| connection.drain(tick, out));
    assert_eq!(answer.last().unwrap(), "GOAWAY 0 NO_ERROR");
    assert_eq!(silent.connection.end(), Some(End::Drained));
}

#[test]
fn a_lost_transport_cancels_what_waits() {
    let mut peer = Peer::usual();
    peer.send(&[whole_call(1, "/later", b"x"), call(3, "/now"), plain(5, 0, &[])].concat());
    peer.events();
    peer.connection.disconnected(&mut peer.handler);
    let mut told = peer.events();
    told.sort();
    assert_eq!(told, ["cancelled 1 ConnectionEnded", "cancelled 5 ConnectionEnded"]);
    assert_eq!(peer.connection.end(), Some(End::Disconnected));
    assert_eq!((peer.connection.buffered(), peer.connection.stream_count()), (0, 0));
}

#[test]
fn a_handler_may_cut_a_connection_off_for_a_limit_of_its_own() {
    let mut peer = Peer::usual();
    peer.send(&whole_call(1, "/later", b"x"));
    let (mut out, mut handler) = (Vec::new(), Recorder::default());
    peer.connection.cut_off(Cutoff::ResetFlood, &mut out, &mut handler);
    assert_eq!(frames(&out).iter().map(Frame::short).collect::<Vec<_>>(), ["GOAWAY 1 CALM"]);
    assert_eq!(peer.connection.end(), Some(End::Cutoff(Cutoff::ResetFlood)));
    assert_eq!(
        (handler.events, handler.cutoffs),
        (vec!["cancelled 1 ConnectionEnded".to_owned()], vec![Cutoff::ResetFlood])
    );
}
