//! Metadata: an ordered multimap of lower-case names to byte strings.
//!
//! The wire rules of any particular protocol (reserved names, `-bin` encoding) are not known here;
//! whoever reads a wire applies them before it builds a [`Metadata`].

use std::sync::Arc;

use bytes::Bytes;

/// Ordered names and values that travel beside a payload. Names are lower-case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(Arc<str>, Bytes)>,
}

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata name {name:?} must be non-empty and made of a-z, 0-9, '-', '_' and '.'")]
pub struct InvalidName {
    /// The refused name.
    pub name: String,
}

// === impl Metadata ===

impl Metadata {
    /// Metadata without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry after the existing ones; entries of the same name are kept.
    ///
    /// # Errors
    /// [`InvalidName`] if the name has characters that no wire could carry.
    pub fn append(&mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Result<(), InvalidName> {
        let name = name.into();
        if !is_valid_name(&name) {
            return Err(InvalidName { name: name.to_string() });
        }
        self.entries.push((name, value.into()));
        Ok(())
    }

    /// The first value under `name`.
    pub fn first(&self, name: &str) -> Option<&Bytes> {
        self.entries.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// Every value under `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.entries.iter().filter(move |(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Whether `name` may be used as a metadata name.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_their_repetitions() {
        let mut metadata = Metadata::new();
        metadata.append("a", "1").unwrap();
        metadata.append("b", "2").unwrap();
        metadata.append("a", "3").unwrap();
        assert_eq!(metadata.first("a").unwrap(), "1");
        assert_eq!(metadata.all("a").map(|v| v.to_vec()).collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(metadata.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn names_that_no_wire_could_carry_are_refused() {
        for name in ["", "Upper", "sp ace", "new\nline", ":path"] {
            assert!(Metadata::new().append(name, "v").is_err(), "{name:?}");
        }
    }
}
