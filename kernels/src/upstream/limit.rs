//! How many calls one target has at a time, how many wait for their turn, and how long.
//!
//! The slot is held by the call itself and given back when that ends, however it ends. The order is
//! that of arrival.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The gate before a target.
#[derive(Debug)]
pub(crate) struct Gate {
    slots: Semaphore,
    places: Semaphore,
}

/// Why a call did not get through the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// As many calls wait as may.
    Full,
    /// The call waited as long as it may.
    Waited,
}

// === impl Gate ===

impl Gate {
    /// A gate for so many calls at a time, and so many that wait.
    pub(crate) fn new(max_in_flight: u32, max_waiting: u32) -> Self {
        Self { slots: Semaphore::new(max_in_flight as usize), places: Semaphore::new(max_waiting as usize) }
    }

    /// Waits for a slot, at most for `max_wait`.
    pub(crate) async fn enter(&self, max_wait: Duration) -> Result<SemaphorePermit<'_>, Busy> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        let _place = self.places.try_acquire().map_err(|_| Busy::Full)?;
        match tokio::time::timeout(max_wait, self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            // Nobody closes the semaphore.
            Ok(Err(_)) => Err(Busy::Full),
            Err(_) => Err(Busy::Waited),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_call_past_the_limit_waits_and_is_refused_when_it_waited_enough() {
        let gate = Gate::new(1, 1);
        let slot = gate.enter(WAIT).await.unwrap();
        let begun = Instant::now();
        assert_eq!(gate.enter(WAIT).await.unwrap_err(), Busy::Waited);
        assert_eq!(begun.elapsed(), WAIT);
        drop(slot);
        assert!(gate.enter(WAIT).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn more_calls_than_may_wait_are_refused_at_once() {
        let gate = Gate::new(1, 1);
        let slot = gate.enter(WAIT).await.unwrap();
        let (waits, refused) = tokio::join!(gate.enter(WAIT), async {
            let begun = Instant::now();
            let refused = gate.enter(WAIT).await.unwrap_err();
            assert_eq!(begun.elapsed(), Duration::ZERO);
            drop(slot);
            refused
        });
        assert_eq!(refused, Busy::Full);
        assert!(waits.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_gives_up_leaves_its_place() {
        let gate = Gate::new(1, 1);
        let _slot = gate.enter(WAIT).await.unwrap();
        for _ in 0..3 {
            let gives_up = tokio::time::timeout(WAIT / 2, gate.enter(WAIT)).await;
            assert!(gives_up.is_err(), "it waited, so it had a place");
        }
    }
}
