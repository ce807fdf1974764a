//! Wire form to JSON, without a message in between.
//!
//! The wire may bring fields in any order, a list in pieces and a message in parts that are to be merged;
//! JSON wants each field once. So every message is read twice: a first pass notes where each known field
//! stands (an [`Occurrence`]), then these are put in the order of the fields and written. The parts of a
//! message are read as if they followed one another, which is what merging means on the wire.
//!
//! Unknown fields are dropped, and fields of another wire type than the schema says, which protobuf
//! treats as unknown.

mod any;
mod map;
mod scalar;
mod seek;
mod well_known;

use std::ops::Range;

use smallvec::SmallVec;

pub(crate) use self::seek::Places;
use crate::limits::MAX_DEPTH;
use crate::tables::{FieldTable, Kind, MessageIndex, MessageTable, NO_FIELD, Shape, Tables, WellKnown};
use crate::wire::{Cursor, Raw, Span, WireType};
use crate::{FieldNames, Message, WireError, WriteOptions, Zeros};

/// One place on the wire where a field stands.
#[derive(Clone, Copy, Debug)]
struct Occurrence {
    /// The field's index in its message; [`NO_FIELD`] once it has been found not to count.
    field: u16,
    wire_type: WireType,
    /// What was read before it comes first among those of the same field.
    order: u32,
    /// The value's bits, or its span.
    bits: u64,
}

/// Writes one message.
pub(crate) struct Writer<'a, 'o> {
    tables: &'a Tables,
    wire: &'a [u8],
    options: WriteOptions,
    out: &'o mut Vec<u8>,
    /// How long `out` may become.
    end: usize,
    /// The occurrences of the messages being written, the innermost last.
    found: SmallVec<[Occurrence; 32]>,
    depth: usize,
    /// Whether the last message collected had a value that its closed enum does not have.
    dropped: bool,
}

// === impl Message ===

impl Message {
    /// Appends the JSON of an encoded message. What was appended before a failure is taken back.
    ///
    /// # Errors
    /// The bytes are not a message of this type, the message has no JSON form, or the output grew past
    /// its limit.
    pub fn proto_to_json(
        &self,
        wire: &[u8],
        options: WriteOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let start = out.len();
        let root = Cursor::new(wire)?.rest();
        let mut writer = Writer::new(self.tables(), wire, options, out)?;
        let written = writer.part(self.index(), root).and_then(|()| writer.check_size());
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

// === impl Occurrence ===

impl Occurrence {
    fn span(self) -> Span {
        match matches!(self.wire_type, WireType::Len | WireType::StartGroup) {
            true => Span::from_bits(self.bits),
            false => Span { start: 0, end: 0 },
        }
    }
}

// === impl Writer ===

impl<'a, 'o> Writer<'a, 'o> {
    /// A writer of what stands on the wire.
    pub(crate) fn new(
        tables: &'a Tables,
        wire: &'a [u8],
        options: WriteOptions,
        out: &'o mut Vec<u8>,
    ) -> Result<Self, WireError> {
        Cursor::new(wire)?;
        let end = out.len().saturating_add(options.max_output_bytes);
        Ok(Self { tables, wire, options, out, end, found: SmallVec::new(), depth: 0, dropped: false })
    }

    fn check_size(&self) -> Result<(), WireError> {
        match self.out.len() > self.end {
            true => Err(WireError::OutputTooLarge { limit: self.options.max_output_bytes }),
            false => Ok(()),
        }
    }

    /// Writes a message that stands in one place.
    fn part(&mut self, index: MessageIndex, span: Span) -> Result<(), WireError> {
        let base = self.found.len();
        self.collect(self.tables.message(index), span)?;
        self.collected(index, base)
    }

    /// Writes the message whose parts are these occurrences.
    fn message(&mut self, index: MessageIndex, parts: Range<usize>) -> Result<(), WireError> {
        let base = self.found.len();
        for part in parts {
            self.collect(self.tables.message(index), self.found[part].span())?;
        }
        self.collected(index, base)
    }

    /// Writes the message whose occurrences begin at `base`, and forgets them.
    fn collected(&mut self, index: MessageIndex, base: usize) -> Result<(), WireError> {
        let table = self.tables.message(index);
        // A `Value` is the wrapping of another, no level of its own: as in JSON.
        let level = usize::from(table.well_known != Some(WellKnown::Value));
        if self.depth + level > MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        self.depth += level;
        self.settle(table, base);
        match table.well_known {
            None | Some(WellKnown::Empty) => self.object(table, base)?,
            Some(well_known) => self.well_known(table, well_known, base)?,
        }
        self.depth -= level;
        self.found.truncate(base);
        Ok(())
    }

    /// Writes the members of a message that stands in one place into an object that is open.
    fn embedded(&mut self, index: MessageIndex, span: Span) -> Result<(), WireError> {
        if self.depth == MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        self.depth += 1;
        let base = self.found.len();
        let table = self.tables.message(index);
        self.collect(table, span)?;
        self.settle(table, base);
        self.members(table, base)?;
        self.depth -= 1;
        self.found.truncate(base);
        Ok(())
    }

    /// Notes where the fields of a message stand.
    fn collect(&mut self, table: &MessageTable, span: Span) -> Result<(), WireError> {
        self.dropped = false;
        let mut cursor = Cursor::within(self.wire, span);
        while !cursor.is_at_end() {
            let (number, wire_type) = cursor.tag()?;
            let value = cursor.value(number, wire_type)?;
            let Some(index) = table.numbered(number) else { continue };
            let field = &table.fields[usize::from(index)];
            if !field.takes(wire_type) {
                continue;
            }
            let bits = match value {
                Raw::Bits(bits) if field.closed && !self.is_declared(field, bits) => {
                    self.dropped = true;
                    continue;
                }
                Raw::Bits(bits) => bits,
                Raw::Span(span) => span.to_bits(),
            };
            // There are fewer occurrences than bytes, whose offsets fit u32.
            let order = u32::try_from(self.found.len()).map_err(|_| WireError::TooLarge)?;
            self.found.push(Occurrence { field: index, wire_type, order, bits });
        }
        Ok(())
    }

    fn is_declared(&self, field: &FieldTable, bits: u64) -> bool {
        let declares = |index| self.tables.enumeration(index).name(scalar::int32(bits)).is_some();
        field.kind.enumeration().is_none_or(declares)
    }

    /// Puts the occurrences of a message in the order of its fields, without those that do not count:
    /// of a oneof, all before the last field that was set.
    fn settle(&mut self, table: &MessageTable, base: usize) {
        let found = &mut self.found[base..];
        if !table.oneofs.is_empty() {
            settle_oneofs(table, found);
        }
        // They are in the order in which they were read.
        if !found.is_sorted_by_key(|occurrence| occurrence.field) {
            found.sort_unstable_by_key(|occurrence| (occurrence.field, occurrence.order));
        }
        if !table.oneofs.is_empty() {
            let counting = found.partition_point(|occurrence| occurrence.field != NO_FIELD);
            self.found.truncate(base + counting);
        }
    }

    fn object(&mut self, table: &MessageTable, base: usize) -> Result<(), WireError> {
        let start = self.out.len();
        self.members(table, base)?;
        match self.out.get_mut(start) {
            // The comma before the first.
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes the members of an object, each with a comma before it.
    fn members(&mut self, table: &MessageTable, base: usize) -> Result<(), WireError> {
        let mut at = base;
        let mut next_unset = 0;
        let zeros = self.options.zeros != Zeros::Omitted;
        while let Some(&Occurrence { field, .. }) = self.found.get(at) {
            let start = at;
            at += 1;
            while self.found.get(at).is_some_and(|next| next.field == field) {
                at += 1;
            }
            let index = usize::from(field);
            if zeros {
                self.unset(&table.fields[next_unset..index])?;
                next_unset = index + 1;
            }
            self.member(&table.fields[index], start..at)?;
        }
        if zeros {
            self.unset(&table.fields[next_unset..])?;
        }
        Ok(())
    }

    /// Writes a member's name, with the comma before it.
    fn key(&mut self, field: &FieldTable) {
        let key = match self.options.field_names {
            FieldNames::LowerCamel => &field.json_key,
            FieldNames::Original => &field.key,
        };
        key.put(self.out);
    }

    /// Writes the fields that are not set, if they are to be written.
    fn unset(&mut self, fields: &[FieldTable]) -> Result<(), WireError> {
        for field in fields {
            self.zero(field);
            self.check_size()?;
        }
        Ok(())
    }

    fn zero(&mut self, field: &FieldTable) {
        let all = self.options.zeros == Zeros::All;
        let zero: &[u8] = match (field.shape, field.kind) {
            (Shape::Singular { presence: true }, _) => return,
            (Shape::List { .. }, _) if all => b"[]",
            (Shape::Map, _) if all => b"{}",
            (Shape::List { .. } | Shape::Map, _) => return,
            (Shape::Singular { presence: false }, Kind::Enum(index)) if all => {
                self.key(field);
                return self.enumeration(index, 0);
            }
            (Shape::Singular { presence: false }, Kind::Enum(_)) => return,
            (Shape::Singular { presence: false }, kind) => scalar::zero(kind),
        };
        self.key(field);
        self.out.extend_from_slice(zero);
    }

    /// Writes a field that stands in these places.
    fn member(&mut self, field: &FieldTable, places: Range<usize>) -> Result<(), WireError> {
        let start = self.out.len();
        match field.shape {
            Shape::Singular { presence } => {
                let last = self.found[places.end - 1];
                let span = last.span();
                let is_zero = last.bits == 0 || last.wire_type == WireType::Len && span.start == span.end;
                if !presence && is_zero {
                    if self.options.zeros != Zeros::Omitted {
                        self.zero(field);
                    }
                    return Ok(());
                }
                self.key(field);
                match field.kind.message() {
                    Some(index) => self.message(index, places)?,
                    None => self.scalar(field, last)?,
                }
            }
            Shape::List { .. } => {
                self.key(field);
                let empty = self.out.len();
                self.list(field, places)?;
                if self.out.len() == empty + 2 && self.options.zeros != Zeros::All {
                    self.out.truncate(start);
                }
            }
            Shape::Map => {
                self.key(field);
                let empty = self.out.len();
                self.map(field, places)?;
                if self.out.len() == empty + 2 && self.options.zeros != Zeros::All {
                    self.out.truncate(start);
                }
            }
        }
        self.check_size()
    }

    fn list(&mut self, field: &FieldTable, places: Range<usize>) -> Result<(), WireError> {
        self.out.push(b'[');
        for place in places {
            let occurrence = self.found[place];
            if occurrence.wire_type != field.wire_type {
                self.packed(field, occurrence.span())?;
                continue;
            }
            match field.kind.message() {
                Some(index) => {
                    self.part(index, occurrence.span())?;
                }
                None => self.scalar(field, occurrence)?,
            }
            self.out.push(b',');
            self.check_size()?;
        }
        self.end_list(b']');
        Ok(())
    }

    /// Writes the values of a packed list, each followed by a comma.
    fn packed(&mut self, field: &FieldTable, span: Span) -> Result<(), WireError> {
        let mut cursor = Cursor::within(self.wire, span);
        while !cursor.is_at_end() {
            let (Raw::Bits(bits), wire_type) =
                (cursor.value(field.number, field.wire_type)?, field.wire_type)
            else {
                break;
            };
            if field.closed && !self.is_declared(field, bits) {
                continue;
            }
            self.scalar(field, Occurrence { field: 0, wire_type, order: 0, bits })?;
            self.out.push(b',');
            self.check_size()?;
        }
        Ok(())
    }

    /// Ends a list or map whose every value was followed by a comma.
    fn end_list(&mut self, close: u8) {
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = close,
            _ => self.out.push(close),
        }
    }
}

/// Marks the occurrences of a oneof that a later field of it undoes.
fn settle_oneofs(table: &MessageTable, found: &mut [Occurrence]) {
    let oneof = |occurrence: &Occurrence| table.fields[usize::from(occurrence.field)].oneof;
    if found.iter().filter(|occurrence| oneof(occurrence).is_some()).nth(1).is_none() {
        return;
    }
    let places = (0_u32..).zip(found.iter());
    let mut members: SmallVec<[(u16, u32); 16]> =
        places.filter_map(|(place, occurrence)| Some((oneof(occurrence)?, place))).collect();
    members.sort_unstable();
    let mut winner = None;
    for &(oneof, place) in members.iter().rev() {
        let occurrence = &mut found[place as usize];
        match winner {
            Some((won, None)) if won == oneof => occurrence.field = NO_FIELD,
            Some((won, Some(field))) if won == oneof => {
                if occurrence.field != field {
                    winner = Some((oneof, None));
                    occurrence.field = NO_FIELD;
                }
            }
            _ => winner = Some((oneof, Some(occurrence.field))),
        }
    }
}
