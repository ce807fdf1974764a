//! What our decoder accepts, another one accepts too, with the same fields.
//!
//! The input is cut into header blocks by its first bytes; each is sent as the head of a request. What we
//! refuse may be accepted elsewhere: bounds on integers and on the table differ between decoders.

#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use http2_core::{
    Answer, Cancelled, Connection, End, Field, Handler, Head, Limits, Settings, StreamId, Tick, UnaryCall,
    Violation,
};
use libfuzzer_sys::fuzz_target;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields of the last head that was legal.
#[derive(Default)]
struct Last(Option<Pairs>);

impl Handler for Last {
    fn unary(&mut self, _: UnaryCall<'_>) -> Answer {
        Answer::Later
    }

    fn route(&mut self, head: &Arc<Head>) -> http2_core::Route {
        let regular = head.fields().iter().map(|field| (field.name().to_vec(), field.value().to_vec()));
        self.0 = Some(regular.collect());
        http2_core::Route::Plain
    }

    fn open(&mut self, _: StreamId, _: &Arc<Head>, _: bool) {}

    fn data(&mut self, _: StreamId, _: Bytes, _: bool) {}

    fn trailers(&mut self, _: StreamId, _: Vec<Field>) {}

    fn cancelled(&mut self, _: StreamId, _: Cancelled) {}
}

fuzz_target!(|input: &[u8]| {
    // No limit but those of HPACK itself, so that every block is decoded whole.
    let limits = Limits { header_list_bytes: u32::MAX, ..Limits::default() };
    let settings = Settings { max_streams: 1000, limits, ..Settings::default() };
    let mut connection = Connection::new(&settings, Tick::default());
    let mut other = fluke_hpack::Decoder::new();
    other.set_max_allowed_table_size(4096);
    let mut last = Last::default();
    let mut out = Vec::new();
    connection.input(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Tick::default(), &mut out, &mut last);
    connection.input(b"\0\0\0\x04\0\0\0\0\0", Tick::default(), &mut out, &mut last);
    let mut rest = input;
    for id in (1..1000u32).step_by(2) {
        let [len, pseudo, tail @ ..] = rest else { return };
        let (block, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        // With and without what makes a head legal, so that fields are compared often.
        let prefix: &[u8] = if pseudo & 1 == 0 { &[0x82, 0x86, 0x84] } else { &[] };
        let block = [prefix, block].concat();
        let [.., l0, l1, l2] = block.len().to_be_bytes();
        let [s0, s1, s2, s3] = id.to_be_bytes();
        let head = [l0, l1, l2, 1, 5, s0, s1, s2, s3];
        last.0 = None;
        out.clear();
        connection.input(&[&head[..], &block].concat(), Tick::default(), &mut out, &mut last);
        if connection.end() == Some(End::Violation(Violation::Compression)) || connection.is_closed() {
            return;
        }
        let decoded: Pairs = match other.decode(&block) {
            // It wants a field behind a size update; the RFC does not.
            Err(fluke_hpack::decoder::DecoderError::SizeUpdateAtEnd) => return,
            decoded => decoded.expect("the other decoder accepts what ours does"),
        };
        if let Some(fields) = &last.0 {
            let regular: Pairs = decoded.into_iter().filter(|(name, _)| !name.starts_with(b":")).collect();
            assert_eq!(*fields, regular);
        }
    }
});
