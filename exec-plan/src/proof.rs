//! Proves that a graph answers exactly once, whatever its branches choose.
//!
//! A routing node makes a choice: one of its outputs fires. So does a node whose fallback is an output:
//! it succeeds or fails. Whether a node runs is a function of the choices made before it, and so is the
//! number of nodes that answer. [`Diagrams`] keeps these functions in a canonical form, in which the
//! number of answers is one whatever happens if and only if the function *is* the constant one. If it is
//! not, a shortest way to another number is the counter-example that the report tells.
//!
//! A node that fails without such a fallback ends the run, and whoever runs the graph answers with the
//! error; that is no way through the graph and needs no proof. A node that always fails counts as one
//! that answers: what matters is that every way ends, and that none ends twice.

mod counterexample;
mod diagram;

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use self::counterexample::Counterexample;
use self::diagram::{Count, Diagrams, Op, TooLarge};
use crate::diagnostic::{GraphErrorCode as Code, Problem, Problems};
use crate::document::GraphDoc;
use crate::kernel::{Emits, Fires};
use crate::wire::{Fallback, Wire, WiredGraph, WiredNode};

/// How much work the proof of one graph may take, in steps of its diagrams.
const MAX_STEPS: usize = 3_000_000;
/// How many choices of a counter-example are made sure to happen; far more than are told.
const MAX_SETTLED: usize = 64;

/// Reports the ways through a graph that answers calls on which it answers never or twice.
pub(crate) fn prove(doc: &GraphDoc<'_>, graph: &WiredGraph, problems: &mut Problems) {
    let nodes = graph.nodes.as_slice();
    if !nodes.iter().any(|node| node.bound.signature.answers) {
        return;
    }
    match Proof::new(nodes) {
        Ok(proof) => {
            for wrong in [Diagrams::NONE, Diagrams::MANY] {
                if let Some(choices) = proof.way_to(wrong) {
                    problems.push(Counterexample::new(doc, nodes, choices).problem());
                }
            }
        }
        Err(TooLarge) => {
            let message = "the branches of this graph are too entangled to prove that it answers once";
            let problem = Problem::new(Code::ProofTooLarge, doc.span, message)
                .help("join branches before branching again, or move a part into a graph of its own");
            problems.push(problem);
        }
    }
}

/// What is known about a graph's runs.
struct Proof {
    diagrams: Diagrams,
    /// When each node runs.
    runs: Vec<Count>,
    /// How many nodes answer.
    answers: Count,
}

// === impl Proof ===

impl Proof {
    fn new(nodes: &[WiredNode]) -> Result<Self, TooLarge> {
        let mut diagrams = Diagrams::new(nodes.iter().map(WiredNode::choices).collect(), MAX_STEPS);
        let mut runs: Vec<Count> = Vec::with_capacity(nodes.len());
        let mut answers = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let mut fired: SmallVec<[Count; 8]> = SmallVec::new();
            for wire in &node.inputs {
                match wire {
                    Wire::Unbound => {}
                    Wire::Env(_) | Wire::Const(_) => fired.push(Diagrams::ONE),
                    Wire::Node { node, output } => {
                        fired.push(fires(&nodes[*node], *node, *output, runs[*node], &mut diagrams)?);
                    }
                }
            }
            fired.sort_unstable();
            fired.dedup();
            let run = match node.bound.signature.fires {
                _ if fired.is_empty() => Diagrams::ONE,
                Fires::All => diagrams.combine(Op::And, &fired)?,
                Fires::Any => diagrams.combine(Op::Or, &fired)?,
            };
            runs.push(run);
            if node.settles() {
                // A failed answer is none, and its fallback leads on.
                answers.push(match node.failure() {
                    Some(failure) => diagrams.unless(index, failure, run)?,
                    None => run,
                });
            }
        }
        let answers = diagrams.combine(Op::Add, &answers)?;
        Ok(Self { diagrams, runs, answers })
    }

    /// Choices that lead to a number of answers, each of a node that runs if the others are made. They
    /// tell everything: whatever else is chosen, the number stays the same.
    fn way_to(&self, count: Count) -> Option<BTreeMap<usize, usize>> {
        let way = self.diagrams.way(self.answers, count, &BTreeMap::new())?;
        let mut unsettled: BTreeSet<usize> = way.iter().map(|(node, _)| *node).collect();
        let mut choices: BTreeMap<usize, usize> = way.into_iter().collect();
        for _ in 0..MAX_SETTLED {
            let Some(node) = unsettled.pop_first() else { break };
            // The way may pass a choice of a node that never comes to choose, or that comes to it only
            // if others choose in a certain way.
            match self.diagrams.way(self.runs[node], Diagrams::ONE, &choices) {
                None => {
                    choices.remove(&node);
                }
                Some(further) => {
                    for (earlier, choice) in further {
                        if choices.insert(earlier, choice).is_none() {
                            unsettled.insert(earlier);
                        }
                    }
                }
            }
        }
        Some(choices)
    }
}

/// When an output fires, given when its node runs.
fn fires(
    node: &WiredNode,
    index: usize,
    output: usize,
    runs: Count,
    diagrams: &mut Diagrams,
) -> Result<Count, TooLarge> {
    match node.choice_of(output) {
        Some(choice) => diagrams.when(index, choice, runs),
        None => Ok(runs),
    }
}

// === impl WiredNode ===

impl WiredNode {
    /// Whether a run of this node settles the call: answers it, or ends the run, whose owner then does.
    fn settles(&self) -> bool {
        self.bound.signature.answers || self.bound.signature.fails
    }

    /// Between how many outcomes a run of this node chooses.
    fn choices(&self) -> usize {
        self.successes() + usize::from(self.failure().is_some())
    }

    /// The outcome in which an output fires; `None` if it fires in every one.
    fn choice_of(&self, output: usize) -> Option<usize> {
        let outputs = self.bound.signature.outputs.len();
        match self.bound.signature.emits {
            _ if output >= outputs => self.failure(),
            Emits::One => Some(output),
            Emits::All => self.failure().map(|_| 0),
        }
    }

    /// The outcome that is a failure, if the graph goes on from there.
    fn failure(&self) -> Option<usize> {
        matches!(self.policy.fallback, Fallback::Fires).then(|| self.successes())
    }

    fn successes(&self) -> usize {
        match self.bound.signature.emits {
            Emits::One => self.bound.signature.outputs.len().max(1),
            Emits::All => 1,
        }
    }
}
