//! What is wrong with a schema: every problem, with its place and its cure.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::syntax::Span;
use super::{MAX_BYTES, render};

/// Everything wrong with one schema, in the order of the text. `Display` renders it with the lines that
/// show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdlErrors {
    source: Arc<str>,
    errors: Vec<IdlError>,
    omitted: usize,
}

/// One thing wrong with a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IdlError {
    /// What kind of mistake it is.
    pub code: IdlErrorCode,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, as a fragment.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    pub(super) span: Span,
}

/// The kinds of mistakes. Their names never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IdlErrorCode {
    /// The text is too long or not UTF-8.
    Unreadable,
    /// It is not the language.
    Syntax,
    /// Something that would be lost: `extend`, an operation, a fragment.
    Unsupported,
    /// A directive before a method, and no method follows.
    DanglingDirective,
    /// `@okra` within a service, or an argument of it that is no text.
    MisplacedOkra,
    /// A type that is not defined.
    UnknownType,
    /// A type is called like one that needs no definition.
    ReservedName,
    /// Two definitions have one name.
    DuplicateName,
    /// Two fields of a type have one name.
    DuplicateField,
    /// Two methods of a service have one name.
    DuplicateMethod,
    /// Two values of an enum have one name, or one that protobuf takes for it.
    DuplicateValue,
    /// Two fields of a type have one name in JSON.
    JsonNameClash,
    /// A value of an enum is called like something else outside the enum.
    EnumValueClash,
    /// A method's result needs a message whose name is taken.
    ResponseNameClash,
    /// A list of lists.
    NestedList,
    /// A method takes what is no message.
    ArgumentNotMessage,
    /// A method gives what is no message and cannot be made one.
    ResultNotMessage,
    /// The namespace cannot be a protobuf package.
    InvalidNamespace,
    /// The version cannot be part of a service id.
    InvalidVersion,
    /// A type has more fields than protobuf numbers.
    TooManyFields,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<(IdlErrorCode, Span, String, Option<String>)>,
    count: usize,
}

/// How many are kept until they are sorted by place.
const MAX_KEPT: usize = 1000;
/// How many are shown.
const MAX_SHOWN: usize = 100;

// === impl Problems ===

impl Problems {
    pub(super) fn push(&mut self, code: IdlErrorCode, span: Span, message: impl Into<String>) {
        self.add(code, span, message.into(), None);
    }

    pub(super) fn push_with_help(
        &mut self,
        code: IdlErrorCode,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(code, span, message.into(), Some(help.into()));
    }

    fn add(&mut self, code: IdlErrorCode, span: Span, message: String, help: Option<String>) {
        self.count += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push((code, span, message, help));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn into_errors(mut self, source: &str) -> IdlErrors {
        self.kept.sort_by_key(|(_, span, ..)| span.start);
        self.kept.truncate(MAX_SHOWN);
        let omitted = self.count - self.kept.len();
        let starts: Vec<usize> =
            std::iter::once(0).chain(source.match_indices('\n').map(|(index, _)| index + 1)).collect();
        let located = |(code, span, message, help): (IdlErrorCode, Span, String, Option<String>)| {
            let line = starts.partition_point(|start| *start <= span.start);
            let start = starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
            let column = source.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
            IdlError { code, line, column, message, help, span }
        };
        let errors = self.kept.into_iter().map(located).collect();
        IdlErrors { source: source.into(), errors, omitted }
    }
}

// === impl IdlErrors ===

impl IdlErrors {
    /// They, in the order of the text; at most 100.
    pub fn errors(&self) -> &[IdlError] {
        &self.errors
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// A report for people: each error with the line it is in, under this name of the file.
    pub fn render(&self, origin: &str, colour: bool) -> String {
        render::report(self, &self.source, origin, colour)
    }
}

impl fmt::Display for IdlErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render("service.okra.gql", false))
    }
}

impl std::error::Error for IdlErrors {}

// === impl IdlErrorCode ===

impl IdlErrorCode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::Unsupported => "unsupported",
            Self::DanglingDirective => "dangling_directive",
            Self::MisplacedOkra => "misplaced_okra",
            Self::UnknownType => "unknown_type",
            Self::ReservedName => "reserved_name",
            Self::DuplicateName => "duplicate_name",
            Self::DuplicateField => "duplicate_field",
            Self::DuplicateMethod => "duplicate_method",
            Self::DuplicateValue => "duplicate_value",
            Self::JsonNameClash => "json_name_clash",
            Self::EnumValueClash => "enum_value_clash",
            Self::ResponseNameClash => "response_name_clash",
            Self::NestedList => "nested_list",
            Self::ArgumentNotMessage => "argument_not_message",
            Self::ResultNotMessage => "result_not_message",
            Self::InvalidNamespace => "invalid_namespace",
            Self::InvalidVersion => "invalid_version",
            Self::TooManyFields => "too_many_fields",
        }
    }
}

/// The text, if it can be read at all.
pub(super) fn readable<'t>(text: &'t [u8], problems: &mut Problems) -> Option<&'t str> {
    if text.len() > MAX_BYTES {
        let message = format!("the schema has {} bytes, more than the {MAX_BYTES} allowed", text.len());
        problems.push(IdlErrorCode::Unreadable, 0..0, message);
        return None;
    }
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(error) => {
            let message = format!("byte {} is not UTF-8", error.valid_up_to());
            problems.push(IdlErrorCode::Unreadable, 0..0, message);
            None
        }
    }
}
