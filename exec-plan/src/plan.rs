//! The compiled plan: flat operations over slots, immutable, proved.

use std::sync::Arc;

use bytes::Bytes;

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
#[derive(Debug)]
pub struct ExecPlan {}
