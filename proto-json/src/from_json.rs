//! JSON to wire form, without a message in between.
//!
//! The text is read once, from front to back, and each member is written as it is met: fields stand on
//! the wire in the order of the JSON. A message is written behind one byte for its length; a length of
//! more than one byte moves it on when it ends. Required fields are not asked for.

mod any;
mod error;
mod map;
mod number;
mod scalar;
mod scan;
mod well_known;

use smallvec::SmallVec;

pub use self::error::JsonError;
use self::error::{Problem, Result};
use self::map::KeyPlace;
use self::scalar::{Scalar, put_bits};
use crate::limits::MAX_DEPTH;
use crate::tables::{FieldTable, Form, MessageIndex, MessageTable, Shape, Tables, WellKnown};
use crate::wire::{self, WireType};
use crate::{Message, ReadOptions};

/// Reads one message.
struct Reader<'a> {
    tables: &'a Tables,
    /// The whole text, as text and as bytes.
    text: &'a str,
    json: &'a [u8],
    at: usize,
    options: ReadOptions,
    out: &'a mut Vec<u8>,
    /// How long `out` may become.
    end: usize,
    depth: usize,
    /// The fields and oneofs seen in the messages being read, beyond the first 64 of each.
    seen: SmallVec<[u64; 8]>,
    /// The keys of the maps being read.
    keys: SmallVec<[KeyPlace; 8]>,
}

/// Which fields and oneofs of a message have been seen.
struct Seen {
    low: u64,
    /// Where its further bits begin in [`Reader::seen`].
    base: usize,
}

// === impl Message ===

impl Message {
    /// Appends the wire form of a message in JSON. What was appended before a failure is taken back.
    ///
    /// # Errors
    /// The text is not JSON, not a message of this type, nested deeper than 100 levels, or the output
    /// grew past its limit.
    pub fn json_to_proto(
        &self,
        json: &[u8],
        options: ReadOptions,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), JsonError> {
        let text = str::from_utf8(json).map_err(|error| {
            let at = error.valid_up_to();
            JsonError::new(json, Problem { at, message: "invalid UTF-8".to_owned(), syntax: true })
        })?;
        let start = out.len();
        let mut reader = Reader {
            tables: self.tables(),
            text,
            json,
            at: 0,
            options,
            end: start.saturating_add(options.max_output_bytes),
            out,
            depth: 0,
            seen: SmallVec::new(),
            keys: SmallVec::new(),
        };
        reader.document(self.index()).map_err(|problem| {
            out.truncate(start);
            JsonError::new(json, *problem)
        })
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn check_size(&self) -> Result<()> {
        match self.out.len() > self.end {
            true => {
                let limit = self.options.max_output_bytes;
                Err(self.problem(self.at, format!("the message is larger than {limit} bytes")))
            }
            false => Ok(()),
        }
    }

    fn document(&mut self, index: MessageIndex) -> Result<()> {
        let table = self.tables.message(index);
        let first = self.peek();
        let reads_null = matches!(table.well_known, Some(WellKnown::Value));
        if self.options.lenient && !reads_null && first == b'n' && self.takes_word("null") {
            // An empty message.
        } else if let Some(field) = lone_response(table).filter(|_| self.options.lenient && first != b'{') {
            self.field(field)?;
        } else {
            self.message(index)?;
        }
        self.check_size()?;
        match self.peek() {
            0 if self.at == self.json.len() => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads a message, without its length.
    fn message(&mut self, index: MessageIndex) -> Result<()> {
        let table = self.tables.message(index);
        // A `Value` is the wrapping of another, no level of its own: as in JSON.
        let level = usize::from(table.well_known != Some(WellKnown::Value));
        if self.depth + level > MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += level;
        match table.well_known {
            None => self.object(table)?,
            Some(well_known) => self.well_known(table, well_known)?,
        }
        self.depth -= level;
        Ok(())
    }

    fn object(&mut self, table: &MessageTable) -> Result<()> {
        if !self.begins(b'{', b'}')? {
            return Ok(());
        }
        self.members(table, false)
    }

    /// Reads the members of an object that is open and not empty; of an `Any`, its type is passed over.
    fn members(&mut self, table: &MessageTable, any: bool) -> Result<()> {
        let mut seen = Seen { low: 0, base: self.seen.len() };
        let mut expected = 0;
        let mut seen_type = false;
        loop {
            self.peek();
            let at = self.at;
            let name = self.string()?;
            self.expect(b':')?;
            match table.find_near(&name, expected) {
                Some(index) => {
                    expected = usize::from(index) + 1;
                    self.known(table, index, at, &mut seen)?;
                }
                None if any && name == "@type" && !seen_type => {
                    seen_type = true;
                    self.skip(self.depth)?;
                }
                None if self.options.ignore_unknown_fields && !(any && name == "@type") => {
                    self.skip(self.depth)?;
                }
                None if any && name == "@type" => {
                    return Err(self.problem(at, "duplicate \"@type\" field".to_owned()));
                }
                None => return Err(self.problem(at, format!("unknown field {}", self.token(at)))),
            }
            if !self.goes_on(b'}')? {
                self.seen.truncate(seen.base);
                return Ok(());
            }
        }
    }

    /// Reads the value of a field whose name stands at `at`.
    fn known(&mut self, table: &MessageTable, index: u16, at: usize, seen: &mut Seen) -> Result<()> {
        let field = &table.fields[usize::from(index)];
        if !seen.insert(&mut self.seen, usize::from(index)) {
            return Err(self.problem(at, format!("duplicate field {}", self.token(at))));
        }
        if self.peek() == b'n' && !self.reads_null(field) && self.takes_word("null") {
            return Ok(());
        }
        if let Some(oneof) = field.oneof
            && !seen.insert(&mut self.seen, table.fields.len() + usize::from(oneof))
        {
            let (token, message, oneof) =
                (self.token(at), &table.full_name, &table.oneofs[usize::from(oneof)]);
            return Err(
                self.problem(at, format!("error parsing {token}, oneof {message}.{oneof} is already set"))
            );
        }
        self.field(field)?;
        self.check_size()
    }

    /// Whether `null` is a value of the field.
    fn reads_null(&self, field: &FieldTable) -> bool {
        matches!(field.shape, Shape::Singular { .. })
            && match (field.kind.message(), field.kind.enumeration()) {
                (Some(index), _) => self.tables.message(index).well_known == Some(WellKnown::Value),
                (None, Some(index)) => self.tables.enumeration(index).is_null,
                (None, None) => false,
            }
    }

    /// Reads a field's value.
    fn field(&mut self, field: &FieldTable) -> Result<()> {
        match field.shape {
            Shape::Singular { .. } => self.singular(field),
            Shape::List { packed } => self.list(field, packed),
            Shape::Map => match field.kind.message() {
                Some(entry) => self.map(field, self.tables.message(entry)),
                None => Ok(()),
            },
        }
    }

    /// Reads one value; a zero that is the same as none is not written.
    fn singular(&mut self, field: &FieldTable) -> Result<()> {
        let start = self.out.len();
        match field.kind.form() {
            Form::Text | Form::Bytes => {
                self.element(field)?;
                if field.is_implicit() && self.out.last() == Some(&0) && self.is_empty_since(start, field) {
                    self.out.truncate(start);
                }
            }
            Form::Message(index) => self.put_message(field, index)?,
            Form::Bits => match self.bits(field)? {
                Scalar::Bits(0) if field.is_implicit() => {}
                Scalar::Bits(bits) => {
                    self.put_tag(field);
                    put_bits(self.out, field.wire_type, bits);
                }
                Scalar::Ignored => {}
            },
        }
        Ok(())
    }

    /// Whether nothing but a tag and the length 0 was written.
    fn is_empty_since(&self, start: usize, field: &FieldTable) -> bool {
        let tag_bits = u32::BITS - (field.number << 3).leading_zeros();
        self.out.len() - start == tag_bits.div_ceil(7) as usize + 1
    }

    /// Reads a message, with its tag and length or end.
    fn put_message(&mut self, field: &FieldTable, index: MessageIndex) -> Result<()> {
        self.put_tag(field);
        if field.wire_type == WireType::StartGroup {
            self.message(index)?;
            self.put_raw_tag(field.number, WireType::EndGroup);
        } else {
            let start = wire::open(self.out);
            self.message(index)?;
            wire::close(self.out, start);
        }
        Ok(())
    }

    fn list(&mut self, field: &FieldTable, packed: bool) -> Result<()> {
        let mut more = self.begins(b'[', b']')?;
        if !more {
            return Ok(());
        }
        if !packed {
            while more {
                self.element(field)?;
                self.check_size()?;
                more = self.goes_on(b']')?;
            }
            return Ok(());
        }
        let undo = self.out.len();
        self.put_raw_tag(field.number, WireType::Len);
        let start = wire::open(self.out);
        while more {
            if let Scalar::Bits(bits) = self.bits(field)? {
                put_bits(self.out, field.wire_type, bits);
            }
            self.check_size()?;
            more = self.goes_on(b']')?;
        }
        match self.out.len() == start {
            true => self.out.truncate(undo),
            false => wire::close(self.out, start),
        }
        Ok(())
    }
}

// === impl Seen ===

impl Seen {
    /// Marks a bit, and gives whether it was unmarked.
    #[inline]
    fn insert(&mut self, more: &mut SmallVec<[u64; 8]>, bit: usize) -> bool {
        let word = match bit / 64 {
            0 => &mut self.low,
            further => {
                let place = self.base + further - 1;
                if more.len() <= place {
                    more.resize(place + 1, 0);
                }
                &mut more[place]
            }
        };
        let mask = 1 << (bit % 64);
        let fresh = *word & mask == 0;
        *word |= mask;
        fresh
    }
}

/// The field of a message that exists only to hold a method's bare answer.
fn lone_response(table: &MessageTable) -> Option<&FieldTable> {
    match &*table.fields {
        [field]
            if field.number == 1 && &*field.name == "response" && table.full_name.ends_with("Response") =>
        {
            Some(field)
        }
        _ => None,
    }
}
