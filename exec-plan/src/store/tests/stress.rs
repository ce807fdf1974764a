//! Many threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

#[test]
fn a_thousand_swaps_under_four_threads_all_drain() {
    const SWAPS: usize = 1000;
    let store = in_memory();
    store.stage(&served("shop", "1.0.0", &["pkg.Shop"], 1), false).unwrap();
    store.deploy(&served("shop", "2.0.0", &["pkg.Shop"], 2));
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut counted = 0;
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (store, stop, calls) = (&store, &stop, &calls);
            scope.spawn(move || {
                let mut held = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let lease = match caller {
                        0 => store.resolve_named("shop", None).unwrap(),
                        _ => store.resolve_service("pkg.Shop").unwrap(),
                    };
                    held.push(lease);
                    if held.len() == 8 {
                        held.drain(..held.len() / 2 + 1);
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 0..SWAPS {
            let next = if swap % 2 == 0 { "1.0.0" } else { "2.0.0" };
            let receipt = store.publish(&name("shop"), &version(next)).unwrap();
            assert_eq!(receipt.to.unwrap().version, version(next));
            counted += receipt.in_flight_at_flip;
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let receipts = store.receipts();
    assert_eq!(receipts.last().unwrap().id, Some(SWAPS as u64 + 1));
    for receipt in receipts {
        assert!(receipt.drained_at_ms.is_some(), "{receipt:?}");
        assert_eq!(receipt.in_flight, 0);
    }
    assert_eq!(store.get(&name("shop")).unwrap().in_flight, 0);
    assert_eq!(store.live_plans(), 2);
    assert!(calls.into_inner() > 0 && counted > 0, "nothing ran beside the swaps");
}

#[test]
fn every_version_that_is_let_go_is_freed() {
    let store = keeping(3);
    let stop = AtomicBool::new(false);
    store.deploy(&shop("0.1.0", 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let lease = store.resolve_named("shop", None).unwrap();
                    let asked = store.resolve_named("shop", Some(lease.version()));
                    // What was active a moment ago may be evicted by now, but gives no other version.
                    assert!(asked.is_err() || asked.is_ok_and(|asked| asked.hash() == lease.hash()));
                }
            });
        }
        for content in 1..200 {
            store.deploy(&shop(&format!("{content}.0.0"), content));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.live_plans(), 3);
    assert!(store.receipts().iter().all(|receipt| receipt.drained_at_ms.is_some()));
}
