//! The hash of a document's content.

use sha2::{Digest, Sha256};

use super::tree::Tree;
use crate::identity::{ContentHash, GraphName, Version};

/// The SHA-256 of the document's tokens, a line break, the name, a space and the version. White space
/// and the spelling of escapes do not change it; neither does it matter whether the name comes from the
/// document or from its file, as long as the document stays the same.
pub(crate) fn hash(tree: &Tree<'_>, name: &GraphName, version: &Version) -> ContentHash {
    let mut hasher = Sha256::new();
    hasher.update(tree.tokens());
    hasher.update(format!("\n{name} {version}"));
    ContentHash::from_bytes(hasher.finalize().into())
}
