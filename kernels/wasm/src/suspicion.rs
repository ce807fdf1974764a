//! A rule of thumb: whoever overran of late will do so again, and takes a slot before it begins. Else each of
//! many calls that overrun would have its free tick, and the neighbours would wait for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::fault::GuestFault;
use crate::lane::{Lane, Slot};
use crate::pace::before;

/// What is thought of a guest's calls, or of its starts: how many have to end well before it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Suspicion(AtomicU32);

/// What is thought of a guest.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    pub(crate) starts: Arc<Suspicion>,
    pub(crate) calls: Arc<Suspicion>,
}

/// So many after one that overran.
const LASTING: u32 = 16;

// === impl Suspicion ===

impl Suspicion {
    /// Hears that one overruns.
    pub(crate) fn rouse(&self) {
        self.0.store(LASTING, Ordering::Relaxed);
    }

    /// Hears that one ended well, and without. Of one that was cut short nobody knows.
    pub(crate) fn allay(&self) {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            // Two that do so at once count as one.
            self.0.store(left - 1, Ordering::Relaxed);
        }
    }

    /// Whether the next one needs a slot.
    pub(crate) fn is_roused(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// A slot, if it needs one; waits for it until the deadline, and for no longer than `longest`.
    ///
    /// # Errors
    /// None came in time.
    pub(crate) async fn slot(
        &self,
        lane: &Lane,
        deadline: Option<Instant>,
        longest: Duration,
    ) -> Result<Option<Slot>, GuestFault> {
        if !self.is_roused() {
            return Ok(None);
        }
        let longest = Instant::now() + longest;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        before(until, lane.slot()).await.ok_or(GuestFault::Deadline)
    }
}
