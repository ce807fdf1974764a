//! The decoder of header blocks: dynamic table, representations, strings.
//!
//! A block must be decoded whole even if nobody wants its fields, as the table must stay in step with the
//! encoder's. What is not wanted costs no allocation, except for what enters the table.

use std::collections::VecDeque;

use super::{HpackError, huffman, integer, static_table};
use crate::field::{FIELD_OVERHEAD, Field};
use crate::settings::DEFAULT_HEADER_TABLE;

/// Takes the fields of a block.
pub(crate) trait Sink {
    /// Whether a field of this size is wanted; called once for each field, before [`Sink::field`].
    fn wants(&mut self, size: usize) -> bool;
    /// A field that is wanted.
    fn field(&mut self, field: &Field);
}

/// A sink that wants nothing: the block is decoded for the table's sake.
pub(crate) struct Discard;

/// The state that header blocks of one connection share.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest entry is at the front.
    table: VecDeque<Field>,
    size: usize,
    /// What the encoder has made of the table; beyond `limit` until it has followed a lower one.
    capacity: usize,
    /// The most it may make of it.
    limit: usize,
    generation: u64,
    scratch: Vec<u8>,
}

/// How a block used the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableUse {
    /// It inserted an entry or changed the table's size.
    pub(crate) changed: bool,
    /// It referred to an entry of the dynamic table.
    pub(crate) referred: bool,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder for a peer that was told `limit`, and does not know it yet.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            capacity: FIRST_TABLE,
            limit: FIRST_TABLE.max(limit as usize),
            generation: 0,
            scratch: Vec::new(),
        }
    }

    /// The peer knows its limit now. If that is lower than its table is, its next block must say so.
    pub(crate) fn hold_to(&mut self, limit: u32) {
        self.limit = limit as usize;
    }

    /// Whether the next block must begin with a size update.
    pub(crate) fn awaits_update(&self) -> bool {
        self.capacity > self.limit
    }

    /// Counts the changes of the table: equal numbers mean equal tables.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Decodes one whole block.
    pub(crate) fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<TableUse, HpackError> {
        let mut rest = block;
        let mut used = TableUse::default();
        while let [0b0010_0000..=0b0011_1111, ..] = rest {
            self.resize(integer::take(&mut rest, 5)?)?;
            used.changed = true;
        }
        if self.awaits_update() {
            // RFC 9113 §4.3.1.
            return Err(HpackError::NoSizeUpdate);
        }
        while let Some(&first) = rest.first() {
            match first {
                0b1000_0000.. => {
                    let index = integer::take(&mut rest, 7)?;
                    let field = self.entry(index)?;
                    used.referred |= index > static_table::LEN;
                    if sink.wants(field.size()) {
                        sink.field(field);
                    }
                }
                0b0100_0000.. => {
                    let name = integer::take(&mut rest, 6)?;
                    used.referred |= name > static_table::LEN;
                    used.changed = true;
                    let name_len = self.literal(name, &mut rest)?;
                    let field = Field::from_text(&self.scratch, name_len);
                    if sink.wants(field.size()) {
                        sink.field(&field);
                    }
                    self.insert(field);
                }
                0b0010_0000.. => return Err(HpackError::LateSizeUpdate),
                0b0000_0000.. => {
                    let name = integer::take(&mut rest, 4)?;
                    used.referred |= name > static_table::LEN;
                    let name_len = self.literal(name, &mut rest)?;
                    if sink.wants(self.scratch.len() + FIELD_OVERHEAD) {
                        sink.field(&Field::from_text(&self.scratch, name_len));
                    }
                }
            }
        }
        if self.scratch.capacity() > KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
        Ok(used)
    }

    /// Puts a literal's name and value into `scratch`; answers the length of the name.
    fn literal(&mut self, name: usize, rest: &mut &[u8]) -> Result<usize, HpackError> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        if name == 0 {
            string(rest, &mut text)?;
        } else {
            text.extend_from_slice(self.entry(name)?.name());
        }
        let name_len = text.len();
        string(rest, &mut text)?;
        self.scratch = text;
        Ok(name_len)
    }

    fn entry(&self, index: usize) -> Result<&Field, HpackError> {
        static_table::entry(index)
            .or_else(|| self.table.get(index.checked_sub(static_table::LEN + 1)?))
            .ok_or(HpackError::NoSuchEntry)
    }

    fn resize(&mut self, capacity: usize) -> Result<(), HpackError> {
        if capacity > self.limit {
            return Err(HpackError::SizeUpdateTooLarge);
        }
        self.capacity = capacity;
        self.generation += 1;
        self.evict_down_to(capacity);
        Ok(())
    }

    fn insert(&mut self, field: Field) {
        self.generation += 1;
        let size = field.size();
        // An entry larger than the table empties it and is not kept (RFC 7541 §4.4).
        self.evict_down_to(self.capacity.saturating_sub(size));
        if size <= self.capacity {
            self.size += size;
            self.table.push_front(field);
        }
    }

    fn evict_down_to(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

/// Appends a string literal to `text`.
fn string(rest: &mut &[u8], text: &mut Vec<u8>) -> Result<(), HpackError> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer::take(rest, 7)?;
    let (string, tail) = rest.split_at_checked(len).ok_or(HpackError::Truncated)?;
    *rest = tail;
    if coded {
        huffman::decode(string, text)
    } else {
        text.extend_from_slice(string);
        Ok(())
    }
}

impl Sink for Discard {
    fn wants(&mut self, _size: usize) -> bool {
        false
    }

    fn field(&mut self, _field: &Field) {}
}

/// Bytes of the dynamic table before anybody says otherwise.
const FIRST_TABLE: usize = DEFAULT_HEADER_TABLE as usize;
/// Bytes of scratch that a connection keeps between blocks.
const KEPT_SCRATCH: usize = 4096;

#[cfg(test)]
pub(crate) mod tests;
