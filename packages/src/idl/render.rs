//! The report for people: each error under a heading, with the line that shows it.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::error::{IdlError, IdlErrors};

/// How much of a line is shown, in characters to either side of the place.
const CONTEXT: usize = 100;

pub(super) fn report(errors: &IdlErrors, source: &str, origin: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut report = String::new();
    for error in errors.errors() {
        let title = Level::ERROR.primary_title(&error.message).id(error.code.name());
        let mut group = annotate_snippets::Group::with_title(title);
        let (line, mark) = excerpt(source, error);
        // The column within what is shown may not be the one within the line.
        group = group.element(Origin::path(origin).line(error.line).char_column(error.column));
        group = group.element(
            Snippet::source(line).line_start(error.line).annotation(AnnotationKind::Primary.span(mark)),
        );
        if let Some(help) = &error.help {
            group = group.element(Level::HELP.message(help));
        }
        report.push_str(&renderer.render(&[group]));
        report.push_str("\n\n");
    }
    let total = errors.errors().len() + errors.omitted();
    let problems = if total == 1 { "problem" } else { "problems" };
    report.push_str(&format!("{origin}: {total} {problems}"));
    if errors.omitted() > 0 {
        report.push_str(&format!(", {} of them not shown", errors.omitted()));
    }
    report.push('\n');
    report
}

/// The line of an error, clipped, and what to mark in it.
fn excerpt<'s>(source: &'s str, error: &IdlError) -> (&'s str, std::ops::Range<usize>) {
    let at = floor(source, error.span.start.min(source.len()));
    let before = source.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let clipped = before.get(start..).unwrap_or_default().char_indices().rev().take(CONTEXT).last();
    let start = clipped.map_or(at, |(index, _)| start + index);
    let rest = source.get(at..).unwrap_or_default();
    let line = rest.split(['\n', '\r']).next().unwrap_or_default();
    let end = at + line.char_indices().nth(CONTEXT).map_or(line.len(), |(index, _)| index);
    let until = floor(source, error.span.end.clamp(at, end));
    (source.get(start..end).unwrap_or_default(), at - start..until - start)
}

/// The nearest place at or before this one that is between characters.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
