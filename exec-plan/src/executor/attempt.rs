//! One node that takes time: its attempts, each with its time-out, the pauses between them, and the
//! fallback after the last.
//!
//! A node's own time-out narrows the deadline its kernel sees. A fault is tried again only if its code
//! is listed, attempts are left, and the pause still fits before the deadline of the call.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::json;
use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};

use super::{BlockingTicket, Offload, cancelled_fault, check_time, check_types, panic_fault};
use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::kernel::{AsyncKernel, Begun, Body, Kernel};
use crate::plan::{ExecPlan, Op};
use crate::ports::{Inputs, Outputs, Ports, run_owned};
use crate::trace::NodeEnd;
use crate::value::Value;
use crate::wire::Fallback;

/// What the attempts of one run share.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) plan: &'a Arc<ExecPlan>,
    pub(super) cx: &'a Arc<RequestContext>,
    pub(super) offload: &'a dyn Offload,
    /// Held by every piece of work on another thread; the run ends when all have let go. None for runs
    /// without any.
    pub(super) elsewhere: Option<&'a mpsc::Sender<()>>,
    /// Nothing else of this run, nor of one that it belongs to, is under way or ready.
    pub(super) alone: bool,
}

/// A node that blocks this thread, for whoever watches those. It has ended when this is dropped.
pub(super) struct Blocks<'a> {
    offload: &'a dyn Offload,
    ticket: Option<BlockingTicket>,
}

/// How a node ended, and with which outputs.
pub(super) type NodeResult = Result<(Outputs, NodeEnd), Fault>;

// === impl Blocks ===

impl<'a> Blocks<'a> {
    pub(super) fn begin(plan: &ExecPlan, op: &Op, cx: &'a RequestContext, now: Instant) -> Self {
        let offload = cx.offload();
        Self { offload, ticket: offload.blocks(plan, &op.id, now) }
    }

    /// Says that it has ended; gives the time.
    pub(super) fn end(mut self) -> Instant {
        let now = Instant::now();
        self.tell(now);
        now
    }

    fn tell(&mut self, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.offload.ended(ticket, now);
        }
    }
}

impl Drop for Blocks<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.tell(Instant::now());
        }
    }
}

/// Runs a node until it succeeds, falls back, or has failed for good.
pub(super) async fn run_node(run: Run<'_>, index: usize, inputs: Inputs) -> NodeResult {
    let op = &run.plan.ops[index];
    if let Some(retry) = &op.policy.retry {
        let mut pause = retry.backoff;
        for _ in 1..retry.attempts.get() {
            // The values are shared, so a copy for a later attempt costs no payload.
            let fault = match run_once(run, index, inputs.clone()).await {
                Ok(outputs) => return Ok((outputs, NodeEnd::Ok)),
                Err(fault) => fault,
            };
            if !retry.on.contains(&fault.code()) || !pause_fits(run.cx, pause) {
                return fall_back(run.cx, op, fault);
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }
    match run_once(run, index, inputs).await {
        Ok(outputs) => Ok((outputs, NodeEnd::Ok)),
        Err(fault) => fall_back(run.cx, op, fault),
    }
}

/// The outputs of a node that has failed for good and falls back.
fn fallback_outputs(op: &Op, fault: &Fault) -> Outputs {
    match &op.policy.fallback {
        Fallback::Fail => Outputs::new(),
        Fallback::Values(values) => Outputs { values: values.iter().cloned().map(Some).collect() },
        Fallback::Fires => {
            let failure = json!({ "code": fault.code().name(), "message": fault.message() });
            let mut values: SmallVec<[Option<Value>; 4]> = SmallVec::new();
            values.resize(op.ports.outputs.len(), None);
            values.push(Some(Value::Json(Arc::new(failure))));
            Outputs { values }
        }
    }
}

/// What a node that has failed for good ends with.
pub(super) fn fall_back(cx: &RequestContext, op: &Op, fault: Fault) -> NodeResult {
    // A call that nobody waits for any more, or whose time is up, does not fall back: it ends.
    if cx.cancel().is_cancelled() {
        return Err(cancelled_fault());
    }
    check_time(cx)?;
    if matches!(op.policy.fallback, Fallback::Fail) {
        return Err(fault);
    }
    Ok((fallback_outputs(op, &fault), NodeEnd::FellBack(fault.code())))
}

fn pause_fits(cx: &RequestContext, pause: Duration) -> bool {
    cx.deadline().is_none_or(|deadline| Instant::now() + pause < deadline)
}

async fn run_once(run: Run<'_>, index: usize, inputs: Inputs) -> Result<Outputs, Fault> {
    let op = &run.plan.ops[index];
    check_types(op, &inputs)?;
    let Some(timeout) = op.policy.timeout else {
        return run_body(run, index, inputs, run.cx).await;
    };
    let until = Instant::now() + timeout;
    let deadline = run.cx.deadline().map_or(until, |deadline| deadline.min(until));
    let narrowed = Arc::new(RequestContext::clone(run.cx).with_deadline(Some(deadline)));
    let body = run_body(run, index, inputs, &narrowed);
    let result = tokio::time::timeout_at(until.into(), body).await;
    // A kernel that occupied its thread past the limit has overrun it too, whatever it returned.
    match result {
        Ok(result) if Instant::now() < until => result,
        Ok(_) | Err(_) => {
            let message = format!("timed out after {} ms", timeout.as_millis());
            Err(Fault::new(Code::DeadlineExceeded, message))
        }
    }
}

async fn run_body(
    run: Run<'_>,
    index: usize,
    inputs: Inputs,
    cx: &Arc<RequestContext>,
) -> Result<Outputs, Fault> {
    let op = &run.plan.ops[index];
    match &op.body {
        Body::Inline(kernel) => run_here(run.plan, op, &**kernel, inputs, cx),
        Body::Blocking(kernel) if run.alone => run_here(run.plan, op, &**kernel, inputs, cx),
        Body::Blocking(kernel) => match offload(run, index, inputs, cx) {
            Ok(done) => done.await.unwrap_or_else(|_| Err(cancelled_fault())),
            Err(inputs) => run_here(run.plan, op, &**kernel, inputs, cx),
        },
        Body::Async(kernel) => start(&**kernel, inputs, cx)?.await,
    }
}

/// Starts a kernel that waits.
pub(super) fn start<'a>(
    kernel: &'a dyn AsyncKernel,
    inputs: Inputs,
    cx: &'a RequestContext,
) -> Result<impl Future<Output = Result<Outputs, Fault>> + Unpin, Fault> {
    let started = catch_unwind(AssertUnwindSafe(|| kernel.run(inputs, cx)));
    started.map(guarded).map_err(|panic| panic_fault(&*panic))
}

/// Begins a kernel that may have to wait.
pub(super) fn begin<'a>(
    kernel: &'a dyn AsyncKernel,
    ports: &mut Ports<'_>,
    cx: &'a RequestContext,
) -> Begun<'a> {
    catch_unwind(AssertUnwindSafe(|| kernel.begin(ports, cx)))
        .unwrap_or_else(|panic| Begun::Ended(Err(panic_fault(&*panic))))
}

/// A kernel that waits, whose panic is a fault.
pub(super) fn guarded(
    mut waiting: BoxFuture<'_, Result<Outputs, Fault>>,
) -> impl Future<Output = Result<Outputs, Fault>> + Unpin {
    poll_fn(move |task| {
        catch_unwind(AssertUnwindSafe(|| waiting.as_mut().poll(task)))
            .unwrap_or_else(|panic| Poll::Ready(Err(panic_fault(&*panic))))
    })
}

/// Runs an inline or blocking kernel on this thread.
fn run_here(
    plan: &ExecPlan,
    op: &Op,
    kernel: &dyn Kernel,
    inputs: Inputs,
    cx: &RequestContext,
) -> Result<Outputs, Fault> {
    let targets = &plan.targets_of(op)[..op.ports.outputs.len()];
    let _blocks = match &op.body {
        Body::Blocking(_) => Some(Blocks::begin(plan, op, cx, Instant::now())),
        Body::Inline(_) | Body::Async(_) => None,
    };
    catch_unwind(AssertUnwindSafe(|| run_owned(kernel, inputs, targets, cx)))
        .unwrap_or_else(|panic| Err(panic_fault(&*panic)))
}

/// Moves a blocking node to another thread; gives its inputs back if none is to be had.
#[expect(clippy::result_large_err, reason = "a box would cost each refusal what it saves a rare move")]
fn offload(
    run: Run<'_>,
    index: usize,
    inputs: Inputs,
    cx: &Arc<RequestContext>,
) -> Result<oneshot::Receiver<Result<Outputs, Fault>>, Inputs> {
    let (done, receiver) = oneshot::channel();
    let (plan, cx, elsewhere) = (run.plan.clone(), cx.clone(), run.elsewhere.cloned());
    // The inputs travel in a shared cell, so that a refused job does not take them along.
    let parcel = Arc::new(parking_lot::Mutex::new(Some(inputs)));
    let job = {
        let parcel = parcel.clone();
        Box::new(move || {
            let _elsewhere = elsewhere;
            let op = &plan.ops[index];
            let (Body::Blocking(kernel), Some(inputs)) = (&op.body, parcel.lock().take()) else { return };
            // Nobody waits if the run has ended: then the answer has no taker, and that is fine.
            drop(done.send(run_here(&plan, op, &**kernel, inputs, &cx)));
        })
    };
    match run.offload.offload(job) {
        Ok(()) => Ok(receiver),
        Err(_refused) => Err(parcel.lock().take().unwrap_or_default()),
    }
}
