//! Admission: one gate, a fixed number of permits, and a bounded line before it.
//!
//! A permit travels in what it admits; dropping it opens the gate for the next, on every path: answer,
//! error, panic, cancellation. The gate knows nothing of calls or clocks; whoever is served from the
//! line is handed to the `serve` function that opened the gate.
//!
//! Invariants: never more than `max_inflight` permits; nobody waits while a permit is free; nobody
//! overtakes the line. Free permits and waiting entries are counted in one word, so that whoever returns
//! a permit sees everyone who has joined the line before, and whoever joins sees every permit that was
//! returned before; `tests/models` runs every interleaving.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::queue::{Queue, QueueCapacity, Ticket};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};

/// How many requests may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxInflight(pub NonZeroUsize);

/// The gate.
pub struct Gate<T> {
    /// Free permits below, waiting entries above [`WAITER`]: as many as the line has, except while its
    /// lock is held.
    state: AtomicUsize,
    line: Mutex<Queue<T>>,
    capacity: QueueCapacity,
    closed: AtomicBool,
    serve: Serve<T>,
}

/// One waiting entry in the gate's word.
const WAITER: usize = 1 << (usize::BITS / 2);

/// Runs whoever is served from the line; gives the permit back if that one needs none.
type Serve<T> = Box<dyn Fn(Permit<T>, T) -> Option<Permit<T>> + Send + Sync>;

/// The right to run. Dropping it serves the next in line.
pub struct Permit<T> {
    /// Gone once the permit was returned.
    gate: Option<Arc<Gate<T>>>,
}

/// A permit that stays at the gate, for whoever runs at once. Dropping it serves the next in line.
pub struct Pass<'a, T> {
    gate: &'a Arc<Gate<T>>,
}

/// Why the gate did not let a request pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal<T> {
    /// The line is full, or there is none.
    Full(T),
    /// The gate is closed.
    Closed(T),
}

// === impl Gate ===

impl<T> Gate<T> {
    /// A gate with all its permits free. `serve` runs whoever is served from the line, on the thread
    /// that returned the permit, or gives the permit back if that one needs none; it must be quick and
    /// must not panic.
    pub fn new(
        max_inflight: MaxInflight,
        capacity: QueueCapacity,
        serve: impl Fn(Permit<T>, T) -> Option<Permit<T>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicUsize::new(max_inflight.0.get().min(WAITER - 1)),
            line: Mutex::new(Queue::new(capacity)),
            capacity,
            closed: AtomicBool::new(false),
            serve: Box::new(serve),
        })
    }

    /// A permit, if one is free and nobody waits.
    #[inline]
    pub fn try_pass(self: &Arc<Self>) -> Option<Pass<'_, T>> {
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        self.take_permit(|waiting| waiting == 0)
    }

    /// Whether no permit is free and nobody else may join the line: whoever sees it need not make an entry.
    #[inline]
    pub fn is_full(&self) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let (free, waiting) = (state % WAITER, state / WAITER);
        free == 0 && waiting >= self.capacity.0
    }

    /// Whether anybody waits in line: whoever holds a permit for more than one piece of work gives it back then.
    #[inline]
    pub fn is_waited_for(&self) -> bool {
        self.state.load(Ordering::Relaxed) / WAITER > 0
    }

    /// Waits in line with this entry. It may be served before this returns, but not before `joined`
    /// has run, which it does if and only if the entry joins; it must be quick.
    ///
    /// # Errors
    /// Gives the entry back if the line is full or the gate closed.
    pub fn wait(self: &Arc<Self>, entry: T, joined: impl FnOnce()) -> Result<Ticket, Refusal<T>> {
        let ticket = {
            let mut line = self.line.lock();
            if self.closed.load(Ordering::Relaxed) {
                return Err(Refusal::Closed(entry));
            }
            let ticket = line.join(entry).map_err(Refusal::Full)?;
            joined();
            self.state.fetch_add(WAITER, Ordering::AcqRel);
            ticket
        };
        self.serve_line();
        Ok(ticket)
    }

    /// Leaves the line; `None` if the entry was served or taken out before.
    pub fn leave(&self, ticket: Ticket) -> Option<T> {
        let mut line = self.line.lock();
        let entry = line.leave(ticket)?;
        self.state.fetch_sub(WAITER, Ordering::AcqRel);
        Some(entry)
    }

    /// Closes the gate and empties the line; whoever waited is given to the caller, who answers each.
    pub fn close(&self) -> Vec<T> {
        let mut line = self.line.lock();
        self.closed.store(true, Ordering::Relaxed);
        let waited: Vec<T> = std::iter::from_fn(|| line.serve()).collect();
        self.state.fetch_sub(WAITER * waited.len(), Ordering::AcqRel);
        waited
    }

    /// Whether the gate is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How many permits are free at this moment.
    pub fn free(&self) -> usize {
        self.state.load(Ordering::Relaxed) % WAITER
    }

    /// Takes a permit if one is free and the number of those who wait is to the taker's liking.
    #[inline]
    fn take_permit(self: &Arc<Self>, likes: impl Fn(usize) -> bool) -> Option<Pass<'_, T>> {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state % WAITER > 0 && likes(state / WAITER)).then(|| state - 1)
            })
            .ok()
            .map(|_| Pass { gate: self })
    }

    /// Takes a permit back. Whether somebody waits for it.
    #[inline]
    fn give_back(&self) -> bool {
        self.state.fetch_add(1, Ordering::AcqRel) / WAITER > 0
    }

    /// Serves the line while both a permit and somebody in line are to be had. A loop, not a chain of
    /// drops: a long line of entries that need no permit must not grow the stack.
    fn serve_line(self: &Arc<Self>) {
        let mut spare = None;
        while let Some(permit) =
            spare.take().or_else(|| self.take_permit(|waiting| waiting > 0).map(Pass::into_permit))
        {
            let entry = {
                let mut line = self.line.lock();
                let entry = line.serve();
                self.state.fetch_sub(WAITER * usize::from(entry.is_some()), Ordering::AcqRel);
                entry
            };
            match entry {
                Some(entry) => spare = (self.serve)(permit, entry),
                // Somebody else was quicker, or the line is at its end. Whoever joined meanwhile is
                // looked for once more.
                None => drop(permit.put_back()),
            }
        }
    }
}

// === impl Permit ===

impl<T> Permit<T> {
    /// Returns the permit. Gives the gate if somebody waits there.
    #[inline]
    fn put_back(mut self) -> Option<Arc<Gate<T>>> {
        self.release()
    }

    #[inline]
    fn release(&mut self) -> Option<Arc<Gate<T>>> {
        let gate = self.gate.take()?;
        gate.give_back().then_some(gate)
    }
}

impl<T> Drop for Permit<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(gate) = self.release() {
            gate.serve_line();
        }
    }
}

// === impl Pass ===

impl<T> Pass<'_, T> {
    /// The same permit, to be kept.
    pub fn into_permit(self) -> Permit<T> {
        let gate = Some(self.gate.clone());
        std::mem::forget(self);
        Permit { gate }
    }
}

impl<T> Drop for Pass<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.gate.give_back() {
            self.gate.serve_line();
        }
    }
}

impl<T> std::fmt::Debug for Pass<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pass")
    }
}

impl<T> std::fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.load(Ordering::Relaxed);
        f.debug_struct("Gate")
            .field("free", &self.free())
            .field("waiting", &(state / WAITER))
            .finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

// Named, because `tests/models` compiles this file from elsewhere.
#[cfg(test)]
#[path = "admit/tests.rs"]
mod tests;
