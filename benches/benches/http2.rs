//! What the HTTP/2 core costs for each call: from the client's bytes to the answer's, without socket, plan or host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http2_core::{
    Answer, Cancelled, Connection, Field, Handler, Head, Route, Settings, StreamId, Tick, UnaryCall,
    WholeRequest,
};

/// Answers each call with what it said.
struct Echo;

impl Handler for Echo {
    fn route(&mut self, _: &Arc<Head>) -> Route {
        Route::Whole
    }

    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        Some(Answer::Ok(request.body.slice(PREFIX..)))
    }

    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        Answer::Ok(call.message)
    }

    fn open(&mut self, _: StreamId, _: &Arc<Head>, _: bool) {}
    fn data(&mut self, _: StreamId, _: Bytes, _: bool) {}
    fn trailers(&mut self, _: StreamId, _: Vec<Field>) {}
    fn cancelled(&mut self, _: StreamId, _: Cancelled) {}
}

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("http2");
    group.throughput(Throughput::Elements(CALLS.into()));
    for (name, memo) in [("known heads", true), ("decoded heads", false)] {
        for size in [64, 4_096] {
            let settings = Settings { header_memo: memo, ..Settings::default() };
            let (mut connection, mut next) = (open(&settings), 1);
            let mut out = Vec::new();
            group.bench_function(format!("{CALLS} calls of {size} B, {name}"), |b| {
                b.iter_custom(|reads| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..reads {
                        // Ids do not come back: before they run out, a new connection takes over.
                        if next > LAST_ID {
                            (connection, next) = (open(&settings), 1);
                        }
                        let read = read_of(next, size);
                        next += 2 * CALLS;
                        out.clear();
                        let begun = Instant::now();
                        connection.input_lent(&read, Tick::default(), &mut out, &mut Echo);
                        taken += begun.elapsed();
                        assert!(out.len() > CALLS as usize * size, "every call is answered");
                    }
                    taken
                });
            });
        }
    }
    group.finish();
}

/// A connection on which both sides have introduced themselves.
fn open(settings: &Settings) -> Connection {
    let mut connection = Connection::new(settings, Tick::default());
    let window = [frame(8, 0, 0, &0x7000_0000_u32.to_be_bytes()), frame(4, 1, 0, &[])].concat();
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], &window].concat();
    connection.input(&hello, Tick::default(), &mut Vec::new(), &mut Echo);
    assert_eq!(connection.end(), None, "the client is well-behaved");
    connection
}

/// What one read brings: calls of `size` bytes, the first on this stream.
fn read_of(first: u32, size: usize) -> Bytes {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/echo.Echo/Say"),
        (":authority", "127.0.0.1:8080"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for text in fields.iter().flat_map(|(name, value)| [name, value]).enumerate() {
        if text.0 % 2 == 0 {
            block.push(0);
        }
        block.push(u8::try_from(text.1.len()).expect("short fields"));
        block.extend_from_slice(text.1.as_bytes());
    }
    let length = u32::try_from(size).expect("a small message");
    let body = [&[0], &length.to_be_bytes()[..], &vec![b'x'; size]].concat();
    (0..CALLS)
        .flat_map(|call| {
            let stream = first + 2 * call;
            [frame(1, 4, stream, &block), frame(0, 1, stream, &body)].concat()
        })
        .collect()
}

/// A frame of this type and these flags.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Calls of one read.
const CALLS: u32 = 32;
const LAST_ID: u32 = 0x7000_0000;
/// The bytes before a gRPC message.
const PREFIX: usize = 5;

criterion_group!(all, calls);
criterion_main!(all);
