//! Every interleaving of the gate with its line: no permit is lost, nobody is forgotten in line, and
//! nobody runs beyond the limit.
//!
//! Bounds: two or three threads, one permit, at most three calls, at most three preemptions.

use std::num::NonZeroUsize;
use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use models::admit::{Gate, MaxInflight, Refusal};
use models::queue::QueueCapacity;

/// What a model counts: how many run now, and how many have run.
#[derive(Default)]
struct Tally {
    running: AtomicUsize,
    ran: AtomicUsize,
}

impl Tally {
    /// Runs with a permit, whoever keeps it.
    fn run(&self, permit: impl Sized) {
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "one permit, one call");
        self.ran.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
    }
}

fn gate(tally: &Arc<Tally>, capacity: usize) -> Arc<Gate<()>> {
    let tally = tally.clone();
    Gate::new(MaxInflight(NonZeroUsize::MIN), QueueCapacity(capacity), move |permit, ()| {
        tally.run(permit);
        None
    })
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// One call: passes at once, or waits in line.
fn call(gate: &Arc<Gate<()>>, tally: &Tally) {
    match gate.try_pass() {
        Some(pass) => tally.run(pass),
        None => assert!(gate.wait((), || {}).is_ok(), "the line has room"),
    }
}

#[test]
fn every_call_runs_once_and_alone() {
    explore(|| {
        let tally = Arc::new(Tally::default());
        let gate = gate(&tally, 4);
        let other = {
            let (gate, tally) = (gate.clone(), tally.clone());
            thread::spawn(move || call(&gate, &tally))
        };
        call(&gate, &tally);
        call(&gate, &tally);
        other.join().unwrap();
        assert_eq!(tally.ran.load(Ordering::SeqCst), 3);
        assert!(gate.try_pass().is_some(), "the permit is back and nobody waits");
    });
}

#[test]
fn who_leaves_the_line_runs_or_has_left_but_never_both() {
    explore(|| {
        let tally = Arc::new(Tally::default());
        let gate = gate(&tally, 1);
        let held = gate.try_pass().unwrap();
        let ticket = gate.wait((), || {}).unwrap();
        let leaver = {
            let gate = gate.clone();
            thread::spawn(move || usize::from(gate.leave(ticket).is_some()))
        };
        drop(held);
        let left = leaver.join().unwrap();
        assert_eq!(left + tally.ran.load(Ordering::SeqCst), 1);
        assert!(gate.try_pass().is_some());
    });
}

#[test]
fn a_closing_gate_forgets_nobody() {
    explore(|| {
        let tally = Arc::new(Tally::default());
        let gate = gate(&tally, 2);
        let held = gate.try_pass().unwrap().into_permit();
        let waiter = {
            let gate = gate.clone();
            thread::spawn(move || match gate.wait((), || {}) {
                Ok(_) => 0,
                Err(Refusal::Closed(()) | Refusal::Full(())) => 1,
            })
        };
        let releaser = thread::spawn(move || drop(held));
        let given_back = gate.close().len();
        releaser.join().unwrap();
        let refused = waiter.join().unwrap();
        assert_eq!(given_back + refused + tally.ran.load(Ordering::SeqCst), 1);
    });
}
