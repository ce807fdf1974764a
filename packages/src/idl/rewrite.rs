//! Turns a schema into plain GraphQL of the same length, so that every place stays where it is.
//!
//! `service` becomes `type   `; `@okra(…)` and directives that stand before what they belong to are blanked
//! out and noted; braces with nothing between them are blanked out, too, because GraphQL wants something
//! there. Works on tokens, never on text: what is in strings and comments stays.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "few kinds of token matter here, and a new one would not"
)]

use apollo_parser::{Lexer, Token, TokenKind};

use super::error::{IdlErrorCode, Problems};
use super::syntax::Span;

/// A schema as plain GraphQL.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) text: String,
    /// Where each `@okra(…)` stood.
    pub(super) okra: Vec<Span>,
    /// Where each `service` stood.
    pub(super) services: Vec<usize>,
    /// Where each directive stood that belongs to the method behind it.
    pub(super) leading: Vec<Span>,
    /// Where each directive stood that belongs to the definition behind it, and says nothing to anyone.
    pub(super) ignored: Vec<Span>,
}

/// The walk over the tokens that matter.
struct Walk<'t, 'p> {
    source: &'t str,
    tokens: Vec<Token<'t>>,
    next: usize,
    out: Vec<u8>,
    found: Rewritten,
    /// Where each line begins, and how many characters of it are blank.
    lines: Vec<(usize, usize)>,
    problems: &'p mut Problems,
}

/// How far a service was read.
struct Body {
    /// The indent of the line on which the last method begins.
    method_column: Option<usize>,
    /// A directive was just blanked out and its method is still to come.
    pending: Option<Span>,
}

const SERVICE: &str = "service";

/// Words that a name follows, so that a `service` behind them is that name.
const BEFORE_NAMES: [&str; 9] =
    ["type", "input", "enum", "interface", "union", "scalar", "implements", "on", "fragment"];

pub(super) fn rewrite(source: &str, token_limit: usize, problems: &mut Problems) -> Rewritten {
    let is_empty =
        |kind| matches!(kind, TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma | TokenKind::Eof);
    // What is no token is for the parser to report.
    let tokens = Lexer::new(source).with_limit(token_limit).flatten();
    let tokens: Vec<_> = tokens.filter(|token| !is_empty(token.kind())).collect();
    let found = Rewritten {
        text: String::new(),
        okra: Vec::new(),
        services: Vec::new(),
        leading: Vec::new(),
        ignored: Vec::new(),
    };
    let out = source.as_bytes().to_vec();
    let mut walk = Walk { source, tokens, next: 0, out, found, lines: lines(source), problems };
    if source.starts_with('\u{feff}') {
        walk.blank(&(0..'\u{feff}'.len_utf8()));
    }
    walk.document();
    let Walk { out, mut found, .. } = walk;
    // Only whole tokens were overwritten, by ASCII: it is UTF-8 still.
    found.text = String::from_utf8(out).unwrap_or_else(|_| source.to_owned());
    found
}

// === impl Walk ===

impl<'t> Walk<'t, '_> {
    fn document(&mut self) {
        // Whether a definition may begin here, so that a directive belongs to it.
        let mut is_start = true;
        while let Some(token) = self.token(0) {
            match token.kind() {
                TokenKind::At => {
                    let span = self.directive_span();
                    if self.is_named(1, "okra") {
                        self.blank(&span);
                        self.found.okra.push(span.clone());
                    } else if is_start {
                        self.blank(&span);
                        self.found.ignored.push(span.clone());
                    }
                    self.skip_to(span.end);
                }
                TokenKind::Name => {
                    let is_service = self.is_service();
                    is_start = false;
                    if is_service {
                        self.replace_service(token.index());
                        self.next += 2;
                        self.service();
                        is_start = true;
                    } else {
                        self.next += 1;
                    }
                }
                TokenKind::LCurly => {
                    self.body();
                    is_start = true;
                }
                TokenKind::StringValue => self.next += 1,
                TokenKind::LParen => self.skip_pair(TokenKind::LParen, TokenKind::RParen),
                _ => {
                    is_start = false;
                    self.next += 1;
                }
            }
        }
    }

    /// Whether a definition of a service begins here, with `service` or as `type Service_…`.
    fn is_service(&self) -> bool {
        let follows = self.token(1).filter(|token| token.kind() == TokenKind::Name);
        let Some(name) = follows else { return false };
        let is_name =
            self.next.checked_sub(1).and_then(|before| self.tokens.get(before)).is_some_and(|before| {
                let is_mark = matches!(
                    before.kind(),
                    TokenKind::Eq | TokenKind::Pipe | TokenKind::Amp | TokenKind::Colon | TokenKind::At
                );
                is_mark || (before.kind() == TokenKind::Name && BEFORE_NAMES.contains(&before.data()))
            });
        let is_spelt_out = self.is_named(0, "type") && name.data().starts_with(super::read::SERVICE_PREFIX);
        !is_name && (self.is_named(0, SERVICE) || is_spelt_out)
    }

    fn replace_service(&mut self, at: usize) {
        if self.is_named(0, SERVICE) {
            self.found.services.push(at);
            let range = at..at + SERVICE.len();
            if let Some(word) = self.out.get_mut(range) {
                word.copy_from_slice(b"type   ");
            }
        }
    }

    /// From behind the name of a service to the end of its body.
    fn service(&mut self) {
        while let Some(token) = self.token(0) {
            match token.kind() {
                TokenKind::At => {
                    let span = self.directive_span();
                    if self.is_named(1, "okra") {
                        self.blank(&span);
                        self.found.okra.push(span.clone());
                    }
                    self.skip_to(span.end);
                }
                TokenKind::LCurly if self.is_empty_body() => return,
                TokenKind::LCurly => {
                    self.next += 1;
                    return self.methods();
                }
                // Not the body that should be here: for the parser to report.
                _ => return,
            }
        }
    }

    fn methods(&mut self) {
        let mut body = Body { method_column: None, pending: None };
        while let Some(token) = self.token(0) {
            match token.kind() {
                TokenKind::RCurly => {
                    self.next += 1;
                    break;
                }
                TokenKind::At => self.method_directive(&mut body),
                TokenKind::LParen => self.skip_pair(TokenKind::LParen, TokenKind::RParen),
                TokenKind::Name => {
                    let begins_method = self
                        .token(1)
                        .is_some_and(|token| matches!(token.kind(), TokenKind::LParen | TokenKind::Colon));
                    if begins_method {
                        body.method_column = Some(self.indent_of_line(token.index()));
                        body.pending = None;
                    }
                    self.next += 1;
                }
                _ => self.next += 1,
            }
        }
        if let Some(span) = body.pending {
            self.problems.push_with_help(
                IdlErrorCode::DanglingDirective,
                span,
                "this directive belongs to no method: it stands on a line of its own and no method follows",
                "write it behind the method's type, or indent it deeper than the method",
            );
        }
    }

    fn method_directive(&mut self, body: &mut Body) {
        let span = self.directive_span();
        if self.is_named(1, "okra") {
            self.problems.push_with_help(
                IdlErrorCode::MisplacedOkra,
                span.clone(),
                "@okra says something of a whole schema, not of a method",
                "write it at the top of the file, or between the name of the service and its `{`",
            );
        }
        let is_leading = match body.method_column {
            None => true,
            Some(_) if body.pending.is_some() => true,
            Some(column) => {
                let before = self.next.checked_sub(1).and_then(|before| self.tokens.get(before));
                let end = before.map_or(0, |token| token.index() + token.data().len());
                let begins_line = self.source.get(end..span.start).is_some_and(|gap| gap.contains('\n'));
                begins_line && self.indent_of_line(span.start) <= column
            }
        };
        if is_leading {
            self.blank(&span);
            body.pending.get_or_insert(span.clone());
            self.found.leading.push(span.clone());
        }
        self.skip_to(span.end);
    }

    /// Blanks out braces with nothing between them.
    fn is_empty_body(&mut self) -> bool {
        let (Some(open), Some(close)) = (self.token(0), self.token(1)) else { return false };
        let is_empty = close.kind() == TokenKind::RCurly;
        if is_empty {
            self.blank(&(open.index()..open.index() + 1));
            self.blank(&(close.index()..close.index() + 1));
            self.next += 2;
        }
        is_empty
    }

    /// Skips braces and what is between them.
    fn body(&mut self) {
        if !self.is_empty_body() {
            self.skip_pair(TokenKind::LCurly, TokenKind::RCurly);
        }
    }

    /// The directive that begins here, with its arguments.
    fn directive_span(&self) -> Span {
        let (Some(at), Some(name)) = (self.token(0), self.token(1)) else {
            return self.token(0).map_or(0..0, |at| at.index()..at.index() + 1);
        };
        if name.kind() != TokenKind::Name {
            return at.index()..at.index() + 1;
        }
        let mut end = name.index() + name.data().len();
        if self.token(2).is_some_and(|token| token.kind() == TokenKind::LParen) {
            let mut depth = 0_usize;
            for token in self.tokens.get(self.next + 2..).unwrap_or_default() {
                end = token.index() + token.data().len();
                match token.kind() {
                    TokenKind::LParen => depth += 1,
                    TokenKind::RParen => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        at.index()..end
    }

    fn skip_pair(&mut self, open: TokenKind, close: TokenKind) {
        let mut depth = 0_usize;
        while let Some(token) = self.token(0) {
            self.next += 1;
            if token.kind() == open {
                depth += 1;
            } else if token.kind() == close {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
        }
    }

    fn skip_to(&mut self, end: usize) {
        while self.token(0).is_some_and(|token| token.index() < end) {
            self.next += 1;
        }
    }

    fn token(&self, ahead: usize) -> Option<Token<'t>> {
        self.tokens.get(self.next + ahead).cloned()
    }

    fn is_named(&self, ahead: usize, name: &str) -> bool {
        self.tokens
            .get(self.next + ahead)
            .is_some_and(|token| token.kind() == TokenKind::Name && token.data() == name)
    }

    /// The column at which the line of this place begins to have text.
    fn indent_of_line(&self, at: usize) -> usize {
        let line = self.lines.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        self.lines.get(line).map_or(0, |(_, indent)| *indent)
    }

    /// Overwrites with spaces, but for the ends of lines.
    fn blank(&mut self, span: &Span) {
        for byte in self.out.get_mut(span.clone()).into_iter().flatten() {
            if !matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

fn lines(source: &str) -> Vec<(usize, usize)> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in source.split_inclusive('\n') {
        let is_blank = |character: &char| character.is_whitespace() || *character == ',';
        lines.push((start, line.chars().take_while(is_blank).count()));
        start += line.len();
    }
    lines
}
