//! A graph document: JSON text read into typed parts, each with its place in the text.
//!
//! [`Tree::read`] reads the text once, into an arena; [`GraphDoc::read`] gives the arena the shape of
//! a graph. Both report every mistake they find and go on, so what they return may have holes; whoever
//! works with a hole stays silent about it, because it was reported where it arose. What the names in a
//! document refer to is not decided here but in [`wire`](crate::wire).

mod digest;
mod endpoint;
mod reader;
mod shape;
mod tree;

use std::time::Duration;

pub(crate) use self::digest::hash;
pub(crate) use self::endpoint::{Endpoint, is_dotted, is_identifier};
pub(crate) use self::reader::decode;
pub(crate) use self::tree::{Item, Kind, Tree};
use crate::identity::{GraphName, Version};
use crate::wire::Retry;

/// The JSON Schema of a graph document. It describes what a document may look like; what its names
/// must refer to is beyond a schema.
pub const GRAPH_SCHEMA: &str = include_str!("../graph.schema.json");

/// The longest document, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// How deep arrays and objects may nest.
pub(crate) const MAX_DEPTH: usize = 128;
/// The most nodes of one graph.
pub(crate) const MAX_NODES: usize = 100_000;
/// The longest `timeout_ms` of a node, in milliseconds: one hour.
pub(crate) const MAX_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// The most runs of a node with a `retry`, the first included.
pub(crate) const MAX_ATTEMPTS: u64 = 10;
/// The longest `backoff_ms` of a `retry`, in milliseconds.
pub(crate) const MAX_BACKOFF_MS: u64 = 60_000;
/// The `backoff_ms` of a `retry` that gives none, in milliseconds.
pub(crate) const DEFAULT_BACKOFF_MS: u64 = 100;

/// A range of bytes of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A piece of text and where it stands; the span leaves out the quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'t> {
    pub(crate) text: &'t str,
    pub(crate) span: Span,
}

/// A document in the shape of a graph; names are not resolved.
#[derive(Debug)]
pub(crate) struct GraphDoc<'t> {
    /// `None` if the name is missing or unusable, which has been reported.
    pub(crate) name: Option<GraphName>,
    pub(crate) version: Version,
    pub(crate) description: Option<&'t str>,
    pub(crate) serves: Vec<Word<'t>>,
    pub(crate) nodes: Vec<NodeDoc<'t>>,
    pub(crate) bindings: Vec<BindingDoc<'t>>,
    pub(crate) outputs: Vec<OutputDoc<'t>>,
    /// The names in the port lists of all nodes.
    port_names: Vec<&'t str>,
    /// Where each of them stands.
    port_spans: Vec<Span>,
    /// Whether the ids of all nodes are known.
    pub(crate) nodes_are_whole: bool,
    /// Whether every binding could be read: nothing is missing that the author wrote.
    pub(crate) bindings_are_whole: bool,
    /// The whole document, for problems that have no better place.
    pub(crate) span: Span,
}

/// One entry of `nodes`. A `None` in `id` or `kernel` has been reported.
#[derive(Debug)]
pub(crate) struct NodeDoc<'t> {
    pub(crate) span: Span,
    pub(crate) id: Option<Word<'t>>,
    pub(crate) kernel: Option<Word<'t>>,
    pub(crate) params: Option<Item>,
    pub(crate) inputs: Option<PortList>,
    pub(crate) outputs: Option<PortList>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) fallback: Option<FallbackDoc<'t>>,
    /// Whether everything that concerns the kernel could be read.
    pub(crate) is_whole: bool,
}

/// The port names of one `inputs` or `outputs`: a part of [`GraphDoc::port_names`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortList {
    first: u32,
    end: u32,
}

/// A node's `fallback`.
#[derive(Debug)]
pub(crate) enum FallbackDoc<'t> {
    /// An object of constants by output name.
    Values(Item),
    /// The name of the output that fires with the failure.
    Output(Word<'t>),
}

/// One entry of `bindings`. A `None` has been reported.
#[derive(Debug)]
pub(crate) struct BindingDoc<'t> {
    pub(crate) to: Option<Word<'t>>,
    pub(crate) from: Option<Item>,
}

/// One entry of `outputs`. A `None` has been reported.
#[derive(Debug)]
pub(crate) struct OutputDoc<'t> {
    pub(crate) name: Option<Word<'t>>,
    pub(crate) from: Option<Item>,
}

// === impl Span ===

impl Span {
    /// A range that lies within a document, whose length [`MAX_TEXT_BYTES`] bounds.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    /// The place of the byte at `at`.
    pub(crate) fn at(at: usize) -> Self {
        Self::new(at, at + 1)
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

// === impl GraphDoc ===

impl<'t> GraphDoc<'t> {
    /// The names in a list.
    pub(crate) fn port_names(&self, list: PortList) -> &[&'t str] {
        &self.port_names[list.range()]
    }

    /// Where the names in a list stand.
    pub(crate) fn port_spans(&self, list: PortList) -> &[Span] {
        &self.port_spans[list.range()]
    }

    /// The names in a list, each with its place; nothing if there is no list.
    pub(crate) fn ports(&self, list: Option<PortList>) -> impl Iterator<Item = Word<'t>> {
        let range = list.map_or(0..0, PortList::range);
        let (names, spans) = (&self.port_names[range.clone()], &self.port_spans[range]);
        names.iter().zip(spans).map(|(text, span)| Word { text, span: *span })
    }
}

// === impl PortList ===

impl PortList {
    fn range(self) -> std::ops::Range<usize> {
        self.first as usize..self.end as usize
    }
}
