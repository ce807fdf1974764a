//! Runs plans.
//!
//! [`Executor::run`] walks a plan on the calling thread, in order, over slots it keeps from run to
//! run: no allocation, values moved to their last reader, payloads never copied. [`Executor::drive`]
//! runs any plan as a future. Which walk a plan gets was settled when it was compiled:
//!
//! | walk | for plans in which |
//! |---|---|
//! | `straight` | nothing waits, and nothing could run beside what blocks |
//! | `chain` | nodes that wait, block or may be tried again do so one after the other |
//! | `dataflow` | at least two of them have no path between them, and overlap |
//!
//! All three run other nodes by the same `steps`, and nodes that take time by `attempt`.
//!
//! A run ends exactly once, with its outputs or with one [`RunError`], and only when no work of it is left
//! on another thread, so that whoever holds a permit for it holds it long enough. A panic in a kernel
//! becomes an INTERNAL fault of its node. Cancellation is looked at before each node; the deadline before
//! the first node and around nodes that take time. Answering the call is the kernels' business.

mod attempt;
mod chain;
mod dataflow;
mod steps;
mod straight;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::mpsc;

use self::attempt::{NodeResult, Run};
use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::plan::{ExecPlan, Gate, Mode, Op};
use crate::ports::{Ports, ReadInputs, Source};
use crate::trace::{NodeEnd, TraceEvent};
use crate::value::Value;

/// Runs plans on the calling thread; keep one per thread.
#[derive(Debug, Default)]
pub struct Executor {
    slots: Vec<Option<Value>>,
}

/// What a graph's `outputs` gave, in document order. An output whose node was skipped is missing.
#[derive(Clone, Debug, Default)]
pub struct RunOutputs {
    values: Vec<(Arc<str>, Value)>,
}

/// Why a run failed, and where.
#[derive(Debug)]
pub struct RunError {
    /// The node that failed; `None` if the run ended between nodes.
    pub node: Option<Arc<str>>,
    /// The failure.
    pub fault: Fault,
}

/// A piece of blocking work that may move to another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Other threads for nodes that block beside something else.
pub trait Offload: Send + Sync {
    /// Takes a job, to be run soon on another thread.
    ///
    /// # Errors
    /// Gives the job back if no thread is to be had; it then runs where it is.
    fn offload(&self, job: Job) -> Result<(), Job>;

    /// A node that blocks begins on the calling thread. Whoever wants to know which nodes occupy threads for long
    /// gives a ticket, and gets it back when the node has [ended](Self::ended).
    fn blocks(&self, plan: &ExecPlan, node: &Arc<str>, since: Instant) -> Option<BlockingTicket> {
        let (_, _, _) = (plan, node, since);
        None
    }

    /// The node of this ticket has ended.
    fn ended(&self, ticket: BlockingTicket, now: Instant) {
        let (_, _) = (ticket, now);
    }
}

/// Stands for a node that blocks, with whoever gave the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingTicket(pub usize);

/// No other threads: every node runs where its run does.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOffload;

/// Says where a run begins and ends, to whoever watches it.
struct RunTrace<'a> {
    plan: &'a ExecPlan,
    cx: &'a RequestContext,
    watch: Watch,
}

/// Since when something runs, for traced runs; the others need not know the time.
struct Watch(Option<Instant>);

// === impl Executor ===

impl Executor {
    /// An executor that has run nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a plan to its end on this thread. `now` is the time at which the run begins.
    ///
    /// A plan that must wait is refused: [`drive`](Self::drive) runs those.
    ///
    /// # Errors
    /// The fault that ended the run.
    pub fn run(
        &mut self,
        plan: &ExecPlan,
        cx: &RequestContext,
        now: Instant,
    ) -> Result<RunOutputs, RunError> {
        if plan.waits() {
            return Err(RunError::between_nodes(Fault::new(
                Code::Internal,
                "the plan waits; it cannot run in place",
            )));
        }
        if cx.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(RunError::between_nodes(deadline_fault()));
        }
        self.slots.resize_with(plan.slot_count().max(self.slots.len()), || None);
        straight::run(plan, cx, &mut self.slots)
    }

    /// Runs any plan as a future. Dropping it abandons nodes that wait; a node that blocks elsewhere
    /// finishes on its own.
    ///
    /// # Errors
    /// The fault that ended the run.
    pub async fn drive(
        plan: &Arc<ExecPlan>,
        cx: &Arc<RequestContext>,
        offload: &dyn Offload,
    ) -> Result<RunOutputs, RunError> {
        Self::drive_as(plan.mode(), plan, cx, offload).await
    }

    async fn drive_as(
        mode: Mode,
        plan: &Arc<ExecPlan>,
        cx: &Arc<RequestContext>,
        offload: &dyn Offload,
    ) -> Result<RunOutputs, RunError> {
        check_time(cx).map_err(RunError::between_nodes)?;
        // What blocks in a nested run must not block the runs beside it.
        let offloads = plan.blocks() && (cx.is_nested() || mode == Mode::Dataflow);
        if mode == Mode::Straight && !offloads {
            return straight::run(plan, cx, &mut vec![None; plan.slot_count()]);
        }
        let trace = RunTrace::start(plan, cx);
        let (elsewhere, all_back) = offloads.then(|| mpsc::channel(1)).unzip();
        let run = Run { plan, cx, offload, elsewhere: elsewhere.as_ref(), alone: !offloads };
        let result = match mode {
            Mode::Straight | Mode::Chain => chain::walk(run).await,
            Mode::Dataflow => dataflow::walk(run).boxed().await,
        };
        // Work on other threads cannot be stopped, only told; the run lasts until it has ended.
        drop(elsewhere);
        if let Some(mut all_back) = all_back {
            let _closed: Option<()> = all_back.recv().await;
        }
        trace.end(&result);
        result
    }
}

// === impl RunOutputs ===

impl RunOutputs {
    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// All values, in document order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }

    fn collect(plan: &ExecPlan, slots: &mut [Option<Value>]) -> Self {
        if plan.outputs.is_empty() {
            return Self::default();
        }
        let mut ports = Ports { sources: &[], targets: &[], slots, constants: &plan.constants };
        let values = plan.outputs.iter().filter_map(|output| {
            ports.sources = std::slice::from_ref(&output.source);
            Some((output.name.clone(), ports.take(0)?))
        });
        Self { values: values.collect() }
    }
}

// === impl RunError ===

impl RunError {
    fn between_nodes(fault: Fault) -> Self {
        Self { node: None, fault }
    }

    fn at(op: &Op, fault: Fault) -> Self {
        Self { node: Some(op.id.clone()), fault }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "node {node}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

// === impl RunTrace ===

impl<'a> RunTrace<'a> {
    fn start(plan: &'a ExecPlan, cx: &'a RequestContext) -> Self {
        emit(plan, cx, TraceEvent::RunStarted);
        Self { plan, cx, watch: Watch::start(cx) }
    }

    fn end(self, result: &Result<RunOutputs, RunError>) {
        if self.cx.trace().is_some() {
            let code = result.as_ref().map_or_else(|error| error.fault.code(), |_| Code::Ok);
            emit(self.plan, self.cx, TraceEvent::RunEnded { code, elapsed: self.watch.elapsed() });
        }
    }
}

// === impl Watch ===

impl Watch {
    fn start(cx: &RequestContext) -> Self {
        Self(cx.trace().map(|_| Instant::now()))
    }

    fn elapsed(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |begun| begun.elapsed())
    }
}

// === impl Offload ===

impl Offload for NoOffload {
    fn offload(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }
}

/// Fails once the deadline has passed. The clock is read only if there is one.
fn check_time(cx: &RequestContext) -> Result<(), Fault> {
    cx.deadline().map_or(Ok(()), |_| check_time_at(cx, Instant::now()))
}

/// Fails if the deadline has passed by `now`.
fn check_time_at(cx: &RequestContext, now: Instant) -> Result<(), Fault> {
    match cx.deadline() {
        Some(deadline) if now >= deadline => Err(deadline_fault()),
        _ => Ok(()),
    }
}

/// What ends a run from outside: its caller or its deadline. Sets a timer when it is first polled.
async fn stopped(cx: &RequestContext) -> Fault {
    let deadline = async {
        match cx.deadline() {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cx.cancel().cancelled() => cancelled_fault(),
        () = deadline => deadline_fault(),
    }
}

/// Ends a node that took time: tells it, and puts its outputs into their slots.
fn end_node(
    plan: &ExecPlan,
    cx: &RequestContext,
    op: &Op,
    elapsed: Duration,
    result: NodeResult,
    slots: &mut [Option<Value>],
) -> Result<(), RunError> {
    let end = result.as_ref().map_or_else(|fault| NodeEnd::Failed(fault.code()), |(_, end)| *end);
    emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed });
    let (mut outputs, _) = result.map_err(|fault| RunError::at(op, fault))?;
    for (value, target) in outputs.values.iter_mut().zip(plan.targets_of(op)) {
        if let Some(slot) = target.0 {
            slots[slot as usize] = value.take();
        }
    }
    Ok(())
}

fn deadline_fault() -> Fault {
    Fault::new(Code::DeadlineExceeded, "the deadline of the call has passed")
}

fn cancelled_fault() -> Fault {
    Fault::new(Code::Cancelled, "the call was cancelled")
}

/// Whether an operation's inputs let it run.
#[inline]
fn may_run(op: &Op, sources: &[Source], slots: &[Option<Value>]) -> bool {
    let fired = |source: &Source| match *source {
        Source::Unbound => None,
        Source::Const(_) => Some(true),
        Source::Last(slot) | Source::Shared(slot) | Source::Twin(slot) => {
            Some(slots[slot as usize].is_some())
        }
    };
    match op.gate {
        Gate::Open => true,
        Gate::All => sources.iter().filter_map(fired).all(|fired| fired),
        Gate::Any => sources.iter().filter_map(fired).any(|fired| fired),
    }
}

/// Checks the inputs whose source may carry a type that the port does not accept.
fn check_types(op: &Op, inputs: &impl ReadInputs) -> Result<(), Fault> {
    for (input, accepts) in &op.checks {
        if let Some(value) = inputs.get(*input)
            && !accepts.contains(value.kind())
        {
            let name = op.ports.inputs.get(*input).map_or("?", |name| name);
            let message = format!("input {name} expects {accepts}, but got {}", value.kind());
            return Err(Fault::new(Code::InvalidArgument, message));
        }
    }
    Ok(())
}

/// The fault of a kernel that panicked. What it said is for the logs, not for the caller.
#[cold]
fn panic_fault(payload: &(dyn Any + Send)) -> Fault {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    Fault::new(Code::Internal, "the kernel panicked").with_source(said)
}

fn emit(plan: &ExecPlan, cx: &RequestContext, event: TraceEvent<'_>) {
    if let Some(trace) = cx.trace() {
        trace.event(plan, event);
    }
}

#[cfg(test)]
mod tests;
