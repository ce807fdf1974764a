//! A batch: the calls of one read, as far as they run in place or are refused.
//!
//! They arrive at once, one thread runs them one after the other, and one write answers them all. So those that have
//! the same head share what need not differ: their plan, a permit, the record of the call, and the counting of
//! their ends. Where there is no room for one, the next need not look for its plan to be told so.
//!
//! Invariants: a batch holds one permit at most, and gives it back before the next call if anybody waits for one; it
//! counts each call once, before its answer can be written; nothing of it outlives its end. A plan that is replaced
//! while the batch lasts still answers those of its calls that had arrived by then.

use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use exec_plan::Code;
use kernels::{Answer, MetadataSource};

use super::run::{ending, log_access};
use super::{Inner, Work};
use crate::admit::Permit;
use crate::logs::AccessLine;
use crate::shards::ShardIndex;
use crate::stats::{End, Outcome, RejectReason};
use crate::transport::Arrival;

/// What the calls of one read share. Ends when it is dropped, or by [`end`](Self::end).
#[derive(Default)]
pub struct Batch {
    /// One of the two at most: whichever the last call came to.
    sitting: Option<Sitting>,
    crowd: Option<Crowd>,
}

/// Calls that run.
struct Sitting {
    host: Arc<Inner>,
    /// The call under way, or the last.
    work: Work,
    ended: Option<Ended>,
    /// Given back when all that has ended is counted.
    _permit: Permit<Work>,
}

/// Calls for which there is neither a permit nor a place in line.
struct Crowd {
    host: Arc<Inner>,
    method: Arc<str>,
    metadata: Arc<dyn MetadataSource>,
    shard: ShardIndex,
    /// Those that are not counted yet.
    refused: u64,
}

/// What calls with the same head have in common.
pub(super) type Head<'a> = (&'a Arc<str>, &'a Arc<dyn MetadataSource>);

/// Calls that arrived at the same moment and ended alike, and are not counted yet.
struct Ended {
    arrived: Instant,
    outcome: Outcome,
    code: Code,
    calls: u64,
}

// === impl Batch ===

impl Batch {
    /// Counts all that has ended, and gives everything back.
    pub fn end(&mut self) {
        (self.sitting, self.crowd) = (None, None);
    }

    /// Answers a call that is like the last one. `None`, with the arrival as it was, if it is not, or if it must take
    /// the way of any call.
    pub(super) fn go_on(&mut self, host: &Arc<Inner>, arrival: &mut Arrival<'_>) -> Option<Answer> {
        if host.gate.is_closed() {
            return None;
        }
        let (deadline, own) = host.config.deadline(arrival.deadline, arrival.at).ok()?;
        if let Some(sitting) = self.sitting.as_mut().filter(|sitting| sitting.is_for(host, arrival)) {
            // A graph that keeps the call keeps its record.
            let call = Arc::get_mut(&mut sitting.work.call).filter(|_| !host.gate.is_waited_for())?;
            call.renew(std::mem::take(&mut arrival.payload), own);
            (sitting.work.deadline, sitting.work.arrived) = (deadline, arrival.at);
            return Some(sitting.run());
        }
        let crowd = self.crowd.as_mut().filter(|crowd| crowd.is_of(host, arrival) && host.gate.is_full())?;
        crowd.refused += 1;
        Some(host.say_full())
    }

    /// Runs the first call of its kind; others may follow.
    pub(super) fn begin(&mut self, host: &Arc<Inner>, permit: Permit<Work>, work: Work) -> Answer {
        self.end();
        let sitting = Sitting { host: host.clone(), work, ended: None, _permit: permit };
        self.sitting.insert(sitting).run()
    }

    /// Takes note of a call for which there was no room; others may follow.
    pub(super) fn turn_away(&mut self, host: &Arc<Inner>, (method, metadata): Head<'_>, shard: ShardIndex) {
        let (host, method, metadata) = (host.clone(), method.clone(), metadata.clone());
        self.end();
        self.crowd = Some(Crowd { host, method, metadata, shard, refused: 0 });
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (work, refused) =
            (self.sitting.as_ref().map(|s| &s.work), self.crowd.as_ref().map(|c| c.refused));
        f.debug_struct("Batch").field("work", &work).field("refused", &refused).finish()
    }
}

// === impl Sitting ===

impl Sitting {
    fn is_for(&self, host: &Arc<Inner>, arrival: &Arrival<'_>) -> bool {
        let envelope = self.work.call.envelope();
        Arc::ptr_eq(&self.host, host)
            && Arc::ptr_eq(&envelope.peer, arrival.peer)
            && is_head((&envelope.method, &envelope.metadata), arrival)
    }

    fn run(&mut self) -> Answer {
        let arrived = self.work.arrived;
        if self.ended.as_ref().is_some_and(|ended| ended.arrived != arrived) {
            // Who arrives now was read when the others had ended.
            self.count(arrived);
        }
        let (standing, answer) = self.host.core.run_inline(&self.work);
        let (outcome, code) = ending(standing);
        if AccessLine::is_wanted(code) {
            log_access(&self.work, code, arrived.elapsed());
        }
        match &mut self.ended {
            Some(ended) if ended.outcome == outcome && ended.code == code => ended.calls += 1,
            _ => {
                self.count_now();
                self.ended = Some(Ended { arrived, outcome, code, calls: 1 });
            }
        }
        answer
    }

    fn count_now(&mut self) {
        if self.ended.is_some() {
            self.count(Instant::now());
        }
    }

    fn count(&mut self, now: Instant) {
        let Some(Ended { arrived, outcome, code, calls }) = self.ended.take() else { return };
        let end = End {
            outcome,
            code,
            graph: self.work.plan.name().shared(),
            method: &self.work.call.envelope().method,
            protocol: self.work.protocol,
            latency: now.saturating_duration_since(arrived),
        };
        self.host.core.stats.ran(self.work.shard, &end, calls);
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.count_now();
    }
}

// === impl Crowd ===

impl Crowd {
    fn is_of(&self, host: &Arc<Inner>, arrival: &Arrival<'_>) -> bool {
        Arc::ptr_eq(&self.host, host) && is_head((&self.method, &self.metadata), arrival)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.host.core.stats.rejected(self.shard, RejectReason::QueueFull, self.refused);
    }
}

/// Whether a call has this head. Heads that are equal but not the same are told apart: no harm comes of it.
fn is_head((method, metadata): Head<'_>, arrival: &Arrival<'_>) -> bool {
    Arc::ptr_eq(method, arrival.method) && ptr::addr_eq(Arc::as_ptr(metadata), Arc::as_ptr(arrival.metadata))
}
