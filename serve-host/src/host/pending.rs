//! The answer to come: waits for the graph, the deadline or the client's leaving, whichever is first.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use exec_plan::{Cancel, ExecPlan};
use kernels::{Answer, Closed, RpcServerCall};
use tokio::time::Sleep;

use super::{Core, Work};
use crate::admit::Gate;
use crate::queue::Ticket;
use crate::respond::{Failure, name_plan};

/// The answer to come. Enforces the deadline of the call; dropping it cancels the call.
///
/// Must be polled on a tokio runtime with timers.
pub(super) struct PendingCall {
    core: Arc<Core>,
    call: Arc<RpcServerCall>,
    plan: Arc<ExecPlan>,
    cancel: Cancel,
    deadline: Instant,
    place: Option<Place>,
    timer: Option<Pin<Box<Sleep>>>,
    names_plan: bool,
    done: bool,
}

/// A place in line, and until when it may be kept.
struct Place {
    gate: Arc<Gate<Work>>,
    ticket: Ticket,
    until: Instant,
}

// === impl PendingCall ===

impl PendingCall {
    pub(super) fn running(core: &Arc<Core>, work: &Work) -> Self {
        Self {
            core: core.clone(),
            call: work.call.clone(),
            plan: work.plan.plan().clone(),
            cancel: work.cancel.clone(),
            deadline: work.deadline,
            place: None,
            timer: None,
            names_plan: work.names_plan,
            done: false,
        }
    }

    pub(super) fn wait_in_line(&mut self, gate: &Arc<Gate<Work>>, ticket: Ticket, until: Instant) {
        self.place = Some(Place { gate: gate.clone(), ticket, until });
    }

    /// When the timer is due next.
    fn due(&self) -> Instant {
        self.place.as_ref().map_or(self.deadline, |place| place.until.min(self.deadline))
    }

    /// Ends the call because its time, or its time in line, is up. `None` if it waits no longer in line
    /// and has time left, or if its answer is on its way.
    fn time_is_up(&mut self) -> Option<Answer> {
        let expired = Instant::now() >= self.deadline;
        if let Some(place) = self.place.take()
            && let Some(work) = place.gate.leave(place.ticket)
        {
            let (why, failure) = if expired {
                (Closed::Expired, Failure::Expired)
            } else {
                (Closed::Failed(Failure::WaitedTooLong.code()), Failure::WaitedTooLong)
            };
            self.core.end_waiting(&work, why, &failure);
            return self.call.take_answer();
        }
        // The run goes on until its node gives way, and is counted when it has; its client is answered now.
        if expired && self.call.close(Closed::Expired) {
            self.cancel.cancel();
            return Some(Failure::Expired.answer(&self.plan));
        }
        None
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            if let Poll::Ready(answer) = self.call.poll_answer(cx) {
                return Poll::Ready(answer);
            }
            let due = self.due();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
            if let Some(answer) = self.time_is_up() {
                return Poll::Ready(answer);
            }
            if Instant::now() >= self.deadline {
                // Ended by another, with an answer.
                return self.call.poll_answer(cx);
            }
            self.timer = None;
        }
    }
}

impl Future for PendingCall {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut answer = ready!(self.poll_answer(cx));
        self.done = true;
        if self.names_plan {
            name_plan(&mut answer, &self.plan);
        }
        Poll::Ready(answer)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.cancel.cancel();
        if let Some(place) = self.place.take()
            && let Some(work) = place.gate.leave(place.ticket)
        {
            self.core.end_waiting(&work, Closed::Cancelled, &Failure::Cancelled);
            return;
        }
        self.call.close(Closed::Cancelled);
    }
}

impl fmt::Debug for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall").field("call", &self.call).finish_non_exhaustive()
    }
}
