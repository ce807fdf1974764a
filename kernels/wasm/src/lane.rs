//! The lane for calls that overrun: so many of them run at a time, the others wait without a thread.
//!
//! A slot is held for a tick at most: its holder goes to the end of the line each time, so that a call
//! that takes a second advances beside one that takes for ever. Slots are given back while a guest waits
//! for its host, so a call that overruns may call another that does.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lane of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    slots: Arc<Semaphore>,
    total: usize,
}

/// A slot; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), total: slots }
    }

    pub(crate) fn taken(&self) -> usize {
        self.total - self.slots.available_permits()
    }

    /// Waits for a slot; first come, first served. `None` never comes: the lane does not close.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        let permit = self.slots.clone().acquire_owned().await.ok()?;
        Some(Slot { _permit: permit })
    }
}
