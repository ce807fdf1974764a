//! What a guest has done so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::fault::GuestFault;
use crate::pool::{Census, Keeper, Pool};

/// What a guest has done so far, and what its instances do now. Every call that began is in exactly one
/// of `running`, `completed`, `guest_errors`, `traps`, `exhausted`, `deadlines`, `cancelled` and `refused`,
/// as far as counters that are read one after the other can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestStats {
    /// Calls that began.
    pub calls: u64,
    /// Calls that run or wait for an instance.
    pub running: u64,
    /// Calls with a result.
    pub completed: u64,
    /// Calls that ended with the guest's own error.
    pub guest_errors: u64,
    /// Calls that ended in a trap, an exit or a result that makes no sense.
    pub traps: u64,
    /// Calls that reached a limit of memory, table, stack, result or host calls.
    pub exhausted: u64,
    /// Calls whose time was up.
    pub deadlines: u64,
    /// Calls whose caller left.
    pub cancelled: u64,
    /// Calls that found no instance.
    pub refused: u64,
    /// Calls that ran for longer than a tick.
    pub overruns: u64,
    /// Instances started.
    pub starts: u64,
    /// Instances that did not start.
    pub failed_starts: u64,
    /// Instances now, idle and busy.
    pub live: u32,
    /// Instances that wait for a call.
    pub idle: u32,
    /// Calls that wait for an instance.
    pub waiting: u32,
    /// The most linear memory that any instance had after a call, in bytes.
    pub memory_high_water: usize,
}

/// The counters behind [`GuestStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    completed: AtomicU64,
    guest_errors: AtomicU64,
    traps: AtomicU64,
    exhausted: AtomicU64,
    deadlines: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    overruns: AtomicU64,
    starts: AtomicU64,
    failed_starts: AtomicU64,
    memory_high_water: AtomicUsize,
}

/// A call that has begun and is counted once, however it ends.
pub(crate) struct Counting<'a>(Option<Keeper<'a>>);

// === impl Counters ===

impl Counters {
    pub(crate) fn started(&self, well: bool) {
        add(if well { &self.starts } else { &self.failed_starts });
    }

    /// Notes what is known of an instance after a call.
    pub(crate) fn ran(&self, overran: bool, memory: usize) {
        if overran {
            add(&self.overruns);
        }
        if memory > self.memory_high_water.load(Ordering::Relaxed) {
            self.memory_high_water.fetch_max(memory, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, census: Census) -> GuestStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = GuestStats {
            // First the ends and then the beginnings, so that no call ends before it began.
            completed: read(&self.completed),
            guest_errors: read(&self.guest_errors),
            traps: read(&self.traps),
            exhausted: read(&self.exhausted),
            deadlines: read(&self.deadlines),
            cancelled: read(&self.cancelled),
            refused: read(&self.refused),
            calls: read(&self.calls),
            running: 0,
            overruns: read(&self.overruns),
            starts: read(&self.starts),
            failed_starts: read(&self.failed_starts),
            live: census.live,
            idle: census.idle,
            waiting: census.waiting,
            memory_high_water: self.memory_high_water.load(Ordering::Relaxed),
        };
        let ended = stats.completed
            + stats.guest_errors
            + stats.traps
            + stats.exhausted
            + stats.deadlines
            + stats.cancelled
            + stats.refused;
        stats.running = stats.calls.saturating_sub(ended);
        stats
    }

    fn of(&self, fault: &GuestFault) -> &AtomicU64 {
        match fault {
            GuestFault::Guest(_)
            | GuestFault::GuestStatus(_)
            | GuestFault::GuestSilent
            | GuestFault::UnknownMethod(_) => &self.guest_errors,
            GuestFault::Exited(_) | GuestFault::Malformed(_) | GuestFault::Trapped { .. } => &self.traps,
            GuestFault::HostCalls { .. }
            | GuestFault::InputRefused
            | GuestFault::MemoryLimit { .. }
            | GuestFault::ResultTooLarge { .. }
            | GuestFault::StackOverflow
            | GuestFault::TableLimit { .. } => &self.exhausted,
            GuestFault::Deadline => &self.deadlines,
            GuestFault::Busy | GuestFault::NoRuntime | GuestFault::Starting { .. } => &self.refused,
        }
    }
}

// === impl Counting ===

impl<'a> Counting<'a> {
    pub(crate) fn begin(pool: &'a Arc<Pool>) -> Self {
        add(&pool.counters.calls);
        Self(Some(Keeper::Borrowed(pool)))
    }

    /// The same count, wherever it goes.
    pub(crate) fn owned(mut self) -> Counting<'static> {
        Counting(self.0.take().map(Keeper::owned))
    }

    /// The call has ended.
    pub(crate) fn end(mut self, fault: Option<&GuestFault>) {
        if let Some(keeper) = self.0.take() {
            let counters = &keeper.pool().counters;
            add(fault.map_or(&counters.completed, |fault| counters.of(fault)));
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if let Some(keeper) = self.0.take() {
            add(&keeper.pool().counters.cancelled);
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
