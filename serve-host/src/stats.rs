//! What the host counts, and the identity that always holds:
//!
//! `accepted = queued + in_flight + completed + failed + cancelled + expired`
//!
//! A call is accepted once it waits in line or runs, and ends in exactly one of the last four. *Rejected*
//! calls were never accepted. *Completed* means that the graph answered, whatever status it chose;
//! *failed*, that the host had to answer because the run failed.
//!
//! Counters live in shards, one per thread that accepts. Every step of a call is counted in the shard
//! that accepted it, under that shard's lock, so that the identity holds in each shard at every moment
//! and hence in the sum, also while calls are running.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exec_plan::Code;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::protocol::Protocol;
use crate::shards::{ShardIndex, Shards};

/// How many methods of one graph get a line of their own; calls of others count as [`OTHER_METHOD`].
pub const MAX_METHODS: usize = 128;

/// The method under which all calls count that have no line of their own.
pub const OTHER_METHOD: &str = "_OTHER";

/// Latencies are kept from a microsecond to an hour, to two digits.
const LATENCY_BOUNDS_US: (u64, u64) = (1, 3_600_000_000);

/// Everything the host counts.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    shards: Shards<Shard>,
}

/// Why a call was never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Its deadline had passed on arrival.
    DeadlineExpired,
    /// The host is draining.
    Draining,
    /// No graph answers it.
    NoGraph,
    /// The line was full.
    QueueFull,
}

/// How an accepted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The graph answered.
    Completed,
    /// The host answered for a failed run.
    Failed,
    /// The client left first.
    Cancelled,
    /// Its time was up.
    Expired,
}

/// The end of one call, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// How it ended.
    pub outcome: Outcome,
    /// The status its client got, or would have got.
    pub code: Code,
    /// The graph that ran.
    pub graph: &'a Arc<str>,
    /// The full method.
    pub method: &'a Arc<str>,
    /// The protocol it came over.
    pub protocol: Protocol,
    /// From arrival to the end of the run. Of calls that ran in place, one after the other, it is to the end of the
    /// last that arrived at the same moment: they are answered together.
    pub latency: Duration,
}

#[derive(Debug, Default)]
struct Shard {
    accepted: u64,
    queued: u64,
    in_flight: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    expired: u64,
    rejected: [u64; RejectReason::ALL.len()],
    graphs: HashMap<Arc<str>, GraphShard, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct GraphShard {
    latency: Histogram<u64>,
    methods: HashMap<Arc<str>, Tally, foldhash::fast::RandomState>,
    other: Tally,
}

/// A count for each protocol and each status, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Tally([[u64; Code::ALL.len()]; Protocol::ALL.len()]);

/// The figures of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct StatsSnapshot {
    /// Seconds since the host was made.
    pub uptime_seconds: f64,
    /// Calls that waited in line or ran.
    pub accepted: u64,
    /// Calls never accepted, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Calls in line now.
    pub queued: u64,
    /// Calls running now on the pool. One that runs in place, on the thread that read it, is counted only
    /// when it has ended.
    pub in_flight: u64,
    /// Calls the graph answered.
    pub completed: u64,
    /// Calls the host answered because the run failed.
    pub failed: u64,
    /// Calls whose client left first.
    pub cancelled: u64,
    /// Calls whose time was up.
    pub expired: u64,
    /// Latency of all ended calls.
    pub latency: LatencySnapshot,
    /// The same per graph.
    pub graphs: BTreeMap<String, GraphSnapshot>,
}

/// The figures of one graph.
#[derive(Clone, Debug, Serialize)]
pub struct GraphSnapshot {
    /// Latency of its ended calls.
    pub latency: LatencySnapshot,
    /// Ended calls by method, status and protocol.
    pub calls: Vec<CallCount>,
}

/// Ended calls of one method with one status over one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallCount {
    /// The full method, or `_OTHER`.
    pub method: String,
    /// The status.
    pub code: &'static str,
    /// The protocol they came over.
    pub protocol: &'static str,
    /// How many.
    pub count: u64,
}

/// Latency quantiles in microseconds, and the histogram they come from.
#[derive(Clone, Debug, Serialize)]
pub struct LatencySnapshot {
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half took no longer.
    pub p50_us: u64,
    /// Nine of ten took no longer.
    pub p90_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// 999 of 1,000 took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// The distribution itself.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
}

// === impl Stats ===

impl Stats {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { started: Instant::now(), shards: Shards::default() }
    }

    /// So many calls were refused.
    pub fn rejected(&self, shard: ShardIndex, reason: RejectReason, calls: u64) {
        self.lock(shard).rejected[reason as usize] += calls;
    }

    /// A call was accepted and runs.
    #[inline]
    pub fn accepted_running(&self, shard: ShardIndex) {
        let mut shard = self.lock(shard);
        shard.accepted += 1;
        shard.in_flight += 1;
    }

    /// So many calls were accepted, ran at once and have ended alike: in one step, as nobody could see them
    /// run but a look at the very moment.
    pub fn ran(&self, shard: ShardIndex, end: &End<'_>, calls: u64) {
        let mut shard = self.lock(shard);
        shard.accepted += calls;
        shard.end(end, calls);
    }

    /// A call was accepted and waits.
    pub fn accepted_waiting(&self, shard: ShardIndex) {
        let mut shard = self.lock(shard);
        shard.accepted += 1;
        shard.queued += 1;
    }

    /// A waiting call runs.
    pub fn started(&self, shard: ShardIndex) {
        let mut shard = self.lock(shard);
        shard.queued -= 1;
        shard.in_flight += 1;
    }

    /// A running call ended.
    #[inline]
    pub fn ended(&self, shard: ShardIndex, end: &End<'_>) {
        let mut shard = self.lock(shard);
        shard.in_flight -= 1;
        shard.end(end, 1);
    }

    /// A waiting call ended without having run.
    pub fn ended_waiting(&self, shard: ShardIndex, end: &End<'_>) {
        let mut shard = self.lock(shard);
        shard.queued -= 1;
        shard.end(end, 1);
    }

    /// The figures now.
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut sum = Shard::default();
        for shard in self.shards.iter() {
            sum.add(&shard);
        }
        sum.into_snapshot(self.started.elapsed())
    }

    fn lock(&self, shard: ShardIndex) -> parking_lot::MutexGuard<'_, Shard> {
        self.shards.lock(shard)
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

// === impl RejectReason ===

impl RejectReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 4] = [Self::DeadlineExpired, Self::Draining, Self::NoGraph, Self::QueueFull];

    /// The label in metrics and listings.
    pub fn label(self) -> &'static str {
        match self {
            Self::DeadlineExpired => "deadline_expired",
            Self::Draining => "draining",
            Self::NoGraph => "no_graph",
            Self::QueueFull => "queue_full",
        }
    }
}

// === impl StatsSnapshot ===

impl StatsSnapshot {
    /// Whether every accepted call is accounted for.
    pub fn identity_holds(&self) -> bool {
        self.accepted
            == self.queued + self.in_flight + self.completed + self.failed + self.cancelled + self.expired
    }
}

// === impl Shard ===

impl Shard {
    fn end(&mut self, end: &End<'_>, calls: u64) {
        match end.outcome {
            Outcome::Completed => self.completed += calls,
            Outcome::Failed => self.failed += calls,
            Outcome::Cancelled => self.cancelled += calls,
            Outcome::Expired => self.expired += calls,
        }
        // A graph's first call is the only one that clones its name.
        match self.graphs.get_mut(end.graph) {
            Some(graph) => graph.end(end, calls),
            None => self.graphs.entry(end.graph.clone()).or_insert_with(GraphShard::new).end(end, calls),
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        for (sum, count) in self.rejected.iter_mut().zip(other.rejected) {
            *sum += count;
        }
        for (name, graph) in &other.graphs {
            self.graphs.entry(name.clone()).or_insert_with(GraphShard::new).add(graph);
        }
    }

    fn into_snapshot(self, uptime: Duration) -> StatsSnapshot {
        let mut latency = empty_histogram();
        for graph in self.graphs.values() {
            add_histogram(&mut latency, &graph.latency);
        }
        StatsSnapshot {
            uptime_seconds: uptime.as_secs_f64(),
            accepted: self.accepted,
            rejected: RejectReason::ALL.into_iter().zip(self.rejected).collect(),
            queued: self.queued,
            in_flight: self.in_flight,
            completed: self.completed,
            failed: self.failed,
            cancelled: self.cancelled,
            expired: self.expired,
            latency: LatencySnapshot::from(latency),
            graphs: self.graphs.into_iter().map(|(name, graph)| (name.to_string(), graph.into())).collect(),
        }
    }
}

// === impl GraphShard ===

impl GraphShard {
    fn new() -> Self {
        Self { latency: empty_histogram(), methods: HashMap::default(), other: Tally::default() }
    }

    fn end(&mut self, end: &End<'_>, calls: u64) {
        let micros = u64::try_from(end.latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record_n(micros.max(LATENCY_BOUNDS_US.0), calls);
        // Names that strangers make up must not become lines: a method earns its own by being implemented.
        if end.code == Code::Unimplemented {
            self.other.add(end.protocol, end.code, calls);
        } else if let Some(tally) = self.methods.get_mut(end.method) {
            tally.add(end.protocol, end.code, calls);
        } else if self.methods.len() >= MAX_METHODS {
            self.other.add(end.protocol, end.code, calls);
        } else {
            self.methods.entry(end.method.clone()).or_default().add(end.protocol, end.code, calls);
        }
    }

    fn add(&mut self, other: &Self) {
        add_histogram(&mut self.latency, &other.latency);
        for (method, tally) in &other.methods {
            self.methods.entry(method.clone()).or_default().add_all(tally);
        }
        self.other.add_all(&other.other);
    }
}

impl From<GraphShard> for GraphSnapshot {
    fn from(graph: GraphShard) -> Self {
        let named = graph.methods.into_iter().map(|(method, tally)| (method.to_string(), tally));
        let mut calls: Vec<_> = named
            .chain([(OTHER_METHOD.to_owned(), graph.other)])
            .flat_map(|(method, tally)| {
                tally.seen().map(move |(protocol, code, count)| (method.clone(), code, protocol, count))
            })
            .collect();
        calls.sort_unstable();
        Self {
            latency: LatencySnapshot::from(graph.latency),
            calls: calls
                .into_iter()
                .map(|(method, code, protocol, count)| CallCount {
                    method,
                    code: code.name(),
                    protocol: protocol.name(),
                    count,
                })
                .collect(),
        }
    }
}

// === impl Tally ===

impl Tally {
    #[inline]
    fn add(&mut self, protocol: Protocol, code: Code, more: u64) {
        self.0[protocol as usize][usize::from(code.number())] += more;
    }

    fn add_all(&mut self, other: &Self) {
        for (protocol, code, count) in other.seen() {
            self.add(protocol, code, count);
        }
    }

    /// Those there were.
    fn seen(self) -> impl Iterator<Item = (Protocol, Code, u64)> {
        let each = Protocol::ALL.into_iter().flat_map(|protocol| Code::ALL.map(|code| (protocol, code)));
        each.map(move |(protocol, code)| {
            (protocol, code, self.0[protocol as usize][usize::from(code.number())])
        })
        .filter(|(_, _, count)| *count > 0)
    }
}

// === impl LatencySnapshot ===

impl From<Histogram<u64>> for LatencySnapshot {
    fn from(histogram: Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
            histogram,
        }
    }
}

fn empty_histogram() -> Histogram<u64> {
    let (low, high) = LATENCY_BOUNDS_US;
    Histogram::new_with_bounds(low, high, 2).expect("the bounds are constants that the crate accepts")
}

fn add_histogram(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("both histograms have the same constant bounds");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end<'a>(outcome: Outcome, code: Code, graph: &'a Arc<str>, method: &'a Arc<str>) -> End<'a> {
        End { outcome, code, graph, method, protocol: Protocol::Grpc, latency: Duration::from_micros(250) }
    }

    #[test]
    fn a_call_is_counted_once_at_each_step() {
        let (stats, shard) = (Stats::new(), ShardIndex::of_this_thread());
        let (graph, method) = ("echo".into(), "/e.E/Say".into());
        stats.accepted_waiting(shard);
        assert_eq!((stats.snapshot().queued, stats.snapshot().in_flight), (1, 0));
        stats.started(shard);
        assert_eq!((stats.snapshot().queued, stats.snapshot().in_flight), (0, 1));
        stats.ended(shard, &end(Outcome::Completed, Code::Ok, &graph, &method));
        stats.rejected(shard, RejectReason::QueueFull, 1);
        let snapshot = stats.snapshot();
        assert!(snapshot.identity_holds());
        assert_eq!((snapshot.accepted, snapshot.completed, snapshot.in_flight), (1, 1, 0));
        assert_eq!(snapshot.rejected[&RejectReason::QueueFull], 1);
        assert_eq!(snapshot.latency.count, 1);
        let line = CallCount { method: "/e.E/Say".into(), code: "OK", protocol: "grpc", count: 1 };
        assert_eq!(snapshot.graphs["echo"].calls, [line]);
    }

    #[test]
    fn made_up_methods_share_one_line() {
        let (stats, shard) = (Stats::new(), ShardIndex::of_this_thread());
        let graph = "echo".into();
        for number in 0..1_000 {
            stats.accepted_running(shard);
            let method = format!("/e.E/M{number}").into();
            let code = if number % 2 == 0 { Code::Unimplemented } else { Code::Ok };
            stats.ended(shard, &end(Outcome::Completed, code, &graph, &method));
        }
        let snapshot = stats.snapshot();
        assert!(snapshot.graphs["echo"].calls.len() <= MAX_METHODS + 2);
        assert_eq!(snapshot.graphs["echo"].calls.iter().map(|line| line.count).sum::<u64>(), 1_000);
    }

    proptest! {
        #[test]
        fn the_identity_holds_after_any_history(steps in proptest::collection::vec(0u8..8, 0..200)) {
            let (stats, shard) = (Stats::new(), ShardIndex::of_this_thread());
            let (graph, method) = ("g".into(), "/g.G/M".into());
            let (mut waiting, mut running) = (0, 0);
            for step in steps {
                match step {
                    0 => { stats.accepted_running(shard); running += 1; }
                    1 => { stats.accepted_waiting(shard); waiting += 1; }
                    2 if waiting > 0 => { stats.started(shard); waiting -= 1; running += 1; }
                    3 if waiting > 0 => {
                        stats.ended_waiting(shard, &end(Outcome::Expired, Code::DeadlineExceeded, &graph, &method));
                        waiting -= 1;
                    }
                    4 if running > 0 => {
                        stats.ended(shard, &end(Outcome::Failed, Code::Internal, &graph, &method));
                        running -= 1;
                    }
                    5 => stats.ran(shard, &end(Outcome::Completed, Code::Ok, &graph, &method), 3),
                    6 => stats.rejected(shard, RejectReason::Draining, 2),
                    _ => {}
                }
                prop_assert!(stats.snapshot().identity_holds());
            }
            prop_assert_eq!((stats.snapshot().queued, stats.snapshot().in_flight), (waiting, running));
        }
    }
}
