//! The books beside a real plan store, both on a disk whose plug is pulled at every single step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use exec_plan::{DiskStep, EnvSchema, ExecPlan, KernelRegistry, StoreOptions};
use tempfile::TempDir;

use super::super::shelf::{LEDGER, LEDGER_COPY, package_file};
use super::*;

/// A deploy or an undeploy, as data, so that a history of them can be run again and again.
#[derive(Clone, Copy, Debug)]
enum Change {
    Deploy { major: u64, content: &'static str },
    Undeploy { major: u64 },
}

/// What may happen to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The process ends with it.
    Killed,
    /// It fails, for want of room.
    NoRoom,
}

struct World {
    books: Books,
    store: PlanStore,
    findings: Vec<PackageFinding>,
}

/// What is deployed: by id its package, how it stands, and what serves the route.
type State = (BTreeMap<String, (PackageDigest, String)>, Option<String>);

const ROUTE: &str = "shop.Orders";

/// Every kind of change: new, replaced, the same again, back to what was before, another version beside.
const HISTORY: [Change; 9] = [
    Change::Deploy { major: 1, content: "a" },
    Change::Deploy { major: 1, content: "b" },
    Change::Deploy { major: 1, content: "b" },
    Change::Deploy { major: 2, content: "c" },
    Change::Deploy { major: 1, content: "a" },
    Change::Deploy { major: 2, content: "d" },
    Change::Undeploy { major: 2 },
    Change::Undeploy { major: 1 },
    Change::Deploy { major: 1, content: "b" },
];

fn kernels() -> (KernelRegistry, EnvSchema) {
    (kernels::builtin(), kernels::serve_env())
}

fn id(major: u64) -> String {
    format!("{ROUTE}.v{major}")
}

/// A package of no meaning but its bytes, and the graph that is made of it.
fn made(major: u64, content: &str) -> (Entry, Bytes, GraphSource) {
    let package = Bytes::from(format!("{major} {content}"));
    let digest = PackageDigest::of(&package);
    let text = format!(
        r#"{{"name": "{ROUTE}", "version": {major}, "serves": ["{ROUTE}"], "description": "{digest}",
            "nodes": [{{"id": "out", "kernel": "rpc_server_output", "inputs": ["call"], "outputs": []}}],
            "bindings": [{{"to": "out.call", "from": "$req.rpc.call"}}]}}"#
    );
    let graph = GraphSource { origin: "test".into(), stem: None, text: Bytes::from(text) };
    let (kernels, env) = kernels();
    let plan = ExecPlan::compile(&graph, &kernels, &env).unwrap();
    let entry = Entry {
        id: id(major),
        digest,
        module: digest,
        graph: plan.name().clone(),
        version: plan.version().clone(),
        hash: plan.hash(),
        source: content.to_owned(),
        deployed_at_ms: 0,
        methods: vec!["Do".to_owned()],
    };
    (entry, package, graph)
}

/// A directory in memory, where there is such a thing: these tests sync thousands of times.
fn empty_dir() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn packages_of(dir: &TempDir) -> PathBuf {
    dir.path().join("packages")
}

fn files(dir: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(packages_of(dir)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

// === impl World ===

impl World {
    /// Opens everything, and fails or dies at the `doomed`th step from now.
    fn open(dir: &TempDir, doomed: usize, fate: Fate) -> Self {
        let taken = Arc::new(AtomicUsize::new(0));
        let watch = || {
            let taken = taken.clone();
            DiskWatch::by(move |step| {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number < doomed || (fate == Fate::NoRoom && number > doomed) {
                    return Ok(());
                }
                match (fate, step) {
                    (Fate::NoRoom, DiskStep::SyncFile { .. } | DiskStep::SyncDir) => Ok(()),
                    (Fate::NoRoom, _) => Err(io::Error::from(io::ErrorKind::StorageFull)),
                    (Fate::Killed, DiskStep::Write { path, bytes }) if number == doomed => {
                        // The worst a write can leave is half of itself.
                        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
                        Err(io::Error::other("killed"))
                    }
                    (Fate::Killed, _) => Err(io::Error::other("killed")),
                }
            })
        };
        let mut findings = Vec::new();
        let mut books = Books::open(Some(&packages_of(dir)), watch(), &mut findings).unwrap();
        for entry in books.needed() {
            findings.extend(books.read(&entry).err());
        }
        let (kernels, env) = kernels();
        let options =
            StoreOptions { dir: Some(dir.path().to_owned()), ..StoreOptions::in_memory(kernels, env) };
        let (store, recovery) = PlanStore::open_watched(options, watch()).unwrap();
        assert!(!recovery.findings.iter().any(|found| found.to_string().contains("cannot be used")));
        books.settle(&store, &mut findings);
        Self { books, store, findings }
    }

    fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Deploy { major, content } => {
                let (entry, package, graph) = made(major, content);
                let deployed = self.books.install(&self.store, entry, &package, &graph).is_ok();
                self.books.sweep(&self.store);
                deployed
            }
            Change::Undeploy { major } => self.books.retire(&self.store, &id(major)).is_ok(),
        }
    }

    fn run(&mut self, history: &[Change]) -> usize {
        history.iter().position(|change| !self.apply(*change)).unwrap_or(history.len())
    }

    fn state(&self) -> State {
        let graph = self.store.get(&ROUTE.parse().unwrap());
        let standing = |entry: &Entry| format!("{:?}", Standing::of(entry, graph.as_ref()));
        let currents = self.books.ledger().currents();
        let ids = currents.iter().map(|entry| (entry.id.clone(), (entry.digest, standing(entry)))).collect();
        let serving = self.store.resolve_service(ROUTE);
        (ids, serving.map(|lease| lease.description().map_or_else(String::new, |text| text.to_string())))
    }

    /// Files and ledger agree, and nobody's file is there.
    fn check_files(&self, dir: &TempDir, context: &str) {
        let named = self.books.ledger().entries.iter().map(|entry| package_file(&entry.digest));
        let mut expected: BTreeSet<String> = named.collect();
        let found = files(dir);
        expected
            .extend([LEDGER, LEDGER_COPY].map(str::to_owned).into_iter().filter(|file| found.contains(file)));
        assert_eq!(found, expected, "{context}");
    }
}

/// What there is before the history, and after each of its changes.
fn states() -> Vec<State> {
    let dir = empty_dir();
    let mut world = World::open(&dir, usize::MAX, Fate::Killed);
    let mut states = vec![world.state()];
    for change in HISTORY {
        assert!(world.apply(change));
        world.check_files(&dir, &format!("{change:?}"));
        states.push(world.state());
    }
    states
}

#[test]
fn a_history_goes_as_it_should() {
    let states = states();
    let serving: Vec<Option<String>> = states.iter().map(|(_, serving)| serving.clone()).collect();
    let digest = |major, content| Some(made(major, content).0.digest.to_string());
    let (a, b, c, d) = (digest(1, "a"), digest(1, "b"), digest(2, "c"), digest(2, "d"));
    assert_eq!(serving, [None, a.clone(), b.clone(), b.clone(), c, a.clone(), d, a, None, b]);
    let standing = |state: &State| state.0.values().map(|(_, standing)| standing.clone()).collect::<Vec<_>>();
    assert_eq!(standing(&states[4]), ["ByVersion", "Active"]);
    assert_eq!(standing(&states[5]), ["Active", "ByVersion"]);
    assert_eq!(standing(&states[7]), ["Active"]);
    assert!(states[8].0.is_empty());
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new_whole() {
    let states = states();
    for stop in 0.. {
        let dir = empty_dir();
        let mut world = World::open(&dir, stop, Fate::Killed);
        let done = world.run(&HISTORY);
        assert_eq!(world.state().1, states[done].1, "step {stop}: a change that failed is seen");
        drop(world);
        let world = World::open(&dir, usize::MAX, Fate::Killed);
        let found = world.state();
        let after = states.get(done + 1).unwrap_or(&states[done]);
        assert!(found == states[done] || found == *after, "step {stop}: {found:#?}\n{:#?}", states[done]);
        let harmless = world.findings.iter().all(|finding| {
            matches!(
                finding,
                PackageFinding::Leftover { .. }
                    | PackageFinding::Finished { .. }
                    | PackageFinding::Undone { .. }
                    | PackageFinding::LedgerRestored { .. }
            )
        });
        assert!(harmless, "step {stop}: {:?}", world.findings);
        world.check_files(&dir, &format!("step {stop}"));
        drop(world);
        // What was found is in order now, and the rest of the history still works.
        let mut world = World::open(&dir, usize::MAX, Fate::Killed);
        assert_eq!((world.state(), world.findings.as_slice()), (found.clone(), &[][..]), "step {stop}");
        let done = if found == states[done] { done } else { done + 1 };
        assert_eq!(world.run(&HISTORY[done..]), HISTORY.len() - done, "step {stop}");
        assert_eq!(world.state(), states[HISTORY.len()]);
        if done == HISTORY.len() {
            assert!(stop > 100, "{stop}");
            return;
        }
    }
}

#[test]
fn a_step_for_which_there_is_no_room_refuses_its_change_and_leaves_no_file() {
    let states = states();
    for doomed in 0.. {
        let dir = empty_dir();
        let mut world = World::open(&dir, doomed, Fate::NoRoom);
        let done = world.run(&HISTORY);
        let context = format!("step {doomed}");
        assert_eq!(world.state(), states[done], "{context}");
        if done < HISTORY.len() {
            world.check_files(&dir, &context);
            // There is room again: the same change is accepted now.
            assert_eq!(world.run(&HISTORY[done..]), HISTORY.len() - done, "{context}");
            world.check_files(&dir, &context);
            drop(world);
            let world = World::open(&dir, usize::MAX, Fate::NoRoom);
            assert_eq!((world.state(), world.findings), (states[HISTORY.len()].clone(), vec![]), "{context}");
        } else if doomed > 300 {
            return;
        }
    }
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_kept() {
    let dir = empty_dir();
    let mut world = World::open(&dir, usize::MAX, Fate::Killed);
    assert_eq!(world.run(&HISTORY[..4]), 4);
    let state = world.state();
    drop(world);
    let package = packages_of(&dir).join(package_file(&made(1, "b").0.digest));
    for (file, by_copy) in [(LEDGER, true), (LEDGER_COPY, true)] {
        let path = packages_of(&dir).join(file);
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            let world = World::open(&dir, usize::MAX, Fate::Killed);
            assert_eq!(world.state(), state, "{file} {place}");
            let restored = |found: &PackageFinding| matches!(found, PackageFinding::LedgerRestored { .. });
            assert_eq!(world.findings.iter().all(restored), by_copy, "{:?}", world.findings);
        }
    }
    fs::write(&package, "something else").unwrap();
    let mut world = World::open(&dir, usize::MAX, Fate::Killed);
    let finding = world.findings.first().unwrap().to_string();
    assert!(finding.contains("shop.Orders.v1") && finding.contains("kept as quarantine/"), "{finding}");
    // The same package again puts it right.
    assert!(world.apply(Change::Deploy { major: 1, content: "b" }));
    drop(world);
    assert_eq!(World::open(&dir, usize::MAX, Fate::Killed).findings, []);
}

#[test]
fn without_a_ledger_packages_are_set_aside_and_not_removed() {
    let dir = empty_dir();
    let mut world = World::open(&dir, usize::MAX, Fate::Killed);
    assert_eq!(world.run(&HISTORY[..1]), 1);
    drop(world);
    for file in [LEDGER, LEDGER_COPY] {
        fs::write(packages_of(&dir).join(file), "nonsense").unwrap();
    }
    let world = World::open(&dir, usize::MAX, Fate::Killed);
    let [PackageFinding::LedgerLost { kept_as }] = world.findings.as_slice() else {
        panic!("{:?}", world.findings);
    };
    assert_eq!(kept_as.len(), 3);
    assert!(kept_as.iter().all(|file| packages_of(&dir).join(file).exists()));
}

#[test]
fn a_ledger_of_a_later_program_is_left_alone() {
    let dir = empty_dir();
    let mut world = World::open(&dir, usize::MAX, Fate::Killed);
    assert_eq!(world.run(&HISTORY[..1]), 1);
    drop(world);
    let path = packages_of(&dir).join(LEDGER);
    let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
    let body = text.split_once('\n').unwrap().1.replacen("\"format\": 1", "\"format\": 2", 1);
    let later = format!("{}\n{body}", PackageDigest::of(body.as_bytes()));
    fs::write(&path, &later).unwrap();
    let error = Books::open(Some(&packages_of(&dir)), DiskWatch::NOBODY, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ShelfError::LaterFormat { format: 2, .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), later);
}

#[test]
fn a_graph_of_ones_own_is_not_displaced() {
    let mut findings = Vec::new();
    let mut books = Books::open(None, DiskWatch::NOBODY, &mut findings).unwrap();
    let (kernels, env) = kernels();
    let store = PlanStore::open(StoreOptions::in_memory(kernels, env)).unwrap().0;
    let (_, _, own) = made(7, "mine");
    let staged = store.stage(&own, false).unwrap();
    store.publish(&staged.graph, &staged.release.version).unwrap();
    let (entry, package, graph) = made(1, "a");
    let installed = books.install(&store, entry.clone(), &package, &graph).unwrap();
    assert_eq!(installed.receipt, None);
    assert_eq!(store.resolve_service(ROUTE).unwrap().version(), &staged.release.version);
    let standing = |books: &Books| {
        Standing::of(books.ledger().current(&id(1)).unwrap(), store.get(&staged.graph).as_ref())
    };
    assert_eq!(standing(&books), Standing::Staged);
    books.retire(&store, &id(1)).unwrap();
    assert_eq!(store.resolve_service(ROUTE).unwrap().version(), &staged.release.version);
    // Not even in its own version.
    let (entry, package, graph) = made(7, "other");
    assert!(matches!(books.install(&store, entry, &package, &graph), Err(BooksError::Install(_))));
    assert!(books.ledger().entries.is_empty());
}
