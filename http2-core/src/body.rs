//! The body of a unary gRPC call: five bytes of prefix, one message, nothing else.
//!
//! Memory follows what has arrived, never what a prefix declares.

use bytes::Bytes;

/// A message on its way.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    message: Vec<u8>,
}

/// What the bytes of a body are not: one whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// The first byte is neither 0 nor 1.
    BadFlag,
    /// The body ended within the message.
    CutShort,
    /// The body ended before a message began.
    Missing,
    /// There is something behind the message.
    Several,
    /// The prefix declares more than the limit.
    TooLarge { declared: usize },
}

/// A message that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) message: Bytes,
    pub(crate) compressed: bool,
}

// === impl Collector ===

impl Collector {
    /// Takes what came next.
    pub(crate) fn feed(&mut self, mut data: &[u8], limit: usize) -> Result<(), BodyFault> {
        if self.prefix_len < PREFIX_LEN {
            let (part, rest) = data.split_at(data.len().min(PREFIX_LEN - self.prefix_len));
            self.prefix[self.prefix_len..][..part.len()].copy_from_slice(part);
            self.prefix_len += part.len();
            if self.prefix_len < PREFIX_LEN {
                return Ok(());
            }
            checked(self.prefix, limit)?;
            data = rest;
        }
        let declared = declared(self.prefix);
        let wanted = self.message.len() + data.len();
        if wanted > declared {
            return Err(BodyFault::Several);
        }
        if wanted > self.message.capacity() {
            let capacity = (self.message.capacity() * 2).clamp(wanted, declared);
            self.message.reserve_exact(capacity - self.message.len());
        }
        self.message.extend_from_slice(data);
        Ok(())
    }

    /// The message, now that the body has ended.
    pub(crate) fn finish(self) -> Result<Whole, BodyFault> {
        match self.prefix_len {
            0 => Err(BodyFault::Missing),
            PREFIX_LEN if self.message.len() == declared(self.prefix) => {
                Ok(Whole { message: self.message.into(), compressed: self.prefix[0] == 1 })
            }
            _ => Err(BodyFault::CutShort),
        }
    }

    /// The same for a body that came in one piece, with one copy.
    pub(crate) fn whole(data: &[u8], limit: usize) -> Result<Whole, BodyFault> {
        let Some((&prefix, message)) = data.split_first_chunk() else {
            return Err(if data.is_empty() { BodyFault::Missing } else { BodyFault::CutShort });
        };
        checked(prefix, limit)?;
        match message.len().cmp(&declared(prefix)) {
            std::cmp::Ordering::Less => Err(BodyFault::CutShort),
            std::cmp::Ordering::Equal => {
                Ok(Whole { message: Bytes::copy_from_slice(message), compressed: prefix[0] == 1 })
            }
            std::cmp::Ordering::Greater => Err(BodyFault::Several),
        }
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefix_len == 0
    }

    /// Bytes of the message that are here.
    pub(crate) fn len(&self) -> usize {
        self.message.len()
    }

    /// Bytes the client must be able to send; never zero, so that the end of the body can come.
    pub(crate) fn missing(&self) -> usize {
        let missing = match self.prefix_len {
            PREFIX_LEN => declared(self.prefix) - self.message.len(),
            less => PREFIX_LEN - less,
        };
        missing.max(1)
    }
}

/// The prefix of a message of gRPC.
pub(crate) fn prefix(compressed: bool, len: u32) -> [u8; PREFIX_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}

fn declared([_, a, b, c, d]: [u8; PREFIX_LEN]) -> usize {
    u32::from_be_bytes([a, b, c, d]) as usize
}

fn checked(prefix: [u8; PREFIX_LEN], limit: usize) -> Result<(), BodyFault> {
    let declared = declared(prefix);
    if prefix[0] > 1 {
        return Err(BodyFault::BadFlag);
    }
    if declared > limit { Err(BodyFault::TooLarge { declared }) } else { Ok(()) }
}

/// Bytes before a message: one flag, four of length.
pub(crate) const PREFIX_LEN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    fn in_pieces(body: &[u8], size: usize) -> Result<Whole, BodyFault> {
        let mut collector = Collector::default();
        for piece in body.chunks(size) {
            collector.feed(piece, LIMIT)?;
        }
        collector.finish()
    }

    #[test]
    fn a_body_is_one_whole_message_however_it_comes() {
        let whole =
            |message: &[u8], compressed| Ok(Whole { message: Bytes::copy_from_slice(message), compressed });
        for (body, outcome) in [
            (&b"\0\0\0\0\x02ab"[..], whole(b"ab", false)),
            (b"\x01\0\0\0\x02ab", whole(b"ab", true)),
            (b"\0\0\0\0\0", whole(b"", false)),
            (b"", Err(BodyFault::Missing)),
            (b"\0\0\0", Err(BodyFault::CutShort)),
            (b"\0\0\0\0\x02a", Err(BodyFault::CutShort)),
            (b"\0\0\0\0\x02abc", Err(BodyFault::Several)),
            (b"\0\0\0\0\0\0\0\0\0\0", Err(BodyFault::Several)),
            (b"\x02\0\0\0\0", Err(BodyFault::BadFlag)),
            (b"\0\0\0\0\x0b", Err(BodyFault::TooLarge { declared: 11 })),
        ] {
            assert_eq!(Collector::whole(body, LIMIT), outcome, "{body:?}");
            for size in 1..=body.len().max(1) {
                assert_eq!(in_pieces(body, size), outcome, "{body:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn memory_follows_what_came_not_what_was_declared() {
        let mut collector = Collector::default();
        collector.feed(&prefix(false, 1 << 20), 1 << 20).unwrap();
        assert_eq!((collector.message.capacity(), collector.missing()), (0, 1 << 20));
        collector.feed(&[7; 1000], 1 << 20).unwrap();
        assert!(collector.message.capacity() < 2000);
        assert_eq!(collector.missing(), (1 << 20) - 1000);
    }
}
