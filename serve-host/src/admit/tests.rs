//! The gate by itself: single facts, and random histories against a model so plain that it is easily
//! believed.

mod machine;

use std::sync::mpsc;
use std::thread;

use super::*;

type Served = mpsc::Receiver<(Permit<u32>, u32)>;

fn gate(max_inflight: usize, capacity: usize) -> (Arc<Gate<u32>>, Served) {
    let (sender, receiver) = mpsc::channel();
    let max_inflight = MaxInflight(NonZeroUsize::new(max_inflight).unwrap());
    let gate = Gate::new(max_inflight, QueueCapacity(capacity), move |permit, entry| {
        drop(sender.send((permit, entry)));
        None
    });
    (gate, receiver)
}

#[test]
fn permits_are_limited_and_come_back() {
    let (gate, _served) = gate(2, 0);
    let first = gate.try_pass().unwrap();
    let _second = gate.try_pass().unwrap();
    assert!(gate.try_pass().is_none());
    drop(first);
    assert!(gate.try_pass().is_some());
}

#[test]
fn a_full_line_refuses() {
    let (gate, _served) = gate(1, 1);
    let _held = gate.try_pass().unwrap();
    assert!(!gate.is_full());
    gate.wait(1, || {}).unwrap();
    assert!(gate.is_full());
    assert_eq!(gate.wait(2, || {}), Err(Refusal::Full(2)));
}

#[test]
fn the_line_is_served_in_order_and_nobody_overtakes() {
    let (gate, served) = gate(1, 8);
    let held = gate.try_pass().unwrap();
    for entry in 1..=3 {
        gate.wait(entry, || {}).unwrap();
    }
    drop(held);
    for expected in 1..=3 {
        assert!(gate.try_pass().is_none(), "somebody waits");
        let (permit, entry) = served.recv().unwrap();
        assert_eq!(entry, expected);
        drop(permit);
    }
    assert!(gate.try_pass().is_some());
}

#[test]
fn who_leaves_is_not_served() {
    let (gate, served) = gate(1, 8);
    let held = gate.try_pass().unwrap();
    let ticket = gate.wait(1, || {}).unwrap();
    gate.wait(2, || {}).unwrap();
    assert_eq!(gate.leave(ticket), Some(1));
    drop(held);
    assert_eq!(served.recv().unwrap().1, 2);
    assert_eq!(gate.leave(ticket), None);
}

#[test]
fn a_closing_gate_gives_back_everyone_who_waits() {
    let (gate, _served) = gate(1, 8);
    let _held = gate.try_pass().unwrap();
    gate.wait(1, || {}).unwrap();
    gate.wait(2, || {}).unwrap();
    assert_eq!(gate.close(), [1, 2]);
    assert_eq!(gate.wait(3, || {}), Err(Refusal::Closed(3)));
    assert!(gate.try_pass().is_none());
}

#[test]
fn a_long_line_of_entries_that_need_no_permit_is_served_in_one_go() {
    let gate =
        Gate::new(MaxInflight(NonZeroUsize::MIN), QueueCapacity(100_000), |permit, _: u32| Some(permit));
    let held = gate.try_pass().unwrap();
    for entry in 0..100_000 {
        gate.wait(entry, || {}).unwrap();
    }
    drop(held);
    assert!(gate.line.lock().is_empty());
    assert!(gate.try_pass().is_some());
}

#[test]
fn nobody_is_forgotten_under_contention() {
    let (gate, served) = gate(3, 10_000);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let gate = gate.clone();
            thread::spawn(move || {
                for entry in 0..2_000 {
                    match gate.try_pass() {
                        Some(permit) => drop(permit),
                        None => drop(gate.wait(entry, || {}).unwrap()),
                    }
                }
            })
        })
        .collect();
    let drain = thread::spawn(move || served.into_iter().map(|(permit, _)| drop(permit)).count());
    for thread in threads {
        thread.join().unwrap();
    }
    // Nobody waits while a permit is free: with all permits back, the line is empty.
    while gate.state.load(Ordering::Acquire) % WAITER < 3 {
        thread::yield_now();
    }
    assert!(gate.line.lock().is_empty());
    drop(gate);
    drop(drain);
}
