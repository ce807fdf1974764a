//! The same bytes at once and in pieces.

#![no_main]

mod route;

use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, End, Field, Handler, Head, Route, Settings, StreamId, Tick, UnaryCall,
    WholeRequest,
};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Events(Vec<String>);

impl Handler for Events {
    fn route(&mut self, head: &Arc<Head>) -> Route {
        route::of(head)
    }

    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        self.0.push(format!("{request:?}"));
        match request.body.first() {
            Some(0) => Some(Answer::Later),
            Some(1) => None,
            _ => Some(Answer::Ok(request.body)),
        }
    }

    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        self.0.push(format!("{call:?}"));
        if call.message.first() == Some(&0) { Answer::Later } else { Answer::Ok(call.message) }
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool) {
        self.0.push(format!("{stream:?} {head:?} {ended}"));
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        self.0.push(format!("{stream:?} {chunk:?} {ended}"));
    }

    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>) {
        self.0.push(format!("{stream:?} {trailers:?}"));
    }

    fn cancelled(&mut self, stream: StreamId, why: Cancelled) {
        self.0.push(format!("{stream:?} {why:?}"));
    }
}

fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, header_memo: bool) -> (Vec<String>, Vec<u8>, Option<End>) {
    let settings = Settings { output_bytes: usize::MAX, header_memo, ..Settings::default() };
    let mut connection = Connection::new(&settings, Tick::default());
    let (mut events, mut out) = (Events::default(), Vec::new());
    connection.input(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Tick::default(), &mut out, &mut events);
    connection.input(b"\0\0\0\x04\0\0\0\0\0", Tick::default(), &mut out, &mut events);
    for piece in pieces {
        connection.input(piece, Tick::default(), &mut out, &mut events);
    }
    (events.0, out, connection.end())
}

fuzz_target!(|input: &[u8]| {
    let [size, bytes @ ..] = input else { return };
    let at_once = run(std::iter::once(bytes), true);
    assert_eq!(at_once, run(bytes.chunks(usize::from(*size).max(1)), true));
    assert_eq!(at_once, run(bytes.chunks(1), false), "without the memo, byte by byte");
});
