//! A rule of thumb: whoever overran of late will do so again, and takes a slot before it begins. Else each of
//! many calls that overrun would have its free tick, and the neighbours would wait for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::fault::GuestFault;
use crate::lane::{Lane, Slot};
use crate::pace::before;

/// What is thought of a guest's calls, or of its starts.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// How many have to end well before it is forgotten that one overran.
    overran: AtomicU32,
    /// How many have to end well before one runs in place again.
    ousted: AtomicU32,
}

/// What is thought of a guest.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    pub(crate) starts: Arc<Suspicion>,
    pub(crate) calls: Arc<Suspicion>,
}

/// So many after one that overran.
const OVERRAN: u32 = 16;

/// So many after one that was ousted, which cost an instance and the work of two ticks: a guest of which one call in
/// a hundred is long does better on fibers.
const OUSTED: u32 = 1_024;

// === impl Suspicion ===

impl Suspicion {
    /// Hears that one overruns.
    pub(crate) fn rouse(&self) {
        self.overran.store(OVERRAN, Ordering::Relaxed);
    }

    /// Hears that one that ran in place overruns.
    pub(crate) fn oust(&self) {
        self.rouse();
        self.ousted.store(OUSTED, Ordering::Relaxed);
    }

    /// Hears that one ended well, and without. Of one that was cut short nobody knows.
    pub(crate) fn allay(&self) {
        for count in [&self.overran, &self.ousted] {
            let left = count.load(Ordering::Relaxed);
            if left > 0 {
                // Two that do so at once count as one.
                count.store(left - 1, Ordering::Relaxed);
            }
        }
    }

    /// Whether the next one may run in place.
    pub(crate) fn lets_in_place(&self) -> bool {
        !self.is_roused() && self.ousted.load(Ordering::Relaxed) == 0
    }

    /// Whether the next one needs a slot.
    pub(crate) fn is_roused(&self) -> bool {
        self.overran.load(Ordering::Relaxed) > 0
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
