//! The framing of gRPC messages, for unary calls: one flag byte, four bytes of length, the message.
//!
//! Nothing is decompressed, because the client announces no compression. A message that arrives in one
//! piece is never copied.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// The request body: one framed message.
#[derive(Debug)]
pub(crate) struct FramedMessage {
    parts: [Bytes; 2],
}

/// Collects the one message of a response.
#[derive(Debug)]
pub(crate) struct MessageReader {
    limit: usize,
    held: Held,
}

/// What is wrong with the message of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the compression flag is neither 0 nor 1")]
    BadFlag,
    #[error("the message is compressed, which was not asked for")]
    Compressed,
    #[error("there is no message")]
    NoMessage,
    #[error("there is more than one message")]
    Surplus,
    #[error("the message is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the message is truncated")]
    Truncated,
}

#[derive(Debug)]
enum Held {
    One(Bytes),
    Many(BytesMut),
}

/// The bytes before a message.
const PREFIX: usize = 5;

/// Up to this size a message is copied behind its prefix, so that both travel in one frame.
const COPY_LIMIT: usize = 4096;

// === impl FramedMessage ===

impl FramedMessage {
    /// Frames a message; `None` if its length does not fit the prefix.
    pub(crate) fn new(message: Bytes) -> Option<Self> {
        let length = u32::try_from(message.len()).ok()?;
        let copied = if message.len() <= COPY_LIMIT { message.len() } else { 0 };
        let mut first = BytesMut::with_capacity(PREFIX + copied);
        first.put_u8(0);
        first.put_u32(length);
        let second = if copied == message.len() {
            first.extend_from_slice(&message);
            Bytes::new()
        } else {
            message
        };
        Some(Self { parts: [first.freeze(), second] })
    }
}

impl Body for FramedMessage {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty()).map(std::mem::take);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

// === impl MessageReader ===

impl MessageReader {
    /// A reader for a message of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Held::One(Bytes::new()) }
    }

    /// Takes the next piece of the body.
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), FrameError> {
        self.held.push(piece);
        let held = self.held.as_slice();
        match held.first() {
            None | Some(0) => {}
            Some(1) => return Err(FrameError::Compressed),
            Some(_) => return Err(FrameError::BadFlag),
        }
        match length(held) {
            Some(length) if length > self.limit => Err(FrameError::TooLarge(self.limit)),
            Some(length) if held.len() - PREFIX > length => Err(FrameError::Surplus),
            Some(_) | None => Ok(()),
        }
    }

    /// The message, if it arrived whole.
    pub(crate) fn finish(self) -> Result<Bytes, FrameError> {
        let held = self.held.into_bytes();
        match length(&held) {
            Some(length) if held.len() - PREFIX == length => Ok(held.slice(PREFIX..)),
            None if held.is_empty() => Err(FrameError::NoMessage),
            Some(_) | None => Err(FrameError::Truncated),
        }
    }
}

// === impl Held ===

impl Held {
    fn push(&mut self, piece: Bytes) {
        match self {
            Self::One(held) if held.is_empty() => *held = piece,
            Self::One(held) => {
                let mut many = BytesMut::from(std::mem::take(held));
                many.extend_from_slice(&piece);
                *self = Self::Many(many);
            }
            Self::Many(held) => held.extend_from_slice(&piece),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::One(held) => held,
            Self::Many(held) => held,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(held) => held,
            Self::Many(held) => held.freeze(),
        }
    }
}

/// The length the prefix announces, once it is there.
fn length(held: &[u8]) -> Option<usize> {
    let prefix: [u8; PREFIX] = held.get(..PREFIX)?.try_into().ok()?;
    let [_, length @ ..] = prefix;
    Some(u32::from_be_bytes(length) as usize)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn read(limit: usize, pieces: &[&[u8]]) -> Result<Bytes, FrameError> {
        let mut reader = MessageReader::new(limit);
        for piece in pieces {
            reader.push(Bytes::copy_from_slice(piece))?;
        }
        reader.finish()
    }

    #[test]
    fn a_message_is_found_however_it_is_cut() {
        let wire = b"\0\0\0\0\x03abc";
        assert_eq!(read(3, &[wire]).unwrap(), "abc");
        for cut in 0..wire.len() {
            assert_eq!(read(3, &[&wire[..cut], &wire[cut..]]).unwrap(), "abc", "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(3, &bytes).unwrap(), "abc");
        assert_eq!(read(0, &[b"\0\0\0\0\0"]).unwrap(), "");
    }

    #[test]
    fn what_is_not_exactly_one_message_is_refused() {
        let table: [(&[u8], FrameError); 9] = [
            (b"", FrameError::NoMessage),
            (b"\0", FrameError::Truncated),
            (b"\0\0\0\0", FrameError::Truncated),
            (b"\0\0\0\0\x03ab", FrameError::Truncated),
            (b"\0\0\0\0\x03abcd", FrameError::Surplus),
            (b"\0\0\0\0\x01a\0\0\0\0\x01b", FrameError::Surplus),
            (b"\x01\0\0\0\x01a", FrameError::Compressed),
            (b"\x02\0\0\0\x01a", FrameError::BadFlag),
            (b"\0\xff\xff\xff\xff", FrameError::TooLarge(4)),
        ];
        for (wire, error) in table {
            assert_eq!(read(4, &[wire]), Err(error), "{wire:?}");
        }
        assert_eq!(read(4, &[b"\0\0\0\0\x05"]), Err(FrameError::TooLarge(4)));
    }

    #[tokio::test]
    async fn a_framed_message_is_read_back_whatever_its_size() {
        for size in [0, 1, COPY_LIMIT, COPY_LIMIT + 1, 100_000] {
            let message = Bytes::from(vec![7; size]);
            let mut body = FramedMessage::new(message.clone()).unwrap();
            let announced = body.size_hint().exact().unwrap();
            let mut reader = MessageReader::new(size);
            let mut sent = 0;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let piece = frame.unwrap().into_data().unwrap();
                sent += piece.len();
                reader.push(piece).unwrap();
            }
            assert!(body.is_end_stream());
            assert_eq!(sent as u64, announced);
            assert_eq!(reader.finish().unwrap(), message);
        }
    }
}
