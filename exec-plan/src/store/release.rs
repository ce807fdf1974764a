//! A release: one content of one version of a graph, and the plan compiled from it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lease::{Lease, Tenant, Tenure, number_of_this_thread, shards_for_this_machine};
use super::receipt::Swap;
use crate::identity::{ContentHash, Version};
use crate::plan::ExecPlan;

/// Which release of a graph: its version, and the hash of its content, for a version may be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseId {
    /// The version.
    pub version: Version,
    /// The hash of the content.
    pub hash: ContentHash,
}

/// The SHA-256 of a document's text, every byte of it: what a stored file is checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct TextDigest(ContentHash);

/// A release as the store keeps it.
#[derive(Clone)]
pub(super) struct Release {
    pub(super) id: ReleaseId,
    pub(super) digest: TextDigest,
    /// Whether it served at some time: only then may a request ask for it.
    pub(super) published: bool,
    /// The services it claims; known even while its plan is not.
    pub(super) serves: Vec<Arc<str>>,
    pub(super) body: ReleaseBody,
}

/// What there is of a release.
#[derive(Clone)]
pub(super) enum ReleaseBody {
    /// A plan, ready to run.
    Ready(Arc<Resident>),
    /// Only a record, and why.
    Unusable(Arc<str>),
}

/// A plan in the store.
pub(super) struct Resident {
    plan: Arc<ExecPlan>,
    /// The tenure of those who ask for this version themselves; it never ends. Most versions have none,
    /// so it begins with the first who asks.
    by_version: OnceLock<Tenure<Incumbent>>,
}

/// A plan during a tenure.
pub(super) struct Incumbent {
    plan: Arc<ExecPlan>,
    swap: OnceLock<Arc<Swap>>,
}

/// The place of the plan that serves a graph.
pub(super) type Seat = Tenure<Incumbent>;

/// A plan for the time of one call, which counts as in flight until the lease is dropped.
pub struct PlanLease(Lease<Incumbent>);

// === impl ReleaseId ===

impl From<&ExecPlan> for ReleaseId {
    fn from(plan: &ExecPlan) -> Self {
        Self { version: plan.version().clone(), hash: plan.hash() }
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.version, self.hash.short())
    }
}

// === impl TextDigest ===

impl TextDigest {
    pub(super) fn of(text: &[u8]) -> Self {
        Self(ContentHash::from_bytes(Sha256::digest(text).into()))
    }

    /// The digest behind its spelling; only the one that `Display` gives counts.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self).filter(|digest| digest.to_string() == text)
    }
}

impl fmt::Display for TextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Release ===

impl Release {
    /// The release of a plan that has not served.
    pub(super) fn new(plan: Arc<ExecPlan>) -> Self {
        Self {
            id: ReleaseId::from(&*plan),
            digest: TextDigest::of(plan.source_text()),
            published: false,
            serves: plan.serves().to_vec(),
            body: ReleaseBody::Ready(Arc::new(Resident { plan, by_version: OnceLock::new() })),
        }
    }

    pub(super) fn resident(&self) -> Option<&Arc<Resident>> {
        match &self.body {
            ReleaseBody::Ready(resident) => Some(resident),
            ReleaseBody::Unusable(_) => None,
        }
    }

    pub(super) fn plan(&self) -> Option<&Arc<ExecPlan>> {
        self.resident().map(|resident| &resident.plan)
    }
}

// === impl Resident ===

impl Resident {
    pub(super) fn plan(&self) -> &Arc<ExecPlan> {
        &self.plan
    }

    /// A lease for somebody who asks for this version.
    pub(super) fn lease(&self) -> Option<PlanLease> {
        let tenure = self.by_version.get_or_init(|| begin(self.plan.clone()));
        tenure.enter(number_of_this_thread()).map(PlanLease)
    }

    /// How many run on this version because they asked for it.
    pub(super) fn in_flight(&self) -> usize {
        self.by_version.get().map_or(0, Tenure::in_flight)
    }
}

// === impl Incumbent ===

impl Incumbent {
    pub(super) fn plan(&self) -> &Arc<ExecPlan> {
        &self.plan
    }

    /// Names the swap that ends the tenure; it is told when the last call has ended.
    pub(super) fn tell_when_drained(&self, swap: Arc<Swap>) {
        let first = self.swap.set(swap).is_ok();
        debug_assert!(first, "a tenure ends once");
    }
}

impl Tenant for Incumbent {
    fn drained(&self) {
        if let Some(swap) = self.swap.get() {
            swap.drained();
        }
    }
}

/// Begins a tenure of this plan.
pub(super) fn begin(plan: Arc<ExecPlan>) -> Seat {
    Tenure::begin(Incumbent { plan, swap: OnceLock::new() }, shards_for_this_machine())
}

// === impl PlanLease ===

impl PlanLease {
    /// Enters a tenure; `None` if it is over.
    #[inline]
    pub(super) fn enter(seat: &Seat) -> Option<Self> {
        seat.enter(number_of_this_thread()).map(Self)
    }

    /// The plan, for those who must share it. It lives on after the lease, but is no longer counted.
    pub fn plan(&self) -> &Arc<ExecPlan> {
        &self.0.tenant().plan
    }
}

impl std::ops::Deref for PlanLease {
    type Target = ExecPlan;

    #[inline]
    fn deref(&self) -> &ExecPlan {
        &self.0.tenant().plan
    }
}

impl fmt::Debug for PlanLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlanLease").field(self.label()).finish()
    }
}
