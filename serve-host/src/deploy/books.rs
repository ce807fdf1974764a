//! What is deployed, kept in step with what serves.
//!
//! A change goes: the package to the shelf, the intent to the ledger, the change of what serves to the
//! plan store, the outcome to the ledger. The plan store's save is the one moment at which it happens: a
//! process that ends before it leaves what was, one that ends after it leaves what was to be, and
//! [`Books::settle`] sees which. What fails before that moment is undone at once and leaves no file.

use std::path::Path;

use exec_plan::{
    DiskError, DiskWatch, GraphSource, GraphStatus, InstallError, Installed, PlanStore, PublishError,
    SwapReceipt,
};

use super::ledger::{Entry, Held, Intent, Ledger};
use super::shelf::{PackageFinding, Shelf, ShelfError};
use super::source::PackageDigest;
use crate::causes::with_causes;

/// The packages and their ledger.
#[derive(Debug, Default)]
pub(crate) struct Books {
    ledger: Ledger,
    shelf: Option<Shelf>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BooksError {
    /// It could not be written down.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The graph could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// What serves could not be retired.
    #[error(transparent)]
    Retire(Box<PublishError>),
}

/// What undeploying did.
#[derive(Debug)]
pub(crate) struct Retired {
    /// What is gone, the latest last.
    pub(crate) entries: Vec<Entry>,
    /// What that did to calls; `None` if nothing of it was left to retire.
    pub(crate) receipt: Option<SwapReceipt>,
    /// What serves instead.
    pub(crate) successor: Option<Entry>,
}

/// How a deployed package serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On the plain route.
    Active,
    /// For calls that ask for its version.
    ByVersion,
    /// Not at all: the graph is active with a release that is a person's own.
    Staged,
    /// Not at all: its release is gone, or cannot be used.
    Unserved,
}

// === impl Books: opening ===

impl Books {
    /// The books of a data directory; in memory without one.
    pub(crate) fn open(
        dir: Option<&Path>,
        watch: DiskWatch,
        findings: &mut Vec<PackageFinding>,
    ) -> Result<Self, ShelfError> {
        let Some(dir) = dir else { return Ok(Self::default()) };
        let (shelf, ledger) = Shelf::open(dir, watch, findings)?;
        Ok(Self { ledger, shelf: Some(shelf) })
    }

    /// The packages that the plan store may need to open: all that are deployed, and one that perhaps is.
    pub(crate) fn needed(&self) -> Vec<Entry> {
        self.ledger.entries.iter().chain(self.ledger.intended()).cloned().collect()
    }

    /// Reads a package back.
    pub(crate) fn read(&mut self, entry: &Entry) -> Result<bytes::Bytes, PackageFinding> {
        match &mut self.shelf {
            Some(shelf) => shelf.read(&entry.id, &entry.digest),
            None => Err(PackageFinding::Missing { id: entry.id.clone(), file: entry.digest.to_string() }),
        }
    }

    /// Once the plan store is open: brings to its end what was cut short, and clears away what nobody
    /// needs. Gives the entries that are needed no more.
    pub(crate) fn settle(&mut self, store: &PlanStore, findings: &mut Vec<PackageFinding>) -> Vec<Entry> {
        let before = self.needed();
        let held = |entry: &Entry| held(store, entry);
        if let Some(settled) = self.ledger.settle(&held) {
            let id = settled.id;
            findings.push(match settled.forward {
                true => PackageFinding::Finished { id },
                false => PackageFinding::Undone { id },
            });
        }
        self.ledger.forget(&held);
        if let Some(shelf) = &mut self.shelf {
            let cleared = shelf.clear(&self.ledger, findings).and_then(|()| shelf.save(&self.ledger));
            if let Err(error) = cleared {
                findings.push(PackageFinding::NotSaved { cause: with_causes(&error) });
            }
        }
        self.without_kept(before)
    }
}

// === impl Books: reading ===

impl Books {
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

// === impl Books: changing ===

impl Books {
    /// Deploys a package as this graph. Either all of it is done, or nothing.
    pub(crate) fn install(
        &mut self,
        store: &PlanStore,
        entry: Entry,
        package: &[u8],
        graph: &GraphSource,
    ) -> Result<Installed, BooksError> {
        self.write_package(&entry.digest, package)?;
        self.intend(Intent::Deploy(Box::new(entry.clone())))?;
        let own = |release: &exec_plan::ReleaseId| self.ledger.made(&entry.graph, release);
        let installed = store.install(graph, &own);
        self.conclude(store);
        Ok(installed?)
    }

    /// Undeploys an id: nothing of it serves any more, and its files are gone. What was deployed last of
    /// the same route takes its place.
    pub(crate) fn retire(&mut self, store: &PlanStore, id: &str) -> Result<Retired, BooksError> {
        let entries: Vec<Entry> = self.ledger.of_id(id).cloned().collect();
        let successor = self.ledger.successor(id).cloned();
        let releases: Vec<_> = entries
            .iter()
            .filter(|entry| held(store, entry) != Held::Not)
            .map(|entry| entry.release())
            .collect();
        self.intend(Intent::Undeploy { id: id.to_owned() })?;
        let retired = match entries.first().filter(|_| !releases.is_empty()) {
            None => Ok(None),
            Some(first) => {
                let next =
                    successor.as_ref().filter(|entry| held(store, entry) != Held::Not).map(Entry::release);
                store.retire(&first.graph, &releases, next.as_ref()).map(Some)
            }
        };
        self.conclude(store);
        let receipt = retired.map_err(|error| BooksError::Retire(Box::new(error)))?;
        Ok(Retired { entries, receipt, successor })
    }

    /// Forgets what was replaced and is not even kept for a rollback. Gives what was forgotten.
    pub(crate) fn sweep(&mut self, store: &PlanStore) -> Vec<Entry> {
        let before = self.ledger.entries.clone();
        self.ledger.forget(&|entry| held(store, entry));
        self.write_down();
        self.without_kept(before)
    }

    fn without_kept(&self, before: Vec<Entry>) -> Vec<Entry> {
        let is_kept = |entry: &Entry| {
            self.ledger.entries.iter().any(|kept| (&kept.id, kept.digest) == (&entry.id, entry.digest))
        };
        before.into_iter().filter(|entry| !is_kept(entry)).collect()
    }

    fn write_package(&mut self, digest: &PackageDigest, package: &[u8]) -> Result<(), DiskError> {
        let Some(shelf) = &mut self.shelf else { return Ok(()) };
        shelf.put(digest, package).inspect_err(|_| {
            // It may be there already, if only its name could not be made durable.
            let _left_over = shelf.save(&self.ledger);
        })
    }

    fn intend(&mut self, intent: Intent) -> Result<(), DiskError> {
        let before = self.ledger.clone();
        self.ledger.begin(intent);
        let Some(shelf) = &mut self.shelf else { return Ok(()) };
        shelf.save(&self.ledger).inspect_err(|_| {
            self.ledger = before;
            let _left_over = shelf.save(&self.ledger);
        })
    }

    /// Writes down what came of the intent.
    fn conclude(&mut self, store: &PlanStore) {
        self.ledger.settle(&|entry| held(store, entry));
        self.write_down();
    }

    /// The change is made whether or not this can be written: if not, the next change or the next start
    /// finds it out from the plan store.
    fn write_down(&mut self) {
        let Some(shelf) = &mut self.shelf else { return };
        if let Err(error) = shelf.save(&self.ledger) {
            tracing::warn!(
                error = with_causes(&error),
                "the outcome of a deploy could not be written down yet"
            );
        }
    }
}

// === impl Standing ===

impl Standing {
    /// How an entry serves, as its graph says.
    pub(crate) fn of(entry: &Entry, graph: Option<&GraphStatus>) -> Self {
        let release = entry.release();
        let Some(graph) = graph else { return Self::Unserved };
        if graph.serving.as_ref() == Some(&release) {
            return Self::Active;
        }
        let version =
            graph.versions.iter().find(|held| (&held.version, held.hash) == (&release.version, release.hash));
        match version {
            Some(held) if held.unusable.is_some() => Self::Unserved,
            Some(held) if held.published && graph.active.is_some() => Self::ByVersion,
            Some(_) => Self::Staged,
            None => Self::Unserved,
        }
    }
}

/// What the store keeps of the release that was made from this package.
fn held(store: &PlanStore, entry: &Entry) -> Held {
    let Some(graph) = store.get(&entry.graph) else { return Held::Not };
    let release = graph.versions.iter().find(|held| held.version == entry.version && held.hash == entry.hash);
    match release {
        None => Held::Not,
        Some(release) if release.replaced => Held::Replaced,
        Some(_) => Held::Latest,
    }
}

#[cfg(test)]
mod tests;
