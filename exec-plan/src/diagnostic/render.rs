//! The report for people: each problem under a heading, with the lines that show it.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::excerpt::Excerpt;
use super::{GraphError, GraphErrors};

/// A line of the report and what is marked on it.
struct Shown<'e> {
    excerpt: &'e Excerpt,
    marks: Vec<Annotation<'e>>,
}

pub(super) fn report(errors: &GraphErrors, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut report = String::new();
    for error in &errors.errors {
        let text = renderer.render(&[group(&errors.origin, error)]);
        text.lines().filter(|line| !is_empty_origin(line)).for_each(|line| {
            report.push_str(line);
            report.push('\n');
        });
        report.push('\n');
    }
    let shown = errors.errors.len();
    let (total, omitted) = (shown + errors.omitted, errors.omitted);
    let problems = if total == 1 { "problem" } else { "problems" };
    report.push_str(&format!("{}: {total} {problems}", errors.origin));
    if omitted > 0 {
        report.push_str(&format!(", {omitted} of them not shown"));
    }
    report.push('\n');
    report
}

fn group<'e>(origin: &'e str, error: &'e GraphError) -> Group<'e> {
    let title = Level::ERROR.primary_title(&error.message).id(error.code.name());
    let primary = AnnotationKind::Primary.span(error.excerpt.mark.clone());
    let mut lines = vec![Shown { excerpt: &error.excerpt, marks: vec![primary] }];
    for place in &error.related {
        let mark = AnnotationKind::Context.span(place.excerpt.mark.clone()).label(&place.message);
        match lines.iter_mut().find(|shown| shown.shows(&place.excerpt)) {
            Some(shown) => shown.marks.push(mark),
            None => lines.push(Shown { excerpt: &place.excerpt, marks: vec![mark] }),
        }
    }
    let mut group = Group::with_title(title);
    for Shown { excerpt, marks } in lines {
        let snippet = Snippet::source(&excerpt.text).line_start(excerpt.line).annotations(marks);
        group = if excerpt.clipped {
            // The column within the clipped text is not the one within the line.
            let place = Origin::path(origin).line(excerpt.line).char_column(excerpt.column);
            group.element(place).element(snippet)
        } else {
            group.element(snippet.path(origin))
        };
    }
    match &error.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// Whether a line would say where its snippet comes from but has nothing to say, because it was said
/// above: `::: ` and nothing else, apart from colour.
fn is_empty_origin(line: &str) -> bool {
    let Some((before, after)) = line.split_once(":::") else { return false };
    let is_blank =
        |text: &str| text.split('\u{1b}').all(|part| part.trim_start_matches(SGR).trim().is_empty());
    is_blank(before) && is_blank(after)
}

/// The characters of a colour sequence.
const SGR: &[char] = &['[', ';', 'm', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

impl Shown<'_> {
    fn shows(&self, place: &Excerpt) -> bool {
        self.excerpt.line == place.line && !self.excerpt.clipped
    }
}
