//! The straight walk: every operation in order, in place on the slots.
//!
//! Invariant: all slots are empty before and after; a failed run clears what is left.

use super::{RunError, RunOutputs, RunTrace, steps};
use crate::context::RequestContext;
use crate::plan::ExecPlan;
use crate::value::Value;

/// Runs a plan over these slots, which are at least as many as it needs and all empty.
pub(super) fn run(
    plan: &ExecPlan,
    cx: &RequestContext,
    slots: &mut [Option<Value>],
) -> Result<RunOutputs, RunError> {
    let trace = RunTrace::start(plan, cx);
    let result = match steps::run(plan, cx, 0..plan.ops.len(), slots) {
        Ok(()) => Ok(RunOutputs::collect(plan, slots)),
        Err(error) => {
            steps::clear(slots);
            Err(error)
        }
    };
    trace.end(&result);
    result
}
