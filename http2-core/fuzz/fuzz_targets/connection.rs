//! Any bytes in any pieces, and a server that does things between them.

#![no_main]

mod route;

use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, ErrorCode, Field, Fields, Handler, Head, Limits, Reply, ResponseHead,
    Route, Settings, StreamId, Tick, UnaryCall, WholeRequest,
};
use libfuzzer_sys::fuzz_target;

/// Remembers streams, to act on them whether they are still there or not.
#[derive(Default)]
struct Streams(Vec<StreamId>);

impl Handler for Streams {
    fn route(&mut self, head: &Arc<Head>) -> Route {
        route::of(head)
    }

    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        self.0.push(request.stream);
        match request.body.first() {
            Some(0) => Some(Answer::Later),
            Some(1) => None,
            Some(2) => Some(Answer::Ok(Bytes::from(vec![0; 100_000]))),
            _ => Some(Answer::Ok(request.body)),
        }
    }

    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        self.0.push(call.stream);
        match call.message.first() {
            Some(0) => Answer::Later,
            Some(1) => Answer::Reply(Box::new(Reply::status(5, "no"))),
            Some(2) => Answer::Ok(Bytes::from(vec![0; 100_000])),
            _ => Answer::Ok(call.message),
        }
    }

    fn open(&mut self, stream: StreamId, _: &Arc<Head>, _: bool) {
        self.0.push(stream);
    }

    fn data(&mut self, stream: StreamId, _: Bytes, _: bool) {
        self.0.push(stream);
    }

    fn trailers(&mut self, _: StreamId, _: Vec<Field>) {}

    fn cancelled(&mut self, _: StreamId, _: Cancelled) {}
}

fuzz_target!(|input: &[u8]| {
    let Some((config, mut rest)) = input.split_first() else { return };
    let limits = Limits { unfinished_bytes: 100_000, message_bytes: 50_000, ..Limits::default() };
    let settings = Settings {
        max_streams: 16,
        output_bytes: if config & 1 == 0 { 500 } else { usize::MAX },
        send_buffer: 10_000,
        header_memo: config & 2 == 0,
        limits,
        ..Settings::default()
    };
    let mut now = 0;
    let mut connection = Connection::new(&settings, Tick::from_millis(now));
    let mut handler = Streams::default();
    let mut out = Vec::new();
    if config & 4 == 0 {
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
        connection.input(hello, Tick::from_millis(now), &mut out, &mut handler);
    }
    // A byte below 200 and a second one are the length of a piece of input; the others are acts.
    while let [act, tail @ ..] = rest {
        rest = tail;
        let stream =
            handler.0.get(rest.first().map_or(0, |at| usize::from(*at)) % handler.0.len().max(1)).copied();
        let tick = Tick::from_millis(now);
        match (act, stream) {
            (0..200, _) => {
                let low = rest.first().copied().unwrap_or(0);
                let len = usize::from(*act) << 6 | usize::from(low & 0x3f);
                let (piece, tail) =
                    rest.get(1..).unwrap_or_default().split_at(len.min(rest.len().saturating_sub(1)));
                connection.input(piece, tick, &mut out, &mut handler);
                rest = tail;
            }
            (200..208, Some(stream)) => {
                let _ = connection.respond(stream, Reply::ok(Bytes::from(vec![1; 3_000])), &mut out);
            }
            (208..216, Some(stream)) => {
                if let Ok(head) = ResponseHead::new(200) {
                    let _ = connection.send_head(stream, &head, act & 1 == 0, &mut out);
                }
            }
            (216..224, Some(stream)) => {
                let _ = connection.send_data(stream, Bytes::from(vec![2; 5_000]), act & 1 == 0, &mut out);
            }
            (224..228, Some(stream)) => {
                let mut trailers = Fields::new();
                let _ = trailers.push(b"x", b"y");
                let _ = connection.send_trailers(stream, trailers, &mut out);
            }
            (228..232, Some(stream)) => {
                let _ = connection.abort(stream, ErrorCode::CANCEL, &mut out);
            }
            (232..240, Some(stream)) => connection.consumed(stream, 10_000, &mut out),
            (240..248, _) => {
                now += u64::from(act & 7) * 2_000;
                connection.timer(Tick::from_millis(now), &mut out, &mut handler);
            }
            (248, _) => connection.drain(tick, &mut out),
            (249, _) => connection.disconnected(&mut handler),
            _ => {
                check_frames(&out);
                out.clear();
                connection.pump(tick, &mut out);
                while connection.next_writable().is_some() {}
            }
        }
        // 16 streams with a message or a buffer and one chunk each, a frame, a header block.
        assert!(connection.buffered() <= 150_000 + 16 * 115_000 + 16_393 + 65_536);
    }
    check_frames(&out);
});

fn check_frames(mut out: &[u8]) {
    while let [l0, l1, l2, kind, _, _, _, _, _, rest @ ..] = out {
        let len = usize::from(*l0) << 16 | usize::from(*l1) << 8 | usize::from(*l2);
        assert!(len <= rest.len() && *kind <= 9);
        out = &rest[len..];
    }
    assert!(out.is_empty());
}
