//! The spelling of names in a document: identifiers, dotted names and `node.port`.

use super::{Span, Word};

/// A `node.port`, split; neither part is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint<'t> {
    pub(crate) node: Word<'t>,
    pub(crate) port: Word<'t>,
}

/// Whether the text is `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether the text is identifiers joined by dots.
pub(crate) fn is_dotted(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

// === impl Endpoint ===

impl<'t> Endpoint<'t> {
    /// Splits at the first dot; `None` if there is none.
    #[inline]
    pub(crate) fn split(word: Word<'t>) -> Option<Self> {
        let dot = word.text.bytes().position(|byte| byte == b'.')?;
        let (node, port) = (&word.text[..dot], &word.text[dot + 1..]);
        Some(Self { node: word.part(node, 0), port: word.part(port, dot + 1) })
    }

    /// Whether both parts are identifiers.
    pub(crate) fn is_well_formed(&self) -> bool {
        is_identifier(self.node.text) && is_identifier(self.port.text)
    }
}

// === impl Word ===

impl<'t> Word<'t> {
    /// The part of this word that begins at `offset`. Escapes shift what stands in the text, so a part
    /// of an escaped word is placed at the whole of it.
    pub(crate) fn part(self, text: &'t str, offset: usize) -> Word<'t> {
        let start = self.span.start as usize + offset;
        let escaped = self.span.range().len() != self.text.len();
        Word { text, span: if escaped { self.span } else { Span::new(start, start + text.len()) } }
    }
}
