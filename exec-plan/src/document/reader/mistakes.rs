//! What the reader does about mistakes: reports them, and goes on as the author most likely meant.

use super::text::{self, word_run};
use super::{Expect, Reader};
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::Span;
use crate::document::tree::Kind;

// === impl Reader ===

impl Reader<'_, '_> {
    pub(super) fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message));
    }

    /// Reports what makes the innermost container incomplete.
    pub(super) fn damage(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.damage_by(Problem::new(code, span, message));
    }

    pub(super) fn damage_by(&mut self, problem: Problem) {
        self.whole = false;
        if let Some(open) = self.open.last() {
            self.cells[open.cell as usize].damaged = true;
        }
        self.problems.push(problem);
    }

    pub(super) fn trailing_comma(&mut self) {
        let problem = Problem::new(Code::Syntax, Span::at(self.comma), "nothing follows this comma");
        self.damage_by(problem.help("take it away: JSON has no trailing commas"));
    }

    pub(super) fn missing_value(&mut self, byte: u8, expect: Expect) -> Expect {
        let Some(open) = self.open.last() else {
            self.damage(Code::Syntax, Span::at(self.at), "expected a value");
            self.hole(self.at, self.at);
            self.at += 1;
            return Expect::End;
        };
        let closing = byte == b']' || byte == b'}';
        if open.kind == Kind::Array && closing {
            if expect == Expect::Value {
                self.trailing_comma();
            }
            return self.next(byte);
        }
        self.damage(Code::Syntax, Span::at(self.at), "expected a value");
        if byte == b':' {
            self.at += 1;
            return expect;
        }
        self.hole(self.at, self.at);
        Expect::Next
    }

    /// A bracket that closes something other than the innermost container.
    pub(super) fn mismatched(&mut self, byte: u8) -> Expect {
        let kind = if byte == b'}' { Kind::Object } else { Kind::Array };
        let Some(innermost) = self.open.last() else { return Expect::End };
        let (wanted, found) = if byte == b'}' { (']', '}') } else { ('}', ']') };
        let opened = self.cells[innermost.cell as usize].start as usize;
        let problem =
            Problem::new(Code::Syntax, Span::at(self.at), format!("expected `{wanted}`, found `{found}`"))
                .related(Span::at(opened), "to close this");
        self.damage_by(problem);
        if self.open.iter().any(|open| open.kind == kind) {
            while let Some(open) = self.open.pop() {
                self.cells[open.cell as usize].damaged = true;
                let ends_here = open.kind == kind;
                self.close(&open, if ends_here { self.at + 1 } else { self.at });
                if ends_here {
                    break;
                }
            }
        }
        self.at += 1;
        self.after_value()
    }

    /// Something that begins no JSON value.
    pub(super) fn unreadable(&mut self) {
        let start = self.at;
        let quote = self.bytes[start] == b'\'';
        let end = if quote { text::single_quoted(self.bytes, start) } else { word_run(self.bytes, start) };
        let help = match &self.text[start..end] {
            "True" | "TRUE" => "write `true`",
            "False" | "FALSE" => "write `false`",
            "None" | "NULL" | "Null" | "nil" | "undefined" => "write `null`",
            "NaN" | "Infinity" => "JSON has no such number",
            _ => "text is written in double quotes",
        };
        let problem =
            Problem::new(Code::Syntax, Span::new(start, end), "this is not a JSON value").help(help);
        self.damage_by(problem);
        self.hole(start, end);
        self.at = end;
    }

    /// Skips a comment, which is reported, and says whether there was one.
    pub(super) fn skip_comment(&mut self) -> bool {
        let Some(end) = text::comment(self.text, self.at) else { return false };
        self.damage(Code::Syntax, Span::new(self.at, end), "JSON has no comments");
        self.at = end;
        true
    }

    #[cold]
    pub(super) fn report_duplicates(&mut self, container: u32) {
        let mut first_places = foldhash::HashMap::default();
        let mut at = container + 1;
        while let Some(key) = self.cells.get(at as usize) {
            let span = Span { start: key.start, end: key.end };
            let text = if key.kind == Kind::Escaped {
                self.decoded.get(key.link as usize).map(String::as_str)
            } else {
                self.text
                    .get(key.start as usize + 1..key.end as usize - 1)
                    .filter(|_| key.kind == Kind::Plain)
            };
            if let Some(text) = text {
                if let Some(first) = first_places.get(text) {
                    self.problems.push_with(|| {
                        let message = format!("the key {text:?} stands here again");
                        Problem::new(Code::DuplicateKey, span, message).related(*first, "first here")
                    });
                } else {
                    first_places.insert(text, span);
                }
            }
            let value = self.cells.get(at as usize + 1).filter(|value| value.kind.is_container());
            at = value.map_or(at + 2, |value| value.link);
        }
    }
}
