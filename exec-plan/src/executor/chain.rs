//! The chain walk: in order, in place on the slots, waiting for each node that takes time.
//!
//! It runs plans in which all that come after such a node wait for it: nothing could run meanwhile, and the
//! order of the plan is the only one there is. A run allocates what its waiting kernels do, and its slots if
//! they are many.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::FutureExt;
use smallvec::SmallVec;

use super::attempt::{Run, begin, fall_back, guarded, run_node};
use super::{
    RunError, RunOutputs, Watch, cancelled_fault, check_time, check_types, emit, end_node, may_run, steps,
    stopped,
};
use crate::context::RequestContext;
use crate::fault::Fault;
use crate::kernel::{AsyncKernel, Begun, Body};
use crate::plan::Op;
use crate::ports::Ports;
use crate::trace::{NodeEnd, TraceEvent};
use crate::value::Value;

/// Runs a plan to its end.
pub(super) async fn walk(run: Run<'_>) -> Result<RunOutputs, RunError> {
    let plan = run.plan;
    let mut slots: SmallVec<[Option<Value>; FEW_SLOTS]> = SmallVec::new();
    slots.resize_with(plan.slot_count(), || None);
    let walked = walk_over(run, &mut slots).await;
    match walked {
        Ok(()) => Ok(RunOutputs::collect(plan, &mut slots)),
        Err(error) => {
            steps::clear(&mut slots);
            Err(error)
        }
    }
}

async fn walk_over(run: Run<'_>, slots: &mut [Option<Value>]) -> Result<(), RunError> {
    let (plan, cx) = (run.plan, run.cx);
    let mut stopped = pin!(stopped(cx));
    let mut next = 0;
    for slow in &plan.slow {
        let slow = *slow as usize;
        steps::run(plan, cx, next..slow, slots)?;
        take_time(run, slow, slots, stopped.as_mut()).await?;
        next = slow + 1;
    }
    steps::run(plan, cx, next..plan.ops.len(), slots)
}

/// Runs a node that takes time, unless it is skipped.
async fn take_time(
    run: Run<'_>,
    index: usize,
    slots: &mut [Option<Value>],
    stopped: Pin<&mut impl Future<Output = Fault>>,
) -> Result<(), RunError> {
    let (plan, cx) = (run.plan, run.cx);
    let op = &plan.ops[index];
    if cx.cancel().is_cancelled() {
        return Err(RunError::between_nodes(cancelled_fault()));
    }
    let sources = plan.sources_of(op);
    let runs = may_run(op, sources, slots);
    let mut ports = Ports { sources, targets: plan.targets_of(op), slots, constants: &plan.constants };
    if !runs {
        steps::skipped(plan, cx, op);
        ports.leave();
        return Ok(());
    }
    emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
    check_time(cx).map_err(|fault| RunError::at(op, fault))?;
    let watch = Watch::start(cx);
    let result = match &op.body {
        // Without further ado: the more futures its inputs and outputs move through, the dearer the run.
        Body::Async(kernel) if op.policy.is_plain() => match begun(op, &**kernel, ports, cx) {
            Begun::Ended(Ok(())) => None,
            Begun::Ended(Err(fault)) => Some(fall_back(cx, op, fault)),
            Begun::Waits(node) => {
                let ran = unless(stopped, guarded(node)).await?;
                Some(ran.map(|outputs| (outputs, NodeEnd::Ok)).or_else(|fault| fall_back(cx, op, fault)))
            }
        },
        Body::Inline(_) | Body::Blocking(_) | Body::Async(_) => {
            let inputs = ports.take_all();
            ports.leave();
            Some(unless(stopped, run_node(run, index, inputs).boxed()).await?)
        }
    };
    if cx.cancel().is_cancelled() {
        return Err(RunError::between_nodes(cancelled_fault()));
    }
    check_time(cx).map_err(RunError::between_nodes)?;
    match result {
        Some(result) => end_node(plan, cx, op, watch.elapsed(), result, slots),
        // Its outputs are where they belong.
        None => {
            let (node, end) = (&op.id, NodeEnd::Ok);
            emit(plan, cx, TraceEvent::NodeEnded { node, end, elapsed: watch.elapsed() });
            Ok(())
        }
    }
}

/// Begins a node that may have to wait, and leaves its ports.
fn begun<'a>(
    op: &Op,
    kernel: &'a dyn AsyncKernel,
    mut ports: Ports<'_>,
    cx: &'a RequestContext,
) -> Begun<'a> {
    let begun = match check_types(op, &ports) {
        Ok(()) => begin(kernel, &mut ports, cx),
        Err(fault) => Begun::Ended(Err(fault)),
    };
    ports.leave();
    begun
}

/// What a node ends with, unless the run is stopped before. Only a node that waits has the timer set.
fn unless<T>(
    mut stopped: Pin<&mut impl Future<Output = Fault>>,
    mut node: impl Future<Output = T> + Unpin,
) -> impl Future<Output = Result<T, RunError>> {
    poll_fn(move |task| match node.poll_unpin(task) {
        Poll::Ready(ended) => Poll::Ready(Ok(ended)),
        Poll::Pending => stopped.as_mut().poll(task).map(|fault| Err(RunError::between_nodes(fault))),
    })
}

/// As many slots as most plans need.
const FEW_SLOTS: usize = 8;
