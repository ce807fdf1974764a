//! Lowering: from a wired graph, which has edges, to a plan, which has slots.
//!
//! Every output that somebody reads gets a slot of its own, and so does every environment key. The
//! last reader of a slot, in the order of the operations, may move its value out, unless it reads the
//! slot through several ports; a graph output reads after all of them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Class, ExecPlan, Gate, Mode, Op, PlanOutput, PortNames};
use crate::kernel::{Body, Emits, Fires};
use crate::ports::{Source, Target};
use crate::value::Value;
use crate::wire::{Fallback, Wire, WiredGraph, WiredNode};

/// Slots as they are handed out, and who reads them.
struct Slots {
    /// Per node and output: the slot, if somebody reads it.
    of_output: Vec<Vec<Option<u32>>>,
    /// Per environment key.
    of_env: Vec<u32>,
    /// Per slot: how many operations and graph outputs read it.
    readers: Vec<u32>,
}

/// What the lowering collects into the plan's flat arrays.
#[derive(Default)]
struct Arrays {
    sources: Vec<Source>,
    targets: Vec<Target>,
    constants: Vec<Value>,
    /// Per slot: where the sources of the operation begin that read it last.
    read_at: Vec<u32>,
}

impl ExecPlan {
    /// Lowers a graph whose references are resolved and whose answer is proved.
    pub(crate) fn lower(graph: WiredGraph, text: Bytes) -> Self {
        let slots = Slots::assign(&graph);
        let may_skip = nodes_that_may_skip(&graph.nodes);
        let mut seen = vec![0; slots.readers.len()];
        let mut arrays = Arrays { read_at: vec![u32::MAX; slots.readers.len()], ..Arrays::default() };
        let neighbours = neighbours(&graph.nodes);
        let mode = mode(&graph.nodes);
        let slow: Vec<u32> =
            (0..).zip(&graph.nodes).filter(|(_, node)| takes_time(node)).map(|(index, _)| index).collect();
        let blocks = graph.nodes.iter().any(|node| matches!(node.bound.body, Body::Blocking(_)));
        let answers = graph.nodes.iter().any(|node| node.bound.signature.answers);
        let cost: Duration = graph.nodes.iter().map(|node| node.bound.signature.cost).sum();
        let inline = graph.nodes.iter().all(|node| matches!(node.bound.body, Body::Inline(_)))
            && mode == Mode::Straight
            && cost <= Self::INLINE_BUDGET;

        let env = graph.env.iter().cloned().zip(slots.of_env.iter().copied()).collect();
        let skips_into =
            |node: &WiredNode| node.inputs.iter().any(|wire| wire_may_skip(wire, &graph.nodes, &may_skip));
        let gates: Vec<Gate> = graph
            .nodes
            .iter()
            .map(|node| match node.bound.signature.fires {
                _ if !skips_into(node) => Gate::Open,
                Fires::All => Gate::All,
                Fires::Any => Gate::Any,
            })
            .collect();
        let Neighbours { successors, predecessors } = neighbours;
        let mut ops = Vec::with_capacity(graph.nodes.len());
        let edges = successors.into_iter().zip(predecessors).zip(gates);
        for ((index, node), ((successors, predecessors), gate)) in
            graph.nodes.into_iter().enumerate().zip(edges)
        {
            let (sources, twins) = arrays.push_sources(&node.inputs, &slots, &mut seen);
            let targets = arrays.push_targets(&slots.of_output[index]);
            let signature = node.bound.signature;
            let names = PortNames {
                inputs: signature.inputs.iter().map(|port| Arc::from(&*port.name)).collect(),
                outputs: signature.outputs.iter().map(|port| Arc::from(&*port.name)).collect(),
            };
            ops.push(Op {
                id: node.id,
                kernel: node.kernel,
                body: node.bound.body,
                sources,
                targets,
                twins,
                gate,
                checks: node.checks.into(),
                policy: node.policy,
                cost: signature.cost,
                answers: signature.answers,
                emits: signature.emits,
                successors: successors.into(),
                predecessors,
                ports: names,
            });
        }
        let outputs = graph
            .outputs
            .iter()
            .map(|output| PlanOutput {
                name: output.name.clone(),
                source: arrays.source(&output.from, &slots, &mut seen),
            })
            .collect();
        Self {
            label: format!("{}@{}#{}", graph.name, graph.version, graph.hash.short()).into(),
            name: graph.name,
            version: graph.version,
            hash: graph.hash,
            description: graph.description,
            serves: graph.serves,
            text,
            answers,
            class: if inline { Class::Inline } else { Class::Pooled },
            mode,
            ops: ops.into(),
            sources: arrays.sources.into(),
            targets: arrays.targets.into(),
            constants: arrays.constants.into(),
            env,
            outputs,
            readers: slots.readers.into(),
            slow: slow.into(),
            blocks,
        }
    }
}

// === impl Slots ===

impl Slots {
    fn assign(graph: &WiredGraph) -> Self {
        let of_output = graph
            .nodes
            .iter()
            .map(|node| vec![None; node.bound.signature.outputs.len() + usize::from(fires_on_failure(node))])
            .collect();
        let of_env = (0..index_u32(graph.env.len())).collect();
        let mut slots = Self { of_output, of_env, readers: vec![0; graph.env.len()] };
        let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
        for wire in inputs.chain(graph.outputs.iter().map(|output| &output.from)) {
            slots.read(wire);
        }
        slots
    }

    fn read(&mut self, wire: &Wire) {
        match *wire {
            Wire::Node { node, output } => {
                let next = index_u32(self.readers.len());
                let slot = *self.of_output[node][output].get_or_insert(next);
                if slot == next {
                    self.readers.push(0);
                }
                self.readers[slot as usize] += 1;
            }
            Wire::Env(key) => self.readers[self.of_env[key] as usize] += 1,
            Wire::Const(_) | Wire::Unbound => {}
        }
    }

    fn of(&self, wire: &Wire) -> Option<u32> {
        match *wire {
            Wire::Node { node, output } => self.of_output[node][output],
            Wire::Env(key) => Some(self.of_env[key]),
            Wire::Const(_) | Wire::Unbound => None,
        }
    }
}

// === impl Arrays ===

impl Arrays {
    /// Where the sources of one operation are, and whether two of them are one slot.
    fn push_sources(&mut self, wires: &[Wire], slots: &Slots, seen: &mut [u32]) -> (Range<u32>, bool) {
        let start = index_u32(self.sources.len());
        let mut twins = false;
        for wire in wires {
            let mut source = self.source(wire, slots, seen);
            if let Source::Last(slot) | Source::Shared(slot) = source {
                // The first of two ports on one slot must not empty it before the other is read.
                let again = std::mem::replace(&mut self.read_at[slot as usize], start) == start;
                twins |= again;
                if again && source == Source::Last(slot) {
                    source = Source::Twin(slot);
                }
            }
            self.sources.push(source);
        }
        // Most ports that nothing is bound to come last, and need no looking at in each run.
        let bound = self.sources.iter().rposition(|source| *source != Source::Unbound);
        self.sources.truncate(bound.map_or(0, |last| last + 1).max(start as usize));
        (start..index_u32(self.sources.len()), twins)
    }

    fn push_targets(&mut self, slots: &[Option<u32>]) -> Range<u32> {
        let start = index_u32(self.targets.len());
        self.targets.extend(slots.iter().map(|slot| Target(*slot)));
        start..index_u32(self.targets.len())
    }

    /// The source for one more read of `wire`; `seen` counts the reads so far.
    fn source(&mut self, wire: &Wire, slots: &Slots, seen: &mut [u32]) -> Source {
        if let Wire::Const(value) = wire {
            self.constants.push(value.clone());
            return Source::Const(index_u32(self.constants.len() - 1));
        }
        let Some(slot) = slots.of(wire) else { return Source::Unbound };
        seen[slot as usize] += 1;
        if seen[slot as usize] == slots.readers[slot as usize] {
            Source::Last(slot)
        } else {
            Source::Shared(slot)
        }
    }
}

struct Neighbours {
    successors: Vec<Vec<u32>>,
    predecessors: Vec<u32>,
}

/// Who feeds whom, each pair once however many wires run between them.
fn neighbours(nodes: &[WiredNode]) -> Neighbours {
    let mut successors = vec![Vec::new(); nodes.len()];
    let mut predecessors = vec![0; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for wire in &node.inputs {
            if let Wire::Node { node: from, .. } = *wire {
                let readers: &mut Vec<u32> = &mut successors[from];
                // Nodes are visited in order, so a repeated reader is the last one.
                if readers.last() != Some(&index_u32(index)) {
                    readers.push(index_u32(index));
                    predecessors[index] += 1;
                }
            }
        }
    }
    Neighbours { successors, predecessors }
}

/// Straight unless something waits or may be tried again; dataflow only if two nodes that take time have no path
/// between them.
fn mode(nodes: &[WiredNode]) -> Mode {
    let waits = |node: &WiredNode| matches!(node.bound.body, Body::Async(_)) || !node.policy.is_plain();
    if !is_chain(nodes) {
        Mode::Dataflow
    } else if nodes.iter().any(waits) {
        Mode::Chain
    } else {
        Mode::Straight
    }
}

/// Whether all that come after a node that takes time wait for it.
fn is_chain(nodes: &[WiredNode]) -> bool {
    let mut latest = None;
    nodes.iter().enumerate().all(|(index, node)| {
        let feeder = node.inputs.iter().filter_map(|wire| match *wire {
            Wire::Node { node, .. } => Some(node),
            Wire::Env(_) | Wire::Const(_) | Wire::Unbound => None,
        });
        // What is fed by a later node than the slow one is fed by one that waits for it.
        let waits_for_latest = feeder.max() >= latest;
        if takes_time(node) {
            latest = Some(index);
        }
        waits_for_latest
    })
}

fn takes_time(node: &WiredNode) -> bool {
    node.policy.takes_time(&node.bound.body)
}

/// Which nodes are not certain to run. Conservative for joins: one counts as certain only if one of
/// its inputs is.
fn nodes_that_may_skip(nodes: &[WiredNode]) -> Vec<bool> {
    let mut may_skip = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let mut bound = node.inputs.iter().filter(|wire| !matches!(wire, Wire::Unbound)).peekable();
        may_skip[index] = bound.peek().is_some()
            && match node.bound.signature.fires {
                Fires::All => bound.any(|wire| wire_may_skip(wire, nodes, &may_skip)),
                Fires::Any => bound.all(|wire| wire_may_skip(wire, nodes, &may_skip)),
            };
    }
    may_skip
}

fn wire_may_skip(wire: &Wire, nodes: &[WiredNode], may_skip: &[bool]) -> bool {
    match *wire {
        Wire::Node { node, .. } => {
            let emits_one = nodes[node].bound.signature.emits == Emits::One;
            may_skip[node] || emits_one || fires_on_failure(&nodes[node])
        }
        Wire::Env(_) | Wire::Const(_) | Wire::Unbound => false,
    }
}

fn fires_on_failure(node: &WiredNode) -> bool {
    matches!(node.policy.fallback, Fallback::Fires)
}

/// Slots, sources and nodes are counted in 32 bits; a document within its limits has far fewer.
fn index_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
