//! The explanation of a plan: what runs, in which order, where, beside what, and what it costs.
//!
//! [`Explain`] is the model, and serializes as JSON; it prints itself as text, as a Mermaid diagram and
//! as an SVG picture. Costs are the kernels' own hints, so they compare nodes rather than predict time;
//! what a waiting node waits for is not in them.

mod mermaid;
mod svg;
mod text;

use std::time::Duration;

use serde::Serialize;

use crate::kernel::{Body, Emits};
use crate::plan::{Class, ExecPlan, Mode, Op};
use crate::ports::Source;
use crate::value::Value;
use crate::wire::{Fallback, Policy};

/// The explanation of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Explain {
    /// The graph's name.
    pub graph: String,
    /// Its version.
    pub version: String,
    /// The hash of its content.
    pub hash: String,
    /// The document's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The RPC services it answers.
    pub serves: Vec<String>,
    /// `inline` or `pooled`.
    pub class: &'static str,
    /// Whether independent slow nodes overlap.
    pub overlaps: bool,
    /// The environment keys it binds.
    pub environment: Vec<String>,
    /// The nodes in the order in which they run.
    pub nodes: Vec<ExplainNode>,
    /// What it gives back to whoever runs it.
    pub outputs: Vec<ExplainFeed>,
    /// Sets of slow nodes that may run at the same time.
    pub parallel: Vec<Vec<String>>,
    /// The costliest chain of nodes.
    pub critical_path: Vec<String>,
    /// What that chain costs, in nanoseconds.
    pub critical_cost_ns: u64,
    /// What all nodes together cost, in nanoseconds.
    pub total_cost_ns: u64,
}

/// One node of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainNode {
    /// Its id.
    pub id: String,
    /// Its kernel.
    pub kernel: String,
    /// `inline`, `blocking` or `async`.
    pub body: &'static str,
    /// Its cost hint in nanoseconds.
    pub cost_ns: u64,
    /// The length of the longest chain before it.
    pub level: usize,
    /// What feeds its inputs.
    pub inputs: Vec<ExplainFeed>,
    /// Its outputs.
    pub outputs: Vec<String>,
    /// Whether it starts a branch: exactly one of its outputs fires.
    pub routes: bool,
    /// Whether it may be skipped.
    pub may_skip: bool,
    /// Whether it answers the call.
    pub answers: bool,
    /// Its time-out, retry and fallback in words; empty if it has none.
    pub policy: String,
}

/// What feeds a port.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainFeed {
    /// The port.
    pub port: String,
    /// `node.port`, `$req.key`, or a constant.
    pub from: String,
    /// The position of the node behind it, if there is one.
    #[serde(skip)]
    node: Option<usize>,
}

impl ExecPlan {
    /// Explains this plan.
    pub fn explain(&self) -> Explain {
        let writers = Writers::of(self);
        let mut levels: Vec<usize> = vec![0; self.ops.len()];
        for (index, op) in self.ops.iter().enumerate() {
            for next in &op.successors {
                let next = *next as usize;
                levels[next] = levels[next].max(levels[index] + 1);
            }
        }
        let (critical_path, critical_cost) = critical_path(&self.ops);
        let nodes: Vec<_> =
            self.ops.iter().zip(&levels).map(|(op, level)| writers.node(self, op, *level)).collect();
        Explain {
            graph: self.name().to_string(),
            version: self.version().to_string(),
            hash: self.hash().to_string(),
            description: self.description().map(str::to_owned),
            serves: self.serves().iter().map(ToString::to_string).collect(),
            class: match self.class() {
                Class::Inline => "inline",
                Class::Pooled => "pooled",
            },
            overlaps: self.mode() == Mode::Dataflow,
            environment: self.env.iter().map(|(key, _)| format!("$req.{}", key.name)).collect(),
            parallel: parallel_sets(self, &levels),
            critical_path: critical_path.iter().map(|index| self.ops[*index].id.to_string()).collect(),
            critical_cost_ns: nanos(critical_cost),
            total_cost_ns: nanos(self.ops.iter().map(|op| op.cost).sum()),
            outputs: self
                .outputs
                .iter()
                .filter_map(|output| writers.feed(self, &output.name, output.source))
                .collect(),
            nodes,
        }
    }
}

/// Who writes each slot.
struct Writers(Vec<Writer>);

#[derive(Clone)]
struct Writer {
    name: String,
    node: Option<usize>,
}

// === impl Writers ===

impl Writers {
    fn of(plan: &ExecPlan) -> Self {
        let mut writers = vec![Writer { name: String::new(), node: None }; plan.slot_count()];
        for (key, slot) in &plan.env {
            writers[*slot as usize].name = format!("$req.{}", key.name);
        }
        for (index, op) in plan.ops.iter().enumerate() {
            for (output, target) in plan.targets_of(op).iter().enumerate() {
                if let Some(slot) = target.0 {
                    let port = op.ports.outputs.get(output).map_or(FAILURE_PORT, |port| port);
                    writers[slot as usize] = Writer { name: format!("{}.{port}", op.id), node: Some(index) };
                }
            }
        }
        Self(writers)
    }

    fn node(&self, plan: &ExecPlan, op: &Op, level: usize) -> ExplainNode {
        let inputs = op.ports.inputs.iter().zip(plan.sources_of(op));
        ExplainNode {
            id: op.id.to_string(),
            kernel: op.kernel.to_string(),
            body: body(op),
            cost_ns: nanos(op.cost),
            level,
            inputs: inputs.filter_map(|(port, source)| self.feed(plan, port, *source)).collect(),
            outputs: op.ports.outputs.iter().map(ToString::to_string).collect(),
            routes: op.emits == Emits::One,
            may_skip: op.gate != crate::plan::Gate::Open,
            answers: op.answers,
            policy: policy(&op.policy),
        }
    }

    fn feed(&self, plan: &ExecPlan, port: &str, source: Source) -> Option<ExplainFeed> {
        let (from, node) = match source {
            Source::Unbound => return None,
            Source::Const(constant) => (constant_text(&plan.constants[constant as usize]), None),
            Source::Last(slot) | Source::Shared(slot) | Source::Twin(slot) => {
                let writer = &self.0[slot as usize];
                (writer.name.clone(), writer.node)
            }
        };
        Some(ExplainFeed { port: port.to_owned(), from, node })
    }
}

/// How the output that fires on failure is shown; its name in the document is not kept.
const FAILURE_PORT: &str = "(failure)";

fn body(op: &Op) -> &'static str {
    match op.body {
        Body::Inline(_) => "inline",
        Body::Blocking(_) => "blocking",
        Body::Async(_) => "async",
    }
}

fn is_slow(op: &Op) -> bool {
    !matches!(op.body, Body::Inline(_))
}

/// Slow nodes of one level have no path between them, so they may overlap.
fn parallel_sets(plan: &ExecPlan, levels: &[usize]) -> Vec<Vec<String>> {
    if plan.mode() != Mode::Dataflow {
        return Vec::new();
    }
    let depth = levels.iter().max().map_or(0, |level| level + 1);
    let mut sets = vec![Vec::new(); depth];
    for (op, level) in plan.ops.iter().zip(levels) {
        if is_slow(op) {
            sets[*level].push(op.id.to_string());
        }
    }
    sets.retain(|set| set.len() > 1);
    sets
}

/// The costliest chain, and its cost. Operations come after those that feed them, so one pass will do.
fn critical_path(ops: &[Op]) -> (Vec<usize>, Duration) {
    let mut best: Vec<Duration> = ops.iter().map(|op| op.cost).collect();
    let mut before: Vec<Option<usize>> = vec![None; ops.len()];
    for (index, op) in ops.iter().enumerate() {
        for next in op.successors.iter().map(|next| *next as usize) {
            let cost = best[index] + ops[next].cost;
            if before[next].is_none() || cost > best[next] {
                (best[next], before[next]) = (cost, Some(index));
            }
        }
    }
    let Some(end) = (0..ops.len()).rev().max_by_key(|index| best[*index]) else {
        return (Vec::new(), Duration::ZERO);
    };
    let mut path: Vec<usize> = std::iter::successors(Some(end), |index| before[*index]).collect();
    path.reverse();
    (path, best[end])
}

fn policy(policy: &Policy) -> String {
    let mut words = Vec::new();
    if let Some(timeout) = policy.timeout {
        words.push(format!("timeout {} ms", timeout.as_millis()));
    }
    if let Some(retry) = &policy.retry {
        let codes: Vec<_> = retry.on.iter().map(|code| code.name()).collect();
        words.push(format!("{} attempts on {}", retry.attempts, codes.join(", ")));
    }
    match policy.fallback {
        Fallback::Fail => {}
        Fallback::Values(_) => words.push("falls back to constants".to_owned()),
        Fallback::Fires => words.push("failure is an output".to_owned()),
    }
    words.join("; ")
}

/// A constant, shortened to what fits a line.
fn constant_text(value: &Value) -> String {
    const LONGEST: usize = 32;
    let text = format!("{value:?}");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds in the unit a reader would choose.
fn human(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", trim(nanos, 1_000)),
        _ => format!("{} ms", trim(nanos, 1_000_000)),
    }
}

fn trim(nanos: u64, unit: u64) -> String {
    let (whole, tenth) = (nanos / unit, nanos % unit * 10 / unit);
    if tenth == 0 { whole.to_string() } else { format!("{whole}.{tenth}") }
}
