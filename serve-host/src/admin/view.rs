//! What the API shows of the store: the wire's names, so that the store's may change.

use exec_plan::{GraphStatus, ReleaseId, Role, Staged, SwapCause, SwapReceipt, VersionStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// Every graph.
#[derive(Serialize, ToSchema)]
#[schema(as = GraphList)]
pub(super) struct GraphListView {
    graphs: Vec<GraphView>,
    /// Why no change is accepted, if none is.
    read_only: Option<String>,
}

/// One graph.
#[derive(Serialize, ToSchema)]
#[schema(as = Graph)]
pub(super) struct GraphView {
    /// Its name.
    #[schema(example = "shop")]
    name: String,
    /// What was published last.
    active: Option<ReleaseView>,
    /// What it is held at.
    pinned: Option<ReleaseView>,
    /// What a rollback would go to.
    previous: Option<ReleaseView>,
    /// What serves.
    serving: Option<ReleaseView>,
    /// The RPC services it answers.
    serves: Vec<String>,
    /// The calls that run on any of its versions.
    in_flight: u64,
    /// What is kept of it.
    versions: Vec<VersionView>,
}

/// One graph and its latest swaps.
#[derive(Serialize, ToSchema)]
#[schema(as = GraphDetail)]
pub(super) struct GraphDetailView {
    #[serde(flatten)]
    graph: GraphView,
    /// What its latest swaps did, the oldest first.
    receipts: Vec<ReceiptView>,
}

/// One content of one version.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub(super) struct VersionView {
    /// The version.
    #[schema(example = "1.2.0")]
    version: String,
    /// The SHA-256 of the content.
    hash: String,
    /// `name@version#hash`, as answers carry it.
    #[schema(example = "shop@1.2.0#0123456789ab")]
    label: String,
    /// What it is at present.
    roles: Vec<RoleView>,
    /// Whether it served at some time, so that calls may ask for it.
    published: bool,
    /// Whether other content was staged for the version since.
    replaced: bool,
    /// Whether it answers calls; otherwise other graphs run it.
    answers: Option<bool>,
    /// The RPC services it answers.
    serves: Vec<String>,
    /// The document's own words.
    description: Option<String>,
    /// Why it cannot be used.
    unusable: Option<String>,
    /// The calls that run on it.
    in_flight: u64,
}

/// A version and its content.
#[derive(Serialize, ToSchema)]
#[schema(as = Release)]
pub(super) struct ReleaseView {
    /// The version.
    #[schema(example = "1.2.0")]
    version: String,
    /// The SHA-256 of the content.
    hash: String,
}

/// What a version is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub(super) enum RoleView {
    Active,
    Default,
    Pinned,
    Previous,
}

/// What staging gave.
#[derive(Serialize, ToSchema)]
#[schema(as = Staged)]
pub(super) struct StagedView {
    /// The graph.
    graph: String,
    /// The version.
    version: String,
    /// The SHA-256 of the content.
    hash: String,
    /// Whether this content is new here; otherwise nothing was staged.
    is_new: bool,
    /// The versions that had to go for it.
    evicted: Vec<String>,
    /// What publishing did, if that was asked for.
    receipt: Option<ReceiptView>,
}

/// What a swap did.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptView {
    /// Counts the swaps of this process; absent if nothing was swapped.
    id: Option<u64>,
    /// The graph.
    graph: String,
    /// What was asked for.
    cause: CauseView,
    /// What served before.
    from: Option<ReleaseView>,
    /// What serves since.
    to: Option<ReleaseView>,
    /// What is active since: other than `to` only while a pin holds the graph.
    active: Option<ReleaseView>,
    /// When, in Unix milliseconds.
    at_ms: u64,
    /// The calls that outlived the flip on `from`.
    in_flight_at_flip: u64,
    /// How many of those still run.
    in_flight: u64,
    /// When the last of them had ended, in Unix milliseconds.
    drained_at_ms: Option<u64>,
    /// The calls the swap ended: none.
    dropped: u64,
}

/// What was asked for when a graph was swapped.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Cause)]
pub(super) enum CauseView {
    Pin,
    Publish,
    Retire,
    Rollback,
    Unpin,
    Withdraw,
    /// Something this version of the API has no name for.
    Other,
}

/// What a document is that compiles.
#[derive(Serialize, ToSchema)]
#[schema(as = Valid)]
pub(super) struct ValidView {
    pub(super) valid: bool,
    /// The graph.
    pub(super) graph: String,
    /// The version.
    pub(super) version: String,
    /// The SHA-256 of the content.
    pub(super) hash: String,
    /// Whether it answers calls; otherwise other graphs run it.
    pub(super) answers: bool,
    /// The RPC services it answers.
    pub(super) serves: Vec<String>,
}

// === from the store ===

impl GraphListView {
    pub(super) fn new(graphs: Vec<GraphStatus>, read_only: Option<String>) -> Self {
        Self { graphs: graphs.into_iter().map(Into::into).collect(), read_only }
    }
}

impl GraphDetailView {
    pub(super) fn new(status: GraphStatus, receipts: impl IntoIterator<Item = SwapReceipt>) -> Self {
        Self { graph: status.into(), receipts: receipts.into_iter().map(Into::into).collect() }
    }
}

impl StagedView {
    pub(super) fn new(staged: &Staged, receipt: Option<SwapReceipt>) -> Self {
        Self {
            graph: staged.graph.to_string(),
            version: staged.release.version.to_string(),
            hash: staged.release.hash.to_string(),
            is_new: staged.is_new,
            evicted: staged.evicted.iter().map(ToString::to_string).collect(),
            receipt: receipt.map(Into::into),
        }
    }
}

impl From<GraphStatus> for GraphView {
    fn from(status: GraphStatus) -> Self {
        Self {
            name: status.name.to_string(),
            active: status.active.map(Into::into),
            pinned: status.pinned.map(Into::into),
            previous: status.previous.map(Into::into),
            serving: status.serving.map(Into::into),
            serves: texts(&status.serves),
            in_flight: status.in_flight,
            versions: status.versions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<VersionStatus> for VersionView {
    fn from(status: VersionStatus) -> Self {
        Self {
            version: status.version.to_string(),
            hash: status.hash.to_string(),
            label: status.label,
            roles: status.roles.into_iter().filter_map(RoleView::of).collect(),
            published: status.published,
            replaced: status.replaced,
            answers: status.answers,
            serves: texts(&status.serves),
            description: status.description,
            unusable: status.unusable.map(|reason| reason.to_string()),
            in_flight: status.in_flight,
        }
    }
}

impl From<ReleaseId> for ReleaseView {
    fn from(id: ReleaseId) -> Self {
        Self { version: id.version.to_string(), hash: id.hash.to_string() }
    }
}

impl From<SwapReceipt> for ReceiptView {
    fn from(receipt: SwapReceipt) -> Self {
        Self {
            id: receipt.id,
            graph: receipt.graph.to_string(),
            cause: receipt.cause.into(),
            from: receipt.from.map(Into::into),
            to: receipt.to.map(Into::into),
            active: receipt.active.map(Into::into),
            at_ms: receipt.at_ms,
            in_flight_at_flip: receipt.in_flight_at_flip,
            in_flight: receipt.in_flight,
            drained_at_ms: receipt.drained_at_ms,
            dropped: receipt.dropped,
        }
    }
}

impl RoleView {
    fn of(role: Role) -> Option<Self> {
        match role {
            Role::Active => Some(Self::Active),
            Role::Default => Some(Self::Default),
            Role::Pinned => Some(Self::Pinned),
            Role::Previous => Some(Self::Previous),
            _ => None,
        }
    }
}

impl From<SwapCause> for CauseView {
    fn from(cause: SwapCause) -> Self {
        match cause {
            SwapCause::Pin => Self::Pin,
            SwapCause::Publish => Self::Publish,
            SwapCause::Retire => Self::Retire,
            SwapCause::Rollback => Self::Rollback,
            SwapCause::Unpin => Self::Unpin,
            SwapCause::Withdraw => Self::Withdraw,
            _ => Self::Other,
        }
    }
}

fn texts(names: &[std::sync::Arc<str>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
