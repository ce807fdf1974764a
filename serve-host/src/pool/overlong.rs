//! Blocking nodes that occupy their thread for too long: each is counted and named, while it still runs.
//!
//! Nothing is stopped, for a thread cannot be: who reads the name can move the node's work elsewhere or
//! give the pool more threads. Names are graphs and nodes that were published, never what a caller sent.
//!
//! Each thread writes down what it does in a shard that few others use, so that short nodes do not wait for
//! each other to be watched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exec_plan::{BlockingTicket, ExecPlan};
use parking_lot::Mutex;

use crate::logs::paced::PacedCount;
use crate::shards::{ShardIndex, Shards};

/// Watches the blocking nodes of one pool.
#[derive(Debug)]
pub(crate) struct Overlong {
    alarm: Duration,
    /// What blocks now: as many places as there were ever nodes at a time.
    running: Shards<Vec<Option<Blocking>>>,
    counts: Mutex<Counts>,
    lines: PacedCount,
}

/// How often each node of each plan was overlong.
type Counts = BTreeMap<(Arc<str>, Arc<str>), u64>;

/// A node that blocks now.
#[derive(Debug)]
struct Blocking {
    graph: Arc<str>,
    node: Arc<str>,
    since: Instant,
    counted: bool,
}

// === impl Overlong ===

impl Overlong {
    /// A watch that counts what blocks for longer than `alarm`.
    pub(crate) fn new(alarm: Duration) -> Arc<Self> {
        Arc::new(Self {
            alarm,
            running: Shards::default(),
            counts: Mutex::default(),
            lines: PacedCount::default(),
        })
    }

    /// How often to look.
    pub(crate) fn interval(&self) -> Duration {
        (self.alarm / 4).clamp(BRISK, LEISURELY)
    }

    /// A node begins to block.
    pub(crate) fn begin(&self, plan: &ExecPlan, node: &Arc<str>, since: Instant) -> BlockingTicket {
        self.enter(plan.label().clone(), node.clone(), since)
    }

    /// The node of this ticket has ended. It may have been overlong and over between two looks.
    pub(crate) fn end(&self, BlockingTicket(number): BlockingTicket, now: Instant) {
        let (shard, place) = ShardIndex::of_number(number);
        let blocking = self.running.lock(shard).get_mut(place).and_then(Option::take);
        if let Some(mut blocking) = blocking {
            self.weigh(&mut blocking, now);
        }
    }

    /// Counts and names what has become overlong by `now`.
    pub(crate) fn look(&self, now: Instant) {
        for mut running in self.running.iter() {
            for blocking in running.iter_mut().flatten() {
                self.weigh(blocking, now);
            }
        }
    }

    /// How often each node of each plan was overlong.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, Arc<str>, u64)> {
        let counts = self.counts.lock();
        counts.iter().map(|((graph, node), count)| (graph.clone(), node.clone(), *count)).collect()
    }

    fn enter(&self, graph: Arc<str>, node: Arc<str>, since: Instant) -> BlockingTicket {
        let shard = ShardIndex::of_this_thread();
        let blocking = Some(Blocking { graph, node, since, counted: false });
        let mut running = self.running.lock(shard);
        let place = running.iter().position(Option::is_none).unwrap_or(running.len());
        match running.get_mut(place) {
            Some(free) => *free = blocking,
            None => running.push(blocking),
        }
        BlockingTicket(shard.number_of(place))
    }

    /// Counts a node once, if it is overlong.
    fn weigh(&self, blocking: &mut Blocking, now: Instant) {
        let elapsed = now.saturating_duration_since(blocking.since);
        if !blocking.counted && elapsed >= self.alarm {
            blocking.counted = true;
            self.count(blocking, elapsed);
        }
    }

    fn count(&self, blocking: &Blocking, elapsed: Duration) {
        let mut counts = self.counts.lock();
        let key = (blocking.graph.clone(), blocking.node.clone());
        if counts.len() < MOST_NAMES || counts.contains_key(&key) {
            *counts.entry(key).or_default() += 1;
        } else {
            *counts.entry((OTHERS.into(), OTHERS.into())).or_default() += 1;
        }
        if let Some(count) = self.lines.note() {
            let (graph, node) = (&*blocking.graph, &*blocking.node);
            let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(graph, node, elapsed_ms, count, "a blocking node takes too long");
        }
    }
}

/// Nodes with a count of their own; all others share one.
const MOST_NAMES: usize = 1024;

/// The name of all others.
const OTHERS: &str = "_OTHER";

/// The shortest time between two looks.
const BRISK: Duration = Duration::from_millis(10);

/// The longest.
const LEISURELY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn names(watch: &Overlong) -> Vec<(String, String, u64)> {
        watch.counts().into_iter().map(|(g, n, count)| (g.to_string(), n.to_string(), count)).collect()
    }

    #[test]
    fn a_node_is_counted_once_while_it_runs_and_not_again_when_it_ends() {
        let watch = Overlong::new(Duration::from_secs(60));
        let now = Instant::now();
        let long = watch.enter("shop@1".into(), "hash".into(), now);
        let short = watch.enter("shop@1".into(), "read".into(), now);
        watch.end(short, now + Duration::from_secs(1));
        watch.look(now + Duration::from_secs(59));
        assert_eq!(names(&watch), []);
        for _ in 0..2 {
            watch.look(now + Duration::from_secs(61));
        }
        watch.end(long, now + Duration::from_secs(62));
        assert_eq!(names(&watch), [("shop@1".to_owned(), "hash".to_owned(), 1)]);
        assert!(watch.running.iter().all(|running| running.iter().all(Option::is_none)));
    }

    #[test]
    fn a_node_that_ends_between_two_looks_is_counted_too() {
        let watch = Overlong::new(Duration::ZERO);
        let now = Instant::now();
        watch.end(watch.enter("shop@1".into(), "hash".into(), now), now);
        assert_eq!(names(&watch), [("shop@1".to_owned(), "hash".to_owned(), 1)]);
    }

    #[test]
    fn names_have_a_bound() {
        let watch = Overlong::new(Duration::ZERO);
        let now = Instant::now();
        for number in 0..2 * MOST_NAMES {
            watch.end(watch.enter("g".into(), number.to_string().into(), now), now);
        }
        assert_eq!(names(&watch).len(), MOST_NAMES + 1);
    }
}
