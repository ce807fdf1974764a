//! Reads maps: objects whose names are keys.

use super::error::Result;
use super::scalar::{Scalar, integer_bits, put_bits};
use super::scan::number_length;
use super::{Reader, number};
use crate::tables::{FieldTable, Form, Kind, MessageTable};
use crate::wire::{self, WireType, put_varint};

/// Where the key of an entry stands in the output, and in the JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyPlace {
    start: usize,
    end: usize,
    at: usize,
}

impl Reader<'_> {
    pub(super) fn map(&mut self, field: &FieldTable, entry: &MessageTable) -> Result<()> {
        let [key, value] = &*entry.fields else { return Ok(()) };
        let base = self.keys.len();
        let mut more = self.begins(b'{', b'}')?;
        while more {
            self.entry(field, key, value)?;
            more = self.goes_on(b'}')?;
        }
        self.check_keys(base)
    }

    fn entry(&mut self, field: &FieldTable, key: &FieldTable, value: &FieldTable) -> Result<()> {
        self.peek();
        let at = self.at;
        let undo = self.out.len();
        self.put_tag(field);
        let start = wire::open(self.out);
        self.put_tag(key);
        if key.kind == Kind::String {
            self.put_text()?;
        } else {
            let bits = self.key_bits(key)?;
            put_bits(self.out, key.wire_type, bits);
        }
        let key_end = self.out.len();
        self.expect(b':')?;
        if !self.element(value)? {
            self.out.truncate(undo);
            return Ok(());
        }
        let before = self.out.len();
        wire::close(self.out, start);
        let moved = self.out.len() - before;
        self.keys.push(KeyPlace { start: start + moved, end: key_end + moved, at });
        self.check_size()
    }

    fn key_bits(&mut self, key: &FieldTable) -> Result<u64> {
        let at = self.at;
        let text = self.string()?;
        let bits = match (key.kind == Kind::Bool, &*text) {
            (true, "true") => Some(1),
            (true, "false") => Some(0),
            (true, _) => None,
            (false, text) => Some(text)
                .filter(|text| !text.is_empty() && number_length(text.as_bytes()) == text.len())
                .and_then(number::integer)
                .and_then(|value| integer_bits(key.kind, value)),
        };
        bits.ok_or_else(|| {
            let (kind, token) = (key.kind.name(), self.token(at));
            self.problem(at, format!("invalid value for {kind} key: {token}"))
        })
    }

    /// Refuses a map with a key twice, and forgets its keys.
    pub(super) fn check_keys(&mut self, base: usize) -> Result<()> {
        let out = &*self.out;
        let keys = &mut self.keys[base..];
        let bytes = |key: &KeyPlace| &out[key.start..key.end];
        keys.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)).then(a.at.cmp(&b.at)));
        let twice = keys.windows(2).find(|pair| bytes(&pair[0]) == bytes(&pair[1]));
        let twice = twice.map(|pair| pair[1].at);
        self.keys.truncate(base);
        match twice {
            Some(at) => Err(self.problem(at, format!("duplicate map key {}", self.token(at)))),
            None => Ok(()),
        }
    }

    /// Notes the key of an entry that stands in the output.
    pub(super) fn note_key(&mut self, start: usize, end: usize, at: usize) {
        self.keys.push(KeyPlace { start, end, at });
    }

    pub(super) fn put_tag(&mut self, field: &FieldTable) {
        self.put_raw_tag(field.number, field.wire_type);
    }

    pub(super) fn put_raw_tag(&mut self, number: u32, wire_type: WireType) {
        put_varint(self.out, u64::from(number) << 3 | wire_type as u64);
    }

    /// Reads one value and writes it with its tag, a zero too. Gives whether it counts: the name of an
    /// enum's value that is passed over does not.
    pub(super) fn element(&mut self, field: &FieldTable) -> Result<bool> {
        match field.kind.form() {
            Form::Text => {
                self.put_tag(field);
                self.put_string(field)?;
            }
            Form::Bytes => {
                self.put_tag(field);
                self.put_bytes(field)?;
            }
            Form::Message(index) => self.put_message(field, index)?,
            Form::Bits => match self.bits(field)? {
                Scalar::Bits(bits) => {
                    self.put_tag(field);
                    put_bits(self.out, field.wire_type, bits);
                }
                Scalar::Ignored => return Ok(false),
            },
        }
        Ok(true)
    }
}
