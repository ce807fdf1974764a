//! A graph whose every reference is resolved: nodes in topological order, inputs wired to what feeds
//! them, types checked. The step between the document, which has names, and the plan, which has slots.

mod bindings;
mod constant;
mod cycle;
mod fallback;
mod nodes;
mod order;
mod source;
mod types;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use self::bindings::Edge;
use self::nodes::Draft;
use crate::context::{EnvKey, EnvSchema};
use crate::diagnostic::{GraphErrorCode, Problem, Problems};
use crate::document::{GraphDoc, Tree, hash};
use crate::fault::Code;
use crate::identity::{ContentHash, GraphName, Version};
use crate::kernel::{Body, BoundKernel, KernelRegistry};
use crate::value::{TypeSet, Value};

/// A graph with every reference resolved.
#[derive(Debug)]
pub(crate) struct WiredGraph {
    pub(crate) name: GraphName,
    pub(crate) version: Version,
    pub(crate) hash: ContentHash,
    pub(crate) description: Option<String>,
    /// The RPC services this graph answers.
    pub(crate) serves: Vec<Arc<str>>,
    /// In an order in which every node comes after those that feed it.
    pub(crate) nodes: Vec<WiredNode>,
    /// The environment keys that some node binds, each once.
    pub(crate) env: Vec<EnvKey>,
    pub(crate) outputs: Vec<WiredOutput>,
}

/// A node whose ports are resolved.
#[derive(Debug)]
pub(crate) struct WiredNode {
    pub(crate) id: Arc<str>,
    pub(crate) kernel: Arc<str>,
    pub(crate) bound: BoundKernel,
    /// One entry per input of the signature.
    pub(crate) inputs: Vec<Wire>,
    /// Inputs whose source may carry a type the port does not accept: checked before each run.
    pub(crate) checks: Vec<(usize, TypeSet)>,
    pub(crate) policy: Policy,
}

/// What feeds an input.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Unbound,
    /// An output of an earlier node. The output after the signature's last is the one that fires
    /// when the node fails, see [`Fallback::Fires`].
    Node {
        node: usize,
        output: usize,
    },
    /// A position in [`WiredGraph::env`].
    Env(usize),
    Const(Value),
}

/// A value the graph gives back to whoever runs it.
#[derive(Clone, Debug)]
pub(crate) struct WiredOutput {
    pub(crate) name: Arc<str>,
    pub(crate) from: Wire,
}

/// What the executor does around a node's body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) fallback: Fallback,
}

/// How often a failed node is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Runs in all, the first included.
    pub(crate) attempts: NonZeroU32,
    /// The pause before the second run; it doubles with each further one.
    pub(crate) backoff: Duration,
    /// The codes worth another try.
    pub(crate) on: Vec<Code>,
}

/// What happens when a node has failed for good.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fallback {
    /// The run fails.
    #[default]
    Fail,
    /// The outputs take these values, one per output of the signature.
    Values(Vec<Value>),
    /// An additional output, right after the signature's, fires with the failure as
    /// `{"code": "...", "message": "..."}`; the others do not.
    Fires,
}

/// A document being wired. Nodes are numbered as in the document until the order is known.
struct Wiring<'d, 'p> {
    doc: &'d GraphDoc<'d>,
    tree: &'d Tree<'d>,
    kernels: &'d KernelRegistry,
    schema: &'d EnvSchema,
    problems: &'p mut Problems,
    drafts: Vec<Draft>,
    by_id: HashMap<&'d str, usize>,
    /// The inputs of all nodes; a draft knows where its own begin. So for the outputs.
    inputs: Vec<nodes::InputState>,
    outputs: Vec<nodes::OutputState>,
    wide: nodes::WidePorts,
    edges: Vec<Edge>,
    env: Vec<EnvKey>,
    env_by_name: HashMap<&'d str, usize>,
    /// Whether some node answers the call.
    served: bool,
    /// Whether every node is bound and everything that is read is known, so that the shape of the
    /// graph is beyond doubt.
    resolved: bool,
}

/// Resolves every reference of a document and checks everything but the number of answers. What is
/// returned has the right shape even if there are problems of other kinds, unless it is `None`.
pub(crate) fn wire(
    doc: &GraphDoc<'_>,
    tree: &Tree<'_>,
    kernels: &KernelRegistry,
    schema: &EnvSchema,
    problems: &mut Problems,
) -> Option<WiredGraph> {
    let mut wiring = Wiring {
        doc,
        tree,
        kernels,
        schema,
        problems,
        drafts: Vec::with_capacity(doc.nodes.len()),
        by_id: HashMap::with_capacity_and_hasher(doc.nodes.len(), Default::default()),
        inputs: Vec::with_capacity(doc.bindings.len()),
        outputs: Vec::with_capacity(doc.bindings.len()),
        wide: nodes::WidePorts::default(),
        edges: Vec::with_capacity(doc.bindings.len()),
        env: Vec::new(),
        env_by_name: HashMap::default(),
        served: false,
        resolved: true,
    };
    wiring.bind_nodes();
    wiring.resolve_bindings();
    let outputs = wiring.resolve_outputs();
    wiring.require_inputs();
    let order = wiring.order();
    wiring.infer_types(&order);
    wiring.settle_fallbacks();
    wiring.require_effect();
    wiring.assemble(&order, outputs)
}

// === impl Policy ===

impl Policy {
    /// Whether a node with this body and policy may wait, block or be run again.
    pub(crate) fn takes_time(&self, body: &Body) -> bool {
        !matches!(body, Body::Inline(_)) || !self.is_plain()
    }

    /// Whether a node has one attempt, without a time-out of its own.
    pub(crate) fn is_plain(&self) -> bool {
        self.timeout.is_none() && self.retry.is_none()
    }
}

// === impl Wiring ===

impl Wiring<'_, '_> {
    /// A graph answers, or gives outputs to whoever runs it; services are served by answering.
    fn require_effect(&mut self) {
        if self.served || !self.resolved {
            return;
        }
        if let Some(service) = self.doc.serves.first() {
            let message = format!("the graph serves `{}` but no node answers the call", service.text);
            let problem = Problem::new(GraphErrorCode::ServesWithoutAnswer, service.span, message)
                .help("add a node that answers, or leave out `serves`");
            self.problems.push(problem);
        } else if self.doc.outputs.is_empty() {
            let message = "the graph neither answers the call nor gives outputs";
            let problem = Problem::new(GraphErrorCode::NoEffect, self.doc.span, message)
                .help("add a node that answers, or `outputs` for a graph that other graphs run");
            self.problems.push(problem);
        }
    }

    fn assemble(self, order: &[usize], outputs: Vec<WiredOutput>) -> Option<WiredGraph> {
        let doc = self.doc;
        let name = doc.name.clone()?;
        if !self.resolved || order.len() != self.drafts.len() {
            return None;
        }
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| position[*old] = new);
        let moved = |wire: &mut Wire| {
            if let Wire::Node { node, .. } = wire {
                *node = position[*node];
            }
        };
        let mut drafts = self.drafts;
        let mut nodes = Vec::with_capacity(order.len());
        for old in order {
            let mut draft = std::mem::take(&mut drafts[*old]);
            draft.wires.iter_mut().for_each(moved);
            nodes.push(WiredNode {
                id: doc.nodes[*old].id?.text.into(),
                kernel: draft.kernel?,
                bound: draft.bound?,
                inputs: draft.wires,
                checks: draft.checks,
                policy: draft.policy,
            });
        }
        let mut outputs = outputs;
        outputs.iter_mut().for_each(|output| moved(&mut output.from));
        Some(WiredGraph {
            hash: hash(self.tree, &name, &doc.version),
            name,
            version: doc.version.clone(),
            description: doc.description.map(str::to_owned),
            serves: doc.serves.iter().map(|service| service.text.into()).collect(),
            nodes,
            env: self.env,
            outputs,
        })
    }
}
