//! Writes maps: in the order of their keys, of entries with one key the last.

use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;

use super::scalar::int32;
use super::{Occurrence, Writer};
use crate::WireError;
use crate::tables::{FieldTable, Kind, MessageTable, NO_FIELD, Shape};
use crate::text::{put_i64, put_u64, quote};
use crate::wire::{Span, unzigzag};

/// An entry by its key. Keys that are numbers are kept so that their order is that of the numbers.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: Key<'a>,
    order: u32,
    span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    Signed(i64),
    Unsigned(u64),
    Bool(bool),
    Text(&'a str),
}

impl<'a> Writer<'a, '_> {
    /// Writes a map whose entries stand in these places.
    pub(super) fn map(&mut self, field: &FieldTable, places: Range<usize>) -> Result<(), WireError> {
        self.out.push(b'{');
        if let (Shape::Map, Some(index)) = (field.shape, field.kind.message()) {
            let table = self.tables.message(index);
            let mut entries: SmallVec<[Entry<'a>; 8]> = SmallVec::new();
            for place in places {
                let span = self.found[place].span();
                if let Some(key) = self.entry_key(table, span)? {
                    entries.push(Entry { key, order: self.found[place].order, span });
                }
            }
            let order = |a: &Entry<'_>, b: &Entry<'_>| a.key.cmp(&b.key).then(b.order.cmp(&a.order));
            if !entries.is_sorted_by(|a, b| order(a, b) != Ordering::Greater) {
                entries.sort_unstable_by(order);
            }
            // The latest of each key comes first among its equals, and stays.
            entries.dedup_by_key(|entry| entry.key);
            for entry in entries {
                self.entry(table, entry)?;
                self.out.push(b',');
                self.check_size()?;
            }
        }
        self.end_list(b'}');
        Ok(())
    }

    /// The key of an entry, if the entry counts: one whose closed enum does not have its value does not.
    pub(super) fn entry_key(
        &mut self,
        table: &MessageTable,
        span: Span,
    ) -> Result<Option<Key<'a>>, WireError> {
        let base = self.found.len();
        self.collect(table, span)?;
        let [field, _] = &*table.fields else { return Ok(None) };
        let key = self.found[base..].iter().rfind(|occurrence| occurrence.field == 0).copied();
        self.found.truncate(base);
        if self.dropped {
            return Ok(None);
        }
        let bits = key.map_or(0, |key| key.bits);
        Ok(Some(match field.kind {
            Kind::String => Key::Text(key.map_or(Ok(""), |key| self.text(field, key))?),
            Kind::Bool => Key::Bool(bits != 0),
            Kind::Int32 | Kind::Sfixed32 => Key::Signed(i64::from(int32(bits))),
            Kind::Int64 | Kind::Sfixed64 => Key::Signed(bits.cast_signed()),
            Kind::Sint32 => Key::Signed(unzigzag(bits & u64::from(u32::MAX))),
            Kind::Sint64 => Key::Signed(unzigzag(bits)),
            Kind::Uint32 | Kind::Fixed32 => Key::Unsigned(bits & u64::from(u32::MAX)),
            Kind::Uint64 | Kind::Fixed64 => Key::Unsigned(bits),
            Kind::Double | Kind::Float | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => {
                return Ok(None);
            }
        }))
    }

    fn entry(&mut self, table: &MessageTable, entry: Entry<'_>) -> Result<(), WireError> {
        match entry.key {
            Key::Text(text) => {
                self.has_room(text.len())?;
                quote(self.out, text);
            }
            Key::Signed(number) => self.quoted(|out| put_i64(out, number)),
            Key::Unsigned(number) => self.quoted(|out| put_u64(out, number)),
            Key::Bool(truth) => {
                self.out.extend_from_slice(if truth { b"\"true\"" } else { b"\"false\"" });
            }
        }
        self.out.push(b':');
        let [_, field] = &*table.fields else { return Ok(()) };
        let base = self.found.len();
        self.collect(table, entry.span)?;
        self.settle(table, base);
        let value = base + self.found[base..].partition_point(|occurrence| occurrence.field == 0);
        let end = self.found.len();
        match (field.kind.message(), self.found[value..].last()) {
            (Some(index), _) => self.message(index, value..end)?,
            (None, Some(&last)) => self.scalar(field, last)?,
            (None, None) => {
                let wire_type = field.wire_type;
                self.scalar(field, Occurrence { field: NO_FIELD, wire_type, order: 0, bits: 0 })?;
            }
        }
        self.found.truncate(base);
        Ok(())
    }
}
