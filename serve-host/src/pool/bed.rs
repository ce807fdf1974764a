//! Where the threads of a pool sleep while there is nothing to do, and how they are woken.
//!
//! Invariant: nobody sleeps while there is work. Whoever brings work makes it visible and looks at the
//! sleepers after that; whoever lies down is counted as a sleeper and looks for work after that. So at
//! least one of the two sees the other. `tests/models/tests/pool.rs` tries every interleaving.

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, fence};

/// The place to sleep.
#[derive(Debug)]
pub struct Bed {
    sleepers: AtomicUsize,
    door: Mutex<()>,
    wake: Condvar,
}

// === impl Bed ===

impl Bed {
    /// Nobody sleeps.
    pub fn new() -> Self {
        Self { sleepers: AtomicUsize::new(0), door: Mutex::new(()), wake: Condvar::new() }
    }

    /// Whether somebody sleeps, or is about to.
    pub fn has_sleepers(&self) -> bool {
        self.sleepers.load(Ordering::SeqCst) > 0
    }

    /// Wakes one sleeper, if there is one, for work that is visible already.
    pub fn wake_one(&self) {
        // Orders the work before the look at the sleepers, as `sleep` orders its own two the other way.
        fence(Ordering::SeqCst);
        if self.has_sleepers() {
            drop(self.door.lock());
            self.wake.notify_one();
        }
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        drop(self.door.lock());
        self.wake.notify_all();
    }

    /// Sleeps until it is woken, unless there is something to do after all. May wake for nothing.
    pub fn sleep(&self, nothing_to_do: impl FnOnce() -> bool) {
        let mut door = self.door.lock();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if nothing_to_do() {
            door = self.wake.wait(door);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(door);
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}
