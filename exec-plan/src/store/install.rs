//! Installing and retiring: what a generated document does to a graph that a person may own as well.
//!
//! Staging and publishing are two changes, and between them a process may end. A document that comes with
//! something else, the package it runs, must be there with it or not at all; so here the two are one
//! change, saved once. Whoever installs says which releases are its own: those it displaces, and never
//! another.

use std::num::NonZeroUsize;

use super::error::{PublishError, StageError};
use super::ledger::{Ledger, Staging};
use super::release::{Release, ReleaseId};
use super::{PlanStore, Staged, SwapCause, SwapReceipt};
use crate::identity::GraphName;
use crate::plan::GraphSource;

/// What installing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What was staged.
    pub staged: Staged,
    /// What was published; `None` if the graph is active with a release that is not the installer's.
    pub receipt: Option<SwapReceipt>,
}

/// Why a document was not installed. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It could not be staged.
    #[error(transparent)]
    Stage(Box<StageError>),
    /// It could not be published.
    #[error(transparent)]
    Publish(Box<PublishError>),
}

// === impl InstallError ===

impl From<StageError> for InstallError {
    fn from(error: StageError) -> Self {
        Self::Stage(Box::new(error))
    }
}

impl From<PublishError> for InstallError {
    fn from(error: PublishError) -> Self {
        Self::Publish(Box::new(error))
    }
}

// === impl PlanStore ===

impl PlanStore {
    /// Stages a document and makes it active, as one change. It takes the place of releases that are
    /// `own`, and of no other: such a version is refused, and such an active release stays active.
    /// Nothing is evicted for it.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then.
    pub fn install(
        &self,
        source: &GraphSource,
        own: &dyn Fn(&ReleaseId) -> bool,
    ) -> Result<Installed, InstallError> {
        let plan = self.compiler.compile(source).map_err(StageError::from)?;
        let graph = plan.name().clone();
        let release = Release::new(plan);
        let id = release.id.clone();
        let mut books = self.books.lock();
        let mut next = books.ledger.clone();
        let held = next.graphs.get(&graph).and_then(|record| record.current(&id.version));
        let force = held.is_some_and(|held| own(&held.id));
        let staging = next.stage(&graph, release.clone(), force, NonZeroUsize::MAX)?;
        let active = next.graphs.get(&graph).and_then(|record| record.active.clone());
        let publishes = active.is_none_or(|active| active == id || own(&active));
        if publishes {
            next.publish(&graph, &id.version)?;
        }
        let (is_new, evicted) = match staging {
            Staging::Known => (false, Vec::new()),
            Staging::Kept { evicted } => (true, evicted),
        };
        if let Some(archive) = books.archive.as_mut().filter(|_| is_new) {
            archive.put(&graph, &release).map_err(StageError::from)?;
        }
        let receipt = self.apply(&mut books, next, &graph, SwapCause::Publish);
        let receipt = receipt.map_err(StageError::from)?;
        if is_new {
            books.note(&release);
        }
        let staged = Staged { graph, release: id, is_new, evicted };
        Ok(Installed { staged, receipt: publishes.then_some(receipt) })
    }

    /// Forgets releases, also if one of them serves: then `successor` is active, or nothing is. Calls
    /// that run on them go on. Those that are not there are passed over.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn retire(
        &self,
        graph: &GraphName,
        releases: &[ReleaseId],
        successor: Option<&ReleaseId>,
    ) -> Result<SwapReceipt, PublishError> {
        self.swap(graph, SwapCause::Retire, |ledger| ledger.retire(graph, releases, successor))
    }
}

// === impl Ledger ===

impl Ledger {
    fn retire(
        &mut self,
        name: &GraphName,
        releases: &[ReleaseId],
        successor: Option<&ReleaseId>,
    ) -> Result<(), PublishError> {
        let active = self.graph(name)?.active.clone();
        let ends = active.as_ref().is_some_and(|active| releases.contains(active));
        let successor = successor.filter(|_| ends).cloned();
        if let Some(successor) = &successor {
            self.admit(name, successor)?;
        }
        self.change(name, |record| {
            record.releases.retain(|release| !releases.contains(&release.id));
            record.history.retain(|id| !releases.contains(id));
            record.pinned.take_if(|pinned| releases.contains(pinned));
            if ends {
                if let Some(successor) = &successor {
                    record.mark_published(successor);
                    record.history.retain(|id| id != successor);
                }
                record.active = successor;
            }
        });
        if self.graph(name)?.releases.is_empty() {
            self.graphs.remove(name);
        }
        Ok(())
    }
}
