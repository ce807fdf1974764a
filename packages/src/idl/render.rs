//! The report for people: each error under a heading, with the line that shows it.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::error::{IdlError, IdlErrors};

/// What is shown of a line.
struct Excerpt<'s> {
    text: &'s str,
    /// Whether its beginning is missing.
    is_clipped: bool,
    mark: std::ops::Range<usize>,
}

/// How much of a line is shown, in characters to either side of the place.
const CONTEXT: usize = 100;

pub(super) fn report(errors: &IdlErrors, source: &str, origin: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut report = String::new();
    for error in errors.errors() {
        let group = Group::with_title(Level::ERROR.primary_title(&error.message).id(error.code.name()));
        let Excerpt { text, is_clipped, mark } = excerpt(source, error);
        let line =
            Snippet::source(text).line_start(error.line).annotation(AnnotationKind::Primary.span(mark));
        let group = if is_clipped {
            // The column within the clipped text is not the one within the line.
            let place = Origin::path(origin).line(error.line).char_column(error.column);
            group.element(place).element(line)
        } else {
            group.element(line.path(origin))
        };
        let group = match &error.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        };
        let text = renderer.render(&[group]);
        // A clipped line would be said to come from nowhere.
        text.lines().filter(|line| line.trim() != ":::").for_each(|line| {
            report.push_str(line);
            report.push('\n');
        });
        report.push('\n');
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
fn excerpt<'s>(source: &'s str, error: &IdlError) -> Excerpt<'s> {
    let at = floor(source, error.span.start.min(source.len()));
    let before = source.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_before = before.get(line_start..).unwrap_or_default();
    let clipped = line_before.char_indices().rev().take(CONTEXT).last();
    let start = clipped.map_or(at, |(index, _)| line_start + index);
    let rest = source.get(at..).unwrap_or_default();
    let shown = rest.char_indices().take(CONTEXT).take_while(|(_, letter)| !matches!(letter, '\n' | '\r'));
    let end = shown.last().map_or(at, |(index, letter)| at + index + letter.len_utf8());
    let until = floor(source, error.span.end.clamp(at, end));
    let text = source.get(start..end).unwrap_or_default();
    Excerpt { text, is_clipped: start > line_start, mark: at - start..until - start }
}

/// The nearest place at or before this one that is between characters.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
