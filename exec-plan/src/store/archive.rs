//! The saved form of the ledger: documents as files, and the state that says what they are.
//!
//! ```text
//! graphs/
//!   state.json, state.copy.json   the state, twice the same
//!   NAME@DIGEST.json              a document, named by its graph and the SHA-256 of its text
//!   quarantine/                   what was damaged, under its old name
//! ```
//!
//! A change counts once `state.json` is replaced; all else is arranged around that. A document is whole
//! and durable before a state names it, and is removed after no state does; no document is ever written
//! over. The copy is written first, so it is never older than what was acknowledged: if `state.json` is
//! damaged, the copy stands in for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::disk::{Disk, DiskError};
use super::ledger::Ledger;
use super::release::{Release, TextDigest};
use super::state;
use crate::identity::GraphName;

/// The files of a store.
pub(super) struct Archive {
    disk: Disk,
    /// The documents there are, needed or not.
    documents: BTreeSet<String>,
    /// The state on the disk, if what is there is known and twice the same.
    saved: Option<Vec<u8>>,
}

/// The state.
pub(super) const STATE: &str = "state.json";

/// The copy of the state.
pub(super) const STATE_COPY: &str = "state.copy.json";

/// The name of a document's file.
pub(super) fn document_file(graph: &GraphName, digest: &TextDigest) -> String {
    format!("{graph}@{digest}.json")
}

/// What the name of a document's file says.
pub(super) fn parse_document_file(file: &str) -> Option<(GraphName, TextDigest)> {
    let (graph, digest) = file.strip_suffix(".json")?.split_once('@')?;
    Some((graph.parse().ok()?, TextDigest::parse(digest)?))
}

// === impl Archive ===

impl Archive {
    pub(super) fn new(disk: Disk, documents: BTreeSet<String>, saved: Option<Vec<u8>>) -> Self {
        Self { disk, documents, saved }
    }

    /// Why nothing more is saved, if so.
    pub(super) fn read_only(&self) -> Option<&Arc<str>> {
        self.disk.read_only()
    }

    /// Writes a document that some later state may name.
    pub(super) fn put(&mut self, graph: &GraphName, release: &Release) -> Result<(), DiskError> {
        let file = document_file(graph, &release.digest);
        let Some(plan) = release.plan().filter(|_| !self.documents.contains(&file)) else { return Ok(()) };
        self.disk.replace(&file, plan.source_text())?;
        self.disk.sync_names()?;
        self.documents.insert(file);
        Ok(())
    }

    /// Saves a ledger. When this returns `Ok`, the ledger survives whatever happens.
    pub(super) fn save(&mut self, ledger: &Ledger) -> Result<(), DiskError> {
        let state = state::encode(ledger);
        if self.saved.as_ref() == Some(&state) {
            return Ok(());
        }
        let before = self.saved.take();
        if let Err(error) = self.disk.replace(STATE_COPY, &state) {
            // Neither file was touched.
            self.saved = before;
            return Err(error);
        }
        self.disk.replace(STATE, &state)?;
        self.disk.sync_names()?;
        self.saved = Some(state);
        self.sweep(ledger);
        Ok(())
    }

    /// After a change that could not be saved: the files say again what they said before it, as far as
    /// the disk allows. Whatever is left is cleared away by the next change or the next opening.
    pub(super) fn restore(&mut self, ledger: &Ledger) {
        if self.save(ledger).is_ok() {
            self.sweep(ledger);
        }
    }

    /// Removes documents that no state names. What cannot be removed now is tried again after the next
    /// change.
    fn sweep(&mut self, ledger: &Ledger) {
        let needed: BTreeSet<String> = ledger
            .graphs
            .iter()
            .flat_map(|(name, record)| record.releases.iter().map(move |held| (name, &held.digest)))
            .map(|(name, digest)| document_file(name, digest))
            .collect();
        let disk = &mut self.disk;
        self.documents.retain(|file| needed.contains(file) || disk.remove(file).is_err());
    }
}
