//! The tokens of JSON below its structure: bytes, strings, numbers, and what is none of them.

use std::borrow::Cow;

use crate::diagnostic::{GraphErrorCode as Code, Problem, Problems};
use crate::document::Span;

/// A string that is not plain.
pub(super) struct Quoted {
    /// After the closing quote, or where the string breaks off.
    pub(super) end: usize,
    pub(super) decoded: String,
    pub(super) mistakes: Vec<Problem>,
}

/// The document as text. Bytes that are no UTF-8 are reported and become `?`, so that every other byte
/// keeps its place.
pub(crate) fn decode<'t>(bytes: &'t [u8], problems: &mut Problems) -> Cow<'t, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replace_invalid(bytes, problems)),
    }
}

#[cold]
fn replace_invalid(bytes: &[u8], problems: &mut Problems) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        if !invalid.is_empty() {
            let span = Span::new(text.len(), text.len() + invalid.len());
            problems.push_with(|| {
                let hex: Vec<String> = invalid.iter().map(|byte| format!("{byte:02x}")).collect();
                let message = format!("the bytes {} are not UTF-8", hex.join(" "));
                Problem::new(Code::InvalidUtf8, span, message).help("save the document as UTF-8")
            });
            text.extend(invalid.iter().map(|_| '?'));
        }
    }
    text
}

/// The end of a run of bytes that stand for themselves in a string.
#[inline]
pub(super) fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |x: u64, n: u8| x.wrapping_sub(ONES * u64::from(n)) & !x & HIGHS;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| eight.first_chunk()) {
        let x = u64::from_le_bytes(*eight);
        // The lowest marked byte is exact: a quote, a backslash or a control character.
        let special =
            below(x, 0x20) | below(x ^ (ONES * u64::from(b'"')), 1) | below(x ^ (ONES * u64::from(b'\\')), 1);
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at)
        && *byte >= 0x20
        && !matches!(byte, b'"' | b'\\')
    {
        at += 1;
    }
    at
}

/// The end of a run of bytes that belong to no other token: a number, a literal or something unknown.
#[inline]
pub(super) fn word_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at)
        && !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'[' | b']' | b'{' | b'}' | b'"')
    {
        at += 1;
    }
    at
}

/// The end of what begins with a single quote: its partner on the same line, or the end of the word.
pub(super) fn single_quoted(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start + 1..).unwrap_or_default();
    match rest.iter().position(|byte| matches!(byte, b'\'' | b'\n')) {
        Some(length) if rest[length] == b'\'' => start + length + 2,
        _ => word_run(bytes, start),
    }
}

/// The end of the comment that begins here, if one does.
pub(super) fn comment(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    if rest.starts_with("//") {
        Some(start + rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        Some(start + rest.find("*/").map_or(rest.len(), |length| length + 2))
    } else {
        None
    }
}

/// The end of the container that begins here, however deep it nests.
pub(super) fn skip_nested(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth <= 1 => return at,
            b']' | b'}' => depth -= 1,
            b'"' => loop {
                at = plain_run(bytes, at);
                match bytes.get(at) {
                    Some(b'\\') => at += 2,
                    Some(b'"') | None => break at += 1,
                    Some(_) => at += 1,
                }
            },
            _ => {}
        }
    }
    at.min(bytes.len())
}

/// Checks a word that begins like a number.
#[inline]
pub(super) fn check_number(word: &str) -> Result<(), &'static str> {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let bytes = word.as_bytes();
    let rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = digits(rest);
    if whole == 0 {
        return Err("a number needs a digit after `-`");
    }
    if whole > 1 && rest[0] == b'0' {
        return Err("a number has no leading zeros");
    }
    let mut rest = &rest[whole..];
    if rest.is_empty() && whole < MAX_PLAIN_DIGITS {
        return Ok(());
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return Err("a number needs a digit after `.`");
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent =
            exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 {
            return Err("a number needs a digit in its exponent");
        }
        rest = &exponent[length..];
    }
    if !rest.is_empty() {
        return Err("this is not a number");
    }
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(()),
        _ => Err("this number is too large"),
    }
}

/// The end of a string that goes on behind a line break, if its author seems to have meant that: the
/// next quote is followed by what follows a string.
fn end_of_torn(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = at + bytes.get(at..)?.iter().position(|byte| *byte == b'"')?;
    let next = bytes[quote + 1..].iter().find(|byte| !byte.is_ascii_whitespace())?;
    matches!(next, b',' | b':' | b']' | b'}').then_some(quote + 1)
}

/// A number with fewer digits before its point is not too large for a float.
const MAX_PLAIN_DIGITS: usize = 300;

// === impl Quoted ===

impl Quoted {
    /// Reads the string whose opening quote is at `start`.
    pub(super) fn read(text: &str, start: usize) -> Self {
        let bytes = text.as_bytes();
        let mut quoted = Self { end: start + 1, decoded: String::new(), mistakes: Vec::new() };
        loop {
            let plain = quoted.end;
            let at = plain_run(bytes, plain);
            quoted.decoded.push_str(text.get(plain..at).unwrap_or_default());
            quoted.end = at;
            match bytes.get(at) {
                Some(b'"') => {
                    quoted.end += 1;
                    return quoted;
                }
                Some(b'\\') => quoted.escape(text),
                Some(b'\n' | b'\r') | None => {
                    let problem = Problem::new(Code::InvalidString, Span::new(at, at), "expected `\"`")
                        .related(Span::at(start), "this string has no end on its line")
                        .help("a line break in a string is written `\\n`");
                    quoted.mistakes.push(problem);
                    quoted.end = end_of_torn(bytes, at).unwrap_or(at);
                    return quoted;
                }
                Some(control) => {
                    let message = format!("the control character {control:#04x} stands in a string");
                    let problem = Problem::new(Code::InvalidString, Span::at(at), message)
                        .help(format!("write `\\u{control:04x}`"));
                    quoted.mistake(problem);
                    quoted.end += 1;
                }
            }
        }
    }

    fn mistake(&mut self, problem: Problem) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(problem);
        }
    }

    fn escape(&mut self, text: &str) {
        let at = self.end;
        let rest = text.get(at + 1..).unwrap_or_default();
        let Some(letter) = rest.chars().next() else {
            self.end += 1;
            return;
        };
        self.end += 1 + letter.len_utf8();
        let character = match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(text, at),
            _ => {
                // A line break here means that the string has no end; the caller reports that.
                self.end -= if matches!(letter, '\n' | '\r') { letter.len_utf8() } else { 0 };
                let problem = Problem::new(Code::InvalidString, Span::new(at, self.end), "no such escape")
                    .help("a backslash is written `\\\\`");
                return self.mistake(problem);
            }
        };
        self.decoded.push(character);
    }

    /// `\uXXXX` or a pair of them; `self.end` is after the `u`.
    fn unicode(&mut self, text: &str, at: usize) {
        let unit = |at: usize| {
            let digits = text.get(at..at + 4)?;
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
        };
        let Some(first) = unit(self.end) else {
            let problem = Problem::new(
                Code::InvalidString,
                Span::new(at, self.end),
                "expected four hex digits after `\\u`",
            );
            return self.mistake(problem);
        };
        self.end += 4;
        let character = if (0xd800..0xdc00).contains(&first) {
            let second =
                text.get(self.end..).filter(|rest| rest.starts_with("\\u")).and_then(|_| unit(self.end + 2));
            match second {
                Some(second) if (0xdc00..0xe000).contains(&second) => {
                    self.end += 6;
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
                }
                _ => None,
            }
        } else {
            char::from_u32(first)
        };
        match character {
            Some(character) => self.decoded.push(character),
            None => {
                let problem =
                    Problem::new(Code::InvalidString, Span::new(at, self.end), "half a surrogate pair")
                        .help("write the character itself");
                self.mistake(problem);
            }
        }
    }
}

/// How many mistakes of one string are worth telling.
const MAX_MISTAKES: usize = 10;
