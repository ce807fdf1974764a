//! What is left after a stop, a failure or a power cut at every single step of a history of changes:
//! always the state before the change that was under way, or the state after it, whole.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::super::archive::{STATE, STATE_COPY};
use super::super::disk::DiskStep;
use super::*;

/// A change, as data, so that a history of them can be run again and again.
enum Change {
    Stage(GraphSource),
    Publish(&'static str, &'static str),
    Rollback(&'static str),
    Pin(&'static str, Option<&'static str>),
    Withdraw(&'static str),
    Evict(&'static str, &'static str),
    Install(GraphSource),
    /// Every content of a version; what is left takes its place.
    Retire(&'static str, &'static str),
}

/// The kinds of step, without what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Sync,
    Name,
}

/// What a step did to the disk, for a disk that forgets.
#[derive(Clone)]
enum Effect {
    Link(OsString, Inode),
    Rename(OsString, OsString),
    Unlink(OsString),
}

/// The content of a file, and whether it would survive a power cut.
#[derive(Clone)]
struct Inode(Arc<Mutex<(Vec<u8>, bool)>>);

/// A directory of which only what was synced is sure to last.
#[derive(Clone, Default)]
struct Platter {
    durable: BTreeMap<OsString, Inode>,
    pending: Vec<Effect>,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

impl Change {
    fn apply(&self, store: &PlanStore) -> Outcome {
        match self {
            Self::Stage(source) => store.stage(source, true).map(drop)?,
            Self::Publish(graph, text) => store.publish(&name(graph), &version(text)).map(drop)?,
            Self::Rollback(graph) => store.rollback(&name(graph)).map(drop)?,
            Self::Pin(graph, text) => store.pin(&name(graph), text.map(version).as_ref()).map(drop)?,
            Self::Withdraw(graph) => store.withdraw(&name(graph)).map(drop)?,
            Self::Evict(graph, text) => store.evict(&name(graph), &version(text))?,
            Self::Install(source) => store.install(source, &|_| true).map(drop)?,
            Self::Retire(graph, text) => {
                let held = store.get(&name(graph)).map(|status| status.versions).unwrap_or_default();
                let held = held.into_iter().map(|v| ReleaseId { version: v.version, hash: v.hash });
                let (ends, rest): (Vec<_>, Vec<_>) = held.partition(|id| id.version == version(text));
                store.retire(&name(graph), &ends, rest.last()).map(drop)?;
            }
        }
        Ok(())
    }
}

/// Each kind of change at least once, over two graphs.
fn history() -> Vec<Change> {
    vec![
        Change::Stage(served("shop", "1.0.0", &["pkg.Shop"], 1)),
        Change::Publish("shop", "1.0.0"),
        Change::Stage(shop("2.0.0", 2)),
        Change::Publish("shop", "2.0.0"),
        Change::Stage(inner("part", "1.0.0")),
        Change::Publish("part", "1.0.0"),
        Change::Pin("shop", Some("1.0.0")),
        Change::Stage(shop("2.0.0", 22)),
        Change::Publish("shop", "2.0.0"),
        Change::Pin("shop", None),
        Change::Rollback("shop"),
        Change::Stage(shop("3.0.0", 3)),
        Change::Publish("shop", "3.0.0"),
        Change::Evict("shop", "1.0.0"),
        Change::Withdraw("part"),
        Change::Evict("part", "1.0.0"),
        Change::Install(served("route", "1.0.0", &["pkg.Route"], 1)),
        Change::Install(served("route", "1.0.0", &["pkg.Route"], 2)),
        Change::Install(served("route", "2.0.0", &["pkg.Route"], 3)),
        Change::Retire("route", "2.0.0"),
        Change::Retire("route", "1.0.0"),
    ]
}

/// What the store says of itself before the history, and after each of its changes.
fn states(history: &[Change]) -> Vec<Vec<GraphStatus>> {
    let store = in_memory();
    let mut states = vec![store.list()];
    for change in history {
        change.apply(&store).unwrap();
        states.push(store.list());
    }
    states
}

fn kind(step: &DiskStep<'_>) -> Kind {
    match step {
        DiskStep::Write { .. } => Kind::Write,
        DiskStep::SyncFile { .. } | DiskStep::SyncDir => Kind::Sync,
        DiskStep::Rename { .. } | DiskStep::Remove { .. } => Kind::Name,
    }
}

/// Runs changes until one fails, and returns how many went well.
fn run(store: &PlanStore, history: &[Change]) -> usize {
    history.iter().position(|change| change.apply(store).is_err()).unwrap_or(history.len())
}

fn open_watched(
    dir: &TempDir,
    watch: impl FnMut(&DiskStep<'_>) -> io::Result<()> + Send + 'static,
) -> Result<PlanStore, OpenError> {
    PlanStore::open_watched(options(Some(dir.path())), DiskWatch::by(watch)).map(|(store, _)| store)
}

/// The same directory, but for one file.
fn without(dir: &TempDir, missing: &str) -> TempDir {
    let other = empty_dir();
    let graphs = other.path().join(GRAPHS_DIR);
    fs::create_dir(&graphs).unwrap();
    for entry in fs::read_dir(dir.path().join(GRAPHS_DIR)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != missing {
            fs::copy(entry.path(), graphs.join(entry.file_name())).unwrap();
        }
    }
    other
}

/// Documents that the store does not need, and files that were being written.
fn strays(dir: &TempDir, store: &PlanStore) -> Vec<String> {
    let files = fs::read_dir(dir.path().join(GRAPHS_DIR)).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let needed = |name: &String| match super::super::archive::parse_document_file(name) {
        None => name == STATE || name == STATE_COPY,
        Some((graph, digest)) => {
            let books = store.books.lock();
            let record = books.ledger.graphs.get(&graph);
            record.is_some_and(|record| record.releases.iter().any(|release| release.digest == digest))
        }
    };
    names.filter(|name| !needed(name)).collect()
}

fn gone() -> io::Error {
    io::Error::other("the process was killed")
}

#[test]
fn a_kill_at_any_step_leaves_the_state_before_or_after() {
    let history = history();
    let states = states(&history);
    let mut reached_the_end = false;
    for stop in 0.. {
        let dir = empty_dir();
        let taken = AtomicUsize::new(0);
        let store = open_watched(&dir, move |step| {
            let step_number = taken.fetch_add(1, Ordering::Relaxed);
            if step_number < stop {
                return Ok(());
            }
            // The worst a write can leave is half of itself; nothing happens after that.
            if let (DiskStep::Write { path, bytes }, true) = (step, step_number == stop) {
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }
            Err(gone())
        });
        let store = store.unwrap();
        let done = run(&store, &history);
        assert_eq!(store.list(), states[done], "step {stop}: a change that failed left a trace");
        drop(store);
        let after = states.get(done + 1).unwrap_or(&states[done]);
        let by_copy = open(&without(&dir, STATE)).0.list();
        assert!(by_copy == states[done] || by_copy == *after, "step {stop}: {by_copy:#?}");

        let (store, recovery) = open(&dir);
        let found = store.list();
        assert!(found == states[done] || found == *after, "step {stop}: {found:#?}");
        let harmless = |f: &Finding| matches!(f, Finding::Leftover { .. } | Finding::StateRestored { .. });
        assert!(recovery.findings.iter().all(harmless), "step {stop}: {:?}", recovery.findings);
        drop(store);
        // What was found is in order now, and the rest of the history still works.
        let store = open_clean(&dir);
        assert_eq!(store.list(), found);
        let done = if found == states[done] { done } else { done + 1 };
        assert_eq!(run(&store, &history[done..]), history.len() - done, "step {stop}");
        assert_eq!(store.list(), states[history.len()]);
        if done == history.len() {
            reached_the_end = true;
            break;
        }
    }
    assert!(reached_the_end);
}

#[test]
fn a_step_that_fails_refuses_its_change_and_no_other() {
    let history = history();
    let states = states(&history);
    for failing in 0.. {
        let dir = empty_dir();
        let (taken, failed) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
        let store = open_watched(&dir, {
            let failed = failed.clone();
            move |step| {
                if taken.fetch_add(1, Ordering::Relaxed) != failing {
                    return Ok(());
                }
                *failed.lock() = Some(kind(step));
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
        });
        let store = store.unwrap();
        let done = run(&store, &history);
        assert_eq!(store.list(), states[done], "step {failing}");
        let Some(kind) = *failed.lock() else { break };
        if kind == Kind::Sync {
            // What a failed sync left on the disk is unknown, so nothing more is written.
            assert!(store.read_only().is_some(), "step {failing}");
            assert_eq!(run(&store, &history[done..]), 0);
            assert_eq!(store.list(), states[done]);
            drop(store);
            let found = open(&dir).0.list();
            let after = states.get(done + 1).unwrap_or(&states[done]);
            assert!(found == states[done] || found == *after, "step {failing}: {found:#?}");
        } else {
            // What was refused has not happened, leaves no file, and does not come to light later.
            let refused = done < history.len();
            assert!(!refused || strays(&dir, &store).is_empty(), "step {failing}");
            assert_eq!(open(&without(&dir, "nothing")).0.list(), states[done], "step {failing}");
            // There is room again: the same change is accepted now.
            assert!(store.read_only().is_none());
            assert_eq!(run(&store, &history[done..]), history.len() - done, "step {failing}");
            assert_eq!(store.list(), states[history.len()]);
            drop(store);
            assert_eq!(open(&dir).0.list(), states[history.len()], "step {failing}");
        }
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_state_before_or_after() {
    let history = history();
    let states = states(&history);
    // What the disk holds for sure, and what it may hold, before each step; and the changes done by then.
    let cuts: Arc<Mutex<Vec<(Platter, usize)>>> = Arc::default();
    let done = Arc::new(AtomicUsize::new(0));
    let dir = empty_dir();
    let store = open_watched(&dir, {
        let (cuts, done, mut platter) = (cuts.clone(), done.clone(), Platter::default());
        move |step| {
            cuts.lock().push((platter.clone(), done.load(Ordering::Relaxed)));
            platter.take(step);
            Ok(())
        }
    });
    let store = store.unwrap();
    for change in &history {
        change.apply(&store).unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
    let cuts = std::mem::take(&mut *cuts.lock());
    assert!(cuts.len() > 100);
    for (number, (platter, done)) in cuts.iter().enumerate() {
        for outcome in platter.outcomes() {
            let dir = empty_dir();
            let graphs = dir.path().join(GRAPHS_DIR);
            fs::create_dir(&graphs).unwrap();
            for (name, content) in outcome {
                fs::write(graphs.join(name), content).unwrap();
            }
            let found = open(&dir).0.list();
            assert!(found == states[*done] || found == states[done + 1], "step {number}: {found:#?}");
        }
    }
}

#[test]
fn a_disk_that_takes_nothing_still_serves_what_it_holds() {
    let dir = empty_dir();
    let store = open_watched(&dir, |_| Ok(())).unwrap();
    let history = history();
    run(&store, &history[..6]);
    let list = store.list();
    drop(store);
    let read_only = || io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
    let watch = DiskWatch::by(move |_| Err(read_only()));
    let (store, recovery) = PlanStore::open_watched(options(Some(dir.path())), watch).unwrap();
    assert_eq!((recovery.serving, recovery.findings), (2, vec![]));
    for change in &history[6..] {
        // To let go what is not held, or publish what is active, changes nothing, so it needs no disk.
        let needs_none = matches!(change, Change::Pin(_, None) | Change::Publish("shop", "2.0.0"));
        assert_eq!(change.apply(&store).is_err(), !needs_none);
    }
    assert_eq!(store.list(), list);
    assert_eq!(serving(&store, "shop").unwrap(), "2.0.0");
}

#[test]
fn a_change_that_changes_nothing_takes_no_step() {
    let dir = empty_dir();
    let taken = Arc::new(AtomicUsize::new(0));
    let store = open_watched(&dir, {
        let taken = taken.clone();
        move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let store = store.unwrap();
    store.deploy(&shop("1.0.0", 1));
    let before = taken.load(Ordering::Relaxed);
    store.deploy(&shop("1.0.0", 1));
    store.pin(&name("shop"), None).unwrap();
    assert_eq!(taken.load(Ordering::Relaxed), before);
}

// === impl Platter ===

impl Platter {
    fn take(&mut self, step: &DiskStep<'_>) {
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        match step {
            DiskStep::Write { path, bytes } => {
                let inode = Inode(Arc::new(Mutex::new((bytes.to_vec(), false))));
                self.pending.push(Effect::Link(name(path), inode));
            }
            DiskStep::SyncFile { path } => {
                let inode = Self::after(&self.durable, &self.pending).remove(&name(path)).unwrap();
                // The outcomes of earlier cuts must not see this, so the inode is replaced by a synced one.
                let synced = Inode(Arc::new(Mutex::new((inode.0.lock().0.clone(), true))));
                self.pending.push(Effect::Link(name(path), synced));
            }
            DiskStep::Rename { from, to } => self.pending.push(Effect::Rename(name(from), name(to))),
            DiskStep::Remove { path } => self.pending.push(Effect::Unlink(name(path))),
            DiskStep::SyncDir => {
                self.durable = Self::after(&self.durable, &std::mem::take(&mut self.pending));
            }
        }
    }

    /// The directories that a power cut may leave: what was not synced yet has happened up to any point,
    /// or has happened but for any one thing.
    fn outcomes(&self) -> Vec<BTreeMap<OsString, Vec<u8>>> {
        let pending = &self.pending;
        let prefixes = (0..=pending.len()).map(|length| pending[..length].to_vec());
        let gaps = (0..pending.len()).map(|gap| {
            let mut rest = pending.clone();
            rest.remove(gap);
            rest
        });
        prefixes
            .chain(gaps)
            .map(|effects| {
                let names = Self::after(&self.durable, &effects);
                names.into_iter().map(|(name, inode)| (name, inode.survivor())).collect()
            })
            .collect()
    }

    fn after(durable: &BTreeMap<OsString, Inode>, effects: &[Effect]) -> BTreeMap<OsString, Inode> {
        let mut names = durable.clone();
        for effect in effects {
            match effect {
                Effect::Link(name, inode) => {
                    names.insert(name.clone(), inode.clone());
                }
                Effect::Rename(from, to) => {
                    if let Some(inode) = names.remove(from) {
                        names.insert(to.clone(), inode);
                    }
                }
                Effect::Unlink(name) => {
                    names.remove(name);
                }
            }
        }
        names
    }
}

// === impl Inode ===

impl Inode {
    /// What a power cut leaves of the content: all of it if it was synced, else nothing.
    fn survivor(&self) -> Vec<u8> {
        let (content, synced) = &*self.0.lock();
        if *synced { content.clone() } else { Vec::new() }
    }
}
