//! Tenures and leases: who runs on the plan that serves, counted exactly and without contention.
//!
//! A *tenure* is the time in which one plan serves one graph. A *lease* is one call within it. When
//! another plan takes over, the tenure is *retired*: from then on nobody enters, and once the last
//! lease has gone it is *drained*, which its tenant is told exactly once, by whoever left last.
//!
//! The counter of a tenure is split into shards, each on cache lines of its own, so that threads which
//! enter and leave all the time do not fight over one. A shard is one word, changed by read-modify-write
//! alone: a count of leases, and two flags.
//!
//! ```text
//! enter    w = word.fetch_add(1)        w has RETIRED: undo as `leave` does, look the plan up again
//!                                       otherwise: a lease
//! leave    w = word.fetch_sub(1)        w is RETIRED + 1: settle
//! retire   w = word.fetch_or(RETIRED)   count of w: leases that outlive the flip; w is 0: settle
//! settle   word: RETIRED -> RETIRED | SETTLED, or somebody is on the way out and will settle;
//!          the shard that settles last drains the tenure
//! ```
//!
//! Why that is exact: the operations on one word have one order, so an entry comes before the retirement
//! of its shard, and is counted, or after it, and sees the flag. An entry that is undone is never
//! counted. The count of a retired shard can rise above zero again only by entries that will be undone,
//! and `SETTLED` keeps those from settling it a second time. The catalog flips before its old tenure is
//! retired, so whoever sees the flag finds the new plan when looking again: an entry is repeated at
//! most once per publish.
//!
//! Memory is a matter apart: a lease owns its shard, the shard owns the tenant, and nothing here frees
//! anything. This file knows nothing of plans, so that `tests/models` can run every interleaving
//! of it.

use std::sync::atomic::AtomicUsize as PlainCounter;
use std::sync::{Arc, LazyLock};

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicUsize, Ordering};

/// What serves during a tenure.
pub(crate) trait Tenant {
    /// The tenure is retired and its last lease has gone. Called once.
    fn drained(&self);
}

/// The time in which a tenant serves.
pub(crate) struct Tenure<T: Tenant> {
    /// A power of two of them.
    shards: Box<[Arc<CachePadded<Shard<T>>>]>,
    hall: Arc<Hall<T>>,
}

/// One call within a tenure.
pub(crate) struct Lease<T: Tenant> {
    shard: Arc<CachePadded<Shard<T>>>,
}

struct Shard<T> {
    word: AtomicUsize,
    hall: Arc<Hall<T>>,
}

/// What the shards share; off the hot path.
struct Hall<T> {
    tenant: T,
    /// Shards that have not settled.
    open: AtomicUsize,
}

/// The shards a tenure may have at most: more threads than this share.
const MAX_SHARDS: usize = 64;

/// The tenure is over; nobody enters any more.
const RETIRED: usize = 1 << (usize::BITS - 1);
/// The shard is retired and was seen empty.
const SETTLED: usize = 1 << (usize::BITS - 2);
/// The bits that count leases.
const COUNT: usize = SETTLED - 1;

/// A shard for each processor, up to [`MAX_SHARDS`].
pub(crate) fn shards_for_this_machine() -> usize {
    static SHARDS: LazyLock<usize> = LazyLock::new(|| {
        std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_SHARDS))
    });
    *SHARDS
}

/// A number that spreads threads over shards.
pub(crate) fn number_of_this_thread() -> usize {
    static NEXT: PlainCounter = PlainCounter::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

// === impl Tenure ===

impl<T: Tenant> Tenure<T> {
    /// Begins a tenure whose leases are counted in this many shards, rounded up to a power of two.
    pub(crate) fn begin(tenant: T, shards: usize) -> Self {
        let shards = shards.next_power_of_two();
        let hall = Arc::new(Hall { tenant, open: AtomicUsize::new(shards) });
        let shard = || CachePadded::new(Shard { word: AtomicUsize::new(0), hall: hall.clone() });
        Self { shards: (0..shards).map(|_| Arc::new(shard())).collect(), hall }
    }

    /// What serves.
    pub(crate) fn tenant(&self) -> &T {
        &self.hall.tenant
    }

    /// Enters by the shard of a thread; `None` if the tenure is over.
    #[inline]
    pub(crate) fn enter(&self, thread: usize) -> Option<Lease<T>> {
        let shard = &self.shards[thread & (self.shards.len() - 1)];
        if shard.word.fetch_add(1, Ordering::AcqRel) & RETIRED != 0 {
            shard.leave();
            return None;
        }
        Some(Lease { shard: shard.clone() })
    }

    /// Ends the tenure and returns how many leases outlive it. A second call counts nothing.
    pub(crate) fn retire(&self) -> usize {
        let mut in_flight = 0;
        for shard in &self.shards {
            let word = shard.word.fetch_or(RETIRED, Ordering::AcqRel);
            if word & RETIRED == 0 {
                in_flight += word & COUNT;
                if word == 0 {
                    shard.settle();
                }
            }
        }
        in_flight
    }

    /// How many leases there are now, give or take those just coming or going.
    pub(crate) fn in_flight(&self) -> usize {
        self.shards.iter().map(|shard| shard.word.load(Ordering::Relaxed) & COUNT).sum()
    }
}

// === impl Lease ===

impl<T: Tenant> Lease<T> {
    /// What serves this call.
    #[inline]
    pub(crate) fn tenant(&self) -> &T {
        &self.shard.hall.tenant
    }
}

impl<T: Tenant> Drop for Lease<T> {
    fn drop(&mut self) {
        self.shard.leave();
    }
}

// === impl Shard ===

impl<T: Tenant> Shard<T> {
    #[inline]
    fn leave(&self) {
        if self.word.fetch_sub(1, Ordering::AcqRel) == RETIRED + 1 {
            self.settle();
        }
    }

    /// Marks an empty, retired shard, once.
    #[cold]
    fn settle(&self) {
        let settled =
            self.word.compare_exchange(RETIRED, RETIRED | SETTLED, Ordering::AcqRel, Ordering::Acquire);
        if settled.is_ok() && self.hall.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hall.tenant.drained();
        }
    }
}
