//! The dataflow walk: a node starts as soon as all that feed it have ended, and nodes that wait or
//! block overlap.
//!
//! Ready nodes start in the order of the plan, so that a run of inline nodes is as deterministic here
//! as in the straight walk. Invariant: the future ends only when no work of this run is left on another
//! thread, so that whoever holds a permit for the run holds it long enough.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::attempt::{Run, run_here, run_node};
use super::{
    Offload, RunError, RunOutputs, cancelled_fault, check_deadline, check_types, deadline_fault, emit,
    may_run,
};
use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::kernel::Body;
use crate::plan::{ExecPlan, Op};
use crate::ports::{Inputs, Outputs, Source};
use crate::trace::{NodeEnd, TraceEvent};
use crate::value::Value;
use crate::wire::Fallback;

type NodeResult = Result<(Outputs, NodeEnd), Fault>;

/// A run in progress.
struct Walk<'a> {
    run: Run<'a>,
    slots: Vec<Option<Value>>,
    /// Per slot: reads still to come; the last one moves the value.
    readers: Vec<u32>,
    /// Per operation: feeding operations that have not ended.
    waits_for: Vec<u32>,
    ready: BinaryHeap<Reverse<u32>>,
    running: FuturesUnordered<BoxFuture<'a, (u32, Duration, NodeResult)>>,
}

/// Runs a plan as a future.
pub(super) async fn run(
    plan: &Arc<ExecPlan>,
    cx: &Arc<RequestContext>,
    offload: &dyn Offload,
) -> Result<RunOutputs, RunError> {
    let begun = Instant::now();
    emit(plan, cx, TraceEvent::RunStarted);
    let (elsewhere, all_back) = plan.blocks().then(|| mpsc::channel(1)).unzip();
    let result = {
        let mut walk = Walk::new(Run { plan, cx, offload, elsewhere: elsewhere.as_ref(), alone: false });
        walk.finish().await
    };
    // Work on other threads cannot be stopped, only told; the run lasts until it has ended.
    drop(elsewhere);
    if let Some(mut all_back) = all_back {
        let _closed: Option<()> = all_back.recv().await;
    }
    let code = result.as_ref().map_or_else(|error| error.fault.code(), |_| Code::Ok);
    emit(plan, cx, TraceEvent::RunEnded { code, elapsed: begun.elapsed() });
    result
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(run: Run<'a>) -> Self {
        let plan = run.plan;
        let mut slots = vec![None; plan.slot_count()];
        for (key, slot) in &plan.env {
            slots[*slot as usize] = Some(run.cx.environment().clone().value(key));
        }
        let waits_for: Vec<u32> = plan.ops.iter().map(|op| op.predecessors).collect();
        let ready = (0u32..)
            .zip(&waits_for)
            .filter(|(_, left)| **left == 0)
            .map(|(index, _)| Reverse(index))
            .collect();
        Self {
            run,
            slots,
            readers: plan.readers.to_vec(),
            waits_for,
            ready,
            running: FuturesUnordered::new(),
        }
    }

    async fn finish(&mut self) -> Result<RunOutputs, RunError> {
        let cx = self.run.cx;
        let deadline = async {
            match cx.deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut stopped = std::pin::pin!(
            async {
                tokio::select! {
                    () = cx.cancel().cancelled() => cancelled_fault(),
                    () = deadline => deadline_fault(),
                }
            }
            .fuse()
        );
        loop {
            self.start_ready()?;
            if self.running.is_empty() {
                break;
            }
            // The timer is set only for a run that waits. A node that ends because the call did is not at fault.
            tokio::select! {
                biased;
                Some((index, elapsed, result)) = self.running.next() => {
                    if cx.cancel().is_cancelled() {
                        return Err(RunError::between_nodes(cancelled_fault()));
                    }
                    check_deadline(cx, Instant::now())?;
                    self.end(index, elapsed, result)?;
                }
                fault = &mut stopped => return Err(RunError::between_nodes(fault)),
            }
        }
        Ok(RunOutputs::collect(self.run.plan, &mut self.slots))
    }

    /// Starts every node that is ready; those that neither wait nor block also end here.
    fn start_ready(&mut self) -> Result<(), RunError> {
        while let Some(Reverse(index)) = self.ready.pop() {
            let (plan, cx) = (self.run.plan, self.run.cx);
            let op = &plan.ops[index as usize];
            if cx.cancel().is_cancelled() {
                return Err(RunError::between_nodes(cancelled_fault()));
            }
            if !may_run(op, plan.sources_of(op), &self.slots) {
                self.collect(op);
                emit(
                    plan,
                    cx,
                    TraceEvent::NodeEnded { node: &op.id, end: NodeEnd::Skipped, elapsed: Duration::ZERO },
                );
                self.release_successors(op);
                continue;
            }
            let inputs = self.collect(op);
            emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
            if let (Body::Inline(kernel), None, None, Fallback::Fail) =
                (&op.body, op.policy.timeout, &op.policy.retry, &op.policy.fallback)
            {
                let begun = Instant::now();
                let ran = check_types(op, &inputs).and_then(|()| run_here(plan, op, &**kernel, inputs, cx));
                self.end(index, begun.elapsed(), ran.map(|outputs| (outputs, NodeEnd::Ok)))?;
            } else {
                check_deadline(cx, Instant::now()).map_err(|error| RunError::at(op, error.fault))?;
                // Alone, a node that blocks may as well do it here.
                let alone = self.running.is_empty() && self.ready.is_empty() && !cx.is_nested();
                self.running.push(Self::start(Run { alone, ..self.run }, index, inputs));
            }
        }
        Ok(())
    }

    fn start(run: Run<'a>, index: u32, inputs: Inputs) -> BoxFuture<'a, (u32, Duration, NodeResult)> {
        async move {
            let begun = Instant::now();
            let result = run_node(run, index as usize, inputs).await;
            (index, begun.elapsed(), result)
        }
        .boxed()
    }

    /// Takes a node's inputs out of the slots: moved for the last reader, shared for the others.
    fn collect(&mut self, op: &Op) -> Inputs {
        let plan = self.run.plan;
        plan.sources_of(op)
            .iter()
            .map(|source| match *source {
                Source::Unbound => None,
                Source::Const(constant) => Some(plan.constants[constant as usize].clone()),
                Source::Last(slot) | Source::Shared(slot) | Source::Twin(slot) => {
                    let left = &mut self.readers[slot as usize];
                    *left -= 1;
                    let slot = &mut self.slots[slot as usize];
                    if *left == 0 { slot.take() } else { slot.clone() }
                }
            })
            .collect()
    }

    fn end(&mut self, index: u32, elapsed: Duration, result: NodeResult) -> Result<(), RunError> {
        let (plan, cx) = (self.run.plan, self.run.cx);
        let op = &plan.ops[index as usize];
        let (outputs, end) = match result {
            Ok(ended) => ended,
            Err(fault) => {
                let end = NodeEnd::Failed(fault.code());
                emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed });
                return Err(RunError::at(op, fault));
            }
        };
        emit(plan, cx, TraceEvent::NodeEnded { node: &op.id, end, elapsed });
        for (value, target) in outputs.values.into_iter().zip(plan.targets_of(op)) {
            if let Some(slot) = target.0 {
                self.slots[slot as usize] = value;
            }
        }
        self.release_successors(op);
        Ok(())
    }

    fn release_successors(&mut self, op: &Op) {
        for next in &op.successors {
            let left = &mut self.waits_for[*next as usize];
            *left -= 1;
            if *left == 0 {
                self.ready.push(Reverse(*next));
            }
        }
    }
}
