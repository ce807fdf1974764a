//! The dataflow walk: a node starts as soon as all that feed it have ended, and nodes that take time overlap.
//!
//! Ready nodes start in the order of the plan, so that a run of inline nodes is as deterministic here
//! as in the straight walk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use smallvec::SmallVec;

use super::attempt::{NodeResult, Run, run_node};
use super::{
    RunError, RunOutputs, Watch, cancelled_fault, check_time, emit, end_node, may_run, steps, stopped,
};
use crate::plan::Op;
use crate::ports::{Inputs, Ports, Source};
use crate::trace::TraceEvent;
use crate::value::Value;

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

/// Where the inputs of an operation are, by what has been read so far.
type Sources = SmallVec<[Source; 8]>;

/// Runs a plan to its end.
pub(super) async fn walk(run: Run<'_>) -> Result<RunOutputs, RunError> {
    Walk::new(run).finish().await
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(run: Run<'a>) -> Self {
        let plan = run.plan;
        let mut slots = vec![None; plan.slot_count()];
        steps::load_environment(plan, run.cx, &mut slots);
        let waits_for: Vec<u32> = plan.ops.iter().map(|op| op.predecessors).collect();
        let ready = (0u32..)
            .zip(&waits_for)
            .filter(|(_, left)| **left == 0)
            .map(|(index, _)| Reverse(index))
            .collect();
        let readers = plan.readers.to_vec();
        Self { run, slots, readers, waits_for, ready, running: FuturesUnordered::new() }
    }

    async fn finish(&mut self) -> Result<RunOutputs, RunError> {
        let cx = self.run.cx;
        let mut stopped = pin!(stopped(cx));
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
                    check_time(cx).map_err(RunError::between_nodes)?;
                    let op = &self.run.plan.ops[index as usize];
                    end_node(self.run.plan, cx, op, elapsed, result, &mut self.slots)?;
                    self.release_successors(op);
                }
                fault = &mut stopped => return Err(RunError::between_nodes(fault)),
            }
        }
        Ok(RunOutputs::collect(self.run.plan, &mut self.slots))
    }

    /// Starts every node that is ready; those that take no time also end here.
    fn start_ready(&mut self) -> Result<(), RunError> {
        while let Some(Reverse(index)) = self.ready.pop() {
            let (plan, cx) = (self.run.plan, self.run.cx);
            let op = &plan.ops[index as usize];
            if cx.cancel().is_cancelled() {
                return Err(RunError::between_nodes(cancelled_fault()));
            }
            let runs = may_run(op, plan.sources_of(op), &self.slots);
            let sources = &*self.read(op);
            let slots = &mut self.slots;
            let mut ports = Ports { sources, targets: &[], slots, constants: &plan.constants };
            if !runs {
                steps::skipped(plan, cx, op);
                ports.leave();
            } else if op.policy.takes_time(&op.body) {
                emit(plan, cx, TraceEvent::NodeStarted { node: &op.id });
                check_time(cx).map_err(|fault| RunError::at(op, fault))?;
                let inputs = ports.take_all();
                ports.leave();
                self.start(index, inputs);
                continue;
            } else {
                steps::run_one(plan, cx, index as usize, sources, slots)?;
            }
            self.release_successors(op);
        }
        Ok(())
    }

    /// Starts a node that takes time.
    fn start(&mut self, index: u32, inputs: Inputs) {
        // Alone, a node that blocks may as well do it here.
        let alone = self.running.is_empty() && self.ready.is_empty() && !self.run.cx.is_nested();
        let run = Run { alone, ..self.run };
        let node = async move {
            let watch = Watch::start(run.cx);
            let result = run_node(run, index as usize, inputs).await;
            (index, watch.elapsed(), result)
        };
        self.running.push(node.boxed());
    }

    /// Counts the reads of an operation. A value is moved to whoever happens to read it last.
    fn read(&mut self, op: &Op) -> Sources {
        let sources = self.run.plan.sources_of(op).iter();
        sources
            .map(|source| match *source {
                Source::Unbound | Source::Const(_) => *source,
                Source::Last(slot) | Source::Shared(slot) | Source::Twin(slot) => {
                    let left = &mut self.readers[slot as usize];
                    *left -= 1;
                    match *left {
                        0 if op.twins => Source::Twin(slot),
                        0 => Source::Last(slot),
                        _ => Source::Shared(slot),
                    }
                }
            })
            .collect()
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
