//! Every interleaving of threads that lie down with threads that bring work: nobody sleeps while there is
//! work, and nobody sleeps on when the pool ends. A lost wake-up is a deadlock here, which loom reports.
//!
//! Bounds: one or two workers, one or two bringers, at most two pieces of work, at most three preemptions.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use models::bed::Bed;

/// What workers and bringers share: a number of pieces in place of a queue.
struct Pool {
    work: AtomicUsize,
    done: AtomicUsize,
    stopping: AtomicBool,
    bed: Bed,
}

// === impl Pool ===

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            work: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            bed: Bed::new(),
        })
    }

    fn bring(&self) {
        self.work.fetch_add(1, Ordering::SeqCst);
        self.bed.wake_one();
    }

    /// Brings two pieces and wakes for both of them once.
    fn bring_two(&self) {
        self.work.fetch_add(1, Ordering::SeqCst);
        self.work.fetch_add(1, Ordering::SeqCst);
        self.bed.wake_one();
    }

    /// Whoever has taken a piece while there are more wakes the next, before it begins.
    fn share(&self) {
        if self.work.load(Ordering::SeqCst) > 0 {
            self.bed.wake_one();
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.bed.wake_all();
    }

    /// Works as the pool's threads do, until there is nothing left and the pool stops.
    fn work(&self) {
        loop {
            let stopping = self.stopping.load(Ordering::SeqCst);
            if self.take() {
                self.share();
                self.done.fetch_add(1, Ordering::SeqCst);
            } else if stopping {
                return;
            } else {
                self.bed
                    .sleep(|| self.work.load(Ordering::SeqCst) == 0 && !self.stopping.load(Ordering::SeqCst));
            }
        }
    }

    fn take(&self) -> bool {
        let took = self.work.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        took.is_ok()
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Works until one piece is done, and never stops before: only a wake-up ends a sleep.
fn one_piece(pool: &Pool) {
    while !pool.take() {
        pool.bed.sleep(|| pool.work.load(Ordering::SeqCst) == 0);
    }
    pool.share();
}

/// Two workers take a piece each, and would never take another, as if the first took for ever.
fn reach_two_workers(bring: fn(&Pool)) {
    explore(move || {
        let pool = Pool::new();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || one_piece(&pool))
            })
            .collect();
        bring(&pool);
        for worker in workers {
            worker.join().expect("a worker does not panic");
        }
        assert_eq!(pool.work.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn no_wake_up_is_lost() {
    explore(|| {
        let pool = Pool::new();
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || one_piece(&pool))
        };
        pool.bring();
        worker.join().unwrap();
    });
}

#[test]
fn two_pieces_wake_two_workers() {
    reach_two_workers(|pool| {
        pool.bring();
        pool.bring();
    });
}

#[test]
fn two_pieces_brought_at_once_reach_two_workers() {
    reach_two_workers(Pool::bring_two);
}

#[test]
fn a_pool_that_ends_finishes_its_work_and_wakes_everybody() {
    explore(|| {
        let pool = Pool::new();
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.work())
        };
        pool.bring();
        pool.stop();
        worker.join().unwrap();
        assert_eq!(pool.done.load(Ordering::SeqCst), 1);
    });
}
