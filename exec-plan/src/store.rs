//! The plan store: graphs by name and version, and which of them serves.
//!
//! ```text
//! stage ──► ledger ──► archive ──► catalog ──► tenure ──► receipt
//!  compile   rules      saved       what        retired,   drained by
//!  a plan    applied    and synced  serves      counted    the last lease
//! ```
//!
//! Reading is wait-free but for one repetition per publish that happens meanwhile: a load of the catalog,
//! a look-up, a count on a cache line of this thread. Changes are made one at a time, under a lock that
//! no reader takes: applied to a clone of the ledger, saved, and only then made visible by one atomic
//! store. So a change that cannot be saved has not happened, and one that was acknowledged survives a
//! kill.
//!
//! A plan is served by three ways: the services it claims, the graph's name, and the host's default; all
//! lead to one seat. A call may also ask for a version by itself, of those that served at some time: it
//! is counted apart and belongs to no swap. Inner graphs are served to other graphs alone.
//!
//! The store does not run plans, choose between the ways, or watch files.

mod archive;
mod catalog;
mod compiler;
mod disk;
mod error;
mod install;
mod lease;
mod ledger;
mod receipt;
mod recovery;
mod release;
mod state;
mod status;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use self::archive::Archive;
use self::catalog::{Catalog, Place};
use self::compiler::Compiler;
pub use self::disk::DiskError;
pub use self::disk::{Disk, DiskStep, DiskWatch, is_unfinished};
pub use self::error::{EvictError, OpenError, PublishError, StageError, Unresolved};
pub use self::install::{InstallError, Installed};
pub use self::ledger::Role;
use self::ledger::{Ledger, Staging};
use self::receipt::{Passage, SwapLog};
pub use self::receipt::{SwapCause, SwapReceipt};
pub use self::recovery::{Finding, Recovery};
use self::release::Release;
pub use self::release::{PlanLease, ReleaseId};
use self::status::View;
pub use self::status::{GraphStatus, VersionStatus};
use crate::context::{EnvSchema, GraphResolver, HeldPlan};
use crate::diagnostic::GraphErrors;
use crate::identity::{GraphName, Version};
use crate::kernel::KernelRegistry;
use crate::plan::{ExecPlan, GraphSource};

/// Graphs by name and version, and which of them serves.
pub struct PlanStore {
    catalog: ArcSwap<Catalog>,
    swaps: SwapLog,
    compiler: Compiler,
    keep: NonZeroUsize,
    books: Mutex<Books>,
    /// Counts the changes of the catalog.
    flips: watch::Sender<u64>,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The kernels its graphs may name.
    pub kernels: KernelRegistry,
    /// The environment of graphs that answer calls.
    pub env: EnvSchema,
    /// The data directory, in which `graphs/` is the store's; `None` keeps all in memory.
    pub dir: Option<PathBuf>,
    /// How many versions of a graph are kept. Staging one more evicts what was staged longest ago, but
    /// never what is active, pinned, the host's default, or what a rollback would go to.
    pub keep: NonZeroUsize,
}

/// What staging gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Staged {
    /// The graph.
    pub graph: GraphName,
    /// The release.
    pub release: ReleaseId,
    /// Whether the version has this content only now; otherwise nothing changed.
    pub is_new: bool,
    /// The versions it displaced.
    pub evicted: Vec<Version>,
}

/// What changes write to, one at a time.
struct Books {
    ledger: Ledger,
    archive: Option<Archive>,
    /// Every plan that may still be in use somewhere.
    plans: Vec<Weak<ExecPlan>>,
}

/// The store's part of the data directory.
const GRAPHS_DIR: &str = "graphs";

// === impl StoreOptions ===

impl StoreOptions {
    /// How many versions of a graph are kept unless the host says otherwise.
    pub const DEFAULT_KEEP: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

    /// Options for a store in memory.
    pub fn in_memory(kernels: KernelRegistry, env: EnvSchema) -> Self {
        Self { kernels, env, dir: None, keep: Self::DEFAULT_KEEP }
    }
}

// === impl PlanStore: opening ===

impl PlanStore {
    /// Opens a store: what was published serves at once, as it did when the store was left. What could
    /// not be read back is named in the [`Recovery`], and the rest serves.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be used at all.
    pub fn open(options: StoreOptions) -> Result<(Self, Recovery), OpenError> {
        Self::open_watched(options, DiskWatch::NOBODY)
    }

    /// The same, with somebody watching every step on the disk: how tests pull the plug.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_watched(options: StoreOptions, watch: DiskWatch) -> Result<(Self, Recovery), OpenError> {
        let StoreOptions { kernels, env, dir, keep } = options;
        let compiler = Compiler { kernels, env };
        let (archive, ledger, recovery) = match dir.map(|dir| dir.join(GRAPHS_DIR)) {
            None => (None, Ledger::default(), Recovery::default()),
            Some(dir) => {
                let Some(disk) = Disk::open(dir.clone(), watch)? else {
                    return Err(OpenError::InUse { dir });
                };
                let (archive, ledger, recovery) = recovery::recover(disk, &compiler)?;
                (Some(archive), ledger, recovery)
            }
        };
        let catalog = ArcSwap::from_pointee(Catalog::default().next(&ledger));
        let releases = ledger.graphs.values().flat_map(|record| &record.releases);
        let plans = releases.filter_map(Release::plan).map(Arc::downgrade).collect();
        let books = Mutex::new(Books { ledger, archive, plans });
        let flips = watch::Sender::new(0);
        Ok((Self { catalog, swaps: SwapLog::default(), compiler, keep, books, flips }, recovery))
    }
}

// === impl PlanStore: reading ===

impl PlanStore {
    /// A lease on what serves an RPC service, `package.Service`.
    #[inline]
    pub fn resolve_service(&self, service: &str) -> Option<PlanLease> {
        self.lease(|catalog| catalog.service(service))
    }

    /// A lease on what serves the graph of this name; or on one of its versions, which must have served
    /// at some time.
    ///
    /// # Errors
    /// [`Unresolved`] says what is missing.
    pub fn resolve_named(&self, name: &str, version: Option<&Version>) -> Result<PlanLease, Unresolved> {
        let mut missing = Unresolved::NotServing;
        let found = self.lease(|catalog| catalog.named(name, version).map_err(|m| missing = m).ok());
        found.ok_or(missing)
    }

    /// A lease on what serves an RPC service, else on what answers the calls that name no graph.
    #[inline]
    pub fn resolve(&self, service: &str) -> Option<PlanLease> {
        self.lease(|catalog| catalog.service(service).or_else(|| catalog.by_default()))
    }

    /// A lease on what answers the calls that name no graph.
    #[inline]
    pub fn resolve_default(&self) -> Option<PlanLease> {
        self.lease(Catalog::by_default)
    }

    /// Whether something serves an RPC service, `package.Service`.
    pub fn serves(&self, service: &str) -> bool {
        self.catalog.load().service(service).is_some()
    }

    /// The RPC services that are served, in order, each with the label of the plan that serves it.
    pub fn services(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.catalog.load().services()
    }

    /// Tells of every change of what serves, after it is visible: the number counts them.
    pub fn flips(&self) -> watch::Receiver<u64> {
        self.flips.subscribe()
    }

    /// Every graph, by name.
    pub fn list(&self) -> Vec<GraphStatus> {
        let books = self.books.lock();
        books.ledger.graphs.keys().filter_map(|name| self.status(&books, name)).collect()
    }

    /// One graph.
    pub fn get(&self, name: &GraphName) -> Option<GraphStatus> {
        self.status(&self.books.lock(), name)
    }

    /// The plan of a version, staged or published, to look at; what is active if none is named. Running
    /// it is not counted: for that, take a lease.
    pub fn inspect(&self, name: &GraphName, version: Option<&Version>) -> Option<Arc<ExecPlan>> {
        let books = self.books.lock();
        let record = books.ledger.graphs.get(name)?;
        let release = match version {
            Some(version) => record.current(version),
            None => record.get(record.active.as_ref()?),
        };
        release.and_then(Release::plan).cloned()
    }

    /// The receipts of the latest swaps, oldest first.
    pub fn receipts(&self) -> Vec<SwapReceipt> {
        self.swaps.latest().iter().map(|swap| swap.receipt()).collect()
    }

    /// The receipt of a swap, complete: waits until what it found in flight has ended. `None` if the
    /// swap is not known, or no longer.
    pub async fn drained(&self, id: u64) -> Option<SwapReceipt> {
        let swap = self.swaps.get(id)?;
        swap.wait().await;
        Some(swap.receipt())
    }

    /// How many plans are in memory: kept here, or still running somewhere.
    pub fn live_plans(&self) -> usize {
        let plans = &mut self.books.lock().plans;
        plans.retain(|plan| plan.strong_count() > 0);
        plans.len()
    }

    /// Why no change is accepted until the store is opened anew: something could not be made durable.
    pub fn read_only(&self) -> Option<Arc<str>> {
        self.books.lock().archive.as_ref()?.read_only().cloned()
    }

    fn status(&self, books: &Books, name: &GraphName) -> Option<GraphStatus> {
        let record = books.ledger.graphs.get(name)?;
        let catalog = self.catalog.load();
        let seat = catalog.seat(name.as_str()).map(|seat| &**seat);
        let swaps = self.swaps.latest();
        Some(View { name, record, ledger: &books.ledger, seat, swaps: &swaps }.status())
    }

    /// Looks a place up and takes a lease there. A place that is given up between the two is followed
    /// by a new one, so this repeats once per publish at most.
    #[inline]
    fn lease(&self, mut find: impl FnMut(&Catalog) -> Option<Place<'_>>) -> Option<PlanLease> {
        loop {
            if let Some(lease) = find(&self.catalog.load())?.lease() {
                return Some(lease);
            }
        }
    }
}

// === impl PlanStore: changing ===

impl PlanStore {
    /// Compiles a document without keeping it.
    ///
    /// # Errors
    /// Every problem of the document.
    pub fn check(&self, source: &GraphSource) -> Result<Arc<ExecPlan>, GraphErrors> {
        self.compiler.compile(source)
    }

    /// Compiles a document and keeps it; nothing changes in what serves. The content that a version has
    /// already is left as it is, and other content is refused unless `force` replaces it.
    ///
    /// # Errors
    /// [`StageError`]; nothing has changed then.
    pub fn stage(&self, source: &GraphSource, force: bool) -> Result<Staged, StageError> {
        let plan = self.compiler.compile(source)?;
        let graph = plan.name().clone();
        let release = Release::new(plan);
        let id = release.id.clone();
        let mut books = self.books.lock();
        let mut next = books.ledger.clone();
        let evicted = match next.stage(&graph, release.clone(), force, self.keep)? {
            Staging::Known => {
                return Ok(Staged { graph, release: id, is_new: false, evicted: Vec::new() });
            }
            Staging::Kept { evicted } => evicted,
        };
        if let Some(archive) = &mut books.archive {
            archive.put(&graph, &release)?;
        }
        books.save(next)?;
        books.note(&release);
        self.flip(&books);
        Ok(Staged { graph, release: id, is_new: true, evicted })
    }

    /// Makes a version active. Calls that come later run on it; those in flight keep what they have.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn publish(&self, graph: &GraphName, version: &Version) -> Result<SwapReceipt, PublishError> {
        self.swap(graph, SwapCause::Publish, |ledger| ledger.publish(graph, version))
    }

    /// Makes active what was active before. Done again, it goes back further.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn rollback(&self, graph: &GraphName) -> Result<SwapReceipt, PublishError> {
        self.swap(graph, SwapCause::Rollback, |ledger| ledger.rollback(graph))
    }

    /// Holds a graph at a version, whatever is published meanwhile; `None` lets it go.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn pin(&self, graph: &GraphName, version: Option<&Version>) -> Result<SwapReceipt, PublishError> {
        let cause = if version.is_some() { SwapCause::Pin } else { SwapCause::Unpin };
        self.swap(graph, cause, |ledger| ledger.pin(graph, version))
    }

    /// Serves nothing of a graph any more, by no way; its versions stay, and a rollback brings it back.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn withdraw(&self, graph: &GraphName) -> Result<SwapReceipt, PublishError> {
        self.swap(graph, SwapCause::Withdraw, |ledger| ledger.withdraw(graph))
    }

    /// Forgets a version. Calls that run on it go on.
    ///
    /// # Errors
    /// [`EvictError`]; nothing has changed then.
    pub fn evict(&self, graph: &GraphName, version: &Version) -> Result<(), EvictError> {
        let mut books = self.books.lock();
        let mut next = books.ledger.clone();
        next.evict(graph, version)?;
        books.save(next)?;
        self.flip(&books);
        Ok(())
    }

    /// Sets the graph of the calls that name none, and the version it is held at for them. It need not
    /// be there yet. This is the host's configuration and is not saved.
    ///
    /// # Errors
    /// [`PublishError::Inner`] if the graph is there and answers no calls.
    pub fn set_default(&self, graph: &GraphName, version: Option<&Version>) -> Result<(), PublishError> {
        let mut books = self.books.lock();
        books.ledger.set_default(graph, version)?;
        self.flip(&books);
        Ok(())
    }

    /// Applies a change to what serves: saved first, then visible, then counted.
    fn swap(
        &self,
        graph: &GraphName,
        cause: SwapCause,
        edit: impl FnOnce(&mut Ledger) -> Result<(), PublishError>,
    ) -> Result<SwapReceipt, PublishError> {
        let mut books = self.books.lock();
        let mut next = books.ledger.clone();
        edit(&mut next)?;
        Ok(self.apply(&mut books, next, graph, cause)?)
    }

    /// Saves a ledger, shows it to readers, and says what that did to one graph.
    fn apply(
        &self,
        books: &mut Books,
        next: Ledger,
        graph: &GraphName,
        cause: SwapCause,
    ) -> Result<SwapReceipt, DiskError> {
        books.save(next)?;
        let before = self.flip(books);
        let after = self.catalog.load();
        let (old, new) = (before.seat(graph.as_str()), after.seat(graph.as_str()));
        let serving = |seat: &Arc<release::Seat>| ReleaseId::from(&**seat.tenant().plan());
        let active = books.ledger.graphs.get(graph).and_then(|record| record.active.clone());
        let passage =
            Passage { graph: graph.clone(), cause, from: old.map(serving), to: new.map(serving), active };
        let same = match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Ok(if same { SwapReceipt::unchanged(passage) } else { self.swaps.open(passage, old.cloned()) })
    }

    /// Shows readers what the ledger says by now, and returns what they saw until now.
    fn flip(&self, books: &Books) -> Arc<Catalog> {
        let next = self.catalog.load().next(&books.ledger);
        let before = self.catalog.swap(Arc::new(next));
        self.flips.send_modify(|count| *count += 1);
        before
    }
}

impl GraphResolver for PlanStore {
    /// Inner graphs and served ones alike.
    fn plan(&self, name: &str) -> Option<HeldPlan> {
        self.lease(|catalog| catalog.seat(name).map(Place::Seat)).map(HeldPlan::Leased)
    }

    fn version(&self, name: &str, version: &Version) -> Option<HeldPlan> {
        self.resolve_named(name, Some(version)).ok().map(HeldPlan::Leased)
    }
}

impl fmt::Debug for PlanStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = self.books.lock();
        f.debug_struct("PlanStore")
            .field("graphs", &books.ledger.graphs.keys().collect::<Vec<_>>())
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

// === impl Books ===

impl Books {
    /// Saves a ledger, and only then takes it over.
    fn save(&mut self, ledger: Ledger) -> Result<(), DiskError> {
        if let Some(archive) = &mut self.archive {
            archive.save(&ledger).inspect_err(|_| archive.restore(&self.ledger))?;
        }
        self.ledger = ledger;
        Ok(())
    }

    fn note(&mut self, release: &Release) {
        self.plans.retain(|plan| plan.strong_count() > 0);
        self.plans.extend(release.plan().map(Arc::downgrade));
    }
}

#[cfg(test)]
mod tests;
