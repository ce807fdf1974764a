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
