//! Reads JSON text into a [`Tree`]: one pass, no recursion, and no end at the first mistake.
//!
//! After a mistake the reader does what the author most likely meant: it goes on behind a superfluous
//! comma, supplies a missing one, takes an unreadable value for a [hole](Kind::Hole) and closes what
//! was left open. Containers touched by this are marked as damaged, so that nobody misses there what
//! may have been lost.

mod mistakes;
mod text;

use super::tree::{Cell, Kind, Tree};
use super::{MAX_DEPTH, Span};
use crate::diagnostic::{GraphErrorCode as Code, Problem, Problems};

pub(crate) use self::text::decode;
use self::text::{Quoted, plain_run, word_run};

/// A reading in progress.
struct Reader<'t, 'p> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    cells: Vec<Cell>,
    decoded: Vec<String>,
    /// As long as the text; what is filled are the first `token_bytes`.
    tokens: Vec<u8>,
    token_bytes: usize,
    /// Where the text begins that has not gone to `tokens` yet.
    taken: usize,
    open: Vec<Open>,
    /// Where the last comma was.
    comma: usize,
    whole: bool,
    problems: &'p mut Problems,
}

/// A container whose end has not been read.
struct Open {
    cell: u32,
    kind: Kind,
    /// One bit per key, chosen by length and ends: two keys without a common bit are different.
    seen: u64,
    /// Whether two keys had a common bit.
    alike: bool,
}

/// What the grammar allows next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    /// A value, or the end of the array that has just begun.
    FirstValue,
    Key,
    /// A key, or the end of the object that has just begun.
    FirstKey,
    /// A comma or the end of the container.
    Next,
    /// The end of the text.
    End,
}

const BYTE_ORDER_MARK: char = '\u{feff}';
/// The most bytes between white space that are copied in one go.
const SHORT_RUN: usize = 16;

impl<'t> Tree<'t> {
    /// Reads a document. Holes and damage in the result have been reported.
    pub(crate) fn read(text: &'t str, problems: &mut Problems) -> Self {
        let mut reader = Reader {
            text,
            bytes: text.as_bytes(),
            at: 0,
            cells: Vec::with_capacity(text.len() / 8),
            decoded: Vec::new(),
            tokens: vec![0; text.len()],
            token_bytes: 0,
            taken: 0,
            open: Vec::new(),
            comma: 0,
            whole: true,
            problems,
        };
        reader.document();
        let Reader { cells, decoded, mut tokens, token_bytes, whole, .. } = reader;
        tokens.truncate(token_bytes);
        Self { text, cells, decoded, tokens, whole }
    }
}

// === impl Reader ===

impl Reader<'_, '_> {
    fn document(&mut self) {
        if self.text.starts_with(BYTE_ORDER_MARK) {
            let mark = Span::new(0, BYTE_ORDER_MARK.len_utf8());
            let problem = Problem::new(Code::Syntax, mark, "the document begins with a byte order mark")
                .help("save it as UTF-8 without one");
            self.damage_by(problem);
            self.at = BYTE_ORDER_MARK.len_utf8();
        }
        let mut expect = Expect::Value;
        loop {
            self.skip_space();
            let Some(&byte) = self.bytes.get(self.at) else { break };
            expect = match expect {
                _ if byte == b'/' && self.skip_comment() => expect,
                Expect::Value | Expect::FirstValue => self.value(byte, expect),
                Expect::Key | Expect::FirstKey => self.key(byte, expect),
                Expect::Next => self.next(byte),
                Expect::End => {
                    self.whole = false;
                    let rest = Span::new(self.at, word_run(self.bytes, self.at).max(self.at + 1));
                    self.report(Code::TrailingText, rest, "the document ends before this");
                    return;
                }
            };
        }
        self.take_tokens(self.bytes.len());
        self.end(expect);
    }

    /// Closes what the end of the text left open.
    fn end(&mut self, expect: Expect) {
        let end = self.text.trim_end().len();
        let end = Span::new(end, end);
        let Some(innermost) = self.open.last() else {
            if expect == Expect::Value {
                self.whole = false;
                self.report(Code::Syntax, end, "the document is empty");
            }
            return;
        };
        let place = self.cells[innermost.cell as usize].start as usize;
        let problem =
            Problem::new(Code::Unclosed, end, format!("the text ends inside {}", innermost.kind.noun()))
                .related(Span::at(place), "opened here");
        self.problems.push(problem);
        if expect == Expect::Value && innermost.kind == Kind::Object {
            self.hole(self.at, self.at);
        }
        while let Some(open) = self.open.pop() {
            self.whole = false;
            self.cells[open.cell as usize].damaged = true;
            self.close(&open, self.at);
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        let start = self.at;
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at > start {
            self.take_tokens(start);
            self.taken = self.at;
        }
    }

    /// Moves the text up to `end` to the tokens.
    #[inline]
    fn take_tokens(&mut self, end: usize) {
        let bytes = self.bytes;
        let length = end - self.taken;
        let room = self.tokens.get_mut(self.token_bytes..).and_then(|room| room.first_chunk_mut());
        match (bytes.get(self.taken..).and_then(|run| run.first_chunk::<SHORT_RUN>()), room) {
            // Between white space there is little, and a copy of known length is faster. What it copies
            // too much is overwritten or cut off.
            (Some(run), Some(room)) if length <= SHORT_RUN => {
                *room = *run;
                self.token_bytes += length;
            }
            _ => self.put_token(&bytes[self.taken..end]),
        }
        self.taken = end;
    }

    fn put_token(&mut self, token: &[u8]) {
        let end = self.token_bytes + token.len();
        self.tokens[self.token_bytes..end].copy_from_slice(token);
        self.token_bytes = end;
    }

    #[inline]
    fn value(&mut self, byte: u8, expect: Expect) -> Expect {
        match byte {
            b'"' => {
                self.string();
            }
            b'{' => return self.begin(Kind::Object),
            b'[' => return self.begin(Kind::Array),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Kind::True),
            b'f' => self.literal("false", Kind::False),
            b'n' => self.literal("null", Kind::Null),
            b']' | b'}' | b',' | b':' => return self.missing_value(byte, expect),
            _ => self.unreadable(),
        }
        self.after_value()
    }

    #[inline]
    fn after_value(&self) -> Expect {
        if self.open.is_empty() { Expect::End } else { Expect::Next }
    }

    fn key(&mut self, byte: u8, expect: Expect) -> Expect {
        match byte {
            b'"' => {
                let start = self.at;
                self.string();
                self.note_key(start);
                return self.colon();
            }
            b'}' | b']' => {
                if expect == Expect::Key {
                    self.trailing_comma();
                }
                return self.next(byte);
            }
            b',' => {
                self.damage(Code::Syntax, Span::at(self.at), "expected a key");
                self.at += 1;
                return Expect::Key;
            }
            b'{' | b'[' | b':' => {
                self.damage(Code::Syntax, Span::at(self.at), "expected a key");
                self.hole(self.at, self.at);
            }
            _ => {
                let end = word_run(self.bytes, self.at);
                let problem = Problem::new(Code::Syntax, Span::new(self.at, end), "a key is a string")
                    .help("write it in double quotes");
                self.damage_by(problem);
                self.hole(self.at, end);
                self.at = end;
            }
        }
        self.colon()
    }

    /// Between a key and its value.
    fn colon(&mut self) -> Expect {
        self.skip_space();
        match self.bytes.get(self.at) {
            Some(b':') => self.at += 1,
            Some(b',' | b'}' | b']') => {
                self.damage(Code::Syntax, Span::at(self.at), "expected `:` and a value");
                self.hole(self.at, self.at);
                return Expect::Next;
            }
            Some(_) => self.damage(Code::Syntax, Span::at(self.at), "expected `:`"),
            None => {}
        }
        Expect::Value
    }

    fn next(&mut self, byte: u8) -> Expect {
        let Some(open) = self.open.last() else { return Expect::End };
        let (more, end) = if open.kind == Kind::Object { (Expect::Key, b'}') } else { (Expect::Value, b']') };
        match byte {
            b',' => {
                self.comma = self.at;
                self.at += 1;
                more
            }
            _ if byte == end => {
                self.at += 1;
                if let Some(open) = self.open.pop() {
                    self.close(&open, self.at);
                }
                self.after_value()
            }
            b'}' | b']' => self.mismatched(byte),
            _ => {
                let wanted = if end == b'}' { "expected `,` or `}`" } else { "expected `,` or `]`" };
                self.damage(Code::Syntax, Span::at(self.at), wanted);
                if byte == b':' {
                    self.at += 1;
                    Expect::Next
                } else {
                    more
                }
            }
        }
    }

    fn begin(&mut self, kind: Kind) -> Expect {
        if self.open.len() == MAX_DEPTH {
            let message = format!("arrays and objects nest more than {MAX_DEPTH} deep");
            self.damage(Code::TooDeep, Span::at(self.at), message);
            let start = self.at;
            self.at = text::skip_nested(self.bytes, start);
            self.hole(start, self.at);
            return self.after_value();
        }
        self.open.push(Open { cell: self.next_cell(), kind, seen: 0, alike: false });
        self.push(self.at, self.at + 1, kind, 0);
        self.at += 1;
        if kind == Kind::Object { Expect::FirstKey } else { Expect::FirstValue }
    }

    fn close(&mut self, open: &Open, end: usize) {
        let link = self.next_cell();
        let cell = &mut self.cells[open.cell as usize];
        cell.end = Span::new(end, end).start;
        cell.link = link;
        if open.alike {
            self.report_duplicates(open.cell);
        }
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind, link: u32) {
        let Span { start, end } = Span::new(start, end);
        self.cells.push(Cell { start, end, link, kind, damaged: false });
    }

    fn hole(&mut self, start: usize, end: usize) {
        self.push(start, end, Kind::Hole, 0);
    }

    fn next_cell(&self) -> u32 {
        // There are fewer cells than bytes, of which there are at most `MAX_TEXT_BYTES`.
        u32::try_from(self.cells.len()).unwrap_or(u32::MAX)
    }

    #[inline]
    fn string(&mut self) {
        let start = self.at;
        let end = plain_run(self.bytes, start + 1);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            self.push(start, self.at, Kind::Plain, 0);
        } else {
            self.quoted(start);
        }
    }

    /// A string that is not plain: it has escapes, or mistakes.
    #[cold]
    fn quoted(&mut self, start: usize) {
        let Quoted { end, decoded, mistakes } = Quoted::read(self.text, start);
        self.at = end;
        if mistakes.is_empty() {
            let link = u32::try_from(self.decoded.len()).unwrap_or(u32::MAX);
            self.push(start, end, Kind::Escaped, link);
            self.take_tokens(start);
            let token = serde_json::Value::from(decoded.as_str()).to_string();
            // No longer than the string in the text: what has an escape here had one there.
            self.put_token(token.as_bytes());
            self.taken = end;
            self.decoded.push(decoded);
        } else {
            self.hole(start, end);
            mistakes.into_iter().for_each(|mistake| self.damage_by(mistake));
        }
    }

    #[inline]
    fn number(&mut self) {
        let start = self.at;
        let end = word_run(self.bytes, start);
        self.at = end;
        match text::check_number(&self.text[start..end]) {
            Ok(()) => self.push(start, end, Kind::Number, 0),
            Err(message) => {
                self.hole(start, end);
                self.damage(Code::InvalidNumber, Span::new(start, end), message);
            }
        }
    }

    #[inline]
    fn literal(&mut self, name: &str, kind: Kind) {
        let end = word_run(self.bytes, self.at);
        if &self.text[self.at..end] == name {
            self.push(self.at, end, kind, 0);
            self.at = end;
        } else {
            self.unreadable();
        }
    }

    #[inline]
    fn note_key(&mut self, start: usize) {
        let key = &self.bytes[start + 1..(self.at - 1).max(start + 1)];
        let ends = key.first().zip(key.last()).map_or(0, |(first, last)| {
            (usize::from(*first) * 7) ^ (usize::from(*last) * 3) ^ (key.len() * 5)
        });
        // An escape hides what the key really says; such a key resembles every other.
        let escaped = self.cells.last().is_none_or(|cell| cell.kind != Kind::Plain);
        if let Some(open) = self.open.last_mut() {
            let bit = 1 << (ends % 64);
            open.alike |= escaped || open.seen & bit != 0;
            open.seen |= bit;
        }
    }
}
