//! Reads numbers, truth values, strings, bytes and enums.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Reader;
use super::error::{Problem, Result};
use super::number::integer;
use super::scan::number_length;
use crate::tables::{EnumIndex, FieldTable, Kind};
use crate::text::find_special;
use crate::wire::{self, WireType, put_varint, zigzag};

/// What was read of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A number, as its bits on the wire.
    Bits(u64),
    /// The name of an enum's value that is to be passed over.
    Ignored,
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Appends a number's bits as its kind writes them.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "32-bit values are the low half of their bits")]
pub(super) fn put_bits(out: &mut Vec<u8>, wire_type: WireType, bits: u64) {
    match wire_type {
        WireType::Fixed32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
        WireType::Fixed64 => out.extend_from_slice(&bits.to_le_bytes()),
        WireType::Varint | WireType::Len | WireType::StartGroup | WireType::EndGroup => put_varint(out, bits),
    }
}

/// A whole number as the bits of this kind, if it is in the kind's range.
pub(super) fn integer_bits(kind: Kind, value: i128) -> Option<u64> {
    let signed = |value: i64| value.cast_unsigned();
    Some(match kind {
        Kind::Int32 => signed(i64::from(i32::try_from(value).ok()?)),
        Kind::Sfixed32 => u64::from(i32::try_from(value).ok()?.cast_unsigned()),
        Kind::Sint32 => zigzag(i64::from(i32::try_from(value).ok()?)),
        Kind::Int64 | Kind::Sfixed64 => signed(i64::try_from(value).ok()?),
        Kind::Sint64 => zigzag(i64::try_from(value).ok()?),
        Kind::Uint32 | Kind::Fixed32 => u64::from(u32::try_from(value).ok()?),
        Kind::Uint64 | Kind::Fixed64 => u64::try_from(value).ok()?,
        Kind::Double
        | Kind::Float
        | Kind::Bool
        | Kind::String
        | Kind::Group(_)
        | Kind::Message(_)
        | Kind::Bytes
        | Kind::Enum(_) => return None,
    })
}

impl<'a> Reader<'a> {
    /// Reads a number, truth value or enum.
    pub(super) fn bits(&mut self, field: &FieldTable) -> Result<Scalar> {
        let next = self.peek();
        let at = self.at;
        Ok(Scalar::Bits(match field.kind {
            Kind::Bool => match next {
                b't' if self.takes_word("true") => 1,
                b'f' if self.takes_word("false") => 0,
                _ => return Err(self.invalid(field, at)),
            },
            Kind::Enum(index) => return self.enumeration(field, index),
            Kind::String | Kind::Bytes | Kind::Group(_) | Kind::Message(_) => {
                return Err(self.invalid(field, at));
            }
            Kind::Double => self.float(field, next, f64::is_finite, f64::to_bits)?,
            Kind::Float => {
                self.float(field, next, f32::is_finite, |float: f32| u64::from(float.to_bits()))?
            }
            Kind::Int64
            | Kind::Uint64
            | Kind::Int32
            | Kind::Fixed64
            | Kind::Fixed32
            | Kind::Uint32
            | Kind::Sfixed32
            | Kind::Sfixed64
            | Kind::Sint32
            | Kind::Sint64 => {
                let text = self.quoted_number(field, next)?;
                let bits = integer(&text).and_then(|value| integer_bits(field.kind, value));
                bits.ok_or_else(|| self.invalid(field, at))?
            }
        }))
    }

    /// The text of a number that may stand in quotes.
    #[inline]
    fn quoted_number(&mut self, field: &FieldTable, next: u8) -> Result<Cow<'a, str>> {
        let at = self.at;
        match next {
            b'-' | b'0'..=b'9' => self.number_text().map(Cow::Borrowed),
            b'"' => {
                let text = self.string()?;
                match number_length(text.as_bytes()) {
                    length if length > 0 && length == text.len() => Ok(text),
                    _ => Err(self.invalid(field, at)),
                }
            }
            _ => Err(self.invalid(field, at)),
        }
    }

    fn float<T: std::str::FromStr + Copy>(
        &mut self,
        field: &FieldTable,
        next: u8,
        is_finite: fn(T) -> bool,
        to_bits: fn(T) -> u64,
    ) -> Result<u64> {
        let at = self.at;
        let text = match next {
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => Cow::Borrowed(self.number_text()?),
            _ => return Err(self.invalid(field, at)),
        };
        let is_name = next == b'"' && matches!(&*text, "NaN" | "Infinity" | "-Infinity");
        if !is_name && number_length(text.as_bytes()) != text.len() {
            return Err(self.invalid(field, at));
        }
        // Too large a number would become infinite, which only its name may.
        let value = text.parse().ok().filter(|value| is_name || is_finite(*value));
        value.map(to_bits).ok_or_else(|| self.invalid(field, at))
    }

    fn enumeration(&mut self, field: &FieldTable, index: EnumIndex) -> Result<Scalar> {
        let at = self.at;
        let table = self.tables.enumeration(index);
        let sign_extended = |number: i32| Scalar::Bits(i64::from(number).cast_unsigned());
        match self.peek() {
            b'"' => {
                let name = self.string()?;
                match table.by_name.get(&*name) {
                    Some(number) => Ok(sign_extended(*number)),
                    None if name.is_empty() && self.options.lenient => Ok(sign_extended(table.first)),
                    None if self.options.ignore_unknown_fields => Ok(Scalar::Ignored),
                    None => Err(self.invalid(field, at)),
                }
            }
            b'n' if table.is_null && self.takes_word("null") => Ok(Scalar::Bits(0)),
            b'-' | b'0'..=b'9' => {
                let number = integer(self.number_text()?).and_then(|number| i32::try_from(number).ok());
                number.map(sign_extended).ok_or_else(|| self.invalid(field, at))
            }
            _ => Err(self.invalid(field, at)),
        }
    }

    /// Appends a string with its length.
    #[inline]
    pub(super) fn put_string(&mut self, field: &FieldTable) -> Result<()> {
        if self.peek() != b'"' {
            return Err(self.invalid(field, self.at));
        }
        self.put_text()
    }

    /// Appends the string here with its length.
    #[inline]
    pub(super) fn put_text(&mut self) -> Result<()> {
        self.expect(b'"')?;
        let length = find_special(&self.json[self.at..]);
        let end = self.at + length;
        if self.json.get(end) == Some(&b'"') {
            put_varint(self.out, length as u64);
            self.out.extend_from_slice(&self.json[self.at..end]);
            self.at = end + 1;
            return Ok(());
        }
        let start = wire::open(self.out);
        // `string_rest` needs the output apart from the reader.
        let mut out = std::mem::take(self.out);
        let read = self.string_rest(&mut out);
        *self.out = out;
        wire::close(self.out, start);
        read
    }

    /// Appends bytes out of base64, in either alphabet and padded or not, with their length.
    pub(super) fn put_bytes(&mut self, field: &FieldTable) -> Result<()> {
        if self.peek() != b'"' {
            return Err(self.invalid(field, self.at));
        }
        let at = self.at;
        let text = self.string()?;
        let engine = if text.bytes().any(|byte| matches!(byte, b'-' | b'_')) { URL_SAFE } else { STANDARD };
        let start = wire::open(self.out);
        if engine.decode_vec(text.as_bytes(), self.out).is_err() {
            return Err(self.invalid(field, at));
        }
        wire::close(self.out, start);
        Ok(())
    }

    /// The value at a place is none for this field.
    #[cold]
    pub(super) fn invalid(&self, field: &FieldTable, at: usize) -> Box<Problem> {
        if at >= self.json.len() {
            return self.unexpected_end();
        }
        let (kind, name, token) = (field.kind.name(), &field.json_name, self.token(at));
        self.problem(at, format!("invalid value for {kind} field {name}: {token}"))
    }
}
