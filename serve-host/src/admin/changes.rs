//! Changes are made one at a time; a few may wait, and more than that are refused.
//!
//! They are made on a thread of their own, which begins with the first and gives way to those that serve
//! calls: to publish is to compile, to hash and to wait for the disk, and a call that is ready to run
//! should not stand behind that. No call waits for what this thread may hold meanwhile: what the store
//! locks for a change is for changes and for those who look at it, and calls read a catalog without a lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{io, thread};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::problem::Problem;
use crate::background;

/// The line of those who want to change something.
#[derive(Debug)]
pub(super) struct Changes {
    turn: Arc<Semaphore>,
    /// Whoever has the turn, and whoever waits for it.
    present: Arc<AtomicU32>,
    max_present: u32,
    /// The thread that makes them, once there was one to make; it ends when this is dropped.
    desk: Mutex<Option<SyncSender<Change>>>,
}

/// One change, with its turn.
type Change = Box<dyn FnOnce() + Send>;

/// A place in the line, given up when it is dropped.
struct Place(Arc<AtomicU32>);

/// How many changes may lie before the thread. There is one turn, so none does for long.
const LAID: usize = 1;

impl Changes {
    pub(super) fn new(max_waiting: u32) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            present: Arc::default(),
            max_present: max_waiting.saturating_add(1),
            desk: Mutex::default(),
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
        let (tell, told) = oneshot::channel();
        self.lay(Box::new(move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            drop((turn, place));
            // Whoever asked may have gone.
            let _ = tell.send(done);
        }))?;
        let done = told.await.map_err(|_| Problem::internal())?;
        done.unwrap_or_else(|_panic| Err(Problem::internal()))
    }

    fn join(&self) -> Option<Place> {
        let place = Place(self.present.clone());
        let before = self.present.fetch_add(1, Ordering::AcqRel);
        (before < self.max_present).then_some(place)
    }

    /// Hands a change to the thread, which is started if there is none.
    fn lay(&self, change: Change) -> Result<(), Problem> {
        let mut desk = self.desk.lock();
        let thread = match &mut *desk {
            Some(thread) => thread,
            none => none.insert(start().map_err(|error| {
                tracing::error!(%error, "cannot start a thread for changes");
                Problem::internal()
            })?),
        };
        // Whoever has the turn finds the desk empty; that one lies there still is a fault, not a wait.
        thread.try_send(change).map_err(|_| Problem::internal())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Starts the thread, within the runtime of whoever asks, for kernels that look for one when they are bound.
fn start() -> io::Result<SyncSender<Change>> {
    let (thread, changes) = sync_channel(LAID);
    let runtime = Handle::current();
    thread::Builder::new().name("okra-changes".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        background::give_way();
        work(&changes);
    })?;
    Ok(thread)
}

fn work(changes: &Receiver<Change>) {
    while let Ok(change) = changes.recv() {
        change();
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

    #[tokio::test]
    async fn a_change_that_nobody_waits_for_is_made_and_leaves_the_line() {
        let changes = Changes::new(0);
        let ((begin, begun), (finish, finished)) = (mpsc::channel(), mpsc::channel::<()>());
        let making = changes.make(move || {
            begin.send(()).unwrap();
            finished.recv().unwrap();
            Ok(())
        });
        let impatient = tokio::time::timeout(std::time::Duration::from_millis(20), making);
        assert!(impatient.await.is_err());
        begun.recv().unwrap();
        assert_eq!(changes.make(|| Ok(1)).await.unwrap_err().status(), 429);
        finish.send(()).unwrap();
        while changes.present.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(changes.make(|| Ok(2)).await.unwrap(), 2);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn changes_give_way_to_calls() {
        let priority = || rustix::process::getpriority_process(None).map_err(|_| Problem::internal());
        let (here, there) = (priority().unwrap(), Changes::new(0).make(priority).await.unwrap());
        assert_eq!(there, (here + background::STEP).min(19));
    }
}
