//! Random histories against a model so plain that it is easily believed.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Stage { graph: usize, version: u64, content: i64, force: bool },
    Publish { graph: usize, version: u64 },
    Rollback { graph: usize },
    Pin { graph: usize, version: Option<u64> },
    Withdraw { graph: usize },
    Evict { graph: usize, version: u64 },
    Reopen,
    Call { graph: usize, version: Option<u64> },
    EndCall { which: usize },
}

/// A version and what is in it.
type Content = (u64, i64);

/// What should be true of one graph.
#[derive(Clone, Default)]
struct Graph {
    /// In the order of staging, with whether they were published.
    staged: Vec<(Content, bool)>,
    active: Option<Content>,
    history: Vec<Content>,
    pinned: Option<Content>,
}

/// A call in progress: its lease, and the swap that awaits its end.
struct Call {
    graph: usize,
    content: Content,
    by_version: bool,
    awaited_by: Option<u64>,
    lease: PlanLease,
}

struct World {
    dir: TempDir,
    store: Option<PlanStore>,
    graphs: BTreeMap<usize, Graph>,
    calls: Vec<Call>,
    swaps: u64,
}

const GRAPHS: [&str; 3] = ["a", "b", "c"];
const KEEP: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let graph = 0..GRAPHS.len();
    let version = 1..5u64;
    prop_oneof![
        6 => (graph.clone(), version.clone(), 0..2i64, any::<bool>())
            .prop_map(|(graph, version, content, force)| Op::Stage { graph, version, content, force }),
        6 => (graph.clone(), version.clone()).prop_map(|(graph, version)| Op::Publish { graph, version }),
        2 => graph.clone().prop_map(|graph| Op::Rollback { graph }),
        2 => (graph.clone(), proptest::option::of(version.clone()))
            .prop_map(|(graph, version)| Op::Pin { graph, version }),
        1 => graph.clone().prop_map(|graph| Op::Withdraw { graph }),
        2 => (graph.clone(), version.clone()).prop_map(|(graph, version)| Op::Evict { graph, version }),
        1 => Just(Op::Reopen),
        4 => (graph, proptest::option::of(version)).prop_map(|(graph, version)| Op::Call { graph, version }),
        3 => (0..8usize).prop_map(|which| Op::EndCall { which }),
    ]
}

/// Graphs `a` and `b` claim the same service in the versions whose number is even.
fn services(graph: usize, (version, _): Content) -> &'static [&'static str] {
    if graph < 2 && version.is_multiple_of(2) { &["pkg.Both"] } else { &[] }
}

fn document(graph: usize, content: Content) -> GraphSource {
    served(GRAPHS[graph], &Version::from_integer(content.0).to_string(), services(graph, content), content.1)
}

// === impl Graph ===

impl Graph {
    fn current(&self, version: u64) -> Option<Content> {
        self.staged.iter().rev().map(|(content, _)| *content).find(|content| content.0 == version)
    }

    fn published(&self, version: u64) -> Option<Content> {
        let published = self.staged.iter().rev().filter(|(_, published)| *published);
        published.map(|(content, _)| *content).find(|content| content.0 == version)
    }

    fn serving(&self) -> Option<Content> {
        self.pinned.or(self.active)
    }

    fn publish(&mut self, content: Content) {
        for (staged, published) in &mut self.staged {
            *published |= *staged == content;
        }
    }

    fn in_use(&self, version: u64) -> bool {
        let previous = self.active.and(self.history.last().copied());
        [self.active, self.pinned, previous].into_iter().flatten().any(|content| content.0 == version)
    }

    fn versions(&self) -> Vec<u64> {
        let mut versions: Vec<u64> = Vec::new();
        for (content, _) in self.staged.iter().rev() {
            if !versions.contains(&content.0) {
                versions.insert(0, content.0);
            }
        }
        versions
    }

    /// Forgets what nothing leads to any more.
    fn tidy(&mut self) {
        let kept: Vec<_> = self
            .staged
            .iter()
            .filter(|(content, _)| {
                let named = [self.active, self.pinned, self.history.last().copied()];
                named.contains(&Some(*content))
                    || self.current(content.0) == Some(*content)
                    || self.published(content.0) == Some(*content)
            })
            .copied()
            .collect();
        self.staged = kept;
        let staged = &self.staged;
        self.history.retain(|content| staged.iter().any(|(held, _)| held == content));
        self.history.dedup();
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let dir = empty_dir();
        let mut world = Self { dir, store: None, graphs: BTreeMap::new(), calls: Vec::new(), swaps: 0 };
        world.open();
        world
    }

    fn store(&self) -> &PlanStore {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self) {
        let keep = NonZeroUsize::new(KEEP).unwrap();
        let options = StoreOptions { keep, ..options(Some(self.dir.path())) };
        let (store, recovery) = PlanStore::open(options).unwrap();
        assert_eq!(recovery.findings, []);
        self.store = Some(store);
        self.swaps = 0;
    }

    /// Whether another graph claims what this content claims.
    fn is_taken(&self, graph: usize, content: Content) -> bool {
        self.graphs.iter().filter(|(other, _)| **other != graph).any(|(other, held)| {
            let claimed = [held.active, held.pinned].into_iter().flatten();
            claimed.flat_map(|c| services(*other, c)).any(|claim| services(graph, content).contains(claim))
        })
    }

    fn stage(&mut self, graph: usize, content: Content, force: bool) {
        let result = self.store().stage(&document(graph, content), force);
        let held = self.graphs.entry(graph).or_default();
        let current = held.current(content.0);
        if current.is_some_and(|current| current != content) && !force {
            assert!(matches!(result, Err(StageError::Conflict { .. })));
            return;
        }
        let staged = result.unwrap();
        assert_eq!(staged.is_new, current != Some(content));
        if current == Some(content) {
            return;
        }
        let was = held.staged.iter().position(|(held, _)| *held == content);
        let entry = was.map_or((content, false), |index| held.staged.remove(index));
        held.staged.push(entry);
        let mut evicted = Vec::new();
        while held.versions().len() > KEEP {
            let spare = |v: &u64| *v != content.0 && !held.in_use(*v);
            let Some(oldest) = held.versions().into_iter().find(spare) else { break };
            held.staged.retain(|(content, _)| content.0 != oldest);
            evicted.push(Version::from_integer(oldest));
        }
        held.tidy();
        assert_eq!(staged.evicted, evicted);
    }

    /// Applies an edit to the model if it is expected to go well, and compares with what the store did.
    fn swap(
        &mut self,
        graph: usize,
        target: Option<Content>,
        result: Result<SwapReceipt, PublishError>,
        edit: impl FnOnce(&mut Graph, Content),
    ) {
        let Some(target) = target.filter(|target| !self.is_taken(graph, *target)) else {
            assert!(result.is_err(), "{result:?}");
            return;
        };
        let held = self.graphs.get_mut(&graph).unwrap();
        let before = held.serving();
        edit(held, target);
        held.tidy();
        let after = held.serving();
        self.check_receipt(graph, before, after, &result.unwrap());
    }

    fn check_receipt(
        &mut self,
        graph: usize,
        before: Option<Content>,
        after: Option<Content>,
        receipt: &SwapReceipt,
    ) {
        let versions = [&receipt.from, &receipt.to].map(|id| id.as_ref().map(|id| id.version.clone()));
        assert_eq!(versions, [before, after].map(|content| content.map(|c| Version::from_integer(c.0))));
        let running = |call: &&mut Call| {
            call.graph == graph && !call.by_version && call.awaited_by.is_none() && before != after
        };
        let mut in_flight = 0;
        for call in self.calls.iter_mut().filter(running) {
            call.awaited_by = Some(self.swaps + 1);
            in_flight += 1;
        }
        self.swaps += u64::from(before != after);
        assert_eq!(receipt.id, (before != after).then_some(self.swaps));
        assert_eq!((receipt.in_flight_at_flip, receipt.in_flight), (in_flight, in_flight));
        assert_eq!(receipt.drained_at_ms.is_some(), in_flight == 0);
    }

    fn call(&mut self, graph: usize, version: Option<u64>) {
        let by_version = version.is_some();
        let asked = version.map(Version::from_integer);
        let result = self.store().resolve_named(GRAPHS[graph], asked.as_ref());
        let held = self.graphs.get(&graph).cloned().unwrap_or_default();
        let expected = match version {
            None => held.serving(),
            Some(version) => held.published(version).filter(|_| held.active.is_some()),
        };
        assert_eq!(result.as_ref().ok().map(|lease| lease.hash()), expected.map(|c| hash(graph, c)));
        if let (Ok(lease), Some(content)) = (result, expected) {
            self.calls.push(Call { graph, content, by_version, awaited_by: None, lease });
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Stage { graph, version, content, force } => self.stage(graph, (version, content), force),
            Op::Publish { graph, version } => {
                let result = self.store().publish(&name(GRAPHS[graph]), &Version::from_integer(version));
                let target = self.graphs.get(&graph).and_then(|held| held.current(version));
                self.swap(graph, target, result, |held, target| {
                    held.publish(target);
                    if let Some(active) = held.active.filter(|active| *active != target) {
                        held.history.push(active);
                    }
                    held.active = Some(target);
                });
            }
            Op::Rollback { graph } => {
                let result = self.store().rollback(&name(GRAPHS[graph]));
                let target = self.graphs.get(&graph).and_then(|held| held.history.last().copied());
                self.swap(graph, target, result, |held, target| {
                    held.history.pop();
                    held.active = Some(target);
                });
            }
            Op::Pin { graph, version } => {
                let asked = version.map(Version::from_integer);
                let result = self.store().pin(&name(GRAPHS[graph]), asked.as_ref());
                let target = self.graphs.get(&graph).filter(|held| held.active.is_some());
                let target = target.and_then(|held| match version {
                    None => held.active,
                    Some(version) => held.published(version).or_else(|| held.current(version)),
                });
                self.swap(graph, target, result, |held, target| {
                    held.publish(target);
                    held.pinned = version.map(|_| target);
                });
            }
            Op::Withdraw { graph } => {
                let result = self.store().withdraw(&name(GRAPHS[graph]));
                let before = self.graphs.get(&graph).and_then(Graph::serving);
                if before.is_none() {
                    assert!(result.is_err());
                    return;
                }
                let held = self.graphs.get_mut(&graph).unwrap();
                held.history.extend(held.active.take());
                held.pinned = None;
                held.tidy();
                self.check_receipt(graph, before, None, &result.unwrap());
            }
            Op::Evict { graph, version } => {
                let result = self.store().evict(&name(GRAPHS[graph]), &Version::from_integer(version));
                let held = self.graphs.entry(graph).or_default();
                let possible = held.current(version).is_some() && !held.in_use(version);
                assert_eq!(result.is_ok(), possible, "{result:?}");
                if possible {
                    held.staged.retain(|(content, _)| content.0 != version);
                    held.tidy();
                }
            }
            Op::Reopen => {
                let before = self.store().list();
                self.calls.clear();
                let quiet = self.store().list();
                assert!(before.len() == quiet.len() && quiet.iter().all(|graph| graph.in_flight == 0));
                self.store = None;
                self.open();
                assert_eq!(self.store().list(), quiet);
            }
            Op::Call { graph, version } => self.call(graph, version),
            Op::EndCall { which } => {
                if which < self.calls.len() {
                    drop(self.calls.swap_remove(which).lease);
                }
            }
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        for call in &self.calls {
            assert_eq!(call.lease.hash(), hash(call.graph, call.content), "a call changed its plan");
        }
        for receipt in self.store().receipts() {
            let left = self.calls.iter().filter(|call| call.awaited_by == receipt.id).count();
            assert_eq!(receipt.in_flight, left as u64);
            assert_eq!(receipt.drained_at_ms.is_some(), left == 0);
            assert_eq!(receipt.dropped, 0);
        }
        let list = self.store().list();
        let known = self.graphs.iter().filter(|(_, held)| !held.staged.is_empty());
        assert_eq!(list.len(), known.clone().count());
        for (status, (graph, held)) in list.iter().zip(known) {
            let id = |content: Option<Content>| content.map(|content| release(*graph, content));
            assert_eq!(status.active, id(held.active));
            assert_eq!(status.pinned, id(held.pinned));
            assert_eq!(status.previous, id(held.history.last().copied()));
            assert_eq!(status.serving, id(held.serving()));
            let mut staged = held.staged.clone();
            staged.sort_by_key(|(content, _)| content.0);
            let expected: Vec<_> =
                staged.iter().map(|(c, published)| (hash(*graph, *c), *published)).collect();
            let found: Vec<_> = status.versions.iter().map(|v| (v.hash, v.published)).collect();
            assert_eq!(found, expected);
            let calls = self.calls.iter().filter(|call| call.graph == *graph).count();
            assert!(status.in_flight <= calls as u64, "{} of {calls}", status.in_flight);
        }
        let claims = |graph: usize| self.graphs.get(&graph).and_then(Graph::serving);
        let claimant = (0..2).find(|graph| claims(*graph).is_some_and(|c| !services(*graph, c).is_empty()));
        let serving = self.store().resolve_service("pkg.Both").map(|lease| lease.name().to_string());
        assert_eq!(serving, claimant.map(|graph| GRAPHS[graph].to_owned()));
    }
}

fn release(graph: usize, content: Content) -> ReleaseId {
    ReleaseId { version: Version::from_integer(content.0), hash: hash(graph, content) }
}

fn hash(graph: usize, content: Content) -> crate::identity::ContentHash {
    ExecPlan::compile(&document(graph, content), &kernels(), &EnvSchema::default()).unwrap().hash()
}

proptest! {
    #[test]
    fn the_store_does_what_the_model_does(ops in vec(op(), 1..100)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.apply(&Op::Reopen);
        world.check();
    }
}
