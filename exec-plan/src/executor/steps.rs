//! Steps: operations that run one after the other, in place on the slots.
//!
//! The straight walk is made of nothing else; the others take them between the nodes that they wait for. A value
//! leaves its slot with its last reader, taken or not, skipped or not.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::attempt::Blocks;
use super::{RunError, attempt, cancelled_fault, check_time_at, check_types, emit, may_run, panic_fault};
use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::kernel::Body;
use crate::plan::{ExecPlan, Op};
use crate::ports::{Ports, Source};
use crate::trace::{NodeEnd, TraceEvent};
use crate::value::Value;
use crate::wire::Fallback;

/// The operation under way, and, until its end is told, when it began if its run is traced.
#[derive(Default)]
struct At {
    index: usize,
    begun: Option<Instant>,
}

/// Fills the slots of the environment.
pub(super) fn load_environment(plan: &ExecPlan, cx: &RequestContext, slots: &mut [Option<Value>]) {
    for (key, slot) in &plan.env {
        slots[*slot as usize] = Some(cx.environment().clone().value(key));
    }
}

/// Runs these operations, of which none waits. The first come with the environment.
pub(super) fn run(
    plan: &ExecPlan,
    cx: &RequestContext,
    ops: Range<usize>,
    slots: &mut [Option<Value>],
) -> Result<(), RunError> {
    // One landing pad for all of them: it costs nothing per node, and `at` names the culprit.
    let mut at = At::default();
    let walked = catch_unwind(AssertUnwindSafe(|| {
        if ops.start == 0 {
            load_environment(plan, cx, slots);
        }
        match cx.trace() {
            None => walk::<false>(plan, cx, ops, slots, &mut at),
            Some(_) => walk::<true>(plan, cx, ops, slots, &mut at),
        }
    }));
    walked.unwrap_or_else(|panic| Err(panicked(plan, cx, &mut at, &*panic)))
}

/// Runs one inline operation, whose inputs are where `sources` says.
pub(super) fn run_one(
    plan: &ExecPlan,
    cx: &RequestContext,
    index: usize,
    sources: &[Source],
    slots: &mut [Option<Value>],
) -> Result<(), RunError> {
    let mut at = At { index, begun: None };
    let op = &plan.ops[index];
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut ports = Ports { sources, targets: plan.targets_of(op), slots, constants: &plan.constants };
        match cx.trace() {
            None => step(plan, cx, op, &mut ports).map(drop),
            Some(_) => traced_step(plan, cx, op, &mut ports, &mut at),
        }
        .map_err(|fault| RunError::at(op, fault))?;
        ports.leave();
        Ok(())
    }));
    ran.unwrap_or_else(|panic| Err(panicked(plan, cx, &mut at, &*panic)))
}

/// Says that an operation was skipped.
pub(super) fn skipped(plan: &ExecPlan, cx: &RequestContext, op: &Op) {
    let end = NodeEnd::Skipped;
    emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed: Duration::ZERO });
}

/// Empties every slot; a value whose destructor panics costs nothing but itself.
#[cold]
pub(super) fn clear(slots: &mut [Option<Value>]) {
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
    ops: Range<usize>,
    slots: &mut [Option<Value>],
    at: &mut At,
) -> Result<(), RunError> {
    let first = ops.start;
    let mut ports = Ports { sources: &[], targets: &[], slots, constants: &plan.constants };
    for (index, op) in plan.ops[ops].iter().enumerate() {
        at.index = first + index;
        if cx.cancel().is_cancelled() {
            return Err(RunError::between_nodes(cancelled_fault()));
        }
        (ports.sources, ports.targets) = (plan.sources_of(op), plan.targets_of(op));
        if may_run(op, ports.sources, ports.slots) {
            let ended = match TRACED {
                false => step(plan, cx, op, &mut ports).map(drop),
                true => traced_step(plan, cx, op, &mut ports, at),
            };
            if let Err(fault) = ended {
                return Err(RunError::at(op, fault));
            }
        } else if TRACED {
            skipped(plan, cx, op);
        }
        ports.leave();
    }
    Ok(())
}

#[inline]
fn step(plan: &ExecPlan, cx: &RequestContext, op: &Op, ports: &mut Ports<'_>) -> Result<NodeEnd, Fault> {
    let ran = match &op.body {
        Body::Inline(kernel) if op.checks.is_empty() => kernel.run(ports, cx),
        Body::Inline(_) | Body::Blocking(_) | Body::Async(_) => step_with_care(plan, cx, op, ports),
    };
    match ran {
        Ok(()) => Ok(NodeEnd::Ok),
        Err(fault) => fall_back(cx, op, fault, ports),
    }
}

#[cold]
fn traced_step(
    plan: &ExecPlan,
    cx: &RequestContext,
    op: &Op,
    ports: &mut Ports<'_>,
    at: &mut At,
) -> Result<(), Fault> {
    at.begun = Some(Instant::now());
    emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
    let ended = step(plan, cx, op, ports);
    let end = ended.as_ref().map_or_else(|fault| NodeEnd::Failed(fault.code()), |end| *end);
    at.ended(plan, cx, end);
    ended.map(drop)
}

/// Runs what takes more than its kernel, out of the way of the rest.
#[inline(never)]
fn step_with_care(plan: &ExecPlan, cx: &RequestContext, op: &Op, ports: &mut Ports<'_>) -> Result<(), Fault> {
    match &op.body {
        Body::Inline(kernel) => {
            check_types(op, ports)?;
            kernel.run(ports, cx)
        }
        Body::Blocking(kernel) => {
            let begun = Instant::now();
            check_time_at(cx, begun)?;
            check_types(op, ports)?;
            let blocks = Blocks::begin(plan, op, cx, begun);
            kernel.run(ports, cx)?;
            check_time_at(cx, blocks.end())
        }
        Body::Async(_) => Err(Fault::new(Code::Internal, "a waiting kernel cannot run in place")),
    }
}

#[cold]
fn fall_back(cx: &RequestContext, op: &Op, fault: Fault, ports: &mut Ports<'_>) -> Result<NodeEnd, Fault> {
    if matches!(op.policy.fallback, Fallback::Fail) {
        return Err(fault);
    }
    let (outputs, end) = attempt::fall_back(cx, op, fault)?;
    for (output, value) in outputs.values.into_iter().enumerate() {
        match value {
            Some(value) => ports.set(output, value),
            None => ports.unset(output),
        }
    }
    Ok(end)
}

#[cold]
fn panicked(plan: &ExecPlan, cx: &RequestContext, at: &mut At, panic: &(dyn Any + Send)) -> RunError {
    let fault = panic_fault(panic);
    at.ended(plan, cx, NodeEnd::Failed(fault.code()));
    match plan.ops.get(at.index) {
        Some(op) => RunError::at(op, fault),
        None => RunError::between_nodes(fault),
    }
}

// === impl At ===

impl At {
    /// Says how the operation under way ended, if it is traced.
    fn ended(&mut self, plan: &ExecPlan, cx: &RequestContext, end: NodeEnd) {
        if let Some(begun) = self.begun.take()
            && let Some(op) = plan.ops.get(self.index)
        {
            emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed: begun.elapsed() });
        }
    }
}
