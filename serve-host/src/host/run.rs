//! Running an accepted call, in place or on the pool, and counting its end.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exec_plan::{Code, Environment, Executor, RunError, RunOutputs};
use kernels::{Answer, Closed, Standing};

use super::{Core, Work};
use crate::admit::Permit;
use crate::causes::with_causes;
use crate::logs::AccessLine;
use crate::respond::{Failure, name_plan};
use crate::stats::{End, Outcome};

thread_local! {
    /// The slots of plans that do not wait, reused from call to call.
    static EXECUTOR: RefCell<Executor> = RefCell::new(Executor::new());
}

impl Core {
    /// Runs a plan on this thread. Returns how its call ended, which is still to be counted, and the answer.
    pub(super) fn run_inline(&self, work: &Work) -> (Standing, Answer) {
        let cx = work.context(self);
        let ran = EXECUTOR.with_borrow_mut(|executor| executor.run(&work.plan, &cx, work.arrived));
        let (standing, answer) = work.call.collect();
        let standing = self.settle(work, standing, ran.as_ref());
        let answer = answer.or_else(|| work.call.take_answer());
        let mut answer = answer.unwrap_or_else(|| Failure::Unanswered.answer(&work.plan));
        if work.names_plan {
            name_plan(&mut answer, &work.plan);
        }
        (standing, answer)
    }

    /// Runs a plan on the pool; whoever waits for the answer is woken.
    pub(super) fn run_pooled(self: &Arc<Self>, permit: Permit<Work>, work: Work) {
        let core = self.clone();
        // Two futures, for that of a run that waits is many times as large, and is moved with each call.
        if work.plan.waits() {
            self.pool.spawn(async move {
                let ran = {
                    let cx = Arc::new(work.context(&core));
                    Executor::drive(work.plan.plan(), &cx, &*core.offload).await
                };
                core.end_pooled(&work, ran.as_ref());
                drop(permit);
            });
        } else {
            self.pool.spawn(async move {
                let ran = {
                    let cx = work.context(&core);
                    EXECUTOR.with_borrow_mut(|executor| executor.run(&work.plan, &cx, Instant::now()))
                };
                core.end_pooled(&work, ran.as_ref());
                drop(permit);
            });
        }
    }

    fn end_pooled(&self, work: &Work, ran: Result<&RunOutputs, &RunError>) {
        let standing = self.settle(work, work.call.standing(), ran);
        let (outcome, code) = ending(standing);
        let end = end(work, outcome, code);
        self.stats.ended(work.shard, &end);
        if AccessLine::is_wanted(code) {
            log_access(work, code, end.latency);
        }
    }

    /// Runs a call that waited in line, unless it has ended meanwhile: then it never runs a kernel, and
    /// the permit is for the next.
    pub(super) fn serve_waiting(self: &Arc<Self>, permit: Permit<Work>, work: Work) -> Option<Permit<Work>> {
        if Instant::now() >= work.deadline {
            self.end_waiting(&work, Closed::Expired, &Failure::Expired);
            return Some(permit);
        }
        if work.cancel.is_cancelled() {
            self.end_waiting(&work, Closed::Cancelled, &Failure::Cancelled);
            return Some(permit);
        }
        self.stats.started(work.shard);
        self.run_pooled(permit, work);
        None
    }

    /// Ends a call that waited in line and never ran.
    pub(super) fn end_waiting(&self, work: &Work, why: Closed, failure: &Failure<'_>) {
        // If the call was closed before, whoever closed it has answered its client.
        let _ = work.call.close_with(why, failure.answer(&work.plan));
        let (outcome, code) = ending(work.call.standing());
        self.stats.ended_waiting(work.shard, &end(work, outcome, code));
    }

    /// Sees to it that a call whose run has ended, standing so, is answered. Returns how it ended.
    fn settle(&self, work: &Work, standing: Standing, ran: Result<&RunOutputs, &RunError>) -> Standing {
        if standing == Standing::Open || ran.is_err() {
            let failure = match ran {
                Ok(_) => Failure::Unanswered,
                Err(error) => Failure::Run(error),
            };
            let why = closing(&failure);
            // That time was up or the client left is no fault of the graph; the access line tells it.
            if matches!(why, Closed::Failed(_)) {
                log_failure(work, &failure);
            }
            if standing == Standing::Open {
                // Its client may have left just now, or its time be up.
                let _ = work.call.close_with(why, failure.answer(&work.plan));
                return work.call.standing();
            }
        }
        standing
    }
}

/// How a failed run closes its call. That a run ends between nodes, for one of these two codes, is the
/// doing of the call's own deadline or client.
fn closing(failure: &Failure<'_>) -> Closed {
    let code = failure.code();
    if between_nodes(failure) && code == Code::DeadlineExceeded {
        Closed::Expired
    } else if between_nodes(failure) && code == Code::Cancelled {
        Closed::Cancelled
    } else {
        Closed::Failed(code)
    }
}

fn between_nodes(failure: &Failure<'_>) -> bool {
    matches!(failure, Failure::Run(error) if error.node.is_none())
}

/// How a call ended, and with which status.
pub(super) fn ending(standing: Standing) -> (Outcome, Code) {
    match standing {
        Standing::Answered(code) => (Outcome::Completed, code),
        Standing::Closed(Closed::Expired) => (Outcome::Expired, Code::DeadlineExceeded),
        Standing::Closed(Closed::Cancelled) => (Outcome::Cancelled, Code::Cancelled),
        Standing::Closed(Closed::Failed(code)) => (Outcome::Failed, code),
        Standing::Open => (Outcome::Failed, Code::Internal),
    }
}

fn end(work: &Work, outcome: Outcome, code: Code) -> End<'_> {
    End {
        outcome,
        code,
        graph: work.plan.name().shared(),
        method: &work.call.envelope().method,
        protocol: work.protocol,
        latency: work.arrived.elapsed(),
    }
}

/// The one access line of a call.
pub(super) fn log_access(work: &Work, code: Code, elapsed: Duration) {
    let (envelope, request_id) = (work.call.envelope(), work.call.request_id());
    let line = AccessLine {
        method: &envelope.method,
        protocol: work.protocol,
        peer: &envelope.peer,
        plan: work.plan.label(),
        request_id: request_id.as_deref(),
        trace: work.call.trace_parent(),
        code,
        elapsed,
        request_bytes: envelope.payload.len(),
    };
    line.write();
}

fn log_failure(work: &Work, failure: &Failure<'_>) {
    match failure {
        Failure::Run(error) => tracing::warn!(
            plan = &**work.plan.label(),
            node = error.node.as_deref(),
            code = error.fault.code().name(),
            error = with_causes(&error.fault),
            "call failed"
        ),
        Failure::Unanswered => tracing::error!(plan = &**work.plan.label(), "run ended without an answer"),
        Failure::Expired | Failure::Cancelled | Failure::WaitedTooLong | Failure::Drained => {}
    }
}
