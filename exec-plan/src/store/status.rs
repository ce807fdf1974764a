//! What the store says of itself: graphs, their versions, and who runs on them.

use std::sync::Arc;

use serde::Serialize;

use super::ledger::{GraphRecord, Ledger, Role};
use super::receipt::{Swap, count};
use super::release::{Release, ReleaseBody, ReleaseId, Seat};
use crate::identity::{ContentHash, GraphName, Version};

/// One graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphStatus {
    /// Its name.
    pub name: GraphName,
    /// What was published last.
    pub active: Option<ReleaseId>,
    /// What it is held at.
    pub pinned: Option<ReleaseId>,
    /// What a rollback would go to.
    pub previous: Option<ReleaseId>,
    /// What serves: what it is held at, else what is active, if that can be used.
    pub serving: Option<ReleaseId>,
    /// The RPC services it answers at present.
    pub serves: Vec<Arc<str>>,
    /// The calls that run on any of its versions.
    pub in_flight: u64,
    /// What is kept of it, by version; replaced content before what replaced it.
    pub versions: Vec<VersionStatus>,
}

/// One content of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionStatus {
    /// The version.
    pub version: Version,
    /// The hash of its content.
    pub hash: ContentHash,
    /// `name@version#hash`, as answers carry it.
    pub label: String,
    /// What it is at present.
    pub roles: Vec<Role>,
    /// Whether calls may ask for it: it served at some time.
    pub published: bool,
    /// Whether other content was staged for the version since; publishing takes that.
    pub replaced: bool,
    /// Whether it answers calls; otherwise it is run by other graphs. `None` if there is no plan.
    pub answers: Option<bool>,
    /// The RPC services it answers.
    pub serves: Vec<Arc<str>>,
    /// The document's own words.
    pub description: Option<String>,
    /// Why it cannot be used.
    pub unusable: Option<Arc<str>>,
    /// The calls that run on it.
    pub in_flight: u64,
}

/// Where the figures of one graph come from.
pub(super) struct View<'a> {
    pub(super) name: &'a GraphName,
    pub(super) record: &'a GraphRecord,
    pub(super) ledger: &'a Ledger,
    pub(super) seat: Option<&'a Seat>,
    pub(super) swaps: &'a [Arc<Swap>],
}

// === impl View ===

impl View<'_> {
    pub(super) fn status(&self) -> GraphStatus {
        let record = self.record;
        let mut releases: Vec<&Release> = record.releases.iter().collect();
        releases.sort_by(|a, b| a.id.version.cmp(&b.id.version));
        let versions: Vec<_> = releases.into_iter().map(|release| self.version(release)).collect();
        let serving = self.seat.map(|seat| &**seat.tenant().plan());
        GraphStatus {
            name: self.name.clone(),
            active: record.active.clone(),
            pinned: record.pinned.clone(),
            previous: record.previous().cloned(),
            serving: serving.map(ReleaseId::from),
            serves: serving.map_or_else(Vec::new, |plan| plan.serves().to_vec()),
            in_flight: versions.iter().map(|version| version.in_flight).sum(),
            versions,
        }
    }

    fn version(&self, release: &Release) -> VersionStatus {
        let ReleaseId { version, hash } = &release.id;
        let plan = release.plan();
        let is_current = self.record.current(version).is_some_and(|current| current.id == release.id);
        let unusable = match &release.body {
            ReleaseBody::Unusable(reason) => Some(reason.clone()),
            ReleaseBody::Ready(_) => None,
        };
        VersionStatus {
            label: format!("{}@{}", self.name, release.id),
            version: version.clone(),
            hash: *hash,
            roles: self.roles(release),
            published: release.published,
            replaced: !is_current,
            answers: plan.map(|plan| plan.answers()),
            serves: release.serves.clone(),
            description: plan.and_then(|plan| plan.description()).map(str::to_owned),
            unusable,
            in_flight: self.in_flight(release),
        }
    }

    fn roles(&self, release: &Release) -> Vec<Role> {
        let is = |id: Option<&ReleaseId>| id == Some(&release.id);
        let by_default = self.ledger.default_version(self.name).and_then(|v| self.record.published(v));
        [
            (is(self.record.active.as_ref()), Role::Active),
            (is(by_default.map(|release| &release.id)), Role::Default),
            (is(self.record.pinned.as_ref()), Role::Pinned),
            (is(self.record.previous()), Role::Previous),
        ]
        .into_iter()
        .filter_map(|(applies, role)| applies.then_some(role))
        .collect()
    }

    fn in_flight(&self, release: &Release) -> u64 {
        let seated = self.seat.filter(|seat| ReleaseId::from(&**seat.tenant().plan()) == release.id);
        let draining: usize = self.swaps.iter().map(|swap| swap.draining(self.name, &release.id)).sum();
        let by_version = release.resident().map_or(0, |resident| resident.in_flight());
        count(seated.map_or(0, Seat::in_flight) + draining + by_version)
    }
}
