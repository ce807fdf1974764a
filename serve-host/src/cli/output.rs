//! Where results go: one document or text on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use super::exit::Failure;

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    color: bool,
}

/// The colours there are, by what they are for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Something failed.
    Bad,
    /// Something worked.
    Good,
    /// A way out, a remark.
    Quiet,
}

// === impl Output ===

impl Output {
    pub(crate) fn new(json: bool, color: ColorWhen) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let color = match color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if set("NO_COLOR") => false,
            ColorWhen::Auto if set("CLICOLOR_FORCE") => true,
            ColorWhen::Auto => io::stderr().is_terminal() && io::stdout().is_terminal(),
        };
        Self { json, color }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn has_color(&self) -> bool {
        self.color
    }

    /// Writes the result: the document, or the text that says the same.
    pub(crate) fn result(&self, document: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            match serde_json::to_string_pretty(document) {
                Ok(document) => self.bytes(format!("{document}\n").as_bytes()),
                Err(error) => self.note(&format!("the result cannot be written as JSON: {error}")),
            }
        } else {
            let mut text = text();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            self.bytes(text.as_bytes());
        }
    }

    /// Writes bytes as they are to standard output.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        // Whoever closed the pipe has seen enough.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Writes a line to standard error.
    pub(crate) fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Writes why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            self.result(&json!({ "error": failure }), String::new);
        }
        let mut text = format!("{} {}", self.paint("error:", Tone::Bad), failure.message);
        if let Some(help) = &failure.help {
            text.push_str(&format!("\n  {} {help}", self.paint("help:", Tone::Quiet)));
        }
        self.note(&text);
    }

    /// The text in a colour, if there are colours.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Bad => "1;31",
            Tone::Good => "1;32",
            Tone::Quiet => "36",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_can_be_forced_and_forbidden() {
        assert_eq!(Output::new(false, ColorWhen::Never).paint("x", Tone::Bad), "x");
        assert_eq!(Output::new(false, ColorWhen::Always).paint("x", Tone::Bad), "\x1b[1;31mx\x1b[0m");
    }
}
