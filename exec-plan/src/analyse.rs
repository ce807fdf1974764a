//! From the text of a document to a graph that is known to be right: read, wire, prove.

use std::borrow::Cow;

use crate::context::EnvSchema;
use crate::diagnostic::{GraphErrorCode, GraphErrors, Problem, Problems};
use crate::document::{GraphDoc, MAX_TEXT_BYTES, Span, Tree, decode};
use crate::kernel::KernelRegistry;
use crate::plan::GraphSource;
use crate::proof::prove;
use crate::wire::{WiredGraph, wire};

/// Reads, wires and proves a document.
///
/// # Errors
/// Every problem found. A later step runs as far as the earlier ones leave it something to work on.
pub(crate) fn analyse(
    source: &GraphSource,
    kernels: &KernelRegistry,
    schema: &EnvSchema,
) -> Result<WiredGraph, GraphErrors> {
    let origin = source.origin.clone();
    let mut problems = Problems::default();
    if source.text.len() > MAX_TEXT_BYTES {
        let message = format!("a document has at most {MAX_TEXT_BYTES} bytes, not {}", source.text.len());
        problems.push(Problem::new(GraphErrorCode::TooLarge, Span::default(), message));
        return Err(GraphErrors::new(origin, "", None, problems));
    }
    let text = decode(&source.text, &mut problems);
    let tree = Tree::read(&text, &mut problems);
    let is_whole = tree.is_whole() && matches!(text, Cow::Borrowed(_));
    let doc = GraphDoc::read(&tree, source.stem.as_deref(), &mut problems);
    // What a damaged document refers to may be in the part that could not be read.
    let graph = doc.filter(|_| is_whole).and_then(|doc| {
        let graph = wire(&doc, &tree, kernels, schema, &mut problems)?;
        prove(&doc, &graph, &mut problems);
        Some(graph)
    });
    match graph {
        Some(graph) if problems.is_empty() => Ok(graph),
        _ => Err(GraphErrors::new(origin, &text, Some(&tree), problems)),
    }
}

#[cfg(test)]
mod tests;
