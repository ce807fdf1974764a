//! Text of bounded length, written piece by piece: what does not fit is never rendered.

use std::fmt;

/// Takes text until it is full.
#[derive(Debug)]
pub(crate) struct Bounded {
    text: String,
    limit: usize,
    full: bool,
}

// === impl Bounded ===

impl Bounded {
    /// Room for `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, full: false }
    }

    /// The text, with an ellipsis if something did not fit.
    pub(crate) fn finish(mut self) -> String {
        if self.full {
            self.text.push('…');
        }
        self.text
    }
}

impl fmt::Write for Bounded {
    /// Fails once the text is full, which ends the rendering of what is being written.
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = more.floor_char_boundary(self.limit.saturating_sub(self.text.len()));
        self.text.push_str(&more[..fits]);
        self.full |= fits < more.len();
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn text_ends_at_the_limit_and_between_characters() {
        for (limit, expected) in [(0, "…"), (1, "a…"), (2, "a…"), (3, "aé…"), (4, "aéb"), (9, "aéb")]
        {
            let mut text = Bounded::new(limit);
            let written = text.write_str("a").and_then(|()| text.write_str("éb"));
            assert_eq!(written.is_err(), limit < 4, "{limit}");
            assert_eq!(text.finish(), expected, "{limit}");
        }
    }
}
