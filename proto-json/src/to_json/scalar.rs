//! Writes numbers, truth values, strings, bytes and enums.

use super::{Occurrence, Writer};
use crate::WireError;
use crate::tables::{EnumIndex, FieldTable, Kind};
use crate::text::{put_base64, put_f32, put_f64, put_i64, put_u64, quote};
use crate::wire::unzigzag;

/// The low half of a varint, as an int32 is read.
#[expect(clippy::cast_possible_truncation, reason = "an int32 is the low half of its varint")]
pub(super) fn int32(bits: u64) -> i32 {
    (bits as u32).cast_signed()
}

/// The JSON of a zero that is no enum.
pub(super) fn zero(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 | Kind::Sint64 => b"\"0\"",
        Kind::Bool => b"false",
        Kind::String | Kind::Bytes => b"\"\"",
        Kind::Double
        | Kind::Float
        | Kind::Int32
        | Kind::Fixed32
        | Kind::Uint32
        | Kind::Enum(_)
        | Kind::Sfixed32
        | Kind::Sint32 => b"0",
        Kind::Group(_) | Kind::Message(_) => b"null",
    }
}

impl Writer<'_, '_> {
    /// Writes a value that is no message.
    #[expect(clippy::cast_possible_truncation, reason = "32-bit values are the low half of their bits")]
    pub(super) fn scalar(&mut self, field: &FieldTable, occurrence: Occurrence) -> Result<(), WireError> {
        let bits = occurrence.bits;
        match field.kind {
            Kind::Double => put_f64(self.out, f64::from_bits(bits)),
            Kind::Float => put_f32(self.out, f32::from_bits(bits as u32)),
            Kind::Int64 | Kind::Sfixed64 => self.quoted(|out| put_i64(out, bits.cast_signed())),
            Kind::Uint64 | Kind::Fixed64 => self.quoted(|out| put_u64(out, bits)),
            Kind::Sint64 => self.quoted(|out| put_i64(out, unzigzag(bits))),
            Kind::Int32 | Kind::Sfixed32 => put_i64(self.out, i64::from(int32(bits))),
            Kind::Uint32 | Kind::Fixed32 => put_u64(self.out, u64::from(bits as u32)),
            Kind::Sint32 => put_i64(self.out, unzigzag(u64::from(bits as u32))),
            Kind::Bool if bits == 0 => self.out.extend_from_slice(b"false"),
            Kind::Bool => self.out.extend_from_slice(b"true"),
            Kind::String => {
                let text = self.text(field, occurrence)?;
                self.has_room(text.len())?;
                quote(self.out, text);
            }
            Kind::Bytes => {
                let bytes = occurrence.span().of(self.wire);
                self.has_room(bytes.len())?;
                put_base64(self.out, bytes);
            }
            Kind::Enum(index) => self.enumeration(index, int32(bits)),
            Kind::Group(_) | Kind::Message(_) => {}
        }
        Ok(())
    }

    pub(super) fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// Refuses a value of which it is clear that it does not fit.
    pub(super) fn has_room(&self, bytes: usize) -> Result<(), WireError> {
        match bytes > self.end.saturating_sub(self.out.len()) {
            true => Err(WireError::OutputTooLarge { limit: self.options.max_output_bytes }),
            false => Ok(()),
        }
    }

    pub(super) fn enumeration(&mut self, index: EnumIndex, number: i32) {
        let table = self.tables.enumeration(index);
        match table.name(number) {
            _ if table.is_null => self.out.extend_from_slice(b"null"),
            // A name is an identifier: nothing in it needs escaping.
            Some(name) => self.quoted(|out| out.extend_from_slice(name.as_bytes())),
            None => put_i64(self.out, i64::from(number)),
        }
    }
}

impl<'a> Writer<'a, '_> {
    /// The text of a string.
    pub(super) fn text(&self, field: &FieldTable, occurrence: Occurrence) -> Result<&'a str, WireError> {
        let bytes = occurrence.span().of(self.wire);
        str::from_utf8(bytes).map_err(|_| WireError::InvalidUtf8 { field: field.name.to_string() })
    }
}
