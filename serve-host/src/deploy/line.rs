//! The line of those who deploy: one at a time, a few may wait, and more than that are refused.
//!
//! A place is taken before anything is fetched or read, so what waits has a bound in memory, too. The turn
//! comes after the package is here: a slow upload holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    turn: Arc<Semaphore>,
    /// Whoever has a place.
    present: Arc<AtomicU32>,
    max_present: u32,
}

/// A place in the line, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    turn: Arc<Semaphore>,
    present: Arc<AtomicU32>,
}

/// A place whose turn has come.
#[derive(Debug)]
pub(crate) struct Turn {
    _turn: Option<OwnedSemaphorePermit>,
    _place: Place,
}

// === impl Line ===

impl Line {
    pub(crate) fn new(max_waiting: u32) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            present: Arc::default(),
            max_present: max_waiting.saturating_add(1),
        }
    }

    /// Takes a place; `None` if there is none.
    pub(crate) fn join(&self) -> Option<Place> {
        let place = Place { turn: self.turn.clone(), present: self.present.clone() };
        let before = self.present.fetch_add(1, Ordering::AcqRel);
        (before < self.max_present).then_some(place)
    }

    /// Waits for the turn without a place: for what the host itself has to do.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }
}

// === impl Place ===

impl Place {
    /// Waits for the turn.
    pub(crate) async fn turn(self) -> Turn {
        // The semaphore is never closed.
        let turn = self.turn.clone().acquire_owned().await.ok();
        Turn { _turn: turn, _place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.present.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_the_turn_and_only_so_many_wait() {
        let line = Line::new(1);
        let first = line.join().unwrap().turn().await;
        let second = line.join().unwrap();
        assert!(line.join().is_none());
        let waiting = tokio::spawn(second.turn());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        assert!(line.join().is_some());
        assert_eq!(line.present.load(Ordering::Acquire), 0);
    }
}
