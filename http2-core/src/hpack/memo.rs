//! A memo of header blocks: what the same bytes meant last time.
//!
//! Clients repeat whole blocks. An entry holds if the block had neither inserted nor resized and the table is
//! still the one it was decoded with, or if it did not refer to the table at all. Only heads that passed all
//! checks are kept.

use std::sync::Arc;

use super::decoder::TableUse;
use crate::head::Head;

/// Some blocks of one connection, with their heads.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    entries: Vec<Option<Entry>>,
}

#[derive(Debug)]
struct Entry {
    block: Box<[u8]>,
    /// The table it holds for; `None` if for any.
    generation: Option<u64>,
    head: Arc<Head>,
}

// === impl Memo ===

impl Memo {
    /// The head that `block` stands for, if it is known and holds for a table of this generation.
    pub(crate) fn get(&self, block: &[u8], generation: u64) -> Option<&Arc<Head>> {
        let entry = self.entries.get(place(block))?.as_ref()?;
        let holds = entry.generation.is_none_or(|made| made == generation);
        (holds && *entry.block == *block).then_some(&entry.head)
    }

    /// Keeps what `block` stands for, if that can hold again.
    pub(crate) fn keep(&mut self, block: &[u8], used: TableUse, generation: u64, head: &Arc<Head>) {
        if used.changed || block.len() > MAX_BLOCK {
            return;
        }
        if self.entries.is_empty() {
            self.entries.resize_with(ENTRIES, || None);
        }
        self.entries[place(block)] = Some(Entry {
            block: block.into(),
            generation: used.referred.then_some(generation),
            head: head.clone(),
        });
    }
}

/// Where a block belongs. Blocks that differ in one indexed field mostly differ at the end or in the middle.
fn place(block: &[u8]) -> usize {
    let tail = block.last_chunk::<4>().map_or(0, |tail| u32::from_be_bytes(*tail));
    let middle = block.get(block.len() / 2).copied().unwrap_or(0);
    let mixed = (tail as usize ^ block.len() << 7 ^ usize::from(middle) << 13).wrapping_mul(0x9e37_79b1);
    mixed >> 15 & (ENTRIES - 1)
}

/// Blocks kept for one connection; a power of two.
const ENTRIES: usize = 16;
/// The longest block kept, in bytes.
const MAX_BLOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{HeadBuilder, Parsed};
    use crate::hpack::decoder::Decoder;

    /// A connection's decoder and memo, as the connection uses them.
    struct Reader {
        decoder: Decoder,
        memo: Memo,
    }

    impl Reader {
        fn new() -> Self {
            Self { decoder: Decoder::new(4096), memo: Memo::default() }
        }

        /// The `x` of the head, and whether the memo knew it.
        fn read(&mut self, block: &[u8]) -> (String, bool) {
            let x = |head: &Head| str::from_utf8(head.field("x").unwrap()).unwrap().to_owned();
            if let Some(head) = self.memo.get(block, self.decoder.generation()) {
                return (x(head), true);
            }
            let mut builder = HeadBuilder::new(16_384);
            let used = self.decoder.decode(block, &mut builder).unwrap();
            let Parsed::Head(head) = builder.finish() else { panic!("a legal head") };
            self.memo.keep(block, used, self.decoder.generation(), &head);
            (x(&head), false)
        }
    }

    /// `GET /` over http, and then `more`.
    fn block(more: &[u8]) -> Vec<u8> {
        [&[0x82, 0x86, 0x84], more].concat()
    }

    const INSERT_A: &[u8] = &[0x40, 1, b'x', 1, b'a'];
    const INSERT_B: &[u8] = &[0x40, 1, b'x', 1, b'b'];
    const NEWEST: &[u8] = &[0xbe];
    const LITERAL: &[u8] = &[0, 1, b'x', 1, b'c'];

    #[test]
    fn a_block_that_refers_to_the_table_holds_until_the_table_changes() {
        let mut reader = Reader::new();
        assert_eq!(reader.read(&block(INSERT_A)), ("a".into(), false));
        assert_eq!(reader.read(&block(NEWEST)), ("a".into(), false));
        assert_eq!(reader.read(&block(NEWEST)), ("a".into(), true));
        assert_eq!(reader.read(&block(INSERT_B)), ("b".into(), false));
        assert_eq!(reader.read(&block(NEWEST)), ("b".into(), false), "the same bytes mean another head now");
        assert_eq!(reader.read(&block(NEWEST)), ("b".into(), true));
    }

    #[test]
    fn a_block_that_inserts_is_decoded_each_time() {
        let mut reader = Reader::new();
        for _ in 0..3 {
            assert_eq!(reader.read(&block(INSERT_A)), ("a".into(), false));
        }
    }

    #[test]
    fn a_block_without_references_always_holds() {
        let mut reader = Reader::new();
        reader.read(&block(LITERAL));
        reader.read(&block(INSERT_A));
        assert_eq!(reader.read(&block(LITERAL)), ("c".into(), true));
    }

    #[test]
    fn a_size_update_changes_the_table_and_is_not_kept() {
        let mut reader = Reader::new();
        reader.read(&block(INSERT_A));
        reader.read(&block(NEWEST));
        let resized = [&[0x3f, 0xe1, 0x1f], &block(LITERAL)[..]].concat();
        assert_eq!(reader.read(&resized), ("c".into(), false));
        assert_eq!(reader.read(&resized), ("c".into(), false));
        assert_eq!(reader.read(&block(NEWEST)), ("a".into(), false));
    }

    #[test]
    fn places_are_few_and_long_blocks_are_not_kept() {
        let mut reader = Reader::new();
        let long = block(&[LITERAL.repeat(300), vec![]].concat());
        reader.read(&long);
        assert_eq!(reader.read(&long), ("c".into(), false));
        for value in 0..=255u8 {
            reader.read(&block(&[0, 1, b'x', 2, b'a' + value % 26, b'a' + value / 26]));
        }
        assert_eq!(reader.memo.entries.len(), ENTRIES);
    }
}
