//! Who is still at work, and by when they must be gone: the core of a drain.
//!
//! It knows no clock, no sockets and no calls; an end is whatever can be compared. Nothing here cuts
//! anybody off: whoever is at work looks at the end and leaves.
//!
//! Invariants: an end, once ordered, only ever becomes earlier; whoever waits for a change is woken by it,
//! also if it comes as the wait begins; the roll is clear exactly while nobody is present. `tests/models`
//! runs every interleaving.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::sync::Mutex;

/// The roll. `E` is an end: a moment.
pub struct Roll<E>(Mutex<State<E>>);

/// One who is at work. Dropping it strikes it off, on every path, a panic among them.
pub struct Presence<E: Copy + Ord>(Arc<Roll<E>>);

struct State<E> {
    present: usize,
    end: Option<E>,
    /// Whom to wake at the next change, by the numbers of their waits: at most one of each.
    waiting: Vec<(u64, Waker)>,
    waits: u64,
}

/// One wait, which leaves nothing behind.
struct Wait<'a, E> {
    roll: &'a Roll<E>,
    number: u64,
}

// === impl Roll ===

impl<E: Copy + Ord> Roll<E> {
    /// A roll without names.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { present: 0, end: None, waiting: Vec::new(), waits: 0 })))
    }

    /// Enters one more.
    pub fn enter(self: &Arc<Self>) -> Presence<E> {
        self.0.lock().present += 1;
        Presence(self.clone())
    }

    /// How many are at work.
    pub fn present(&self) -> usize {
        self.0.lock().present
    }

    /// By when everyone must be gone, if that was ordered.
    pub fn end(&self) -> Option<E> {
        self.0.lock().end
    }

    /// Orders everyone to be gone by `end`, and gives the end that counts: the earliest there ever was.
    pub fn order(&self, end: E) -> E {
        let (earliest, waiting) = {
            let mut state = self.0.lock();
            let earliest = state.end.map_or(end, |before| before.min(end));
            let is_new = state.end.replace(earliest) != Some(earliest);
            (earliest, if is_new { state.take_waiting() } else { Vec::new() })
        };
        wake(waiting);
        earliest
    }

    /// Waits for an end other than `known`, which the caller has seen before.
    pub async fn ordered(&self, known: Option<E>) -> E {
        self.until(|state| state.end.filter(|end| Some(*end) != known)).await
    }

    /// Waits until nobody is at work.
    pub async fn cleared(&self) {
        self.until(|state| (state.present == 0).then_some(())).await;
    }

    async fn until<T>(&self, look: impl Fn(&State<E>) -> Option<T>) -> T {
        let wait = Wait { roll: self, number: self.0.lock().number() };
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match look(&state) {
                Some(found) => Poll::Ready(found),
                None => {
                    state.note(wait.number, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<E: Copy + fmt::Debug> fmt::Debug for Roll<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (present, end) = {
            let state = self.0.lock();
            (state.present, state.end)
        };
        f.debug_struct("Roll").field("present", &present).field("end", &end).finish_non_exhaustive()
    }
}

// === impl Presence ===

impl<E: Copy + Ord> fmt::Debug for Presence<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}

impl<E: Copy + Ord> Drop for Presence<E> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.0.lock();
            state.present -= 1;
            if state.present == 0 { state.take_waiting() } else { Vec::new() }
        };
        wake(waiting);
    }
}

// === impl State ===

impl<E> State<E> {
    fn number(&mut self) -> u64 {
        self.waits += 1;
        self.waits
    }

    fn note(&mut self, number: u64, waker: &Waker) {
        match self.waiting.iter_mut().find(|(other, _)| *other == number) {
            Some((_, noted)) => noted.clone_from(waker),
            None => self.waiting.push((number, waker.clone())),
        }
    }

    fn take_waiting(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.waiting)
    }
}

// === impl Wait ===

impl<E> Drop for Wait<'_, E> {
    fn drop(&mut self) {
        let number = self.number;
        // A waker may do anything when it is dropped, this roll included: not under the lock.
        let noted = {
            let waiting = &mut self.roll.0.lock().waiting;
            waiting.iter().position(|(other, _)| *other == number).map(|at| waiting.swap_remove(at))
        };
        drop(noted);
    }
}

/// Wakes all of them; not under the lock, for what wakes may come back here at once.
fn wake(waiting: Vec<(u64, Waker)>) {
    for (_, waker) in waiting {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_earliest_end_counts() {
        let roll = Roll::new();
        assert_eq!(roll.end(), None);
        assert_eq!(roll.order(5), 5);
        assert_eq!(roll.order(9), 5);
        assert_eq!(roll.order(3), 3);
        assert_eq!(roll.end(), Some(3));
    }

    #[test]
    fn an_end_is_told_once_to_each_who_does_not_know_it() {
        let roll = Roll::new();
        assert_eq!(roll.ordered(None).now_or_never(), None);
        roll.order(5);
        assert_eq!(roll.ordered(None).now_or_never(), Some(5));
        assert_eq!(roll.ordered(Some(5)).now_or_never(), None);
        roll.order(4);
        assert_eq!(roll.ordered(Some(5)).now_or_never(), Some(4));
    }

    #[test]
    fn it_is_clear_when_the_last_has_left_even_by_a_panic() {
        let roll = Roll::<u32>::new();
        let (first, second) = (roll.enter(), roll.enter());
        drop(first);
        assert_eq!((roll.present(), roll.cleared().now_or_never()), (1, None));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _second = second;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!((roll.present(), roll.cleared().now_or_never()), (0, Some(())));
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let roll = Roll::new();
        let _present = roll.enter();
        for _ in 0..100 {
            assert_eq!(roll.ordered(None).now_or_never(), None);
            assert_eq!(roll.cleared().now_or_never(), None);
        }
        assert!(roll.0.lock().waiting.is_empty());
        roll.order(1);
    }
}
