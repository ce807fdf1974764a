//! Lines, columns and the piece of text that shows a place.

use std::ops::Range;

use crate::document::Span;

/// A place in a document, with as much of its line as is worth showing.
#[derive(Clone, Debug)]
pub(super) struct Excerpt {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// The line, without its end, or the part of it around the place.
    pub(super) text: String,
    /// The place within `text`.
    pub(super) mark: Range<usize>,
    /// Whether `text` is a part of the line only.
    pub(super) clipped: bool,
}

/// Finds lines and columns of a document.
pub(super) struct Locator<'t> {
    text: &'t str,
    line_starts: Vec<u32>,
    /// The last place and its column: columns of one long line are counted on from here.
    last: (usize, usize),
}

/// Lines longer than this, in bytes, are clipped.
const MAX_LINE: usize = 160;
/// How much of a clipped line stands before the place, in bytes.
const BEFORE: usize = 40;
/// How much of a clipped line stands after the beginning of the place, in bytes.
const AFTER: usize = 100;
/// Stands for what is clipped.
const ELLIPSIS: &str = "...";

impl<'t> Locator<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let line_starts = starts.map(|start| Span::at(start).start).collect();
        Self { text, line_starts, last: (0, 1) }
    }

    /// The excerpt that shows a range; of a range over several lines, the part on the first.
    pub(super) fn excerpt(&mut self, span: Span) -> Excerpt {
        let text = self.text;
        let start = text.floor_char_boundary(span.start as usize);
        let line = self.line_starts.partition_point(|line_start| *line_start as usize <= start);
        let line_start = self.line_starts[line - 1] as usize;
        let line_end = self.line_starts.get(line).map_or(text.len(), |next| *next as usize - 1);
        let line_end = line_start + text[line_start..line_end].trim_end_matches('\r').len();
        let start = start.min(line_end);
        let end = text.ceil_char_boundary(span.end as usize).clamp(start, line_end);
        let clipped = line_end - line_start > MAX_LINE;
        let (from, to) = if clipped {
            let from = text.floor_char_boundary(start.saturating_sub(BEFORE).max(line_start));
            (from, text.ceil_char_boundary((start + AFTER).min(line_end)))
        } else {
            (line_start, line_end)
        };
        let before = if from > line_start { ELLIPSIS } else { "" };
        let after = if to < line_end { ELLIPSIS } else { "" };
        let shift = before.len();
        Excerpt {
            line,
            column: self.column(line_start, start),
            text: format!("{before}{}{after}", &text[from..to]),
            mark: start - from + shift..end.min(to) - from + shift,
            clipped,
        }
    }

    fn column(&mut self, line_start: usize, at: usize) -> usize {
        let (last, column) =
            if (line_start..=at).contains(&self.last.0) { self.last } else { (line_start, 1) };
        let column = column + self.text[last..at].chars().count();
        self.last = (at, column);
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, start: usize, end: usize) -> Excerpt {
        Locator::new(text).excerpt(Span::new(start, end))
    }

    #[test]
    fn columns_count_characters() {
        let place = excerpt("a\nøø \"x\"\r\nb", 7, 10);
        assert_eq!((place.line, place.column, place.text.as_str()), (2, 4, "øø \"x\""));
        assert_eq!(&place.text[place.mark], "\"x\"");
    }

    #[test]
    fn a_long_line_is_clipped_around_the_place() {
        let text = format!("{}here{}", "é".repeat(500), "b".repeat(500));
        let place = excerpt(&text, 1000, 1004);
        assert_eq!((place.line, place.column), (1, 501));
        assert_eq!(&place.text[place.mark.clone()], "here");
        assert!(
            place.text.len() < MAX_LINE && place.text.starts_with("...é") && place.text.ends_with("b...")
        );
    }

    #[test]
    fn a_range_over_lines_ends_with_its_first() {
        let place = excerpt("[1,\n2]", 0, 6);
        assert_eq!(&place.text[place.mark], "[1,");
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        let place = excerpt("{\n", 2, 2);
        assert_eq!((place.line, place.column, place.text.as_str()), (2, 1, ""));
        let place = excerpt("", 0, 1);
        assert_eq!((place.line, place.column, place.mark), (1, 1, 0..0));
    }
}
