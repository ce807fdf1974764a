//! What is wrong with a graph document: every problem, each with its place, its cause and its cure.
//!
//! The compiler notes [`Problem`]s, which know byte ranges. [`GraphErrors`] is what is left of them
//! when the document is gone: lines, columns, JSON pointers and the few lines of text worth showing.
//! However long or hostile the document, a report stays small: [`MAX_SHOWN`] problems, clipped lines.

mod code;
mod excerpt;
mod render;
mod suggest;

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use self::code::GraphErrorCode;
use self::excerpt::{Excerpt, Locator};
use self::suggest::Suggester;
use crate::document::{Span, Tree};

/// How many problems of one document are shown; the rest is counted.
pub(crate) const MAX_SHOWN: usize = 100;
/// How many problems of one document are kept until they are sorted by place.
const MAX_KEPT: usize = 1000;
/// How many related places of one problem are shown.
const MAX_RELATED: usize = 4;

/// Everything wrong with one document, in the order of the text. `Display` renders it with snippets of
/// the document; serialized, it is an array of objects.
#[derive(Clone, Debug)]
pub struct GraphErrors {
    origin: Arc<str>,
    errors: Vec<GraphError>,
    omitted: usize,
}

/// One thing wrong with a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GraphError {
    /// The JSON pointer of the value that is wrong.
    pub pointer: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What kind of mistake it is.
    pub code: GraphErrorCode,
    /// What is wrong, as a fragment.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedPlace>,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// A place that has to do with a problem elsewhere.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RelatedPlace {
    /// The JSON pointer of the value.
    pub pointer: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What it has to do with it.
    pub message: String,
    #[serde(skip)]
    excerpt: Excerpt,
}

/// One thing wrong with a document whose text is at hand.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: GraphErrorCode,
    span: Span,
    message: String,
    help: Option<String>,
    related: Vec<(Span, String)>,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kept: Vec<Problem>,
    count: usize,
    suggester: Suggester,
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(code: GraphErrorCode, span: Span, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: None, related: Vec::new() }
    }

    /// Adds how to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds how to mend it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Adds another place that has to do with it.
    pub(crate) fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        if self.related.len() < MAX_RELATED {
            self.related.push((span, message.into()));
        }
        self
    }
}

// === impl Problems ===

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.push_with(|| problem);
    }

    /// Notes a problem that is described only if it is kept.
    pub(crate) fn push_with(&mut self, problem: impl FnOnce() -> Problem) {
        self.count += 1;
        if self.have_room() {
            self.kept.push(problem());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether another problem would be kept. If not, explaining it is wasted work.
    pub(crate) fn have_room(&self) -> bool {
        self.kept.len() < MAX_KEPT
    }

    /// How many problems there are, kept or not.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The candidate that `word` most likely stands for.
    pub(crate) fn closest<'c>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        // Nobody reads a suggestion for a problem that is not kept.
        self.have_room().then(|| self.suggester.closest(word, candidates))?
    }
}

// === impl GraphErrors ===

impl GraphErrors {
    /// What is left of `problems` without the document. `tree` is the text as far as it could be read.
    pub(crate) fn new(origin: Arc<str>, text: &str, tree: Option<&Tree<'_>>, problems: Problems) -> Self {
        let Problems { mut kept, count, .. } = problems;
        kept.sort_by_key(|problem| problem.span);
        kept.truncate(MAX_SHOWN);
        let mut locator = Locator::new(text);
        let pointer = |span: Span| tree.map(|tree| tree.pointer(span.start)).unwrap_or_default();
        let errors: Vec<GraphError> = kept
            .into_iter()
            .map(|problem| {
                let excerpt = locator.excerpt(problem.span);
                let related = problem.related.into_iter().map(|(span, message)| {
                    let excerpt = locator.excerpt(span);
                    let (line, column) = (excerpt.line, excerpt.column);
                    RelatedPlace { pointer: pointer(span), line, column, message, excerpt }
                });
                GraphError {
                    pointer: pointer(problem.span),
                    line: excerpt.line,
                    column: excerpt.column,
                    code: problem.code,
                    message: problem.message,
                    help: problem.help,
                    related: related.collect(),
                    excerpt,
                }
            })
            .collect();
        Self { origin, omitted: count - errors.len(), errors }
    }

    /// The name of the document, a path for example.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The problems, in the order of the text.
    pub fn errors(&self) -> &[GraphError] {
        &self.errors
    }

    /// How many more problems there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The report with snippets of the document; `Display` is the same without colour.
    pub fn render(&self, colour: bool) -> String {
        render::report(self, colour)
    }
}

impl fmt::Display for GraphErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for GraphErrors {}

impl Serialize for GraphErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.errors.serialize(serializer)
    }
}
