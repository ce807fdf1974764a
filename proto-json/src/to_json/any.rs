//! Writes `google.protobuf.Any`: the message it holds, with its type beside its fields.

use super::Writer;
use crate::WireError;
use crate::tables::MessageTable;
use crate::text::quote;
use crate::wire::Span;

impl Writer<'_, '_> {
    pub(super) fn any(&mut self, table: &MessageTable, base: usize) -> Result<(), WireError> {
        let [type_url, _] = &*table.fields else { return Ok(()) };
        let url = self.last(base, 0).map_or(Ok(""), |found| self.text(type_url, found))?;
        let value = self.last(base, 1).map_or(Span { start: 0, end: 0 }, super::Occurrence::span);
        if url.is_empty() && value.start == value.end {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        let index = self.tables.find_url(url);
        let index =
            index.ok_or_else(|| WireError::AnyUnresolved { type_url: url.chars().take(80).collect() })?;
        let held = self.tables.message(index);
        self.has_room(url.len())?;
        self.out.extend_from_slice(b"{\"@type\":");
        quote(self.out, url);
        if held.well_known.is_some() {
            self.out.extend_from_slice(b",\"value\":");
            self.part(index, value)?;
        } else {
            self.embedded(index, value)?;
        }
        self.out.push(b'}');
        self.check_size()
    }
}
