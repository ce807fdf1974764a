//! The ledger: which releases there are, and which of them is active, pinned or next in a rollback.
//!
//! These are the rules alone, over plain data: nothing here serves, waits or touches a disk. A change is
//! made to a clone, and only what could be saved takes the original's place.
//!
//! Invariants, whatever the order of operations: what is active, pinned or previous has its release;
//! the last release of a version is its current content, which publishing takes; two graphs that are
//! active or pinned never claim the same service.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use serde::Serialize;

use super::error::{EvictError, PublishError, StageError};
use super::release::{Release, ReleaseBody, ReleaseId};
use crate::identity::{GraphName, Version};

/// Everything the store knows.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) graphs: BTreeMap<GraphName, GraphRecord>,
    /// The graph of calls that name none. The host's configuration says it; it is not saved.
    pub(super) default: Option<DefaultGraph>,
}

/// The graph of calls that name none.
#[derive(Clone)]
pub(super) struct DefaultGraph {
    pub(super) name: GraphName,
    pub(super) version: Option<Version>,
}

/// What is known of one graph.
#[derive(Clone, Default)]
pub(super) struct GraphRecord {
    pub(super) active: Option<ReleaseId>,
    /// What was active before, the latest last; never ends with what is active.
    pub(super) history: Vec<ReleaseId>,
    pub(super) pinned: Option<ReleaseId>,
    /// In the order they were staged.
    pub(super) releases: Vec<Release>,
}

/// Why a version cannot be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// It is what was published last.
    Active,
    /// The host's default graph is set to it.
    Default,
    /// The graph is held at it.
    Pinned,
    /// A rollback would go to it.
    Previous,
}

/// What staging came to.
pub(super) enum Staging {
    /// The content was there already.
    Known,
    /// The content is new here, or usable again.
    Kept { evicted: Vec<Version> },
}

/// How many steps back a graph remembers.
pub(super) const HISTORY_KEPT: usize = 256;

// === impl Ledger ===

impl Ledger {
    pub(super) fn graph(&self, name: &GraphName) -> Result<&GraphRecord, PublishError> {
        self.graphs.get(name).ok_or_else(|| PublishError::UnknownGraph { graph: name.clone() })
    }

    /// Keeps a release without serving it, and evicts the oldest versions beyond `keep`.
    pub(super) fn stage(
        &mut self,
        name: &GraphName,
        release: Release,
        force: bool,
        keep: NonZeroUsize,
    ) -> Result<Staging, StageError> {
        let default = self.default_version(name).cloned();
        let record = self.graphs.entry(name.clone()).or_default();
        let version = release.id.version.clone();
        let current = record.releases.iter_mut().rfind(|held| held.id.version == version);
        match current {
            Some(held) if held.id == release.id => {
                if held.resident().is_some() {
                    return Ok(Staging::Known);
                }
                *held = Release { published: held.published, ..release };
            }
            Some(held) if !force => {
                return Err(StageError::Conflict {
                    graph: name.clone(),
                    version,
                    held: held.id.hash,
                    refused: release.id.hash,
                });
            }
            Some(_) | None => record.add(release),
        }
        let evicted = record.keep_latest(keep, &version, default.as_ref());
        record.tidy();
        Ok(Staging::Kept { evicted })
    }

    /// Makes the current content of a version active.
    pub(super) fn publish(&mut self, name: &GraphName, version: &Version) -> Result<(), PublishError> {
        let record = self.graph(name)?;
        let id = record.current(version).ok_or_else(|| unknown(name, version))?.id.clone();
        self.admit(name, &id)?;
        self.change(name, |record| {
            record.mark_published(&id);
            let before = record.active.replace(id.clone()).filter(|before| *before != id);
            record.history.extend(before);
        });
        Ok(())
    }

    /// Makes active what was active before.
    pub(super) fn rollback(&mut self, name: &GraphName) -> Result<(), PublishError> {
        let previous = self.graph(name)?.previous().cloned();
        let id = previous.ok_or_else(|| PublishError::NoPrevious { graph: name.clone() })?;
        self.admit(name, &id)?;
        self.change(name, |record| {
            record.history.pop();
            record.active = Some(id);
        });
        Ok(())
    }

    /// Holds a graph at a version, whatever is active; or lets it go.
    pub(super) fn pin(&mut self, name: &GraphName, version: Option<&Version>) -> Result<(), PublishError> {
        let record = self.graph(name)?;
        let Some(active) = record.active.clone() else {
            return Err(PublishError::NotPublished { graph: name.clone() });
        };
        let Some(version) = version else {
            self.admit(name, &active)?;
            self.change(name, |record| record.pinned = None);
            return Ok(());
        };
        // Content staged over a version that has served does not serve until it is published.
        let release = record.published(version).or_else(|| record.current(version));
        let id = release.ok_or_else(|| unknown(name, version))?.id.clone();
        self.admit(name, &id)?;
        self.change(name, |record| {
            record.mark_published(&id);
            record.pinned = Some(id);
        });
        Ok(())
    }

    /// Serves nothing of a graph any more; a rollback brings it back.
    pub(super) fn withdraw(&mut self, name: &GraphName) -> Result<(), PublishError> {
        if self.graph(name)?.active.is_none() {
            return Err(PublishError::NotPublished { graph: name.clone() });
        }
        self.change(name, |record| {
            record.history.extend(record.active.take());
            record.pinned = None;
        });
        Ok(())
    }

    /// Forgets a version.
    pub(super) fn evict(&mut self, name: &GraphName, version: &Version) -> Result<(), EvictError> {
        let default = self.default_version(name).cloned();
        let Some(record) = self.graphs.get_mut(name) else {
            return Err(EvictError::UnknownGraph { graph: name.clone() });
        };
        if record.current(version).is_none() {
            return Err(EvictError::UnknownVersion { graph: name.clone(), version: version.clone() });
        }
        if let Some(role) = record.role(version, default.as_ref()) {
            return Err(EvictError::InUse { graph: name.clone(), version: version.clone(), role });
        }
        record.releases.retain(|release| release.id.version != *version);
        record.tidy();
        if record.releases.is_empty() {
            self.graphs.remove(name);
        }
        Ok(())
    }

    /// Sets the graph of calls that name none.
    pub(super) fn set_default(
        &mut self,
        name: &GraphName,
        version: Option<&Version>,
    ) -> Result<(), PublishError> {
        if let Some(plan) = self.graphs.get(name).and_then(GraphRecord::serving).and_then(Release::plan)
            && !plan.answers()
        {
            return Err(PublishError::Inner { graph: name.clone() });
        }
        self.default = Some(DefaultGraph { name: name.clone(), version: version.cloned() });
        Ok(())
    }

    /// Whether a release may serve beside everything else that does or may at any time.
    pub(super) fn admit(&self, name: &GraphName, id: &ReleaseId) -> Result<(), PublishError> {
        let release = self.graph(name)?.get(id).ok_or_else(|| unknown(name, &id.version))?;
        let plan = match &release.body {
            ReleaseBody::Ready(resident) => resident.plan(),
            ReleaseBody::Unusable(reason) => {
                let (graph, release) = (name.clone(), id.clone());
                return Err(PublishError::Unusable { graph, release, reason: reason.clone() });
            }
        };
        if !plan.answers() && self.default.as_ref().is_some_and(|default| default.name == *name) {
            return Err(PublishError::Inner { graph: name.clone() });
        }
        match self.taken(name, &release.serves) {
            Some((service, by)) => {
                Err(PublishError::ServiceTaken { graph: name.clone(), service: service.clone(), by })
            }
            None => Ok(()),
        }
    }

    /// The first of these services that another graph claims, and which graph.
    fn taken<'a>(&self, name: &GraphName, services: &'a [Arc<str>]) -> Option<(&'a Arc<str>, GraphName)> {
        let others = || self.graphs.iter().filter(|(other, _)| *other != name);
        services.iter().find_map(|service| {
            let (by, _) = others().find(|(_, record)| record.claims().any(|claim| claim == service))?;
            Some((service, by.clone()))
        })
    }

    pub(super) fn change(&mut self, name: &GraphName, edit: impl FnOnce(&mut GraphRecord)) {
        if let Some(record) = self.graphs.get_mut(name) {
            edit(record);
            record.tidy();
        }
    }

    /// The version of this graph that the host's default is set to.
    pub(super) fn default_version(&self, name: &GraphName) -> Option<&Version> {
        self.default.as_ref().filter(|default| default.name == *name)?.version.as_ref()
    }
}

// === impl GraphRecord ===

impl GraphRecord {
    /// What serves: what it is pinned to, else what is active.
    pub(super) fn serving(&self) -> Option<&Release> {
        self.get(self.pinned.as_ref().or(self.active.as_ref())?)
    }

    pub(super) fn get(&self, id: &ReleaseId) -> Option<&Release> {
        self.releases.iter().find(|release| release.id == *id)
    }

    /// The content that publishing this version would take.
    pub(super) fn current(&self, version: &Version) -> Option<&Release> {
        self.releases.iter().rfind(|release| release.id.version == *version)
    }

    /// The content that asking for this version gives.
    pub(super) fn published(&self, version: &Version) -> Option<&Release> {
        self.releases.iter().rfind(|release| release.id.version == *version && release.published)
    }

    /// What a rollback would go to.
    pub(super) fn previous(&self) -> Option<&ReleaseId> {
        self.history.last()
    }

    /// The services that are this graph's own, at present or once its pin is gone.
    pub(super) fn claims(&self) -> impl Iterator<Item = &Arc<str>> {
        let holders = [&self.active, &self.pinned];
        holders.into_iter().flatten().filter_map(|id| self.get(id)).flat_map(|release| &release.serves)
    }

    /// Why this version must stay.
    pub(super) fn role(&self, version: &Version, default: Option<&Version>) -> Option<Role> {
        let is = |id: Option<&ReleaseId>| id.is_some_and(|id| id.version == *version);
        [
            (is(self.active.as_ref()), Role::Active),
            (is(self.pinned.as_ref()), Role::Pinned),
            (self.active.is_some() && is(self.previous()), Role::Previous),
            (default == Some(version), Role::Default),
        ]
        .into_iter()
        .find_map(|(applies, role)| applies.then_some(role))
    }

    /// Makes a release the current content of its version.
    fn add(&mut self, release: Release) {
        let known = self.releases.iter().position(|held| held.id == release.id);
        let release = match known {
            Some(index) => match self.releases.remove(index) {
                held if held.resident().is_some() => held,
                held => Release { published: held.published, ..release },
            },
            None => release,
        };
        self.releases.push(release);
    }

    pub(super) fn mark_published(&mut self, id: &ReleaseId) {
        if let Some(release) = self.releases.iter_mut().find(|release| release.id == *id) {
            release.published = true;
        }
    }

    /// Evicts the versions that were staged longest ago, down to `keep`. What has a role stays, and so
    /// does what was staged just now.
    fn keep_latest(
        &mut self,
        keep: NonZeroUsize,
        staged: &Version,
        default: Option<&Version>,
    ) -> Vec<Version> {
        let mut evicted = Vec::new();
        while self.versions().count() > keep.get() {
            let spare = |version: &&Version| *version != staged && self.role(version, default).is_none();
            let Some(oldest) = self.versions().find(spare).cloned() else { break };
            self.releases.retain(|release| release.id.version != oldest);
            evicted.push(oldest);
        }
        evicted
    }

    /// The versions, each once, in the order in which their current content was staged.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Version> {
        let is_current =
            |release: &&Release| self.current(&release.id.version).is_some_and(|held| held.id == release.id);
        self.releases.iter().filter(is_current).map(|release| &release.id.version)
    }

    /// Drops replaced content that nothing refers to, and history that leads nowhere.
    fn tidy(&mut self) {
        let excess = self.history.len().saturating_sub(HISTORY_KEPT);
        self.history.drain(..excess);
        let needed: Vec<bool> = self.releases.iter().map(|release| self.is_needed(release)).collect();
        let mut needed = needed.into_iter();
        self.releases.retain(|_| needed.next().unwrap_or(true));
        let releases = &self.releases;
        self.history.retain(|id| releases.iter().any(|release| release.id == *id));
        self.history.dedup();
    }

    fn is_needed(&self, release: &Release) -> bool {
        let id = &release.id;
        let named = [self.active.as_ref(), self.pinned.as_ref(), self.previous()];
        let of_version = [self.current(&id.version), self.published(&id.version)];
        named.contains(&Some(id)) || of_version.into_iter().flatten().any(|held| held.id == *id)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Default => "the host's default",
            Self::Pinned => "pinned",
            Self::Previous => "what a rollback goes to",
        })
    }
}

fn unknown(name: &GraphName, version: &Version) -> PublishError {
    PublishError::UnknownVersion { graph: name.clone(), version: version.clone() }
}
