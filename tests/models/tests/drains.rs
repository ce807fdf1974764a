//! Every interleaving of a drain with admission and completion: no accepted call is lost, the drain ends
//! exactly when the last of them has ended, whoever waits in line when the time is over is answered, and a
//! second drain changes nothing but the end.
//!
//! The parts are the product's own, the roll and the gate; what joins them here is what `Shift::serve`,
//! `Drain::drain` and the end of `main` do with them. Calls are on a roll of their own, as connections are
//! in the set of their thread.
//!
//! Bounds: two or three threads, one permit, at most two calls and two ends, at most three preemptions.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use models::admit::{Gate, MaxInflight, Permit, Refusal};
use models::queue::QueueCapacity;
use models::roll::{Presence, Roll};

/// A host of one I/O thread and one permit.
struct Host {
    /// The I/O threads.
    roll: Arc<Roll<u32>>,
    /// The calls that have not been answered.
    calls: Arc<Roll<u32>>,
    gate: Arc<Gate<Call>>,
    books: Arc<Books>,
}

/// What became of the calls.
#[derive(Default)]
struct Books {
    accepted: AtomicUsize,
    running: AtomicUsize,
    completed: AtomicUsize,
    refused: AtomicUsize,
}

/// An accepted call; dropping it is its answer.
struct Call(#[expect(dead_code, reason = "it is held, and dropped")] Presence<u32>);

/// Wakes one thread.
struct Bell {
    rung: Mutex<bool>,
    ringing: Condvar,
}

// === impl Host ===

impl Host {
    fn new() -> Arc<Self> {
        let books = Arc::new(Books::default());
        let gate = Gate::new(MaxInflight(NonZeroUsize::MIN), QueueCapacity(2), {
            let books = books.clone();
            move |permit, call| {
                books.complete(permit, call);
                None
            }
        });
        Arc::new(Self { roll: Roll::new(), calls: Roll::new(), gate, books })
    }

    fn call(&self) -> Call {
        Call(self.calls.enter())
    }

    /// One call that has arrived: it runs, waits in line, or is refused.
    fn begin(&self) {
        let call = self.call();
        match self.gate.try_pass() {
            Some(pass) => {
                self.books.accepted.fetch_add(1, Ordering::SeqCst);
                self.books.complete(pass, call);
            }
            None => {
                let joined = || _ = self.books.accepted.fetch_add(1, Ordering::SeqCst);
                match self.gate.wait(call, joined) {
                    Ok(_) => {}
                    Err(Refusal::Closed(_) | Refusal::Full(_)) => {
                        self.books.refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
    }

    /// The life of an I/O thread: serves what arrives until it is told to end, then waits for what it has
    /// begun.
    fn serve(&self, presence: Presence<u32>, arrivals: usize) {
        for _ in 0..arrivals {
            if self.roll.end().is_some() {
                // Its connection is not accepted any more.
                self.books.refused.fetch_add(1, Ordering::SeqCst);
            } else {
                self.begin();
            }
        }
        block_on(self.roll.ordered(None));
        block_on(self.calls.cleared());
        drop(presence);
    }

    /// Ends the host, and gives how many waited in line when it closed.
    fn drain(&self, end: u32) -> usize {
        self.roll.order(end);
        block_on(self.roll.cleared());
        self.gate.close().len()
    }
}

// === impl Books ===

impl Books {
    /// Runs a call to its end, with a permit whoever keeps it.
    fn complete(&self, permit: impl Sized, call: Call) {
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "one permit, one call");
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.completed.fetch_add(1, Ordering::SeqCst);
        drop(call);
        drop(permit);
    }

    fn of(figure: &AtomicUsize) -> usize {
        figure.load(Ordering::SeqCst)
    }
}

// === impl Bell ===

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().expect(SOUND) = true;
        self.ringing.notify_one();
    }
}

/// Waits for a future on this thread. A wake-up that is lost is a deadlock, which loom reports.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let bell = Arc::new(Bell { rung: Mutex::new(false), ringing: Condvar::new() });
    let waker = Waker::from(bell.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let mut rung = bell.rung.lock().expect(SOUND);
        while !*rung {
            rung = bell.ringing.wait(rung).expect(SOUND);
        }
        *rung = false;
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_drain_ends_with_the_last_call_and_loses_none() {
    explore(|| {
        let host = Host::new();
        let presence = host.roll.enter();
        // One call runs already, on the pool; its permit is all there is.
        let permit = host.gate.try_pass().unwrap().into_permit();
        let running = host.call();
        host.books.accepted.fetch_add(1, Ordering::SeqCst);
        let io = {
            let host = host.clone();
            thread::spawn(move || host.serve(presence, 1))
        };
        let pool = {
            let books = host.books.clone();
            thread::spawn(move || books.complete(permit, running))
        };
        let in_line = host.drain(1);
        let books = &host.books;
        assert_eq!(host.calls.present(), 0, "the drain ended before the last call");
        assert_eq!(Books::of(&books.accepted), Books::of(&books.completed));
        assert_eq!(Books::of(&books.accepted) + Books::of(&books.refused), 2, "a call is in no book");
        assert_eq!(in_line, 0, "a call waited although the drain had ended");
        // Whoever comes now is told; and a drain of what is drained ends at once.
        host.begin();
        assert_eq!(Books::of(&books.accepted) + Books::of(&books.refused), 3);
        assert_eq!(host.drain(0), 0);
        io.join().unwrap();
        pool.join().unwrap();
    });
}

#[test]
fn when_the_time_is_over_whoever_waits_in_line_is_answered_once() {
    explore(|| {
        let host = Host::new();
        let presence = host.roll.enter();
        let permit: Permit<Call> = host.gate.try_pass().unwrap().into_permit();
        // One waits in line; another comes as the time runs out.
        host.begin();
        let io = {
            let host = host.clone();
            thread::spawn(move || {
                let until = block_on(host.roll.ordered(None));
                assert_eq!(until, 1);
                // It waits no longer, and its connections are cut off.
                drop(presence);
                host.begin();
            })
        };
        let pool = {
            let (books, running) = (host.books.clone(), host.call());
            thread::spawn(move || books.complete(permit, running))
        };
        let in_line = host.drain(1);
        io.join().unwrap();
        pool.join().unwrap();
        let books = &host.books;
        let (completed, refused) = (Books::of(&books.completed), Books::of(&books.refused));
        assert_eq!(completed + refused + in_line, 3, "each call has one answer");
        assert_eq!(host.calls.present(), 0);
        assert!(host.gate.try_pass().is_none(), "it is closed");
    });
}

#[test]
fn of_two_drains_the_earlier_end_counts_and_both_return() {
    explore(|| {
        let host = Host::new();
        let presence = host.roll.enter();
        let io = {
            let host = host.clone();
            thread::spawn(move || {
                let mut until = block_on(host.roll.ordered(None));
                while until != 1 {
                    // A call that lasts beyond the later end, but not beyond the earlier.
                    until = block_on(host.roll.ordered(Some(until)));
                }
                drop(presence);
            })
        };
        let other = {
            let host = host.clone();
            thread::spawn(move || host.drain(1))
        };
        host.drain(2);
        other.join().unwrap();
        assert_eq!((host.roll.end(), host.roll.present()), (Some(1), 0));
        io.join().unwrap();
    });
}

#[test]
fn the_last_of_two_threads_ends_the_drain_whoever_it_is() {
    explore(|| {
        let host = Host::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (presence, roll) = (host.roll.enter(), host.roll.clone());
                thread::spawn(move || {
                    block_on(roll.ordered(None));
                    drop(presence);
                })
            })
            .collect();
        host.drain(1);
        assert_eq!(host.roll.present(), 0);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Why loom's locks are never poisoned: a panic ends the whole model.
const SOUND: &str = "a model ends with the first panic";
