//! Reads the well-known messages whose JSON is not an object of their fields.
//!
//! Their field numbers are written down here: a schema cannot have others under these names.

use super::Reader;
use super::error::{Problem, Result};
use super::scalar::put_bits;
use crate::tables::{Kind, MessageTable, WellKnown};
use crate::time::{self, Time};
use crate::wire::{self, WireType, put_varint};

impl Reader<'_> {
    pub(super) fn well_known(&mut self, table: &MessageTable, well_known: WellKnown) -> Result<()> {
        match well_known {
            WellKnown::Any => self.any(),
            WellKnown::Duration => self.time(table, time::duration),
            WellKnown::Empty => self.object(table),
            WellKnown::FieldMask => self.field_mask(table),
            WellKnown::ListValue => self.list_value(),
            WellKnown::Struct => self.structure(),
            WellKnown::Timestamp => self.time(table, time::timestamp),
            WellKnown::Value => self.value(),
            WellKnown::Wrapper => {
                let Some(field) = table.fields.first() else { return Ok(()) };
                self.singular(field).map(drop)
            }
        }
    }

    #[cold]
    fn invalid_message(&self, table: &MessageTable, at: usize) -> Box<Problem> {
        if at >= self.json.len() {
            return self.unexpected_end();
        }
        self.problem(at, format!("invalid {} value {}", table.full_name, self.token(at)))
    }

    fn time(&mut self, table: &MessageTable, parse: fn(&str) -> Option<Time>) -> Result<()> {
        if self.peek() != b'"' {
            return Err(self.unexpected());
        }
        let at = self.at;
        let text = self.string()?;
        let time = parse(&text).ok_or_else(|| self.invalid_message(table, at))?;
        if time.seconds != 0 {
            self.put_raw_tag(1, WireType::Varint);
            put_varint(self.out, time.seconds.cast_unsigned());
        }
        if time.nanos != 0 {
            self.put_raw_tag(2, WireType::Varint);
            put_varint(self.out, i64::from(time.nanos).cast_unsigned());
        }
        Ok(())
    }

    fn field_mask(&mut self, table: &MessageTable) -> Result<()> {
        if self.peek() != b'"' {
            return Err(self.unexpected());
        }
        let at = self.at;
        let text = self.string()?;
        if text.is_empty() {
            return Ok(());
        }
        for path in text.split(',') {
            self.put_raw_tag(1, WireType::Len);
            let start = wire::open(self.out);
            for byte in path.bytes() {
                match byte {
                    b'A'..=b'Z' => self.out.extend_from_slice(&[b'_', byte.to_ascii_lowercase()]),
                    b'a'..=b'z' | b'0'..=b'9' | b'.' => self.out.push(byte),
                    _ => return Err(self.invalid_message(table, at)),
                }
            }
            wire::close(self.out, start);
            if path.is_empty() {
                return Err(self.invalid_message(table, at));
            }
            self.check_size()?;
        }
        Ok(())
    }

    fn structure(&mut self) -> Result<()> {
        let base = self.keys.len();
        let mut more = self.begins(b'{', b'}')?;
        while more {
            self.peek();
            let at = self.at;
            self.put_raw_tag(1, WireType::Len);
            let start = wire::open(self.out);
            self.put_raw_tag(1, WireType::Len);
            self.put_text()?;
            let key_end = self.out.len();
            self.expect(b':')?;
            self.put_raw_tag(2, WireType::Len);
            let value = wire::open(self.out);
            self.value()?;
            wire::close(self.out, value);
            let before = self.out.len();
            wire::close(self.out, start);
            let moved = self.out.len() - before;
            self.note_key(start + moved, key_end + moved, at);
            self.check_size()?;
            more = self.goes_on(b'}')?;
        }
        self.check_keys(base)
    }

    fn list_value(&mut self) -> Result<()> {
        let mut more = self.begins(b'[', b']')?;
        while more {
            self.put_raw_tag(1, WireType::Len);
            let start = wire::open(self.out);
            self.value()?;
            wire::close(self.out, start);
            self.check_size()?;
            more = self.goes_on(b']')?;
        }
        Ok(())
    }

    fn value(&mut self) -> Result<()> {
        match self.peek() {
            b'n' if self.takes_word("null") => {
                self.put_raw_tag(1, WireType::Varint);
                self.out.push(0);
            }
            b't' if self.takes_word("true") => self.put_truth(1),
            b'f' if self.takes_word("false") => self.put_truth(0),
            b'"' => {
                self.put_raw_tag(3, WireType::Len);
                self.put_text()?;
            }
            b'-' | b'0'..=b'9' => {
                let at = self.at;
                let number: Option<f64> = self.number_text()?.parse().ok();
                let Some(number) = number.filter(|number| number.is_finite()) else {
                    let (kind, token) = (Kind::Double.name(), self.token(at));
                    return Err(self.problem(at, format!("invalid value for {kind}: {token}")));
                };
                self.put_raw_tag(2, WireType::Fixed64);
                put_bits(self.out, WireType::Fixed64, number.to_bits());
            }
            b'{' => self.deeper(5, Self::structure)?,
            b'[' => self.deeper(6, Self::list_value)?,
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    fn put_truth(&mut self, truth: u8) {
        self.put_raw_tag(4, WireType::Varint);
        self.out.push(truth);
    }

    fn deeper(&mut self, number: u32, read: fn(&mut Self) -> Result<()>) -> Result<()> {
        if self.depth == crate::limits::MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        self.put_raw_tag(number, WireType::Len);
        let start = wire::open(self.out);
        read(self)?;
        wire::close(self.out, start);
        self.depth -= 1;
        Ok(())
    }
}
