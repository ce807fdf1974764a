//! The saved state: which releases there are and what role each has, as one small file.
//!
//! The first line is the SHA-256 of all that follows, so that a byte lost or changed anywhere shows. The
//! documents themselves lie beside it; the state names each by the digest of its text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::release::{ReleaseId, TextDigest};
use crate::identity::{ContentHash, GraphName, Version};

/// What is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedState {
    format: u64,
    pub(super) graphs: BTreeMap<GraphName, SavedGraph>,
}

/// What is saved of one graph.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedGraph {
    pub(super) active: Option<ReleaseId>,
    pub(super) history: Vec<ReleaseId>,
    pub(super) pinned: Option<ReleaseId>,
    /// In the order they were staged.
    pub(super) releases: Vec<SavedRelease>,
}

/// What is saved of one release, beside its document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedRelease {
    version: Version,
    hash: ContentHash,
    pub(super) text: TextDigest,
    pub(super) published: bool,
    pub(super) serves: Vec<Arc<str>>,
}

/// Why a state file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateFault {
    /// Its bytes are not those that were written.
    Damaged,
    /// It is whole, but a later program wrote it.
    LaterFormat(u64),
}

/// The part that every format has.
#[derive(Deserialize)]
struct Head {
    format: u64,
}

/// The format written here, and the latest that is read.
pub(super) const FORMAT: u64 = 1;

/// The bytes of the state file.
pub(super) fn encode(ledger: &Ledger) -> Vec<u8> {
    let graphs = ledger.graphs.iter().map(|(name, record)| {
        let releases = record.releases.iter().map(|release| SavedRelease {
            version: release.id.version.clone(),
            hash: release.id.hash,
            text: release.digest,
            published: release.published,
            serves: release.serves.clone(),
        });
        let saved = SavedGraph {
            active: record.active.clone(),
            history: record.history.clone(),
            pinned: record.pinned.clone(),
            releases: releases.collect(),
        };
        (name.clone(), saved)
    });
    let state = SavedState { format: FORMAT, graphs: graphs.collect() };
    let body = serde_json::to_vec(&state).expect("the state is made of strings and flags alone");
    let mut bytes = format!("{}\n", TextDigest::of(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads the bytes of a state file.
pub(super) fn decode(bytes: &[u8]) -> Result<SavedState, StateFault> {
    let newline = bytes.iter().position(|byte| *byte == b'\n').ok_or(StateFault::Damaged)?;
    let (checksum, body) = (&bytes[..newline], &bytes[newline + 1..]);
    let checksum = std::str::from_utf8(checksum).ok().and_then(TextDigest::parse);
    if checksum != Some(TextDigest::of(body)) {
        return Err(StateFault::Damaged);
    }
    let head: Head = serde_json::from_slice(body).map_err(|_| StateFault::Damaged)?;
    if head.format > FORMAT {
        return Err(StateFault::LaterFormat(head.format));
    }
    serde_json::from_slice(body).map_err(|_| StateFault::Damaged)
}

// === impl SavedRelease ===

impl SavedRelease {
    pub(super) fn id(&self) -> ReleaseId {
        ReleaseId { version: self.version.clone(), hash: self.hash }
    }
}
