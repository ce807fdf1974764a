//! Every interleaving of calls and swaps over the core of the plan store.

use std::sync::Arc;

#[path = "../../../exec-plan/src/store/lease.rs"]
#[expect(dead_code, reason = "the models drive the core alone, from outside its crate")]
mod lease;
#[path = "../src/sync.rs"]
#[expect(unused_imports, dead_code, reason = "other models use the rest")]
mod sync;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use self::lease::{Lease, Tenant, Tenure};
use self::sync::Mutex;

/// A plan that knows how often it was drained.
struct Plan {
    version: usize,
    drained: AtomicUsize,
}

/// The catalog: what serves now. A lock in place of an atomic pointer, for loom has no such thing; the
/// core relies on nothing but that a store comes before what is read after it.
struct Catalog(Mutex<Arc<Tenure<Plan>>>);

// === impl Plan ===

impl Tenant for Plan {
    fn drained(&self) {
        self.drained.fetch_add(1, Ordering::SeqCst);
    }
}

// === impl Catalog ===

impl Catalog {
    fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(tenure(1, shards))))
    }

    fn serving(&self) -> Arc<Tenure<Plan>> {
        self.0.lock().clone()
    }

    /// Resolves as the store does, and returns the lease and how often it looked.
    fn resolve(&self, thread: usize) -> (Lease<Plan>, usize) {
        let mut looks = 0;
        loop {
            looks += 1;
            if let Some(lease) = self.serving().enter(thread) {
                return (lease, looks);
            }
        }
    }

    /// Publishes as the store does, and returns what it retired and how many were in flight.
    fn publish(&self, version: usize, shards: usize) -> (Arc<Tenure<Plan>>, usize) {
        let next = tenure(version, shards);
        let old = std::mem::replace(&mut *self.0.lock(), next);
        let in_flight = old.retire();
        (old, in_flight)
    }
}

fn tenure(version: usize, shards: usize) -> Arc<Tenure<Plan>> {
    Arc::new(Tenure::begin(Plan { version, drained: AtomicUsize::new(0) }, shards))
}

/// Three threads on one word have too many interleavings to try them all within seconds; bugs of this
/// kind show with few preemptions.
fn few_preemptions(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// One call: resolves, runs, and looks whether what it runs on was called drained. Returns its version.
fn call(catalog: &Catalog, thread: usize) -> usize {
    let (lease, looks) = catalog.resolve(thread);
    assert!(looks <= 3, "a call looks once, and again once per publish at most");
    assert_eq!(lease.tenant().drained.load(Ordering::SeqCst), 0, "a drained plan runs a call");
    lease.tenant().version
}

#[test]
fn no_call_runs_on_a_plan_that_is_called_drained() {
    loom::model(|| {
        let catalog = Catalog::new(2);
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let catalog = catalog.clone();
                thread::spawn(move || call(&catalog, caller))
            })
            .collect();
        let (old, in_flight) = catalog.publish(2, 2);
        let versions: Vec<usize> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        let on_old = versions.iter().filter(|version| **version == 1).count();
        assert!(in_flight <= on_old, "{in_flight} in flight at the flip, but {on_old} ran");
        assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 1, "drained once");
        assert_eq!(old.in_flight(), 0);
    });
}

#[test]
fn calls_that_share_a_shard_drain_it_once() {
    few_preemptions(|| {
        let catalog = Catalog::new(1);
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let catalog = catalog.clone();
                thread::spawn(move || call(&catalog, caller))
            })
            .collect();
        let (old, _) = catalog.publish(2, 1);
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_call_that_outlives_the_flip_is_counted_and_drains_the_swap_when_it_ends() {
    loom::model(|| {
        let catalog = Catalog::new(2);
        let (held, _) = catalog.resolve(0);
        let caller = {
            let catalog = catalog.clone();
            thread::spawn(move || call(&catalog, 1))
        };
        let (old, in_flight) = catalog.publish(2, 2);
        assert!((1..=2).contains(&in_flight), "{in_flight}");
        assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 0, "one call still runs");
        caller.join().unwrap();
        assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 0, "one call still runs");
        drop(held);
        assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn two_swaps_each_drain_what_they_retired() {
    few_preemptions(|| {
        let catalog = Catalog::new(1);
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let catalog = catalog.clone();
                thread::spawn(move || call(&catalog, caller))
            })
            .collect();
        let retired = [catalog.publish(2, 1), catalog.publish(1, 1)];
        for caller in callers {
            caller.join().unwrap();
        }
        for (old, _) in retired {
            assert_eq!(old.tenant().drained.load(Ordering::SeqCst), 1);
        }
        assert_eq!(catalog.serving().tenant().drained.load(Ordering::SeqCst), 0);
    });
}
