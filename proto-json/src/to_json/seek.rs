//! Goes into a message step by step, for a [`Path`](crate::Path).

use std::ops::Range;

use super::map::Key;
use super::{Occurrence, Writer};
use crate::WireError;
use crate::limits::MAX_DEPTH;
use crate::tables::{FieldTable, MessageIndex, NO_FIELD, Shape};
use crate::wire::{Cursor, Raw, Span, WireType};

/// Where a path has arrived.
#[derive(Clone, Debug)]
pub(crate) enum Places<'a> {
    /// A message, in these parts.
    Message(MessageIndex, Range<usize>),
    /// A list or map, in these pieces.
    Field(&'a FieldTable, Range<usize>),
    /// A value that is no message.
    Value(&'a FieldTable, u64),
}

impl<'a> Writer<'a, '_> {
    /// The message that is all of the wire.
    pub(crate) fn root(&mut self, index: MessageIndex) -> Places<'a> {
        // `new` has seen that the length fits.
        let end = u32::try_from(self.wire.len()).unwrap_or(u32::MAX);
        let at = self.found.len();
        let bits = Span { start: 0, end }.to_bits();
        self.found.push(Occurrence { field: 0, wire_type: WireType::Len, order: 0, bits });
        Places::Message(index, at..at + 1)
    }

    /// Goes into a field of a message; nothing if it is not set.
    pub(crate) fn enter_field(
        &mut self,
        index: MessageIndex,
        field: u16,
        places: Places<'a>,
    ) -> Result<Option<Places<'a>>, WireError> {
        let Places::Message(_, parts) = places else { return Ok(None) };
        if self.depth == MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        self.depth += 1;
        let table = self.tables.message(index);
        let base = self.found.len();
        for part in parts {
            let span = self.found[part].span();
            self.collect(table, span)?;
        }
        self.settle(table, base);
        let found = &self.found[base..];
        let start = base + found.partition_point(|occurrence| occurrence.field < field);
        let end = base + found.partition_point(|occurrence| occurrence.field <= field);
        let table = &table.fields[usize::from(field)];
        Ok(match (table.shape, table.kind.message()) {
            (Shape::List { .. } | Shape::Map, _) => Some(Places::Field(table, start..end)),
            (Shape::Singular { .. }, Some(message)) => {
                (start < end).then_some(Places::Message(message, start..end))
            }
            (Shape::Singular { presence }, None) => match self.found[start..end].last() {
                Some(last) => Some(Places::Value(table, last.bits)),
                None if presence => None,
                None => Some(Places::Value(table, 0)),
            },
        })
    }

    /// Goes into an element of a list; nothing if it has fewer.
    pub(crate) fn enter_element(
        &mut self,
        element: usize,
        places: Places<'a>,
    ) -> Result<Option<Places<'a>>, WireError> {
        let Places::Field(field, pieces) = places else { return Ok(None) };
        let mut left = element;
        for piece in pieces {
            let occurrence = self.found[piece];
            if occurrence.wire_type == field.wire_type {
                if left == 0 {
                    return Ok(Some(match field.kind.message() {
                        Some(message) => Places::Message(message, piece..piece + 1),
                        None => Places::Value(field, occurrence.bits),
                    }));
                }
                left -= 1;
                continue;
            }
            let mut cursor = Cursor::within(self.wire, occurrence.span());
            while !cursor.is_at_end() {
                let Raw::Bits(bits) = cursor.value(field.number, field.wire_type)? else { break };
                if field.closed && !self.is_declared(field, bits) {
                    continue;
                }
                if left == 0 {
                    return Ok(Some(Places::Value(field, bits)));
                }
                left -= 1;
            }
        }
        Ok(None)
    }

    /// Goes into the value of a map's entry; nothing if it has none of this key.
    pub(crate) fn enter_entry(
        &mut self,
        entry: MessageIndex,
        key: &str,
        places: Places<'a>,
    ) -> Result<Option<Places<'a>>, WireError> {
        let Places::Field(_, pieces) = places else { return Ok(None) };
        let table = self.tables.message(entry);
        for piece in pieces.rev() {
            let span = self.found[piece].span();
            let is_it = match self.entry_key(table, span)? {
                None => false,
                Some(Key::Text(text)) => text == key,
                Some(Key::Bool(truth)) => key == if truth { "true" } else { "false" },
                Some(Key::Signed(number)) => key.parse() == Ok(number),
                Some(Key::Unsigned(number)) => key.parse() == Ok(number),
            };
            if !is_it {
                continue;
            }
            let value = self.enter_field(entry, 1, Places::Message(entry, piece..piece + 1))?;
            let Some(field) = table.fields.get(1) else { return Ok(None) };
            // An entry without a value has its zero.
            return Ok(value.or_else(|| match field.kind.message() {
                Some(message) => Some(Places::Message(message, 0..0)),
                None => Some(Places::Value(field, 0)),
            }));
        }
        Ok(None)
    }

    /// Writes what a path has arrived at.
    pub(crate) fn write(&mut self, places: Places<'a>) -> Result<(), WireError> {
        self.depth = 0;
        match places {
            Places::Message(index, parts) => self.message(index, parts)?,
            Places::Field(field, pieces) => match field.shape {
                Shape::Map => self.map(field, pieces)?,
                Shape::List { .. } | Shape::Singular { .. } => self.list(field, pieces)?,
            },
            Places::Value(field, bits) => {
                let wire_type = field.wire_type;
                self.scalar(field, Occurrence { field: NO_FIELD, wire_type, order: 0, bits })?;
            }
        }
        self.check_size()
    }

    /// The text of a string by its span.
    pub(crate) fn text_at(&self, field: &FieldTable, bits: u64) -> Result<&'a str, WireError> {
        self.text(field, Occurrence { field: 0, wire_type: WireType::Len, order: 0, bits })
    }

    /// Bytes by their span.
    pub(crate) fn bytes_at(&self, bits: u64) -> &'a [u8] {
        Span::from_bits(bits).of(self.wire)
    }
}
