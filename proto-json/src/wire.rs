//! The protobuf wire format: reading tags and values, writing them, and what can be wrong with them.
//!
//! Knows no schema. Positions are `u32` offsets into one buffer, so that a [`Span`] stays small.

use crate::limits::MAX_DEPTH;

/// Why a message cannot be read from its wire form, or has no JSON form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// An `Any` holds a message of a type that the schema does not have.
    #[error("unable to resolve {type_url:?}: not found")]
    AnyUnresolved {
        /// What the `Any` says it holds.
        type_url: String,
    },
    /// A tag with field number 0, or of a wire type that does not exist.
    #[error("byte {at}: invalid tag")]
    InvalidTag {
        /// Offset of the tag.
        at: usize,
    },
    /// A string that is not UTF-8.
    #[error("field {field} contains invalid UTF-8")]
    InvalidUtf8 {
        /// Full name of the field.
        field: String,
    },
    /// A well-known message whose value has no JSON form.
    #[error("{message} has no JSON form: {why}")]
    NoJsonForm {
        /// Full name of the message.
        message: String,
        /// What is wrong with the value.
        why: &'static str,
    },
    /// The output grew past its limit.
    #[error("the output is larger than {limit} bytes")]
    OutputTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Messages or groups nested deeper than 100 levels.
    #[error("exceeded max recursion depth")]
    TooDeep,
    /// A message of 4 GiB or more.
    #[error("the message is 4 GiB or larger")]
    TooLarge,
    /// The bytes end inside a value.
    #[error("byte {at}: unexpected end")]
    Truncated {
        /// Where the value begins.
        at: usize,
    },
    /// A group that ends without having begun, or the other way round.
    #[error("byte {at}: unmatched group")]
    UnmatchedGroup {
        /// Offset of the tag.
        at: usize,
    },
    /// A variable-length integer of more than ten bytes.
    #[error("byte {at}: varint too long")]
    VarintTooLong {
        /// Where the integer begins.
        at: usize,
    },
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Len = 2,
    StartGroup = 3,
    EndGroup = 4,
    Fixed32 = 5,
}

/// A part of the buffer that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A place in a buffer that ends where the part ends which is being read. Invariant: `at <= bytes.len()`,
/// which fits `u32`.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value as it stands on the wire: numbers as their bits, everything else as its span.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw {
    Bits(u64),
    Span(Span),
}

// === impl Span ===

impl Span {
    /// Both ends in one integer.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.end)
    }

    /// The span that [`Span::to_bits`] packed.
    #[expect(clippy::cast_possible_truncation, reason = "each half holds one u32")]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { start: (bits >> 32) as u32, end: bits as u32 }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// The whole of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, WireError> {
        u32::try_from(bytes.len()).map_err(|_| WireError::TooLarge)?;
        Ok(Self { bytes, at: 0 })
    }

    /// A part of a buffer of which a cursor has been made before.
    pub(crate) fn within(bytes: &'a [u8], span: Span) -> Self {
        let bytes = bytes.get(..span.end as usize).unwrap_or(bytes);
        Self { bytes, at: (span.start as usize).min(bytes.len()) }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the buffer's length fits u32")]
    fn span(&self, start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// All that is left.
    pub(crate) fn rest(&self) -> Span {
        self.span(self.at, self.bytes.len())
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, WireError> {
        let at = self.at;
        let rest = &self.bytes[at..];
        let mut value = 0_u64;
        for (place, &byte) in rest.iter().take(MAX_VARINT_BYTES).enumerate() {
            // Of the tenth byte one bit counts; protobuf drops what lies beyond 64 bits.
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.at = at + place + 1;
                return Ok(value);
            }
        }
        match rest.len() < MAX_VARINT_BYTES {
            true => Err(WireError::Truncated { at }),
            false => Err(WireError::VarintTooLong { at }),
        }
    }

    /// The next field's number and wire type.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<(u32, WireType), WireError> {
        let at = self.at;
        let tag = u32::try_from(self.varint()?).map_err(|_| WireError::InvalidTag { at })?;
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Len,
            3 => WireType::StartGroup,
            4 => WireType::EndGroup,
            5 => WireType::Fixed32,
            _ => return Err(WireError::InvalidTag { at }),
        };
        match tag >> 3 {
            0 => Err(WireError::InvalidTag { at }),
            number => Ok((number, wire_type)),
        }
    }

    /// The value after a tag. A group's span is what lies between its tags.
    #[inline(always)]
    pub(crate) fn value(&mut self, number: u32, wire_type: WireType) -> Result<Raw, WireError> {
        match wire_type {
            WireType::Varint => self.varint().map(Raw::Bits),
            WireType::Fixed64 => self.fixed64().map(Raw::Bits),
            WireType::Fixed32 => self.fixed32().map(|bits| Raw::Bits(u64::from(bits))),
            WireType::Len => self.len_delimited().map(Raw::Span),
            WireType::StartGroup => self.group(number, 0).map(Raw::Span),
            WireType::EndGroup => Err(WireError::UnmatchedGroup { at: self.at }),
        }
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let taken = self.bytes[self.at..].first_chunk();
        let taken = *taken.ok_or(WireError::Truncated { at: self.at })?;
        self.at += N;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn len_delimited(&mut self) -> Result<Span, WireError> {
        let at = self.at;
        let length = self.varint()?;
        if length > (self.bytes.len() - self.at) as u64 {
            return Err(WireError::Truncated { at });
        }
        let start = self.at;
        #[expect(clippy::cast_possible_truncation, reason = "no longer than the buffer")]
        {
            self.at += length as usize;
        }
        Ok(self.span(start, self.at))
    }

    #[inline(never)]
    fn group(&mut self, number: u32, depth: usize) -> Result<Span, WireError> {
        if depth >= MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        let start = self.at;
        loop {
            let at = self.at;
            if self.is_at_end() {
                return Err(WireError::Truncated { at: start });
            }
            match self.tag()? {
                (inner, WireType::EndGroup) if inner == number => return Ok(self.span(start, at)),
                (_, WireType::EndGroup) => return Err(WireError::UnmatchedGroup { at }),
                (inner, WireType::StartGroup) => _ = self.group(inner, depth + 1)?,
                (inner, other) => _ = self.value(inner, other)?,
            }
        }
    }
}

/// The longest variable-length integer, in bytes.
const MAX_VARINT_BYTES: usize = 10;

/// Appends a variable-length integer.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Opens a length-delimited value: one byte for its length, which [`close`] fills in.
#[inline]
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Closes what [`open`] began at `start`. A length of more than one byte moves the value on.
#[inline]
pub(crate) fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out[start - 1] = short,
        _ => close_long(out, start, length as u64),
    }
}

fn close_long(out: &mut Vec<u8>, start: usize, length: u64) {
    let mut bytes = [0; 10];
    let mut count = 0;
    let mut left = length;
    while left >= 0x80 {
        bytes[count] = (left & 0x7f) as u8 | 0x80;
        left >>= 7;
        count += 1;
    }
    bytes[count] = (left & 0x7f) as u8;
    let end = out.len();
    out.resize(end + count, 0);
    out.copy_within(start..end, start + count);
    out[start - 1..start + count].copy_from_slice(&bytes[..=count]);
}

/// The signed integer behind its zigzag form.
pub(crate) fn unzigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

/// The zigzag form of a signed integer.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}
