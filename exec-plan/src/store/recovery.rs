//! Opening a store again: what was saved is read, checked by hash, compiled, and what does not pass is
//! named and set aside while the rest serves.
//!
//! Nothing whole is ever deleted here. Files that were being written when the process ended go; files
//! that are damaged, or that no state names, move to `quarantine/`. A document that no longer compiles
//! stays where it is: its kernel may be back next time.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::archive::{Archive, STATE, STATE_COPY, document_file, parse_document_file};
use super::compiler::Compiler;
use super::disk::{Disk, is_unfinished};
use super::error::OpenError;
use super::ledger::{GraphRecord, Ledger};
use super::release::{Release, ReleaseBody, ReleaseId, TextDigest};
use super::state::{self, SavedGraph, SavedRelease, SavedState, StateFault};
use crate::diagnostic::GraphErrors;
use crate::document::MAX_TEXT_BYTES;
use crate::identity::{GraphName, Version};
use crate::plan::GraphSource;

/// What opening a store came upon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// How many graphs serve.
    pub serving: usize,
    /// How many versions are ready, of all graphs together.
    pub versions: usize,
    /// What was not as it should be.
    pub findings: Vec<Finding>,
}

/// Something that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// A document is not what was written; the version does not serve.
    Altered {
        /// Its graph.
        graph: GraphName,
        /// Its version.
        version: Version,
        /// Its file.
        file: String,
        /// Where the file is now, if it could be moved.
        kept_as: Option<String>,
    },
    /// Nothing refers to this file: a change was cut short, and was not acknowledged.
    Leftover {
        /// The file.
        file: String,
        /// Where it is now; `None` if it was unfinished and is gone.
        kept_as: Option<String>,
    },
    /// A document is gone; the version does not serve.
    Missing {
        /// Its graph.
        graph: GraphName,
        /// Its version.
        version: Version,
        /// Its file.
        file: String,
    },
    /// The store serves, but what was found could not be written down.
    NotSaved {
        /// Why.
        cause: String,
    },
    /// Both copies of the state are lost. The documents are staged; nothing is published.
    StateLost {
        /// Where the damaged files are now.
        kept_as: Vec<String>,
    },
    /// One copy of the state was damaged or gone; it is restored from the other, and nothing is lost.
    StateRestored {
        /// The file.
        file: String,
        /// Where the damaged file is now, if there was one.
        kept_as: Option<String>,
    },
    /// A document is whole, but cannot be used; the version does not serve.
    Unusable {
        /// Its graph.
        graph: GraphName,
        /// Its version.
        version: Version,
        /// Its file.
        file: String,
        /// Why.
        cause: String,
    },
}

/// A store being opened.
struct Opening<'a> {
    disk: Disk,
    compiler: &'a Compiler,
    findings: Vec<Finding>,
    /// Documents of the right name, as they lie in the directory.
    documents: BTreeSet<String>,
    /// The state on the disk, if it is there twice the same.
    saved: Option<Vec<u8>>,
}

/// One of the two state files.
enum StateFile {
    Absent,
    Damaged,
    Good { bytes: Vec<u8>, state: SavedState },
}

/// How much of a document is read back; none that is larger was ever staged.
const DOCUMENT_LIMIT: u64 = MAX_TEXT_BYTES as u64;

/// Reads a directory back.
pub(super) fn recover(disk: Disk, compiler: &Compiler) -> Result<(Archive, Ledger, Recovery), OpenError> {
    let mut opening =
        Opening { disk, compiler, findings: Vec::new(), documents: BTreeSet::new(), saved: None };
    let saved = opening.read_state()?;
    opening.clear_unfinished()?;
    let ledger = match saved {
        Some(saved) => opening.load(saved),
        None => opening.adopt_documents(),
    };
    opening.set_strays_aside(&ledger);
    Ok(opening.finish(ledger))
}

// === impl Opening ===

impl Opening<'_> {
    /// The saved state; `None` if both copies are lost.
    fn read_state(&mut self) -> Result<Option<SavedState>, OpenError> {
        let files = self.disk.files()?;
        let names = files.iter().filter_map(|file| file.to_str());
        self.documents = names.filter(|f| parse_document_file(f).is_some()).map(str::to_owned).collect();
        let saved = match (self.read_state_file(STATE)?, self.read_state_file(STATE_COPY)?) {
            (StateFile::Good { bytes, state }, StateFile::Good { bytes: copy, .. }) => {
                if bytes == copy {
                    self.saved = Some(bytes);
                } else {
                    // The copy is written first, so it is ahead of a change that was cut short.
                    self.findings.push(Finding::Leftover { file: STATE_COPY.to_owned(), kept_as: None });
                }
                state
            }
            (StateFile::Good { state, .. }, bad) => {
                self.restored(STATE_COPY, &bad);
                state
            }
            (bad, StateFile::Good { state, .. }) => {
                self.restored(STATE, &bad);
                state
            }
            (StateFile::Absent, StateFile::Absent) if self.documents.is_empty() => SavedState::default(),
            (bad, worse) => {
                let files = [(STATE, bad), (STATE_COPY, worse)];
                let damaged = files.iter().filter(|(_, copy)| matches!(copy, StateFile::Damaged));
                let kept_as = damaged.filter_map(|(file, _)| self.disk.set_aside(file).ok()).collect();
                self.findings.push(Finding::StateLost { kept_as });
                return Ok(None);
            }
        };
        Ok(Some(saved))
    }

    fn read_state_file(&self, file: &str) -> Result<StateFile, OpenError> {
        let Some(bytes) = self.disk.read(file, u64::MAX)? else { return Ok(StateFile::Absent) };
        match state::decode(&bytes) {
            Ok(state) => Ok(StateFile::Good { bytes, state }),
            Err(StateFault::Damaged) => Ok(StateFile::Damaged),
            Err(StateFault::LaterFormat(format)) => {
                Err(OpenError::LaterFormat { path: self.disk.path_of(file), format, known: state::FORMAT })
            }
        }
    }

    fn restored(&mut self, file: &str, copy: &StateFile) {
        let kept_as = match copy {
            StateFile::Damaged => self.disk.set_aside(file).ok(),
            StateFile::Absent | StateFile::Good { .. } => None,
        };
        self.findings.push(Finding::StateRestored { file: file.to_owned(), kept_as });
    }

    fn clear_unfinished(&mut self) -> Result<(), OpenError> {
        for file in self.disk.files()? {
            let Some(file) = file.to_str().filter(|file| is_unfinished(file)) else { continue };
            if self.disk.remove(file).is_ok() {
                self.findings.push(Finding::Leftover { file: file.to_owned(), kept_as: None });
            }
        }
        Ok(())
    }

    fn load(&mut self, saved: SavedState) -> Ledger {
        let mut ledger = Ledger::default();
        for (name, SavedGraph { active, history, pinned, releases }) in saved.graphs {
            let releases = releases.iter().map(|release| self.load_release(&name, release)).collect();
            ledger.graphs.insert(name, GraphRecord { active, history, pinned, releases });
        }
        ledger
    }

    fn load_release(&mut self, graph: &GraphName, saved: &SavedRelease) -> Release {
        let (id, digest, published) = (saved.id(), saved.text, saved.published);
        let serves = saved.serves.clone();
        match self.load_document(graph, &id, digest) {
            Ok(release) => Release { published, ..release },
            Err(finding) => {
                let reason = finding.to_string().into();
                self.findings.push(finding);
                Release { id, digest, published, serves, body: ReleaseBody::Unusable(reason) }
            }
        }
    }

    fn load_document(
        &mut self,
        graph: &GraphName,
        id: &ReleaseId,
        digest: TextDigest,
    ) -> Result<Release, Finding> {
        let file = document_file(graph, &digest);
        let (graph, version) = (graph.clone(), id.version.clone());
        let text = match self.disk.read(&file, DOCUMENT_LIMIT) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(Finding::Missing { graph, version, file }),
            Err(error) => {
                let cause = with_source(&error);
                return Err(Finding::Unusable { graph, version, file, cause });
            }
        };
        if TextDigest::of(&text) != digest {
            self.documents.remove(&file);
            let kept_as = self.disk.set_aside(&file).ok();
            return Err(Finding::Altered { graph, version, file, kept_as });
        }
        match self.compile(&graph, &file, text) {
            Ok(release) if release.id == *id => Ok(release),
            Ok(release) => {
                let cause = format!("it is recorded as {id}, but compiles to {}", release.id);
                Err(Finding::Unusable { graph, version, file, cause })
            }
            Err(errors) => Err(Finding::Unusable { graph, version, file, cause: errors.to_string() }),
        }
    }

    fn compile(&self, graph: &GraphName, file: &str, text: Vec<u8>) -> Result<Release, GraphErrors> {
        let stem = Some(graph.to_string());
        let source = GraphSource { origin: file.into(), stem, text: Bytes::from(text) };
        self.compiler.compile(&source).map(Release::new)
    }

    /// Without a state, what the documents say of themselves: versions in the order they were written,
    /// none of them published.
    fn adopt_documents(&mut self) -> Ledger {
        let mut ledger = Ledger::default();
        let mut files: Vec<String> = self.documents.iter().cloned().collect();
        files.sort_by_key(|file| written_at(&self.disk.path_of(file)));
        for file in files {
            let Some((graph, digest)) = parse_document_file(&file) else { continue };
            let text = self.disk.read(&file, DOCUMENT_LIMIT).ok().flatten();
            let Some(text) = text.filter(|text| TextDigest::of(text) == digest) else { continue };
            if let Ok(release) = self.compile(&graph, &file, text) {
                // Forced and without bound, staging refuses nothing.
                let _staged = ledger.stage(&graph, release, true, NonZeroUsize::MAX);
            }
        }
        ledger
    }

    fn set_strays_aside(&mut self, ledger: &Ledger) {
        let releases =
            ledger.graphs.iter().flat_map(|(n, record)| record.releases.iter().map(move |r| (n, r)));
        let needed: BTreeSet<String> = releases.map(|(name, r)| document_file(name, &r.digest)).collect();
        for file in self.documents.difference(&needed) {
            let kept_as = self.disk.set_aside(file).ok();
            self.findings.push(Finding::Leftover { file: file.clone(), kept_as });
        }
        self.documents.retain(|file| needed.contains(file));
    }

    fn finish(self, ledger: Ledger) -> (Archive, Ledger, Recovery) {
        let mut findings = self.findings;
        let mut archive = Archive::new(self.disk, self.documents, self.saved);
        if let Err(error) = archive.save(&ledger) {
            findings.push(Finding::NotSaved { cause: with_source(&error) });
        }
        let records = || ledger.graphs.values();
        let serving = records().filter(|record| record.serving().is_some_and(|r| r.plan().is_some()));
        let ready = records().flat_map(|record| &record.releases).filter(|r| r.plan().is_some());
        let recovery = Recovery { serving: serving.count(), versions: ready.count(), findings };
        (archive, ledger, recovery)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { graph, version, file, kept_as } => {
                write!(f, "the document of {graph}@{version}, {file}, is not what was written")?;
                write_kept(f, kept_as.as_deref())
            }
            Self::Leftover { file, kept_as } => {
                write!(f, "{file} is left over from a change that was cut short")?;
                write_kept(f, kept_as.as_deref())
            }
            Self::Missing { graph, version, file } => {
                write!(f, "the document of {graph}@{version}, {file}, is gone")
            }
            Self::NotSaved { cause } => write!(f, "the state could not be saved: {cause}"),
            Self::StateLost { kept_as } => {
                write!(f, "both copies of the state are lost; documents are staged, nothing is published")?;
                kept_as.iter().try_for_each(|file| write_kept(f, Some(file)))
            }
            Self::StateRestored { file, kept_as } => {
                write!(f, "{file} is restored from its copy")?;
                write_kept(f, kept_as.as_deref())
            }
            Self::Unusable { graph, version, file, cause } => {
                write!(f, "the document of {graph}@{version}, {file}, cannot be used: {cause}")
            }
        }
    }
}

fn write_kept(f: &mut fmt::Formatter<'_>, kept_as: Option<&str>) -> fmt::Result {
    kept_as.map_or(Ok(()), |file| write!(f, "; kept as {file}"))
}

fn written_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
