//! Reads JSON token by token, strictly by RFC 8259.

use std::borrow::Cow;

use super::Reader;
use super::error::{Problem, Result};
use crate::limits::{MAX_DEPTH, MAX_QUOTED_BYTES};
use crate::text::find_special;

impl<'a> Reader<'a> {
    /// The byte that the next token begins with, 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// Takes a token of one byte.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() != byte {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// Takes a comma and gives true, or takes the end of the list and gives false.
    #[inline]
    pub(super) fn goes_on(&mut self, end: u8) -> Result<bool> {
        let next = self.peek();
        if next != b',' && next != end {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(next == b',')
    }

    /// Takes the beginning of a list and, if it is empty, its end. Gives whether there is anything in it.
    #[inline]
    pub(super) fn begins(&mut self, begin: u8, end: u8) -> Result<bool> {
        self.expect(begin)?;
        let empty = self.peek() == end;
        self.at += usize::from(empty);
        Ok(!empty)
    }

    /// Takes a word such as `true`, if it stands here.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let stands = self.json.get(self.at..end) == Some(word.as_bytes())
            && !self.json.get(end).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_');
        if stands {
            self.at = end;
        }
        stands
    }

    /// Takes a string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.expect(b'"')?;
        let json: &'a str = self.text;
        let start = self.at;
        let end = start + find_special(&self.json[start..]);
        if self.json.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&json[start..end]));
        }
        let mut unescaped = Vec::new();
        self.string_rest(&mut unescaped)?;
        // What was unescaped from UTF-8 is UTF-8.
        let unescaped = String::from_utf8(unescaped);
        unescaped.map(Cow::Owned).map_err(|_| self.syntax(start, "invalid UTF-8".to_owned()))
    }

    /// Appends the rest of a string whose opening quote has been taken, and takes it.
    pub(super) fn string_rest(&mut self, out: &mut Vec<u8>) -> Result<()> {
        loop {
            let plain = find_special(&self.json[self.at..]);
            out.extend_from_slice(&self.json[self.at..self.at + plain]);
            self.at += plain;
            match self.json.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(out)?,
                Some(control) => {
                    return Err(
                        self.syntax(self.at, format!("invalid character {:?} in string", *control as char))
                    );
                }
                None => return Err(self.unexpected_end()),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let at = self.at;
        let Some(&kind) = self.json.get(at + 1) else { return Err(self.unexpected_end()) };
        self.at += 2;
        let byte = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let char = self.unicode_escape().ok_or_else(|| self.invalid_escape(at))?;
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.invalid_escape(at)),
        };
        out.push(byte);
        Ok(())
    }

    #[cold]
    fn invalid_escape(&self, at: usize) -> Box<Problem> {
        let code: String = self.text[at..].chars().take_while(|char| *char != '"').take(6).collect();
        self.syntax(at, format!("invalid escape code {code:?} in string"))
    }

    /// The character of the four digits here, or of two such escapes that make one.
    fn unicode_escape(&mut self) -> Option<char> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        if self.json.get(self.at..self.at + 2) != Some(b"\\u") {
            return None;
        }
        self.at += 2;
        let low = self.hex4().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.json.get(self.at..self.at + 4)?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16)?;
        }
        self.at += 4;
        Some(value)
    }

    /// Takes a number, by RFC 8259, and gives its text.
    #[inline]
    pub(super) fn number_text(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        let rest = &self.json[start..];
        let length = number_length(rest);
        let ends = !rest.get(length).is_some_and(|next| is_word(*next) || *next == b'.' || *next == b'+');
        if length == 0 || !ends {
            return Err(self.unexpected());
        }
        self.at += length;
        let text: &'a str = self.text;
        Ok(&text[start..start + length])
    }

    /// Takes a value of any kind and forgets it.
    pub(super) fn skip(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        match self.peek() {
            b'{' => {
                let mut more = self.begins(b'{', b'}')?;
                while more {
                    self.skip_string()?;
                    self.expect(b':')?;
                    self.skip(depth + 1)?;
                    more = self.goes_on(b'}')?;
                }
            }
            b'[' => {
                let mut more = self.begins(b'[', b']')?;
                while more {
                    self.skip(depth + 1)?;
                    more = self.goes_on(b']')?;
                }
            }
            b'"' => self.skip_string()?,
            b'-' | b'0'..=b'9' => _ = self.number_text()?,
            _ => {
                if !["true", "false", "null"].iter().any(|word| self.takes_word(word)) {
                    return Err(self.unexpected());
                }
            }
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Result<()> {
        self.string().map(drop)
    }

    #[cold]
    pub(super) fn syntax(&self, at: usize, message: String) -> Box<Problem> {
        Box::new(Problem { at, message, syntax: true })
    }

    #[cold]
    pub(super) fn problem(&self, at: usize, message: String) -> Box<Problem> {
        Box::new(Problem { at, message, syntax: false })
    }

    #[cold]
    pub(super) fn unexpected_end(&self) -> Box<Problem> {
        self.syntax(self.json.len(), "unexpected end".to_owned())
    }

    /// The token here is not one that may stand here.
    #[cold]
    pub(super) fn unexpected(&self) -> Box<Problem> {
        match self.json.get(self.at) {
            None => self.unexpected_end(),
            Some(_) => self.syntax(self.at, format!("unexpected token {}", self.token(self.at))),
        }
    }

    #[cold]
    pub(super) fn too_deep(&self) -> Box<Problem> {
        self.problem(self.at, "exceeded max recursion depth".to_owned())
    }

    /// The text of the token at a place, cut if it is long.
    #[cold]
    pub(super) fn token(&self, at: usize) -> String {
        let rest = &self.json[at..];
        let length = match rest.first() {
            Some(b'"') => {
                let mut end = 1;
                while let Some(special) = rest.get(end..).map(find_special) {
                    end += special;
                    match rest.get(end) {
                        Some(b'\\') => end += 2,
                        Some(b'"') => break,
                        Some(_) => end += 1,
                        None => break,
                    }
                }
                end + 1
            }
            Some(byte) if is_word(*byte) || *byte == b'-' => {
                let ends = |byte: &u8| !is_word(*byte) && !matches!(byte, b'-' | b'+' | b'.');
                rest.iter().position(ends).unwrap_or(rest.len())
            }
            _ => 1,
        };
        let token = &self.text[at..];
        if length <= MAX_QUOTED_BYTES {
            return token.char_indices().take_while(|(at, _)| *at < length).map(|(_, char)| char).collect();
        }
        let cut = token.char_indices().take_while(|(at, _)| *at < MAX_QUOTED_BYTES).map(|(_, char)| char);
        cut.chain("…".chars()).collect()
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the JSON number at the start of a text, 0 if there is none.
pub(super) fn number_length(text: &[u8]) -> usize {
    let digits = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(text.first() == Some(&b'-'));
    let whole = digits(sign);
    if whole == 0 || whole > 1 && text[sign] == b'0' {
        return 0;
    }
    let mut at = sign + whole;
    if text.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return 0,
            fraction => at += 1 + fraction,
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return 0,
            exponent => at += 1 + sign + exponent,
        }
    }
    at
}
