//! The straight walk: every operation in order, in place on the slots.
//!
//! Invariant: all slots are empty before and after. A value leaves its slot with its last reader, taken
//! or not, skipped or not; a failed run clears what is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{
    RunError, RunOutputs, attempt, cancelled_fault, check_deadline, check_types, emit, may_run, panic_fault,
};
use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::kernel::{Body, Kernel};
use crate::plan::{ExecPlan, Op};
use crate::ports::{Ports, Source, empty};
use crate::trace::{NodeEnd, TraceEvent};
use crate::value::Value;
use crate::wire::Fallback;

/// Runs a plan over these slots, which are at least as many as it needs and all empty.
pub(super) fn run(
    plan: &ExecPlan,
    cx: &RequestContext,
    slots: &mut [Option<Value>],
) -> Result<RunOutputs, RunError> {
    // One landing pad for the whole walk: it costs nothing per node, and `at` names the culprit.
    let mut at = 0;
    let walked = catch_unwind(AssertUnwindSafe(|| match cx.trace() {
        None => walk::<false>(plan, cx, slots, &mut at),
        Some(_) => walk::<true>(plan, cx, slots, &mut at),
    }));
    let result = match walked {
        Ok(Ok(())) if plan.outputs.is_empty() => return Ok(RunOutputs::default()),
        Ok(Ok(())) => return Ok(RunOutputs::collect(plan, slots)),
        Ok(Err(error)) => error,
        Err(panic) => {
            let fault = panic_fault(&*panic);
            plan.ops
                .get(at)
                .map_or_else(|| RunError::between_nodes(panic_fault(&*panic)), |op| RunError::at(op, fault))
        }
    };
    clear(slots);
    Err(result)
}

/// Empties every slot; a value whose destructor panics costs nothing but itself.
#[cold]
fn clear(slots: &mut [Option<Value>]) {
    for slot in slots {
        let value = slot.take();
        if value.is_some() {
            drop(catch_unwind(AssertUnwindSafe(|| drop(value))));
        }
    }
}

fn walk<const TRACED: bool>(
    plan: &ExecPlan,
    cx: &RequestContext,
    slots: &mut [Option<Value>],
    at: &mut usize,
) -> Result<(), RunError> {
    let begun = TRACED.then(Instant::now);
    if TRACED {
        emit(plan, cx, TraceEvent::RunStarted);
    }
    let result = walk_ops::<TRACED>(plan, cx, slots, at);
    if let Some(begun) = begun {
        let code = result.as_ref().map_or_else(|error| error.fault.code(), |()| Code::Ok);
        emit(plan, cx, TraceEvent::RunEnded { code, elapsed: begun.elapsed() });
    }
    result
}

fn walk_ops<const TRACED: bool>(
    plan: &ExecPlan,
    cx: &RequestContext,
    slots: &mut [Option<Value>],
    at: &mut usize,
) -> Result<(), RunError> {
    for (key, slot) in &plan.env {
        slots[*slot as usize] = Some(cx.environment().clone().value(key));
    }
    for (index, op) in plan.ops.iter().enumerate() {
        *at = index;
        if cx.cancel().is_cancelled() {
            return Err(RunError::between_nodes(cancelled_fault()));
        }
        let sources = plan.sources_of(op);
        if may_run(op, sources, slots) {
            step::<TRACED>(plan, op, sources, cx, slots)?;
        } else if TRACED {
            emit(
                plan,
                cx,
                TraceEvent::NodeEnded { node: &op.id, end: NodeEnd::Skipped, elapsed: Duration::ZERO },
            );
        }
        for source in sources {
            if let Source::Last(slot) | Source::Twin(slot) = *source {
                empty(&mut slots[slot as usize]);
            }
        }
    }
    Ok(())
}

#[inline]
fn step<const TRACED: bool>(
    plan: &ExecPlan,
    op: &Op,
    sources: &[Source],
    cx: &RequestContext,
    slots: &mut [Option<Value>],
) -> Result<(), RunError> {
    let begun = TRACED.then(Instant::now);
    if TRACED {
        emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
    }
    let mut ports = Ports { sources, targets: plan.targets_of(op), slots, constants: &plan.constants };
    let ran = match &op.body {
        Body::Inline(kernel) => run_kernel(&**kernel, op, &mut ports, cx),
        Body::Blocking(kernel) => {
            check_deadline(cx, Instant::now()).map_err(|error| RunError::at(op, error.fault))?;
            let _blocks = cx.offload().blocks(plan, &op.id);
            run_kernel(&**kernel, op, &mut ports, cx)
                .and_then(|()| check_deadline(cx, Instant::now()).map_err(|error| error.fault))
        }
        Body::Async(_) => Err(Fault::new(Code::Internal, "a waiting kernel cannot run in place")),
    };
    let ended = match ran {
        Ok(()) => Ok(NodeEnd::Ok),
        Err(fault) => fall_back(op, fault, &mut ports, cx),
    };
    if let Some(begun) = begun {
        let end = ended.as_ref().map_or_else(|error| NodeEnd::Failed(error.fault.code()), |end| *end);
        emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed: begun.elapsed() });
    }
    ended.map(|_| ())
}

#[inline]
fn run_kernel(kernel: &dyn Kernel, op: &Op, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
    if !op.checks.is_empty() {
        check_types(op, ports)?;
    }
    kernel.run(ports, cx)
}

#[cold]
fn fall_back(op: &Op, fault: Fault, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<NodeEnd, RunError> {
    let code = fault.code();
    // A call that nobody waits for any more, or whose time is up, does not fall back: it ends.
    if cx.cancel().is_cancelled() || matches!(op.policy.fallback, Fallback::Fail) {
        return Err(RunError::at(op, fault));
    }
    check_deadline(cx, Instant::now()).map_err(|error| RunError::at(op, error.fault))?;
    let outputs = attempt::fallback_outputs(op, &fault);
    for (output, value) in outputs.values.into_iter().enumerate() {
        match value {
            Some(value) => ports.set(output, value),
            None => ports.unset(output),
        }
    }
    Ok(NodeEnd::FellBack(code))
}
