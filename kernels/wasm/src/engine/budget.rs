//! The budget of live instances that all guests of an engine share.
//!
//! Who finds it spent takes an idle instance away from the guest that has the most of them, and only
//! then waits. Invariant: a [`Claim`] outlives the instance it was made for, so there are never more
//! live instances than the budget allows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The live instances of an engine.
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    total: usize,
    /// Calls that wait for a claim. While there are any, guests keep no idle instances.
    waiting: AtomicUsize,
    pools: Mutex<Vec<Weak<dyn Evict>>>,
}

/// The right to one live instance; dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Claim {
    _permit: OwnedSemaphorePermit,
}

/// Somebody who keeps idle instances.
pub(crate) trait Evict: Send + Sync {
    /// How many instances are idle.
    fn idle(&self) -> usize;

    /// Drops an idle instance; false if there is none.
    fn evict(&self) -> bool;

    /// Drops the instances that were idle ever since it was last called, save those that are kept ready.
    fn trim(&self);
}

/// Counts a call that waits.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Budget ===

impl Budget {
    pub(super) fn new(total: u32) -> Arc<Self> {
        let total = total as usize;
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(total)),
            total,
            waiting: AtomicUsize::new(0),
            pools: Mutex::new(Vec::new()),
        })
    }

    /// Makes a pool known to those who look for idle instances.
    pub(crate) fn enrol(&self, pool: Weak<dyn Evict>) {
        let mut pools = self.pools.lock();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    pub(crate) fn live(&self) -> usize {
        self.total - self.permits.available_permits()
    }

    /// Whether somebody waits for a claim.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Has every pool drop what it has not needed of late.
    pub(super) fn trim(&self) {
        let pools: Vec<_> = self.pools.lock().iter().filter_map(Weak::upgrade).collect();
        pools.iter().for_each(|pool| pool.trim());
    }

    /// A claim, if one is free or an idle instance can make room for it.
    pub(crate) fn try_claim(&self) -> Option<Claim> {
        loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                return Some(Claim { _permit: permit });
            }
            let idlest = {
                let pools = self.pools.lock();
                pools.iter().filter_map(Weak::upgrade).max_by_key(|pool| pool.idle())
            };
            if !idlest.is_some_and(|pool| pool.evict()) {
                return None;
            }
        }
    }

    /// A claim, however long it takes.
    pub(crate) async fn claim(&self) -> Option<Claim> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if let Some(claim) = self.try_claim() {
            return Some(claim);
        }
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        Some(Claim { _permit: permit })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
