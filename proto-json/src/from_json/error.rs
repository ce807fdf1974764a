//! Where JSON went wrong, and why.

use std::fmt;

/// Why a JSON text is not a message. The text of it names the place: `(line 1:14): unknown field "c"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
    /// Whether the text is not even JSON, or not of the kind that has to stand there.
    pub syntax: bool,
}

/// An error by its offset.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) syntax: bool,
}

/// Boxed: results stay one word.
pub(super) type Result<T> = std::result::Result<T, Box<Problem>>;

// === impl JsonError ===

impl JsonError {
    #[cold]
    pub(super) fn new(json: &[u8], problem: Problem) -> Self {
        let Problem { at, message, syntax } = problem;
        let before = json.get(..at).unwrap_or(json);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        // Bytes that continue a character are none of their own.
        let column = 1 + before[line_start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Self { line, column, message, syntax }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.syntax { "syntax error " } else { "" };
        write!(f, "{kind}(line {}:{}): {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for JsonError {}
