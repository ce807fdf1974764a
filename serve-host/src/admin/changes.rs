//! Changes are made one at a time; a few may wait, and more than that are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Semaphore;

use super::problem::Problem;

/// The line of those who want to change something.
#[derive(Debug)]
pub(super) struct Changes {
    turn: Arc<Semaphore>,
    /// Whoever has the turn, and whoever waits for it.
    present: Arc<AtomicU32>,
    max_present: u32,
}

/// A place in the line, given up when it is dropped.
struct Place(Arc<AtomicU32>);

impl Changes {
    pub(super) fn new(max_waiting: u32) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            present: Arc::default(),
            max_present: max_waiting.saturating_add(1),
        }
    }

    /// Runs work that blocks, when its turn has come. It runs to its end even if nobody waits for the
    /// answer any more: half a change is worse than one nobody heard of.
    ///
    /// # Errors
    /// The line is full, or the work fails.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.join().ok_or_else(Problem::too_many_changes)?;
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| Problem::internal())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((turn, place));
            done
        });
        done.await.map_err(|_| Problem::internal())?
    }

    fn join(&self) -> Option<Place> {
        let place = Place(self.present.clone());
        let before = self.present.fetch_add(1, Ordering::AcqRel);
        (before < self.max_present).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_is_made_at_a_time_and_only_so_many_wait() {
        let changes = Arc::new(Changes::new(1));
        let (finish, finished) = mpsc::channel::<()>();
        let start = |work: Box<dyn FnOnce() -> u8 + Send>| {
            let changes = changes.clone();
            tokio::spawn(async move { changes.make(move || Ok(work())).await })
        };
        let first = start(Box::new(move || {
            finished.recv().unwrap();
            1
        }));
        let second = start(Box::new(|| 2));
        while changes.present.load(Ordering::Acquire) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(changes.make(|| Ok(3)).await.unwrap_err().status(), 429);
        assert!(!second.is_finished());
        finish.send(()).unwrap();
        assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (1, 2));
        assert_eq!(changes.make(|| Ok(4)).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_change_that_panics_leaves_the_line() {
        let changes = Changes::new(0);
        let panicking = changes.make(|| -> Result<(), Problem> { panic!("in a test") });
        assert_eq!(panicking.await.unwrap_err().status(), 500);
        assert_eq!(changes.make(|| Ok(1)).await.unwrap(), 1);
    }
}
