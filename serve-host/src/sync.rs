//! The primitives of the files that are model-checked, under the names they use.
//!
//! `tests/models` compiles those same files against loom's versions of these names, and runs every
//! interleaving of them.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

pub(crate) use parking_lot::Mutex;
use parking_lot::MutexGuard;

/// A condition variable whose `wait` takes the guard and gives it back.
#[derive(Debug)]
pub(crate) struct Condvar(parking_lot::Condvar);

// === impl Condvar ===

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
