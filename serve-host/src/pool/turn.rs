//! The turns of an I/O thread: each connection that is ready is polled once, then comes the end.
//!
//! What the connections of a turn spawn on a pool is made known at its end, by one wake-up. A thread that has
//! no turns wakes at once. What is put off so is never put off for long: a turn polls what was ready when it
//! began and nothing else, and after some spawns the pool is woken in the middle of it.
//!
//! Invariant: what was put off is made known at the end of the turn, or when the thread has no more turns.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::task::{AbortHandle, spawn_local};

use super::bed::Bed;

thread_local! {
    static TURN: RefCell<Option<Rc<Turn>>> = const { RefCell::new(None) };
}

/// Gives the calling thread turns for as long as it is kept.
pub(crate) struct Turns {
    turn: Rc<Turn>,
    end: AbortHandle,
}

#[derive(Default)]
struct Turn {
    /// Whom to wake at the end.
    owed: RefCell<Option<Arc<Bed>>>,
    /// Spawns that nobody was woken for.
    spawned: Cell<u32>,
    /// Wakes the task that ends the turn, which stands behind all that is ready.
    end: RefCell<Option<Waker>>,
}

/// So many tasks are worth a wake-up of their own, for another core to begin with.
const WORTH_A_WAKE: u32 = 64;

/// Wakes a thread of the pool that sleeps there, at the end of this thread's turn if it has turns.
pub(super) fn wake(bed: &Arc<Bed>) {
    let put_off = TURN.with_borrow(|turn| turn.as_ref().is_some_and(|turn| turn.put_off(bed)));
    if !put_off {
        bed.wake_one();
    }
}

// === impl Turns ===

impl Turns {
    /// Must be called within a local runtime, whose tasks take turns in the order in which they are woken.
    pub(crate) fn begin() -> Self {
        let turn = Rc::<Turn>::default();
        TURN.set(Some(turn.clone()));
        let end = spawn_local({
            let turn = turn.clone();
            poll_fn(move |cx| {
                turn.end.borrow_mut().get_or_insert_with(|| cx.waker().clone());
                turn.settle();
                Poll::<()>::Pending
            })
        });
        Self { turn, end: end.abort_handle() }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        TURN.set(None);
        self.end.abort();
        self.turn.settle();
    }
}

// === impl Turn ===

impl Turn {
    /// Whether the wake-up waits for the end of the turn.
    fn put_off(&self, bed: &Arc<Bed>) -> bool {
        let spawned = self.spawned.get() + 1;
        if spawned >= WORTH_A_WAKE {
            self.spawned.set(0);
            return false;
        }
        let mut owed = self.owed.borrow_mut();
        match (&*owed, &*self.end.borrow()) {
            (Some(other), _) if !Arc::ptr_eq(other, bed) => return false,
            (Some(_), _) => {}
            (None, Some(end)) => {
                *owed = Some(bed.clone());
                end.wake_by_ref();
            }
            // The end has not been polled yet.
            (None, None) => return false,
        }
        self.spawned.set(spawned);
        true
    }

    fn settle(&self) {
        self.spawned.set(0);
        if let Some(bed) = self.owed.take() {
            bed.wake_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_local_runtime(test: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(test());
    }

    /// A thread that sleeps until it is woken.
    fn sleeper(bed: &Arc<Bed>) -> std::thread::JoinHandle<()> {
        let asleep = bed.clone();
        let thread = std::thread::spawn(move || asleep.sleep(|| true));
        while !bed.has_sleepers() {
            std::thread::yield_now();
        }
        thread
    }

    #[test]
    fn a_thread_without_turns_wakes_at_once() {
        let bed = Arc::new(Bed::new());
        let sleeper = sleeper(&bed);
        wake(&bed);
        sleeper.join().unwrap();
    }

    #[test]
    fn the_wake_up_comes_after_all_that_was_ready() {
        in_a_local_runtime(async || {
            let _turns = Turns::begin();
            tokio::task::yield_now().await;
            let bed = Arc::new(Bed::new());
            let sleeper = sleeper(&bed);
            let ready: Vec<_> = (0..3)
                .map(|_| {
                    let bed = bed.clone();
                    spawn_local(async move {
                        wake(&bed);
                        bed.has_sleepers()
                    })
                })
                .collect();
            for task in ready {
                assert!(task.await.unwrap(), "woken before the end of the turn");
            }
            tokio::task::yield_now().await;
            sleeper.join().unwrap();
        });
    }

    #[test]
    fn many_spawns_do_not_wait_for_the_end() {
        in_a_local_runtime(async || {
            let _turns = Turns::begin();
            tokio::task::yield_now().await;
            let bed = Arc::new(Bed::new());
            let sleeper = sleeper(&bed);
            for _ in 0..WORTH_A_WAKE {
                wake(&bed);
            }
            sleeper.join().unwrap();
        });
    }

    #[test]
    fn nothing_is_owed_when_the_turns_are_over() {
        in_a_local_runtime(async || {
            let turns = Turns::begin();
            tokio::task::yield_now().await;
            let bed = Arc::new(Bed::new());
            let sleeper = sleeper(&bed);
            wake(&bed);
            drop(turns);
            sleeper.join().unwrap();
            wake(&bed);
        });
    }
}
