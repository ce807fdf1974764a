//! A graph whose every reference is resolved: nodes in topological order, inputs wired to what feeds
//! them, types checked. The step between the document, which has names, and the plan, which has slots.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::context::EnvKey;
use crate::fault::Code;
use crate::identity::{ContentHash, GraphName, Version};
use crate::kernel::BoundKernel;
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
