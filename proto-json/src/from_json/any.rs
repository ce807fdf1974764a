//! Reads `google.protobuf.Any`: an object that names its type beside its fields.

use super::Reader;
use super::error::Result;
use crate::limits::MAX_DEPTH;
use crate::wire::{self, WireType, put_varint};

impl Reader<'_> {
    pub(super) fn any(&mut self) -> Result<()> {
        let open = self.at;
        if !self.begins(b'{', b'}')? {
            return Ok(());
        }
        let Some(url_at) = self.find_type()? else {
            return Err(self.problem(open, "missing \"@type\" field".to_owned()));
        };
        let first = self.at;
        self.at = url_at;
        if self.peek() != b'"' {
            return Err(
                self.problem(url_at, format!("@type field value is not a string: {}", self.token(url_at)))
            );
        }
        let url = self.string()?;
        let Some(index) = self.tables.find_url(&url) else {
            return Err(self.problem(url_at, format!("unable to resolve {}: not found", self.token(url_at))));
        };
        self.put_raw_tag(1, WireType::Len);
        put_varint(self.out, url.len() as u64);
        self.out.extend_from_slice(url.as_bytes());
        self.put_raw_tag(2, WireType::Len);
        let start = wire::open(self.out);
        self.at = first;
        let table = self.tables.message(index);
        if table.well_known.is_some() {
            self.any_value(open, index)?;
        } else {
            if self.depth == MAX_DEPTH {
                return Err(self.too_deep());
            }
            self.depth += 1;
            self.members(table, true)?;
            self.depth -= 1;
        }
        wire::close(self.out, start);
        Ok(())
    }

    /// The place of the type's value. The reader is back at the first member afterwards.
    fn find_type(&mut self) -> Result<Option<usize>> {
        let first = self.at;
        let mut found = None;
        let mut more = true;
        while more {
            self.peek();
            let at = self.at;
            let is_type = self.string()? == "@type";
            self.expect(b':')?;
            self.peek();
            let value = self.at;
            // Most write it first: then the rest is read once.
            if is_type && found.is_none() && at == first_member(self.json, first) {
                self.at = first;
                return Ok(Some(value));
            }
            if is_type && found.replace(value).is_some() {
                return Err(self.problem(at, "duplicate \"@type\" field".to_owned()));
            }
            self.skip(self.depth)?;
            more = self.goes_on(b'}')?;
        }
        self.at = first;
        Ok(found)
    }

    /// Reads the members of an object that holds a well-known message under the name `value`.
    fn any_value(&mut self, open: usize, index: crate::tables::MessageIndex) -> Result<()> {
        let mut seen_type = false;
        let mut seen_value = false;
        let mut more = true;
        while more {
            self.peek();
            let at = self.at;
            let name = self.string()?;
            self.expect(b':')?;
            match &*name {
                "@type" if !seen_type => {
                    seen_type = true;
                    self.skip(self.depth)?;
                }
                "value" if !seen_value => {
                    seen_value = true;
                    self.message(index)?;
                }
                "@type" | "value" => return Err(self.problem(at, format!("duplicate {name:?} field"))),
                _ if self.options.ignore_unknown_fields => self.skip(self.depth)?,
                _ => return Err(self.problem(at, format!("unknown field {}", self.token(at)))),
            }
            more = self.goes_on(b'}')?;
        }
        let is_empty = self.tables.message(index).well_known == Some(crate::tables::WellKnown::Empty);
        match seen_value || is_empty {
            true => Ok(()),
            false => Err(self.problem(open, "missing \"value\" field".to_owned())),
        }
    }
}

/// Where the first member begins after an object's opening.
fn first_member(json: &[u8], from: usize) -> usize {
    let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    from + json[from..].iter().take_while(|byte| space(byte)).count()
}
