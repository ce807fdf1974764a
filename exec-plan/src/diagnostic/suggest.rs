//! "Did you mean": the legal name closest to a misspelt one.

/// Compares names within a budget, so that a document full of unknown names stays cheap to refuse.
#[derive(Debug)]
pub(super) struct Suggester {
    comparisons_left: usize,
}

/// How many names are compared per document.
const MAX_COMPARISONS: usize = 400_000;
/// Longer names are not compared, in bytes.
const MAX_LENGTH: usize = 64;

impl Default for Suggester {
    fn default() -> Self {
        Self { comparisons_left: MAX_COMPARISONS }
    }
}

impl Suggester {
    /// The candidate with the fewest edits, the first of several; `None` if none is close.
    pub(super) fn closest<'c>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        if word.is_empty() || word.len() > MAX_LENGTH {
            return None;
        }
        let mut best = None;
        let mut limit = (word.len() / 3).max(1);
        for candidate in candidates {
            self.comparisons_left = self.comparisons_left.checked_sub(1)?;
            if candidate.eq_ignore_ascii_case(word) {
                return Some(candidate);
            }
            if candidate.len().abs_diff(word.len()) > limit || candidate.len() > MAX_LENGTH {
                continue;
            }
            let edits = edits(word.as_bytes(), candidate.as_bytes());
            // A word of which nothing is left is another word.
            let resembles = edits < word.len().max(candidate.len());
            if resembles && (edits < limit || (edits == limit && best.is_none())) {
                limit = edits;
                best = Some(candidate);
            }
        }
        best
    }
}

/// How many insertions, deletions, replacements and swaps of neighbours turn one word into the other.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut before = [0; MAX_LENGTH + 1];
    let mut last = std::array::from_fn::<usize, { MAX_LENGTH + 1 }, _>(|column| column);
    for row in 1..=a.len() {
        let mut current = [0; MAX_LENGTH + 1];
        current[0] = row;
        for column in 1..=b.len() {
            let same = a[row - 1].eq_ignore_ascii_case(&b[column - 1]);
            let mut edits =
                (last[column - 1] + usize::from(!same)).min(last[column] + 1).min(current[column - 1] + 1);
            if row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1] {
                edits = edits.min(before[column - 2] + 1);
            }
            current[column] = edits;
        }
        before = last;
        last = current;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closest(word: &str, candidates: &[&'static str]) -> Option<&'static str> {
        Suggester::default().closest(word, candidates.iter().copied())
    }

    #[test]
    fn the_candidate_with_the_fewest_edits_wins() {
        assert_eq!(closest("payloda", &["path", "payload", "payloads"]), Some("payload"));
        assert_eq!(closest("in", &["on", "im"]), Some("on"));
        assert_eq!(closest("ID", &["id"]), Some("id"));
    }

    #[test]
    fn nothing_close_is_no_suggestion() {
        assert_eq!(closest("kernel", &["params", "id"]), None);
        assert_eq!(closest("", &["a"]), None);
        assert_eq!(closest("b", &["a"]), None);
        assert_eq!(closest(&"x".repeat(65), &["x"]), None);
    }

    #[test]
    fn the_budget_ends_suggestions_not_the_compiler() {
        let mut suggester = Suggester { comparisons_left: 2 };
        assert_eq!(suggester.closest("ab", ["xy", "abc"]), Some("abc"));
        assert_eq!(suggester.closest("ab", ["abc"]), None);
    }
}
