//! The host: takes a call through admission, queue, pool and executor to its one answer.
//!
//! [`UnaryHost::begin`] is all a transport needs. A refused call and an inline plan are done when it
//! returns; any other call is a [`PendingAnswer`](crate::PendingAnswer), which enforces the deadline itself and cancels the
//! call when it is dropped. The host owns no socket.
//!
//! Invariants: the plan is resolved once, on arrival, and stays with the call; an accepted call ends in
//! the stats exactly once, after its run has ended, and gives its permit back with it; whoever closes a
//! call first, graph, deadline, client or drain, decides how it ended.

pub(crate) mod batch;
mod pending;
mod run;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use exec_plan::{
    Cancel, Class, GraphResolver, Offload, PlanLease, PlanStore, RequestContext, Surroundings, TraceSink,
    Version,
};
use kernels::{Answer, Closed, RequestEnvelope, RpcServerCall};

use self::batch::Batch;
use self::pending::PendingCall;
use crate::admit::{Gate, MaxInflight, Refusal};
use crate::pool::overlong::Overlong;
use crate::pool::{Pool, PoolThreads};
use crate::protocol::Protocol;
use crate::queue::QueueCapacity;
use crate::respond::{Failure, PLAN_KEY, Rejection};
use crate::shards::ShardIndex;
use crate::stats::{Stats, StatsSnapshot};
use crate::transport::{Arrival, Begun, PendingAnswer, UnaryHost};

/// The settings of a host. Every wait and every queue of a call is bounded by one of them.
#[derive(Clone, Copy, Debug)]
pub struct HostConfig {
    /// Calls that may run at once; default 1,024.
    pub max_inflight: MaxInflight,
    /// Calls that may wait for a permit; default 1,024, 0 for none.
    pub queue_capacity: QueueCapacity,
    /// The longest a call waits for a permit; default 1 s.
    pub max_queue_wait: Duration,
    /// The deadline of a call whose client gives none; default 30 s.
    pub default_timeout: Duration,
    /// The longest deadline a client may ask for; default 1 h.
    pub max_timeout: Duration,
    /// Threads of the request pool; default: one per core, but at least two.
    pub pool_threads: PoolThreads,
    /// A blocking node that takes longer is counted and named; default 1 s.
    pub blocking_alarm: Duration,
}

/// Hosts the graphs of a plan store. Clones share one host.
#[derive(Clone)]
pub struct ServeHost {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<PlanStore>,
    gate: Arc<Gate<Work>>,
    core: Arc<Core>,
    config: HostConfig,
    /// What a call is told for which there is no room: under overload the commonest answer.
    full: Answer,
}

/// What running a call needs, apart from the gate that let it pass.
struct Core {
    pool: Pool,
    offload: Arc<dyn Offload>,
    stats: Stats,
    surroundings: Arc<Surroundings>,
    overlong: Arc<Overlong>,
}

/// One accepted call on its way through the host.
struct Work {
    call: Arc<RpcServerCall>,
    plan: PlanLease,
    cancel: Cancel,
    deadline: Instant,
    arrived: Instant,
    shard: ShardIndex,
    protocol: Protocol,
    names_plan: bool,
}

/// Bytes of a read, about. A larger message is itself most of what it came with.
const READ: usize = 64 << 10;

// === impl HostConfig ===

impl HostConfig {
    /// Why a call is refused for which there is neither a permit nor a place in line.
    fn queue_full(&self) -> Rejection {
        let Self { max_inflight, queue_capacity, .. } = self;
        Rejection::QueueFull { max_inflight: max_inflight.0.get(), capacity: queue_capacity.0 }
    }

    /// Until when a call may run, and what the graph reads as its deadline: the client's own, if it gave one.
    fn deadline(
        &self,
        asked: Option<Instant>,
        arrived: Instant,
    ) -> Result<(Instant, Option<Instant>), Rejection> {
        match asked {
            Some(deadline) if deadline <= arrived => Err(Rejection::DeadlineExpired),
            Some(deadline) => {
                let deadline = deadline.min(arrived + self.max_timeout);
                Ok((deadline, Some(deadline)))
            }
            None => Ok((arrived + self.default_timeout, None)),
        }
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let at_least =
            |floor: usize, count: usize| NonZeroUsize::new(count.max(floor)).unwrap_or(NonZeroUsize::MIN);
        Self {
            max_inflight: MaxInflight(at_least(1, 1024)),
            queue_capacity: QueueCapacity(1024),
            max_queue_wait: Duration::from_secs(1),
            default_timeout: Duration::from_secs(30),
            max_timeout: Duration::from_secs(3600),
            pool_threads: PoolThreads(at_least(2, cores)),
            blocking_alarm: Duration::from_secs(1),
        }
    }
}

// === impl ServeHost ===

impl ServeHost {
    /// A host for the graphs of this store.
    ///
    /// # Errors
    /// The system's, if it has no threads left for the request pool.
    pub fn new(store: Arc<PlanStore>, config: HostConfig) -> io::Result<Self> {
        Self::with_trace(store, config, None)
    }

    /// A host whose runs are watched.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_trace(
        store: Arc<PlanStore>,
        config: HostConfig,
        trace: Option<Arc<dyn TraceSink>>,
    ) -> io::Result<Self> {
        let pool = Pool::start(config.pool_threads, config.max_inflight.0)?;
        let offload = pool.offload(config.blocking_alarm);
        let overlong = offload.overlong().clone();
        let offload: Arc<dyn Offload> = Arc::new(offload);
        let graphs: Arc<dyn GraphResolver> = store.clone();
        let surroundings = Surroundings { trace, graphs: Some(graphs), offload: Some(offload.clone()) };
        let surroundings = Arc::new(surroundings);
        let core = Arc::new(Core { pool, offload, stats: Stats::new(), surroundings, overlong });
        let gate = Gate::new(config.max_inflight, config.queue_capacity, {
            let core = core.clone();
            move |permit, work| core.serve_waiting(permit, work)
        });
        let full = config.queue_full().answer();
        Ok(Self { inner: Arc::new(Inner { store, gate, core, config, full }) })
    }

    /// The plans this host serves from.
    pub fn store(&self) -> &Arc<PlanStore> {
        &self.inner.store
    }

    /// The settings.
    pub fn config(&self) -> &HostConfig {
        &self.inner.config
    }

    /// The figures now.
    pub fn stats(&self) -> StatsSnapshot {
        self.inner.core.stats.snapshot()
    }

    /// How often each blocking node took longer than it should: by plan, as `name@version#hash`, and node.
    pub fn overlong_nodes(&self) -> Vec<(Arc<str>, Arc<str>, u64)> {
        self.inner.core.overlong.counts()
    }

    /// Refuses calls from now on and answers those that wait in line; those that run go on.
    pub fn close(&self) {
        for work in self.inner.gate.close() {
            self.inner.core.end_waiting(&work, Closed::Failed(Failure::Drained.code()), &Failure::Drained);
        }
    }

    /// Whether the host refuses calls.
    pub fn is_closed(&self) -> bool {
        self.inner.gate.is_closed()
    }

    /// The plan that answers this call, held until the lease is dropped. For a transport that must know it
    /// before it can read the message: [`begin_leased`](Self::begin_leased) then runs exactly this plan.
    ///
    /// # Errors
    /// [`Rejection`] if no plan answers; [`refuse`](Self::refuse) makes the answer of it.
    pub fn lease(&self, envelope: &RequestEnvelope) -> Result<PlanLease, Rejection> {
        if self.is_closed() { Err(Rejection::Draining) } else { self.resolve(envelope) }
    }

    /// Begins a call on a plan that was leased for it.
    pub fn begin_leased(&self, plan: PlanLease, envelope: RequestEnvelope, protocol: Protocol) -> Begun {
        self.begin_on(&mut Batch::default(), Some(plan), envelope, protocol, Instant::now())
    }

    /// Counts a refusal and gives the answer to its client.
    pub fn refuse(&self, rejection: &Rejection) -> Answer {
        self.reject(ShardIndex::of_this_thread(), rejection)
    }

    fn reject(&self, shard: ShardIndex, rejection: &Rejection) -> Answer {
        self.inner.core.stats.rejected(shard, rejection.reason(), 1);
        if matches!(rejection, Rejection::QueueFull { .. }) {
            return self.inner.say_full();
        }
        tracing::debug!(%rejection, "refused");
        rejection.answer()
    }

    fn begin_on(
        &self,
        batch: &mut Batch,
        plan: Option<PlanLease>,
        envelope: RequestEnvelope,
        protocol: Protocol,
        arrived: Instant,
    ) -> Begun {
        let shard = ShardIndex::of_this_thread();
        self.admit(batch, plan, envelope, protocol, arrived, shard)
            .unwrap_or_else(|rejection| Begun::Done(self.reject(shard, &rejection)))
    }

    fn admit(
        &self,
        batch: &mut Batch,
        plan: Option<PlanLease>,
        mut envelope: RequestEnvelope,
        protocol: Protocol,
        arrived: Instant,
        shard: ShardIndex,
    ) -> Result<Begun, Rejection> {
        let Inner { gate, core, config, .. } = &*self.inner;
        if gate.is_closed() {
            return Err(Rejection::Draining);
        }
        let (deadline, own) = config.deadline(envelope.deadline, arrived)?;
        let plan = plan.map_or_else(|| self.resolve(&envelope), Ok)?;
        envelope.deadline = own;
        let names_plan = envelope.metadata.may_be_for_host() && envelope.metadata.first(PLAN_KEY).is_some();
        let work =
            |call, cancel, plan| Work { call, plan, cancel, deadline, arrived, shard, protocol, names_plan };
        match gate.try_pass() {
            Some(pass) if plan.class() == Class::Inline => {
                let work = work(Arc::new(RpcServerCall::new(envelope)), Cancel::never(), plan);
                Ok(Begun::Done(batch.begin(&self.inner, pass.into_permit(), work)))
            }
            Some(pass) => {
                let work = work(waiting(envelope), Cancel::new(), plan);
                let pending = PendingCall::running(core, &work);
                core.stats.accepted_running(shard);
                core.run_pooled(pass.into_permit(), work);
                Ok(Begun::Pending(PendingAnswer::new(pending)))
            }
            // Under overload a refusal must be cheaper than a call: it makes none.
            None if gate.is_full() => Err(config.queue_full()),
            None => {
                let work = work(waiting(envelope), Cancel::new(), plan);
                let mut pending = PendingCall::running(core, &work);
                let joined = || core.stats.accepted_waiting(shard);
                let ticket = gate.wait(work, joined).map_err(|refusal| match refusal {
                    Refusal::Closed(_) => Rejection::Draining,
                    Refusal::Full(_) => config.queue_full(),
                })?;
                pending.wait_in_line(gate, ticket, arrived + config.max_queue_wait);
                Ok(Begun::Pending(PendingAnswer::new(pending)))
            }
        }
    }

    /// Finds the plan: by the service of the method, else by the metadata, else the default.
    fn resolve(&self, envelope: &RequestEnvelope) -> Result<PlanLease, Rejection> {
        let store = &self.inner.store;
        let asks = envelope.metadata.may_be_for_host();
        let text = |names: [&str; 2]| {
            if !asks {
                return None;
            }
            let value = names.into_iter().find_map(|name| envelope.metadata.first(name))?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        let version = match text(["okra-graph-version", "sr-graph-version"]) {
            None => None,
            Some(version) => match Version::asked(&version) {
                Ok(version) => Some(version),
                Err(_) => return Err(Rejection::InvalidVersion { version }),
            },
        };
        let service = envelope.method.strip_prefix('/').and_then(|method| method.rsplit_once('/'));
        let service = service.map_or("", |(service, _)| service);
        let no_graph = || Rejection::NoGraph { method: envelope.method.clone() };
        let lease = match text(["okra-graph", "sr-graph-name"]) {
            None => store.resolve(service).ok_or_else(no_graph)?,
            Some(graph) => match store.resolve_service(service) {
                Some(lease) => lease,
                None => return self.named(&graph, version),
            },
        };
        match version {
            Some(version) if *lease.version() != version => self.named(lease.name().as_str(), Some(version)),
            Some(_) | None => Ok(lease),
        }
    }

    fn named(&self, graph: &str, version: Option<Version>) -> Result<PlanLease, Rejection> {
        let found = self.inner.store.resolve_named(graph, version.as_ref());
        found.map_err(|why| Rejection::Unresolved { graph: graph.to_owned(), version, why })
    }
}

impl UnaryHost for ServeHost {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        self.begin_on(&mut Batch::default(), None, envelope, Protocol::Grpc, Instant::now())
    }

    fn begin_in(&self, batch: &mut Batch, mut arrival: Arrival<'_>) -> Begun {
        if let Some(answer) = batch.go_on(&self.inner, &mut arrival) {
            return Begun::Done(answer);
        }
        batch.end();
        let (shard, arrived, head) =
            (ShardIndex::of_this_thread(), arrival.at, (arrival.method, arrival.metadata));
        let admitted = self.admit(batch, None, arrival.into_envelope(), Protocol::Grpc, arrived, shard);
        admitted.unwrap_or_else(|rejection| {
            if matches!(rejection, Rejection::QueueFull { .. }) {
                batch.turn_away(&self.inner, head, shard);
            }
            Begun::Done(self.reject(shard, &rejection))
        })
    }
}

// === impl Inner ===

impl Inner {
    /// What a call is told for which there is no room.
    fn say_full(&self) -> Answer {
        tracing::debug!(rejection = %self.config.queue_full(), "refused");
        self.full.clone()
    }
}

// === impl Work ===

impl Work {
    fn context(&self, core: &Core) -> RequestContext {
        RequestContext::new(self.call.clone())
            .with_deadline(Some(self.deadline))
            .with_cancel(self.cancel.clone())
            .with_surroundings(core.surroundings.clone())
    }
}

/// A call that may wait. It keeps alive no more than its own message; as that comes, it may be a part of a whole read.
fn waiting(mut envelope: RequestEnvelope) -> Arc<RpcServerCall> {
    if envelope.payload.len() < READ && !envelope.payload.is_unique() {
        envelope.payload = Bytes::copy_from_slice(&envelope.payload);
    }
    Arc::new(RpcServerCall::new(envelope))
}

impl fmt::Debug for ServeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeHost").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("call", &self.call)
            .field("plan", &self.plan.label())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
