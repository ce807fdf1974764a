//! Writes the well-known messages whose JSON is not an object of their fields.

use super::scalar::{int32, zero};
use super::{Occurrence, Writer};
use crate::WireError;
use crate::tables::{Kind, MessageTable, WellKnown};
use crate::time::{self, Time};

impl Writer<'_, '_> {
    pub(super) fn well_known(
        &mut self,
        table: &MessageTable,
        well_known: WellKnown,
        base: usize,
    ) -> Result<(), WireError> {
        let no_form = |why| WireError::NoJsonForm { message: table.full_name.to_string(), why };
        match well_known {
            WellKnown::Any => self.any(table, base),
            WellKnown::Empty => self.object(table, base),
            WellKnown::Timestamp => time::put_timestamp(self.out, self.time(base)).map_err(no_form),
            WellKnown::Duration => time::put_duration(self.out, self.time(base)).map_err(no_form),
            WellKnown::FieldMask => self.field_mask(table, base),
            WellKnown::Struct => {
                let Some(fields) = table.fields.first() else { return Ok(()) };
                self.map(fields, base..self.found.len())
            }
            WellKnown::ListValue => {
                let Some(values) = table.fields.first() else { return Ok(()) };
                self.list(values, base..self.found.len())
            }
            WellKnown::Value => self.value(table, base),
            WellKnown::Wrapper => {
                let Some(field) = table.fields.first() else { return Ok(()) };
                match self.found[base..].last() {
                    Some(&last) => self.scalar(field, last),
                    None => {
                        self.out.extend_from_slice(zero(field.kind));
                        Ok(())
                    }
                }
            }
        }
    }

    /// The last occurrence of a field, if it has any.
    pub(super) fn last(&self, base: usize, field: u16) -> Option<Occurrence> {
        self.found[base..].iter().rfind(|occurrence| occurrence.field == field).copied()
    }

    fn time(&self, base: usize) -> Time {
        let bits = |field| self.last(base, field).map_or(0, |occurrence| occurrence.bits);
        Time { seconds: bits(0).cast_signed(), nanos: int32(bits(1)) }
    }

    fn value(&mut self, table: &MessageTable, base: usize) -> Result<(), WireError> {
        // The oneof is settled: only one field is left.
        let Some(last) = self.found[base..].last().copied() else {
            self.out.extend_from_slice(b"null");
            return Ok(());
        };
        let field = &table.fields[usize::from(last.field)];
        if let Some(index) = field.kind.message() {
            return self.message(index, base..self.found.len());
        }
        if field.kind == Kind::Double && !f64::from_bits(last.bits).is_finite() {
            let message = table.full_name.to_string();
            return Err(WireError::NoJsonForm { message, why: "the number is not finite" });
        }
        self.scalar(field, last)
    }

    fn field_mask(&mut self, table: &MessageTable, base: usize) -> Result<(), WireError> {
        let Some(field) = table.fields.first() else { return Ok(()) };
        self.out.push(b'"');
        let start = self.out.len();
        for place in base..self.found.len() {
            let path = self.text(field, self.found[place])?;
            if self.out.len() > start {
                self.out.push(b',');
            }
            let mut rises = false;
            for byte in path.bytes() {
                match byte {
                    b'_' if !rises => rises = true,
                    b'a'..=b'z' if rises => {
                        self.out.push(byte.to_ascii_uppercase());
                        rises = false;
                    }
                    b'a'..=b'z' | b'0'..=b'9' | b'.' if !rises => self.out.push(byte),
                    // What an upper-case letter or a lone underscore became would not be read back.
                    _ => {
                        let message = table.full_name.to_string();
                        return Err(WireError::NoJsonForm { message, why: "a path is not lower_snake" });
                    }
                }
            }
            if rises {
                let message = table.full_name.to_string();
                return Err(WireError::NoJsonForm { message, why: "a path is not lower_snake" });
            }
            self.check_size()?;
        }
        self.out.push(b'"');
        Ok(())
    }
}
