//! A folder of graph documents: what is in it, and what was made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use exec_plan::{
    GraphErrors, GraphName, GraphSource, PlanStore, PublishError, StageError, Staged, SwapReceipt, Version,
};
use sha2::{Digest, Sha256};

/// A document or a folder of documents, and the store that serves them.
#[derive(Debug)]
pub struct GraphFolder {
    path: PathBuf,
    store: Arc<PlanStore>,
    max_document: usize,
    files: BTreeMap<PathBuf, Known>,
    /// Whether the folder could be read the last time.
    readable: bool,
    /// Whether this is the first look, at which the store may remember more than the folder says.
    first: bool,
    /// Whether the graph of a single document answers the calls that name none.
    single_is_default: bool,
}

/// What a file came to when it was looked at last.
#[derive(Clone, Debug)]
struct Known {
    digest: [u8; 32],
    graph: Option<(GraphName, Version)>,
}

/// What became of one file that changed.
#[derive(Debug)]
pub struct FileReport {
    /// The file; the folder itself if that cannot be read.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
}

/// What became of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It does not compile.
    Broken(GraphErrors),
    /// It is not there any more; what it gave serves on.
    Gone,
    /// It serves.
    Published {
        /// What was staged.
        staged: Staged,
        /// Whether other content had to give way.
        replaced: bool,
        /// What the swap did.
        receipt: Box<SwapReceipt>,
    },
    /// The store knew it, and what was active when the host ended is active again.
    Remembered(Staged),
    /// It compiles, but could not be kept.
    NotStaged(StageError),
    /// It was kept, but could not be published.
    NotPublished(Staged, PublishError),
    /// It was kept; a higher version of its graph is in another file.
    Outranked(Staged, Version),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// How many documents a folder may have.
const MAX_FILES: usize = 10_000;

// === impl GraphFolder ===

impl GraphFolder {
    /// A folder, or a single document, that nobody has looked at yet. Documents may have so many bytes.
    pub fn new(path: impl Into<PathBuf>, store: Arc<PlanStore>, max_document: usize) -> Self {
        Self {
            path: path.into(),
            store,
            max_document,
            files: BTreeMap::new(),
            readable: true,
            first: true,
            single_is_default: false,
        }
    }

    /// Lets a document that was named alone, not in a folder, answer the calls that name no graph.
    #[must_use]
    pub fn with_single_as_default(self) -> Self {
        Self { single_is_default: true, ..self }
    }

    /// The directory whose events matter.
    pub(super) fn directory(&self) -> PathBuf {
        if self.path.is_dir() {
            return self.path.clone();
        }
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Publishes what changed since it was looked at last, at first everything, and says what became of
    /// it. May block.
    pub fn look(&mut self) -> Vec<FileReport> {
        let begun = Instant::now();
        let report =
            |path: &Path, outcome| FileReport { path: path.to_owned(), outcome, took: begun.elapsed() };
        let present = match self.documents() {
            Ok(present) => present,
            // Said once, not at every look.
            Err(_) if !self.readable => return Vec::new(),
            Err(error) => {
                self.readable = false;
                return vec![report(&self.path, Outcome::Unreadable(error))];
            }
        };
        self.readable = true;
        let mut reports = Vec::new();
        let gone: Vec<PathBuf> = self.files.keys().filter(|path| !present.contains(*path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            reports.push(report(&path, Outcome::Gone));
        }
        let mut staged = Vec::new();
        for path in present {
            let begun = Instant::now();
            match self.stage(&path) {
                Ok(None) => {}
                Ok(Some((release, replaced))) => staged.push((path, release, replaced, begun.elapsed())),
                Err(outcome) => reports.push(FileReport { path, outcome: *outcome, took: begun.elapsed() }),
            }
        }
        // Staged all before any is published: of two versions, the lower one never serves in between.
        for (path, release, replaced, staging) in staged {
            let begun = Instant::now();
            if self.single_is_default && path == self.path {
                // One that answers no calls is run by other graphs, and then no call comes to it.
                let _ = self.store.set_default(&release.graph, None);
            }
            let outcome = self.publish(release, replaced);
            reports.push(FileReport { path, outcome, took: staging + begun.elapsed() });
        }
        self.first = false;
        reports
    }

    /// The documents that are there now.
    fn documents(&self) -> io::Result<BTreeSet<PathBuf>> {
        if !self.path.is_dir() {
            // One that is gone is noticed when it is read.
            fs::metadata(&self.path)?;
            return Ok(BTreeSet::from([self.path.clone()]));
        }
        let mut documents = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if is_document(&path) && path.is_file() {
                documents.insert(path);
            }
            if documents.len() > MAX_FILES {
                return Err(io::Error::other(format!("more than {MAX_FILES} documents")));
            }
        }
        Ok(documents)
    }

    /// Stages a file if its content is not what it was.
    fn stage(&mut self, path: &Path) -> Result<Option<(Staged, bool)>, Box<Outcome>> {
        let text = match self.read(path) {
            Ok(text) => text,
            // Gone since the folder was listed: the next look says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                // Said once: an unreadable file has this digest until it is readable.
                let before = self.files.insert(path.to_owned(), Known { digest: [0; 32], graph: None });
                return match before {
                    Some(known) if known.digest == [0; 32] => Ok(None),
                    _ => Err(Box::new(Outcome::Unreadable(error))),
                };
            }
        };
        let digest = Sha256::digest(&text).into();
        if self.files.get(path).is_some_and(|known| known.digest == digest) {
            return Ok(None);
        }
        let source = GraphSource {
            origin: path.display().to_string().into(),
            stem: path.file_stem().and_then(OsStr::to_str).map(str::to_owned),
            text: Bytes::from(text),
        };
        let (result, replaced) = match self.store.stage(&source, false) {
            Err(StageError::Conflict { .. }) => (self.store.stage(&source, true), true),
            result => (result, false),
        };
        let graph = result.as_ref().ok().map(|staged| (staged.graph.clone(), staged.release.version.clone()));
        self.files.insert(path.to_owned(), Known { digest, graph });
        match result {
            Ok(staged) => Ok(Some((staged, replaced))),
            Err(StageError::Invalid(errors)) => Err(Box::new(Outcome::Broken(errors))),
            Err(error) => {
                // Not the document's fault: try again at the next look.
                self.files.remove(path);
                Err(Box::new(Outcome::NotStaged(error)))
            }
        }
    }

    fn publish(&self, staged: Staged, replaced: bool) -> Outcome {
        let is_active = || self.store.get(&staged.graph).is_some_and(|graph| graph.active.is_some());
        if self.first && !staged.is_new && is_active() {
            return Outcome::Remembered(staged);
        }
        let of_this_graph = self.files.values().filter_map(|known| known.graph.as_ref());
        let highest =
            of_this_graph.filter(|(graph, _)| *graph == staged.graph).map(|(_, version)| version).max();
        if let Some(highest) = highest.filter(|highest| **highest > staged.release.version) {
            return Outcome::Outranked(staged, highest.clone());
        }
        match self.store.publish(&staged.graph, &staged.release.version) {
            Ok(receipt) => Outcome::Published { staged, replaced, receipt: Box::new(receipt) },
            Err(error) => Outcome::NotPublished(staged, error),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        // One byte more than allowed is enough for the compiler to say that it is too large.
        let limit = u64::try_from(self.max_document).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut text)?;
        if text.len() > self.max_document {
            let message = format!("longer than {} bytes (admin.max_document)", self.max_document);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(text)
    }
}

// === impl FileReport ===

impl FileReport {
    /// Whether the file is wrong, rather than merely new or gone.
    pub fn is_failure(&self) -> bool {
        match &self.outcome {
            Outcome::Broken(_)
            | Outcome::NotStaged(_)
            | Outcome::NotPublished(..)
            | Outcome::Unreadable(_) => true,
            Outcome::Gone | Outcome::Published { .. } | Outcome::Remembered(_) | Outcome::Outranked(..) => {
                false
            }
        }
    }

    /// Writes what became of the file to the log.
    pub fn log(&self) {
        let file = self.path.display();
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        match &self.outcome {
            Outcome::Broken(errors) => {
                let count = errors.errors().len() + errors.omitted();
                tracing::error!(%file, mistakes = count, took_us, "the graph does not compile; what serves goes on serving\n{errors}");
            }
            Outcome::Gone => tracing::warn!(%file, "the file is gone; what serves goes on serving"),
            Outcome::Published { staged, replaced, receipt } => {
                let release = tracing::field::display(&staged.release);
                if *replaced {
                    tracing::warn!(%file, graph = %staged.graph, release, "replaced other content of the same version");
                }
                tracing::info!(
                    %file, graph = %staged.graph, release, took_us, changed = receipt.id.is_some(),
                    in_flight_at_flip = receipt.in_flight_at_flip, "published"
                );
            }
            Outcome::Remembered(staged) => {
                tracing::info!(%file, graph = %staged.graph, release = %staged.release, took_us, "known; what was active stays active");
            }
            Outcome::NotStaged(error) => tracing::error!(%file, %error, took_us, "the graph cannot be kept"),
            Outcome::NotPublished(staged, error) => {
                tracing::error!(%file, graph = %staged.graph, %error, took_us, "the graph cannot be published");
            }
            Outcome::Outranked(staged, by) => {
                tracing::info!(%file, graph = %staged.graph, release = %staged.release, %by, took_us, "staged; a higher version serves");
            }
            Outcome::Unreadable(error) => tracing::error!(%file, %error, "cannot be read"),
        }
    }
}

/// Whether a file is meant: `*.json`, and not what editors and mounts leave beside it.
fn is_document(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_are_read() {
        for document in ["a.json", "/x/shop.Orders.json"] {
            assert!(is_document(Path::new(document)), "{document}");
        }
        for other in [".a.json", ".json", "a.json~", "a.json.swp", "#a.json#", "4913", "a.jsonc", "..data"] {
            assert!(!is_document(Path::new(other)), "{other}");
        }
    }
}
