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

use super::attempt::{Run, fall_back, run_node, start};
use super::{
    RunError, RunOutputs, Watch, cancelled_fault, check_time, check_types, emit, end_node, may_run, steps,
    stopped,
};
use crate::fault::Fault;
use crate::kernel::Body;
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
    let mut ports = Ports { sources, targets: &[], slots, constants: &plan.constants };
    if !runs {
        steps::skipped(plan, cx, op);
        ports.leave();
        return Ok(());
    }
    emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
    check_time(cx).map_err(|fault| RunError::at(op, fault))?;
    let inputs = ports.take_all();
    let watch = Watch::start(cx);
    let result = match &op.body {
        // Without further ado: the more futures its inputs and outputs move through, the dearer the run.
        Body::Async(kernel) if op.policy.is_plain() => {
            let started = check_types(op, &inputs).and_then(|()| start(&**kernel, inputs, cx));
            let ran = match started {
                Ok(node) => unless(stopped, node).await?,
                Err(fault) => Err(fault),
            };
            ran.map(|outputs| (outputs, NodeEnd::Ok)).or_else(|fault| fall_back(cx, op, fault))
        }
        Body::Inline(_) | Body::Blocking(_) | Body::Async(_) => {
            unless(stopped, run_node(run, index, inputs).boxed()).await?
        }
    };
    if cx.cancel().is_cancelled() {
        return Err(RunError::between_nodes(cancelled_fault()));
    }
    check_time(cx).map_err(RunError::between_nodes)?;
    end_node(plan, cx, op, watch.elapsed(), result, slots)
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
