//! Answers: what a handler may say, and how a unary answer looks on the wire.
//!
//! The commonest answer, OK with one message, is written from constant bytes.

use std::fmt;

use bytes::Bytes;

use crate::body::{BodyFault, PREFIX_LEN, prefix};
use crate::frame::{Flags, HEAD_LEN, Kind, head};
use crate::hpack::encoder::{Fields, ResponseHead};

/// A whole answer to a unary gRPC call.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Fields sent before the message.
    pub metadata: Fields,
    /// The message; none as a rule if the status is not OK.
    pub message: Option<Message>,
    /// The code of gRPC, 0 for OK.
    pub status: u8,
    /// The status in words, in any UTF-8.
    pub status_message: String,
    /// Fields sent after the message, besides the status.
    pub trailers: Fields,
}

/// A message of an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// The bytes, without a prefix.
    pub bytes: Bytes,
    /// Whether they are compressed as `grpc-encoding` in the metadata says.
    pub compressed: bool,
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The stream has ended, or its answer has.
    Gone,
    /// A head where data is due, or data where a head is due.
    OutOfOrder,
    /// [`Connection::room`](crate::Connection::room) is zero.
    Full,
}

// === impl Reply ===

impl Reply {
    /// OK with this message.
    pub fn ok(message: Bytes) -> Self {
        Self { message: Some(Message { bytes: message, compressed: false }), ..Self::default() }
    }

    /// A status without a message.
    pub fn status(code: u8, message: impl Into<String>) -> Self {
        Self { status: code, status_message: message.into(), ..Self::default() }
    }

    /// Whether nothing but OK goes with the message.
    pub(crate) fn is_plain(&self) -> bool {
        self.status == 0
            && self.status_message.is_empty()
            && self.metadata.is_empty()
            && self.trailers.is_empty()
    }

    /// What we say ourselves when a body is not one whole message.
    pub(crate) fn to_bad_body(fault: BodyFault, limit: usize) -> Self {
        match fault {
            BodyFault::BadFlag => Self::status(INTERNAL, "message begins with neither 0 nor 1"),
            BodyFault::CutShort => Self::status(INTERNAL, "request ended within its message"),
            BodyFault::Missing => Self::status(UNIMPLEMENTED, "request has no message"),
            BodyFault::Several => Self::status(UNIMPLEMENTED, "request has more than one message"),
            BodyFault::TooLarge { declared } => Self::status(
                RESOURCE_EXHAUSTED,
                format!("message of {declared} bytes is larger than the limit of {limit} bytes"),
            ),
        }
    }

    /// What we say when too many messages are unfinished.
    pub(crate) fn to_body_budget() -> Self {
        Self::status(RESOURCE_EXHAUSTED, "too many unfinished messages on this connection")
    }

    /// What we say to a gRPC call whose metadata is too large.
    pub(crate) fn to_large_head(limit: u32) -> Self {
        Self::status(RESOURCE_EXHAUSTED, format!("metadata is larger than the limit of {limit} bytes"))
    }

    /// What we say instead of a message whose length its prefix cannot tell.
    pub(crate) fn to_large_answer() -> Self {
        Self::status(RESOURCE_EXHAUSTED, "answer is larger than 4 GiB")
    }

    /// The head of the answer; the whole answer if there is no message.
    pub(crate) fn head(&self, content_type: Option<&[u8]>) -> ResponseHead {
        let mut head = ResponseHead::of(200);
        let fields = head.fields_mut();
        fields.put(b"content-type", content_type.unwrap_or(b"application/grpc"));
        fields.append(&self.metadata);
        if self.message.is_none() {
            fields.append(&self.ending());
        }
        head
    }

    /// The trailers of the answer.
    pub(crate) fn ending(&self) -> Fields {
        let mut fields = Fields::new();
        fields.put(b"grpc-status", self.status.to_string().as_bytes());
        if !self.status_message.is_empty() {
            fields.put(b"grpc-message", percent_encoded(&self.status_message).as_bytes());
        }
        fields.append(&self.trailers);
        fields
    }
}

// === impl SendError ===

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the stream has ended",
            Self::OutOfOrder => "the answer's parts are out of order",
            Self::Full => "the answer's buffer is full",
        })
    }
}

impl std::error::Error for SendError {}

/// Bytes of OK with a message, besides the message.
pub(crate) const OK_OVERHEAD: usize = OK_HEAD.len() + HEAD_LEN + PREFIX_LEN + OK_TRAILERS.len();

/// Writes OK with `message` in three frames; the caller has seen that windows and frame sizes allow it.
pub(crate) fn put_ok(out: &mut Vec<u8>, stream: u32, message: &[u8]) {
    let len = u32::try_from(message.len()).expect("a message that fits a frame is below 2^24 bytes");
    let mut before = [0; OK_HEAD.len() + HEAD_LEN + PREFIX_LEN];
    before[..OK_HEAD.len()].copy_from_slice(&OK_HEAD);
    before[5..HEAD_LEN].copy_from_slice(&stream.to_be_bytes());
    before[OK_HEAD.len()..][..HEAD_LEN].copy_from_slice(&head(
        message.len() + PREFIX_LEN,
        Kind::Data,
        Flags::NONE,
        stream,
    ));
    before[OK_HEAD.len() + HEAD_LEN..].copy_from_slice(&prefix(false, len));
    let mut after = OK_TRAILERS;
    after[5..HEAD_LEN].copy_from_slice(&stream.to_be_bytes());
    out.reserve(before.len() + message.len() + after.len());
    out.extend_from_slice(&before);
    out.extend_from_slice(message);
    out.extend_from_slice(&after);
}

/// HEADERS of stream 0: `:status: 200`, `content-type: application/grpc`.
const OK_HEAD: [u8; 29] = framed(Flags::END_HEADERS, b"\x88\x0f\x10\x10application/grpc");
/// HEADERS of stream 0 that end it: `grpc-status: 0`.
const OK_TRAILERS: [u8; 24] = framed(Flags::END_BOTH, b"\x00\x0bgrpc-status\x010");

const fn framed<const LEN: usize>(flags: Flags, block: &[u8]) -> [u8; LEN] {
    assert!(LEN == HEAD_LEN + block.len());
    let head = head(block.len(), Kind::Headers, flags, 0);
    let mut frame = [0; LEN];
    let mut at = 0;
    while at < LEN {
        frame[at] = if at < HEAD_LEN { head[at] } else { block[at - HEAD_LEN] };
        at += 1;
    }
    frame
}

/// A status message as the wire has it: visible ASCII and space, all else as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let inner = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // A value must not begin or end with a space.
            b' ' if at == 0 || at == inner => encoded.push_str("%20"),
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                for digit in [byte >> 4, byte & 0xf] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    encoded
}

const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::decoder::tests::decoded;

    #[test]
    fn the_constant_answer_is_what_the_encoder_would_write() {
        let reply = Reply::ok(Bytes::from_static(b"hi"));
        assert_eq!(OK_HEAD[HEAD_LEN..], *reply.head(None).as_block());
        assert_eq!(OK_TRAILERS[HEAD_LEN..], *reply.ending().as_block());
        let mut out = Vec::new();
        put_ok(&mut out, 0x01_02_03_05, b"hi");
        assert_eq!(out.len(), OK_OVERHEAD + 2);
        assert_eq!(out[5..9], [1, 2, 3, 5]);
        assert_eq!(out[29..45], *b"\0\0\x07\0\0\x01\x02\x03\x05\0\0\0\0\x02hi");
        assert_eq!(out[50..54], [1, 2, 3, 5]);
    }

    #[test]
    fn a_status_alone_is_one_block() {
        let mut reply = Reply::status(5, "kein Weg: 100 %ä\n");
        reply.metadata.push(b"x-a", b"1").unwrap();
        reply.trailers.push(b"x-b", b"2").unwrap();
        assert_eq!(
            decoded(reply.head(Some(b"application/grpc+json")).as_block()),
            [
                ":status: 200",
                "content-type: application/grpc+json",
                "x-a: 1",
                "grpc-status: 5",
                "grpc-message: kein Weg: 100 %25%C3%A4%0A",
                "x-b: 2"
            ]
        );
    }

    #[test]
    fn a_status_message_is_always_a_legal_value() {
        for text in [" ", "  ", " a ", "\0", "ä"] {
            assert!(crate::field::is_sendable(b"grpc-message", percent_encoded(text).as_bytes()), "{text:?}");
        }
    }
}
