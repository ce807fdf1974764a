//! The compiled plan: flat operations over slots, immutable, proved.
//!
//! An [`ExecPlan`] has no `&mut self` method and one constructor, so that possessing one means: every
//! index is in bounds, every operation comes after those that feed it, types fit or are checked, and a
//! served graph answers exactly once. The executor re-checks none of that.

mod lower;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::analyse::analyse;
use crate::context::{EnvKey, EnvSchema};
use crate::diagnostic::GraphErrors;
use crate::identity::{ContentHash, GraphName, Version};
use crate::kernel::{Body, Emits, KernelRegistry};
use crate::ports::{Source, Target};
use crate::value::{TypeSet, Value};
use crate::wire::Policy;

/// The text of a graph document, and where it came from.
#[derive(Clone, Debug)]
pub struct GraphSource {
    /// How diagnostics name the text: a path, or `request body`.
    pub origin: Arc<str>,
    /// The graph's name if the document gives none: a file's stem.
    pub stem: Option<String>,
    /// The document.
    pub text: Bytes,
}

/// Where a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// On the thread that read the request: every kernel is inline and the summed cost is small.
    Inline,
    /// On the request pool.
    Pooled,
}

/// A compiled graph. Immutable; possessing one proves that it is acyclic, typed and answers once.
pub struct ExecPlan {
    name: GraphName,
    version: Version,
    hash: ContentHash,
    label: Arc<str>,
    description: Option<String>,
    serves: Vec<Arc<str>>,
    text: Bytes,
    answers: bool,
    class: Class,
    mode: Mode,
    pub(crate) ops: Box<[Op]>,
    pub(crate) sources: Box<[Source]>,
    pub(crate) targets: Box<[Target]>,
    pub(crate) constants: Box<[Value]>,
    /// Environment keys, each with the slot it is loaded into before the first operation.
    pub(crate) env: Box<[(EnvKey, u32)]>,
    pub(crate) outputs: Box<[PlanOutput]>,
    /// How many operations read each slot; the dataflow executor moves a value to its last reader.
    pub(crate) readers: Box<[u32]>,
    /// The operations that take time: they wait, block or may be run again.
    pub(crate) slow: Box<[u32]>,
    blocks: bool,
}

/// How the executor walks a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In order, on one thread: nothing waits, and nothing could run beside what blocks.
    Straight,
    /// In order, waiting for each node that takes time: all that come after such a node wait for it anyway.
    Chain,
    /// As values arrive: independent slow nodes overlap.
    Dataflow,
}

/// One node, lowered.
pub(crate) struct Op {
    pub(crate) id: Arc<str>,
    pub(crate) kernel: Arc<str>,
    pub(crate) body: Body,
    pub(crate) sources: Range<u32>,
    /// One per output of the signature, and one more if the node's failure is an output.
    pub(crate) targets: Range<u32>,
    /// Whether it reads a slot through several ports.
    pub(crate) twins: bool,
    pub(crate) gate: Gate,
    pub(crate) checks: Box<[(usize, TypeSet)]>,
    pub(crate) policy: Policy,
    pub(crate) cost: Duration,
    pub(crate) answers: bool,
    pub(crate) emits: Emits,
    /// The operations that read this one's outputs, each once, and how many feed this one.
    pub(crate) successors: Box<[u32]>,
    pub(crate) predecessors: u32,
    pub(crate) ports: PortNames,
}

/// The names of a node's ports, for messages and pictures.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortNames {
    pub(crate) inputs: Box<[Arc<str>]>,
    pub(crate) outputs: Box<[Arc<str>]>,
}

/// What an operation asks of its inputs before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing: all its inputs always fire.
    Open,
    /// That all bound inputs fired.
    All,
    /// That any bound input fired.
    Any,
}

/// A value the plan gives back to whoever runs it.
#[derive(Clone, Debug)]
pub(crate) struct PlanOutput {
    pub(crate) name: Arc<str>,
    pub(crate) source: Source,
}

// === impl ExecPlan ===

impl ExecPlan {
    /// The largest summed cost at which a plan still runs inline.
    pub const INLINE_BUDGET: Duration = Duration::from_micros(20);

    /// Compiles a document: reads it, resolves and checks every reference, proves the answer, lowers.
    ///
    /// # Errors
    /// Every problem of the document, each at its place.
    pub fn compile(
        source: &GraphSource,
        kernels: &KernelRegistry,
        env: &EnvSchema,
    ) -> Result<Self, GraphErrors> {
        Ok(Self::lower(analyse(source, kernels, env)?, source.text.clone()))
    }

    /// The graph's name.
    pub fn name(&self) -> &GraphName {
        &self.name
    }

    /// The graph's version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The hash of the document's content.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// `name@version#hash`, with twelve digits of the hash.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The document's own words about the graph.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The RPC services this graph answers, by full name.
    pub fn serves(&self) -> &[Arc<str>] {
        &self.serves
    }

    /// Whether the graph answers calls; otherwise it is run by other graphs.
    pub fn answers(&self) -> bool {
        self.answers
    }

    /// Where the plan runs.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether a run may have to wait, so that only [`Executor::drive`](crate::Executor::drive) runs it.
    pub fn waits(&self) -> bool {
        self.mode != Mode::Straight
    }

    /// The environment keys the plan binds, each once.
    pub fn env_keys(&self) -> impl ExactSizeIterator<Item = &EnvKey> {
        self.env.iter().map(|(key, _)| key)
    }

    /// The document the plan was compiled from.
    pub fn source_text(&self) -> &Bytes {
        &self.text
    }

    /// Whether a node may occupy its thread.
    pub(crate) fn blocks(&self) -> bool {
        self.blocks
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn sources_of(&self, op: &Op) -> &[Source] {
        &self.sources[op.sources.start as usize..op.sources.end as usize]
    }

    pub(crate) fn targets_of(&self, op: &Op) -> &[Target] {
        &self.targets[op.targets.start as usize..op.targets.end as usize]
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.readers.len()
    }
}

impl fmt::Debug for ExecPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecPlan")
            .field("label", &self.label)
            .field("class", &self.class)
            .field("nodes", &self.ops.iter().map(|op| &op.id).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
