//! The names of entries: cleaned, or refused by what is wrong with them.

use super::error::{ArchiveError, NameFault};
use crate::legible::legible;

/// A name without anything that could lead elsewhere.
#[derive(Debug)]
pub(super) struct EntryName {
    parts: Vec<String>,
    text: String,
    is_directory: bool,
}

/// More of a path than any file system takes.
const MAX_BYTES: usize = 4096;

// === impl EntryName ===

impl EntryName {
    pub(super) fn parse(raw: &[u8]) -> Result<Self, ArchiveError> {
        let refuse = |fault| Err(ArchiveError::Name { name: legible(raw), fault });
        if raw.len() > MAX_BYTES {
            return refuse(NameFault::TooLong);
        }
        if raw.contains(&0) {
            return refuse(NameFault::Nul);
        }
        let Ok(name) = std::str::from_utf8(raw) else { return refuse(NameFault::NotUtf8) };
        if name.contains('\\') {
            return refuse(NameFault::Backslash);
        }
        if name.starts_with('/') {
            return refuse(NameFault::Absolute);
        }
        let parts: Vec<String> =
            name.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
        if parts.iter().any(|part| part == "..") {
            return refuse(NameFault::Traversal);
        }
        Ok(Self { parts, text: legible(raw), is_directory: name.ends_with('/') })
    }

    /// Whether it ends as only directories do.
    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// As it may be shown.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The name of a file that lies in no directory.
    pub(super) fn into_top_level(self) -> Result<String, ArchiveError> {
        match <[String; 1]>::try_from(self.parts) {
            Ok([name]) => Ok(name),
            Err(parts) if parts.is_empty() => {
                Err(ArchiveError::Name { name: self.text, fault: NameFault::Empty })
            }
            Err(_) => Err(ArchiveError::Name { name: self.text, fault: NameFault::Nested }),
        }
    }
}
