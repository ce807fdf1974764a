//! Masks mail addresses and card numbers in a text.
//!
//! A service of the size that services have: it does its work with libraries, here for JSON and for patterns.
//! What loading a guest takes is measured with this one.

use std::sync::LazyLock;

use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::util::captures::Captures;
use serde::{Deserialize, Serialize};

okra_guest::export!(handle);

#[derive(Deserialize)]
struct RedactRequest {
    text: String,
    #[serde(default)]
    keep_domains: bool,
}

#[derive(Serialize)]
struct RedactResponse {
    text: String,
    addresses: u32,
    cards: u32,
}

/// What is looked for.
struct Pattern(PikeVM);

fn handle(method: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    if method != "redact" {
        return Err(format!("unknown method: {method}"));
    }
    let request =
        serde_json::from_slice(input).map_err(|error| format!("the input does not fit: {error}"))?;
    serde_json::to_vec(&redact(request)).map_err(|error| error.to_string())
}

fn redact(request: RedactRequest) -> RedactResponse {
    let (mut addresses, mut cards) = (0, 0);
    let text = ADDRESS.replace(&request.text, |_, domain| {
        addresses += 1;
        Some(if request.keep_domains { format!("***@{domain}") } else { "***".to_owned() })
    });
    let text = CARD.replace(&text, |found, last| {
        let digits: Vec<u32> = found.chars().filter_map(|character| character.to_digit(10)).collect();
        is_card(&digits).then(|| {
            cards += 1;
            format!("***{last}")
        })
    });
    RedactResponse { text, addresses, cards }
}

/// Whether the last digit is the check digit of those before it, as on every card.
fn is_card(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => 2 * digit - 9,
            _ => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

// === impl Pattern ===

impl Pattern {
    fn new(text: &str) -> Self {
        Self(PikeVM::new(text).expect("the pattern is one of those below"))
    }

    /// The text with each find replaced by what `by` makes of it and of its first group, if it makes anything.
    fn replace(&self, text: &str, mut by: impl FnMut(&str, &str) -> Option<String>) -> String {
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        let mut cache: Cache = self.0.create_cache();
        for found in self.0.captures_iter(&mut cache, text) {
            let place = |group| Captures::get_group(&found, group).map(|span| span.range());
            let (Some(whole), Some(group)) = (place(0), place(1)) else { continue };
            if let Some(replaced) = by(&text[whole.clone()], &text[group]) {
                out.push_str(&text[done..whole.start]);
                out.push_str(&replaced);
                done = whole.end;
            }
        }
        out.push_str(&text[done..]);
        out
    }
}

static ADDRESS: LazyLock<Pattern> = LazyLock::new(|| {
    Pattern::new(r"(?i-u)\b[a-z0-9][a-z0-9._%+-]{0,63}@((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24})\b")
});
static CARD: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(r"(?-u)\b(?:[0-9]{4}[ -]?){3}([0-9]{4})\b"));
