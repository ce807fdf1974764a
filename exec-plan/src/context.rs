//! What one run knows about the request it serves: environment, deadline, cancellation, trace.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::executor::{NoOffload, Offload};
use crate::identity::Version;
use crate::plan::ExecPlan;
use crate::store::PlanLease;
use crate::trace::{TraceParent, TraceSink};
use crate::value::{Type, Value};

/// The values behind a graph's `$req.` bindings.
pub trait Environment: Send + Sync {
    /// The value of one key. Asked at most once per run, and only for keys the plan binds.
    fn value(self: Arc<Self>, key: &EnvKey) -> Value;

    /// The W3C trace context the request arrived with.
    fn trace_parent(&self) -> Option<TraceParent> {
        None
    }

    /// The request's id, for logs.
    fn request_id(&self) -> Option<Arc<str>> {
        None
    }
}

/// A key of the environment, as a plan binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvKey {
    /// The name without `$req.`, `rpc.payload` for example.
    pub name: Arc<str>,
    /// The position in the [`EnvSchema`] the plan was compiled against; `None` for a key that only
    /// the caller of an inner graph knows.
    pub index: Option<usize>,
}

/// The keys that a graph which answers calls may bind, and their types.
#[derive(Clone, Debug, Default)]
pub struct EnvSchema {
    keys: Vec<(&'static str, Type)>,
}

/// Finds the plan of another graph, for kernels that run one.
pub trait GraphResolver: Send + Sync {
    /// The plan that answers for the graph of this name now, to be kept for as long as it runs.
    fn plan(&self, name: &str) -> Option<HeldPlan>;

    /// The plan of one version of it, which must have served at some time.
    fn version(&self, name: &str, version: &Version) -> Option<HeldPlan> {
        self.plan(name).filter(|held| held.plan().version() == version)
    }
}

/// The plan of another graph, for as long as it runs.
#[derive(Debug)]
pub enum HeldPlan {
    /// Counted by its store as in flight.
    Leased(PlanLease),
    /// Counted by nobody.
    Owned(Arc<ExecPlan>),
}

/// Everything one run may ask about its request. Cheap to build: an inline run allocates nothing for it.
#[derive(Clone)]
pub struct RequestContext {
    environment: Arc<dyn Environment>,
    deadline: Option<Instant>,
    cancel: Cancel,
    surroundings: Option<Arc<Surroundings>>,
    depth: u8,
}

/// What the runs of one host have in common.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Where a run's events go; `None` costs nothing.
    pub trace: Option<Arc<dyn TraceSink>>,
    /// Where kernels find other graphs.
    pub graphs: Option<Arc<dyn GraphResolver>>,
    /// Where kernels that run other graphs move work that blocks.
    pub offload: Option<Arc<dyn Offload>>,
}

/// A flag that says the caller no longer waits. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Option<Arc<CancelState>>);

#[derive(Debug, Default)]
struct CancelState {
    cancelled: AtomicBool,
    wake: Notify,
}

// === impl EnvSchema ===

impl EnvSchema {
    /// A schema of these keys; their position is their index.
    pub fn new(keys: impl IntoIterator<Item = (&'static str, Type)>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// The index and type of a key.
    pub fn get(&self, name: &str) -> Option<(usize, Type)> {
        let index = self.keys.iter().position(|(key, _)| *key == name)?;
        Some((index, self.keys[index].1))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(name, _)| *name)
    }
}

// === impl HeldPlan ===

impl HeldPlan {
    /// The plan.
    pub fn plan(&self) -> &Arc<ExecPlan> {
        match self {
            Self::Leased(lease) => lease.plan(),
            Self::Owned(plan) => plan,
        }
    }
}

// === impl RequestContext ===

impl RequestContext {
    /// How deep graphs may call each other before a run fails.
    pub const MAX_DEPTH: u8 = 8;

    /// A context without deadline, cancellation or trace.
    pub fn new(environment: Arc<dyn Environment>) -> Self {
        Self { environment, deadline: None, cancel: Cancel::never(), surroundings: None, depth: 0 }
    }

    /// Sets the instant after which no node may start.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the flag by which the caller gives up.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Sets all that the run has in common with others.
    #[must_use]
    pub fn with_surroundings(mut self, surroundings: Arc<Surroundings>) -> Self {
        self.surroundings = Some(surroundings);
        self
    }

    /// Sets where the run's events go.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<Arc<dyn TraceSink>>) -> Self {
        self.surroundings().trace = trace;
        self
    }

    /// Sets where kernels find other graphs.
    #[must_use]
    pub fn with_graphs(mut self, graphs: Arc<dyn GraphResolver>) -> Self {
        self.surroundings().graphs = Some(graphs);
        self
    }

    /// Sets where kernels that run other graphs move work that blocks.
    #[must_use]
    pub fn with_offload(mut self, offload: Arc<dyn Offload>) -> Self {
        self.surroundings().offload = Some(offload);
        self
    }

    fn surroundings(&mut self) -> &mut Surroundings {
        Arc::make_mut(self.surroundings.get_or_insert_default())
    }

    /// The context of a graph called from this one, or `None` at the depth limit. Deadline,
    /// cancellation and trace carry over.
    pub fn nested(&self, environment: Arc<dyn Environment>) -> Option<Self> {
        let depth = self.depth.checked_add(1).filter(|depth| *depth <= Self::MAX_DEPTH)?;
        Some(Self { environment, depth, ..self.clone() })
    }

    /// Whether the run belongs to another, and so may run beside parts of it.
    pub fn is_nested(&self) -> bool {
        self.depth > 0
    }

    /// The environment.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        &self.environment
    }

    /// The instant after which no node may start.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The flag by which the caller gives up.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Where the run's events go; `None` costs nothing.
    pub fn trace(&self) -> Option<&Arc<dyn TraceSink>> {
        self.surroundings.as_ref()?.trace.as_ref()
    }

    /// Where kernels find other graphs.
    pub fn graphs(&self) -> Option<&Arc<dyn GraphResolver>> {
        self.surroundings.as_ref()?.graphs.as_ref()
    }

    /// Where kernels that run other graphs move work that blocks.
    pub fn offload(&self) -> &dyn Offload {
        self.surroundings.as_ref().and_then(|around| around.offload.as_deref()).unwrap_or(&NoOffload)
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("deadline", &self.deadline)
            .field("cancelled", &self.cancel.is_cancelled())
            .field("traced", &self.trace().is_some())
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

// === impl Surroundings ===

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("traced", &self.trace.is_some()).finish_non_exhaustive()
    }
}

// === impl Cancel ===

impl Cancel {
    /// A flag nobody can raise; costs no allocation.
    pub fn never() -> Self {
        Self(None)
    }

    /// A flag that can be raised.
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Raises the flag and wakes whoever waits for it.
    pub fn cancel(&self) {
        if let Some(state) = &self.0 {
            state.cancelled.store(true, Ordering::Release);
            state.wake.notify_waiters();
        }
    }

    /// Whether the flag is up.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.cancelled.load(Ordering::Acquire))
    }

    /// Waits until the flag is up; for ever if nobody can raise it.
    pub async fn cancelled(&self) {
        let Some(state) = &self.0 else { return std::future::pending().await };
        // Registering before looking closes the gap in which a notification would be lost.
        let woken = state.wake.notified();
        if !state.cancelled.load(Ordering::Acquire) {
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_raised_flag_is_seen_and_wakes_those_who_wait() {
        let cancel = Cancel::new();
        assert!(!cancel.is_cancelled());
        let waiting = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        cancel.cancel();
        waiting.await.unwrap();
        assert!(cancel.is_cancelled());
        cancel.cancelled().await;
    }

    #[test]
    fn a_flag_nobody_can_raise_stays_down() {
        let cancel = Cancel::never();
        cancel.cancel();
        assert!(!cancel.is_cancelled());
    }
}
