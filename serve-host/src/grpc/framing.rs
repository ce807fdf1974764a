//! The one message of a unary request or response: five bytes of prefix, then the message.
//!
//! [`MessageReader`] takes the body in whatever pieces it arrives. Invariants: it never holds more than
//! the limit; memory grows with the bytes that have arrived, never with the length that was declared; a
//! message that arrives in one piece is not copied.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One message as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether the prefix says that it is compressed.
    pub(crate) compressed: bool,
    /// The message, without its prefix.
    pub(crate) payload: Bytes,
}

/// Why a body is not one message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The body is empty.
    #[error("a unary call needs one request message, and none came")]
    Missing,
    /// Something follows the first message.
    #[error("a unary call takes one request message, and more came")]
    Several,
    /// The body ends inside the message or its prefix.
    #[error("the request body ends after {arrived} of {declared} bytes")]
    Truncated {
        /// How many bytes came, the prefix included.
        arrived: usize,
        /// How many were announced.
        declared: usize,
    },
    /// The message is larger than the limit.
    #[error(
        "request message of {length} bytes is larger than the limit of {limit} bytes (messages.max_receive)"
    )]
    TooLarge {
        /// The length that the prefix declares.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The text form is not base64.
    #[error("the request body is not base64, as its content type says")]
    Text,
    /// The first byte of the prefix is neither 0 nor 1.
    #[error("{flag} is not a compressed-flag")]
    Flag {
        /// The byte.
        flag: u8,
    },
}

/// Collects the body of a request until it is one message.
#[derive(Debug)]
pub(crate) struct MessageReader {
    limit: usize,
    whole: Option<usize>,
    held: Held,
}

/// What has arrived so far.
#[derive(Debug)]
enum Held {
    /// At most one piece, as it came.
    Piece(Bytes),
    /// Several pieces, joined.
    Joined(BytesMut),
}

/// Puts a message behind its prefix, as one piece or, if it is large, as a first piece of `head` bytes
/// and the rest of `payload` as it is: a large message is not copied beyond its first piece.
pub(crate) fn frame(compressed: bool, payload: Bytes, head: usize) -> (Bytes, Bytes) {
    let copied = payload.len().min(head.saturating_sub(PREFIX));
    let mut first = BytesMut::with_capacity(PREFIX + copied);
    first.put_u8(u8::from(compressed));
    // Every caller bounds the message far below; a length that does not fit could not be sent at all.
    first.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    first.put_slice(&payload[..copied]);
    (first.freeze(), payload.slice(copied..))
}

/// The message that is all of `body`, if it is whole, not compressed and of at most `limit` bytes.
///
/// # Errors
/// The body, if it is not that.
pub(crate) fn only_message(mut body: Bytes, limit: usize) -> Result<Bytes, Bytes> {
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk::<PREFIX>() else { return Err(body) };
    let declared = u32::from_be_bytes([a, b, c, d]) as usize;
    if flag != 0 || declared != message.len() || declared > limit {
        return Err(body);
    }
    body.advance(PREFIX);
    Ok(body)
}

// === impl MessageReader ===

impl MessageReader {
    /// A reader of one message of at most `limit` bytes; compressed ones may be a little larger, because
    /// what cannot be compressed grows.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, whole: None, held: Held::Piece(Bytes::new()) }
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// [`FrameError`] as soon as it is known that the body is not one message within the limit.
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), FrameError> {
        match &mut self.held {
            Held::Piece(held) if held.is_empty() => *held = piece,
            Held::Piece(held) => {
                let mut joined = BytesMut::with_capacity(room(held.len() + piece.len(), self.whole));
                joined.extend_from_slice(held);
                joined.extend_from_slice(&piece);
                self.held = Held::Joined(joined);
            }
            Held::Joined(joined) => {
                if joined.capacity() - joined.len() < piece.len() {
                    let wanted = room(joined.len() + piece.len(), self.whole);
                    joined.reserve(wanted - joined.len());
                }
                joined.extend_from_slice(&piece);
            }
        }
        self.check()
    }

    /// The message, once the body has ended.
    ///
    /// # Errors
    /// [`FrameError`] if the body held no message, or only a part of one.
    pub(crate) fn finish(&mut self) -> Result<Message, FrameError> {
        let arrived = self.len();
        match self.whole {
            None if arrived == 0 => Err(FrameError::Missing),
            Some(whole) if arrived == whole => {
                let mut payload = match std::mem::replace(&mut self.held, Held::Piece(Bytes::new())) {
                    Held::Piece(piece) => piece,
                    Held::Joined(joined) => joined.freeze(),
                };
                let compressed = payload.split_to(PREFIX)[0] == 1;
                Ok(Message { compressed, payload })
            }
            whole => Err(FrameError::Truncated { arrived, declared: whole.unwrap_or(PREFIX) }),
        }
    }

    fn len(&self) -> usize {
        self.held().len()
    }

    fn held(&self) -> &[u8] {
        match &self.held {
            Held::Piece(piece) => piece,
            Held::Joined(joined) => joined,
        }
    }

    fn check(&mut self) -> Result<(), FrameError> {
        if self.whole.is_none()
            && let Some((&[flag, a, b, c, d], _)) = self.held().split_first_chunk::<PREFIX>()
        {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let limit = if flag == 1 { self.limit + self.limit / 256 + 1024 } else { self.limit };
            if flag > 1 {
                return Err(FrameError::Flag { flag });
            }
            if length > limit {
                return Err(FrameError::TooLarge { length, limit: self.limit });
            }
            self.whole = Some(PREFIX + length);
        }
        match self.whole {
            Some(whole) if self.len() > whole => Err(FrameError::Several),
            _ => Ok(()),
        }
    }
}

/// How much room to make for `arrived` bytes: twice as much, but no more than the whole message needs.
fn room(arrived: usize, whole: Option<usize>) -> usize {
    let doubled = arrived.saturating_mul(2);
    whole.map_or(doubled, |whole| doubled.min(whole)).max(arrived)
}

/// The length of a message's prefix.
pub(crate) const PREFIX: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(limit: usize, pieces: &[&[u8]]) -> Result<Message, FrameError> {
        let mut reader = MessageReader::new(limit);
        for piece in pieces {
            reader.push(Bytes::copy_from_slice(piece))?;
        }
        reader.finish()
    }

    fn message(compressed: bool, payload: &'static [u8]) -> Message {
        Message { compressed, payload: Bytes::from_static(payload) }
    }

    #[test]
    fn a_body_is_one_message_or_the_reason_why_not() {
        let truncated = |arrived, declared| FrameError::Truncated { arrived, declared };
        type Case<'a> = (&'a [&'a [u8]], Result<Message, FrameError>);
        let cases: [Case<'_>; 14] = [
            (&[b"\0\0\0\0\0"], Ok(message(false, b""))),
            (&[b"\0\0\0\0\x02hi"], Ok(message(false, b"hi"))),
            (&[b"\x01\0\0\0\x02hi"], Ok(message(true, b"hi"))),
            (&[b"\0\0", b"\0\0\x02", b"h", b"i"], Ok(message(false, b"hi"))),
            (&[b"", b"\0\0\0\0\x02hi", b""], Ok(message(false, b"hi"))),
            (&[], Err(FrameError::Missing)),
            (&[b""], Err(FrameError::Missing)),
            (&[b"\0\0\0"], Err(truncated(3, 5))),
            (&[b"\0\0\0\0\x02h"], Err(truncated(6, 7))),
            (&[b"\0\0\0\0\x02hi\0"], Err(FrameError::Several)),
            (&[b"\0\0\0\0\x02hi", b"\0\0\0\0\0"], Err(FrameError::Several)),
            (&[b"\x02\0\0\0\0"], Err(FrameError::Flag { flag: 2 })),
            (&[b"\0\0\0\0\x09"], Err(FrameError::TooLarge { length: 9, limit: 8 })),
            (&[b"\0\xff\xff\xff\xff"], Err(FrameError::TooLarge { length: 0xffff_ffff, limit: 8 })),
        ];
        for (pieces, expected) in cases {
            assert_eq!(read(8, pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_message_as_large_as_the_limit_is_taken_and_one_byte_more_is_not() {
        assert!(read(8, &[b"\0\0\0\0\x0812345678"]).is_ok());
        assert!(matches!(
            read(7, &[b"\0\0\0\0\x0812345678"]),
            Err(FrameError::TooLarge { length: 8, limit: 7 })
        ));
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let body = Bytes::from_static(b"\0\0\0\0\x02hi");
        let mut reader = MessageReader::new(8);
        reader.push(body.clone()).unwrap();
        assert_eq!(reader.finish().unwrap().payload.as_ptr(), body[PREFIX..].as_ptr());
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_declared() {
        let mut reader = MessageReader::new(64 << 20);
        reader.push(Bytes::from_static(b"\0\x03\0\0\0")).unwrap();
        reader.push(Bytes::from_static(b"x")).unwrap();
        let Held::Joined(joined) = &reader.held else { panic!("two pieces are joined") };
        assert!(joined.capacity() < 1024);
    }

    #[test]
    fn only_the_first_piece_of_a_large_message_is_copied() {
        let payload = Bytes::from(vec![7; 100]);
        let (first, rest) = frame(false, payload.clone(), 25);
        assert_eq!((first.len(), rest.len()), (25, 80));
        assert_eq!(rest.as_ptr(), payload[20..].as_ptr());
        let (first, rest) = frame(true, payload, 105);
        assert_eq!((first.len(), rest.len(), first[0]), (105, 0, 1));
    }

    proptest! {
        #[test]
        fn a_message_survives_any_splitting(
            payload in proptest::collection::vec(any::<u8>(), 0..400),
            cuts in proptest::collection::vec(0_usize..500, 0..8),
            head in 0_usize..500,
            compressed: bool,
        ) {
            let (first, rest) = frame(compressed, Bytes::from(payload.clone()), head);
            let mut body = Vec::from(first);
            body.extend_from_slice(&rest);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let read = read(400, &pieces).unwrap();
            prop_assert_eq!(read.compressed, compressed);
            prop_assert_eq!(&read.payload[..], &payload[..]);
        }

        #[test]
        fn random_bytes_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(16, &pieces);
        }
    }
}
