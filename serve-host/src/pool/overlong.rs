//! Blocking nodes that occupy their thread for too long: each is counted and named, while it still runs.
//!
//! Nothing is stopped, for a thread cannot be: who reads the name can move the node's work elsewhere or
//! give the pool more threads. Names are graphs and nodes that were published, never what a caller sent.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use exec_plan::ExecPlan;
use parking_lot::Mutex;

use crate::logs::paced::PacedCount;

/// Watches the blocking nodes of one pool.
#[derive(Debug)]
pub(crate) struct Overlong {
    alarm: Duration,
    table: Mutex<Table>,
    lines: PacedCount,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    running: HashMap<u64, Blocking>,
    counts: BTreeMap<(Arc<str>, Arc<str>), u64>,
}

/// A node that blocks now.
#[derive(Debug)]
struct Blocking {
    graph: Arc<str>,
    node: Arc<str>,
    since: Instant,
    counted: bool,
}

/// Takes a node off the table when it has ended.
struct Running {
    watch: Arc<Overlong>,
    number: u64,
}

// === impl Overlong ===

impl Overlong {
    /// A watch that counts what blocks for longer than `alarm`.
    pub(crate) fn new(alarm: Duration) -> Arc<Self> {
        Arc::new(Self { alarm, table: Mutex::default(), lines: PacedCount::default() })
    }

    /// How often to look.
    pub(crate) fn interval(&self) -> Duration {
        (self.alarm / 4).clamp(BRISK, LEISURELY)
    }

    /// A node begins to block; it ends when what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>, plan: &ExecPlan, node: &Arc<str>) -> Box<dyn Any> {
        self.enter(plan.label().clone(), node.clone(), Instant::now())
    }

    /// Counts and names what has become overlong by `now`.
    pub(crate) fn look(&self, now: Instant) {
        let mut table = self.table.lock();
        let Table { running, counts, .. } = &mut *table;
        for blocking in running.values_mut().filter(|blocking| !blocking.counted) {
            let elapsed = now.saturating_duration_since(blocking.since);
            if elapsed >= self.alarm {
                blocking.counted = true;
                self.count(counts, blocking, elapsed);
            }
        }
    }

    /// How often each node of each plan was overlong.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, Arc<str>, u64)> {
        let table = self.table.lock();
        table.counts.iter().map(|((graph, node), count)| (graph.clone(), node.clone(), *count)).collect()
    }

    fn enter(self: &Arc<Self>, graph: Arc<str>, node: Arc<str>, since: Instant) -> Box<dyn Any> {
        let mut table = self.table.lock();
        let number = table.next;
        table.next += 1;
        table.running.insert(number, Blocking { graph, node, since, counted: false });
        Box::new(Running { watch: self.clone(), number })
    }

    fn count(
        &self,
        counts: &mut BTreeMap<(Arc<str>, Arc<str>), u64>,
        blocking: &Blocking,
        elapsed: Duration,
    ) {
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

impl Drop for Running {
    fn drop(&mut self) {
        let mut table = self.watch.table.lock();
        let Some(blocking) = table.running.remove(&self.number) else { return };
        let elapsed = blocking.since.elapsed();
        // It may have been overlong and over between two looks.
        if !blocking.counted && elapsed >= self.watch.alarm {
            self.watch.count(&mut table.counts, &blocking, elapsed);
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
        drop(short);
        watch.look(now + Duration::from_secs(59));
        assert_eq!(names(&watch), []);
        for _ in 0..2 {
            watch.look(now + Duration::from_secs(61));
        }
        drop(long);
        assert_eq!(names(&watch), [("shop@1".to_owned(), "hash".to_owned(), 1)]);
        assert!(watch.table.lock().running.is_empty());
    }

    #[test]
    fn a_node_that_ends_between_two_looks_is_counted_too() {
        let watch = Overlong::new(Duration::ZERO);
        drop(watch.enter("shop@1".into(), "hash".into(), Instant::now()));
        assert_eq!(names(&watch), [("shop@1".to_owned(), "hash".to_owned(), 1)]);
    }

    #[test]
    fn names_have_a_bound() {
        let watch = Overlong::new(Duration::ZERO);
        for number in 0..2 * MOST_NAMES {
            drop(watch.enter("g".into(), number.to_string().into(), Instant::now()));
        }
        assert_eq!(names(&watch).len(), MOST_NAMES + 1);
    }
}
