//! What many threads write all the time and others read now and then, in parts that few threads share.
//!
//! Each part has a lock of its own, on cache lines of its own, which as a rule nobody else holds.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

/// A `T` for each shard.
#[derive(Debug)]
pub(crate) struct Shards<T>([CachePadded<Mutex<T>>; SHARDS]);

/// Which shard something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardIndex(usize);

/// How many shards there are; threads beyond share them.
const SHARDS: usize = 16;

// === impl Shards ===

impl<T> Shards<T> {
    pub(crate) fn lock(&self, shard: ShardIndex) -> MutexGuard<'_, T> {
        self.0[shard.0].lock()
    }

    /// All of them, one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(|shard| shard.lock())
    }
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| CachePadded::default()))
    }
}

// === impl ShardIndex ===

impl ShardIndex {
    /// The shard of the calling thread.
    #[inline]
    pub fn of_this_thread() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let mut mine = MINE.get();
        if mine == usize::MAX {
            mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            MINE.set(mine);
        }
        Self(mine)
    }

    /// One number for a place in this shard.
    pub(crate) fn number_of(self, place: usize) -> usize {
        place * SHARDS + self.0
    }

    /// The shard and the place behind a number.
    pub(crate) fn of_number(number: usize) -> (Self, usize) {
        (Self(number % SHARDS), number / SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_back_to_its_place() {
        for number in 0..3 * SHARDS {
            let (shard, place) = ShardIndex::of_number(number);
            assert_eq!(shard.number_of(place), number);
        }
    }

    #[test]
    fn a_thread_keeps_its_shard() {
        let mine = ShardIndex::of_this_thread();
        assert_eq!(ShardIndex::of_this_thread(), mine);
    }
}
