//! Swap receipts: what each swap found in flight, and when the last of it had ended.
//!
//! A receipt is completed by whichever lease leaves the old plan last; no thread waits for that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::release::{ReleaseId, Seat};
use crate::identity::GraphName;

/// What a swap did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwapReceipt {
    /// Counts the swaps of this process from 1; `None` if nothing was swapped.
    pub id: Option<u64>,
    /// The graph.
    pub graph: GraphName,
    /// What was asked for.
    pub cause: SwapCause,
    /// What served before; `None` if nothing did.
    pub from: Option<ReleaseId>,
    /// What serves since; `None` if nothing does. The same as `from` if that served already, or if a
    /// pin holds the graph.
    pub to: Option<ReleaseId>,
    /// What is active since: other than `to` only while a pin holds the graph.
    pub active: Option<ReleaseId>,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The calls that outlived the flip on `from`, having been given what serves. Calls that chose their
    /// version themselves are none of the swap's business.
    pub in_flight_at_flip: u64,
    /// How many of those were still running when this receipt was read.
    pub in_flight: u64,
    /// When the last of them had ended, in Unix milliseconds; `None` while one still runs.
    pub drained_at_ms: Option<u64>,
    /// The calls among `in_flight_at_flip` that the swap ended. A swap redirects those who come later
    /// and has no means to end a call: a lease keeps its plan for as long as it lasts. So this is 0 by
    /// construction, and stands here so that nobody need infer it.
    pub dropped: u64,
}

/// What was asked for when a graph was swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SwapCause {
    /// To hold it at a version.
    Pin,
    /// To publish a version.
    Publish,
    /// To forget what may have served.
    Retire,
    /// To go back to the version before.
    Rollback,
    /// To serve what is active again.
    Unpin,
    /// To serve nothing.
    Withdraw,
}

/// What a swap is about.
pub(super) struct Passage {
    pub(super) graph: GraphName,
    pub(super) cause: SwapCause,
    pub(super) from: Option<ReleaseId>,
    pub(super) to: Option<ReleaseId>,
    pub(super) active: Option<ReleaseId>,
}

/// A swap until it is drained, and its record after.
pub(super) struct Swap {
    id: u64,
    passage: Passage,
    at_ms: u64,
    begun: Instant,
    in_flight_at_flip: AtomicUsize,
    drained_at_ms: OnceLock<u64>,
    /// What the swap drains, until it is drained. Without a lock: the call that leaves last takes it, and
    /// must not wait for somebody who reads it.
    old: ArcSwapOption<Seat>,
    wake: Notify,
}

/// The latest swaps.
#[derive(Default)]
pub(super) struct SwapLog(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Oldest first.
    latest: VecDeque<Arc<Swap>>,
    /// Swaps ever.
    count: u64,
}

/// The receipts a store keeps; older ones are forgotten, drained or not.
pub(super) const RECEIPTS_KEPT: usize = 256;

// === impl SwapReceipt ===

impl SwapReceipt {
    /// The receipt of an operation that left what serves as it was.
    pub(super) fn unchanged(passage: Passage) -> Self {
        let at_ms = unix_ms();
        Self {
            id: None,
            graph: passage.graph,
            cause: passage.cause,
            from: passage.from,
            to: passage.to,
            active: passage.active,
            at_ms,
            in_flight_at_flip: 0,
            in_flight: 0,
            drained_at_ms: Some(at_ms),
            dropped: 0,
        }
    }
}

// === impl Swap ===

impl Swap {
    /// The swap of what `old` served; the catalog has flipped already.
    fn retire(id: u64, passage: Passage, old: Option<Arc<Seat>>) -> Arc<Self> {
        let swap = Arc::new(Self {
            id,
            passage,
            at_ms: unix_ms(),
            begun: Instant::now(),
            in_flight_at_flip: AtomicUsize::new(0),
            drained_at_ms: OnceLock::new(),
            old: ArcSwapOption::new(old.clone()),
            wake: Notify::new(),
        });
        match old {
            None => swap.drained(),
            Some(seat) => {
                seat.tenant().tell_when_drained(swap.clone());
                swap.in_flight_at_flip.store(seat.retire(), Ordering::Relaxed);
            }
        }
        swap
    }

    /// Completes the receipt, lets go of the old plan and wakes those who wait.
    pub(super) fn drained(&self) {
        // Measured rather than read, so that a clock set back does not drain a swap before it began.
        let drained_at = self.at_ms.saturating_add(millis(self.begun.elapsed()));
        if self.drained_at_ms.set(drained_at).is_ok() {
            self.old.store(None);
            self.wake.notify_waiters();
        }
    }

    pub(super) fn receipt(&self) -> SwapReceipt {
        let in_flight = self.old.load().as_ref().map_or(0, |seat| seat.in_flight());
        SwapReceipt {
            id: Some(self.id),
            graph: self.passage.graph.clone(),
            cause: self.passage.cause,
            from: self.passage.from.clone(),
            to: self.passage.to.clone(),
            active: self.passage.active.clone(),
            at_ms: self.at_ms,
            in_flight_at_flip: count(self.in_flight_at_flip.load(Ordering::Relaxed)),
            in_flight: count(in_flight),
            drained_at_ms: self.drained_at_ms.get().copied(),
            dropped: 0,
        }
    }

    /// How many calls still run on what this swap took from the graph `name` at the release `id`.
    pub(super) fn draining(&self, name: &GraphName, id: &ReleaseId) -> usize {
        if self.passage.graph != *name || self.passage.from.as_ref() != Some(id) {
            return 0;
        }
        self.old.load().as_ref().map_or(0, |seat| seat.in_flight())
    }

    /// Waits until the receipt is complete.
    pub(super) async fn wait(&self) {
        // Registering before looking closes the gap in which the wake-up would be lost.
        let woken = self.wake.notified();
        if self.drained_at_ms.get().is_none() {
            woken.await;
        }
    }
}

// === impl SwapLog ===

impl SwapLog {
    /// Retires `old`, whose successor serves already, and opens a receipt.
    pub(super) fn open(&self, passage: Passage, old: Option<Arc<Seat>>) -> SwapReceipt {
        let mut entries = self.0.lock();
        entries.count += 1;
        let swap = Swap::retire(entries.count, passage, old);
        if entries.latest.len() == RECEIPTS_KEPT {
            entries.latest.pop_front();
        }
        entries.latest.push_back(swap.clone());
        drop(entries);
        swap.receipt()
    }

    /// The swap of this number, if it is not forgotten.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Swap>> {
        self.0.lock().latest.iter().find(|swap| swap.id == id).cloned()
    }

    /// The latest swaps, oldest first.
    pub(super) fn latest(&self) -> Vec<Arc<Swap>> {
        self.0.lock().latest.iter().cloned().collect()
    }
}

/// A count on its way into a report.
pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch; 0 by a clock set before it.
fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
