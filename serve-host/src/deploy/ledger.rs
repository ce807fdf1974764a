//! The ledger: which packages are deployed, and what was about to change when it was last written.
//!
//! These are the rules alone, over plain data. Before a change of what serves the ledger says what is
//! intended, after it what came of it. What came of an intent can always be told from the plan store, so
//! a process may end anywhere: [`Ledger::settle`] makes the ledger say again what is so.
//!
//! Invariants: of one id the last entry is what was deployed last; the entries before it are there only
//! for as long as the store keeps a release that was made from them.

use exec_plan::{ContentHash, GraphName, ReleaseId, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::PackageDigest;

/// What is deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    format: u64,
    /// In the order they were deployed.
    pub(crate) entries: Vec<Entry>,
    intent: Option<Intent>,
}

/// One package that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// `{namespace}.{Service}.{version}`.
    pub(crate) id: String,
    /// The package.
    pub(crate) digest: PackageDigest,
    /// Its guest, as which compiled code is kept.
    pub(crate) module: PackageDigest,
    /// The graph that was made for it, which is also the service's name on the wire.
    pub(crate) graph: GraphName,
    /// The version of that graph.
    pub(crate) version: Version,
    /// The content of that graph.
    pub(crate) hash: ContentHash,
    /// Where the package came from.
    pub(crate) source: String,
    /// When, in Unix milliseconds.
    pub(crate) deployed_at_ms: u64,
    /// The methods, in the order of their declaration.
    pub(crate) methods: Vec<String>,
}

/// What is about to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Intent {
    /// A release made from this package is installed.
    Deploy(Box<Entry>),
    /// Every release of this id is retired.
    Undeploy {
        /// The id.
        id: String,
    },
}

/// What the plan store keeps of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    Not,
    /// Its release, which other content of the same version has replaced.
    Replaced,
    /// Its release, as the content of its version.
    Latest,
}

/// What settling an intent came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The id it was about.
    pub(crate) id: String,
    /// Whether the change had happened; otherwise it has not, and will not.
    pub(crate) forward: bool,
}

/// Why a ledger file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LedgerFault {
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
pub(crate) const FORMAT: u64 = 1;

// === impl Entry ===

impl Entry {
    /// The release that was made from it.
    pub(crate) fn release(&self) -> ReleaseId {
        ReleaseId { version: self.version.clone(), hash: self.hash }
    }

    /// The label of the plan of that release, as answers carry it.
    pub(crate) fn label(&self) -> String {
        format!("{}@{}#{}", self.graph, self.version, self.hash.short())
    }

    /// The paths of its methods.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.methods.iter().map(|method| format!("/{}/{method}", self.graph)).collect()
    }
}

// === impl Ledger: reading ===

impl Ledger {
    /// What was deployed last under an id.
    pub(crate) fn current(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.id == id)
    }

    /// What was deployed last under each id, in the order of ids.
    pub(crate) fn currents(&self) -> Vec<&Entry> {
        let mut currents: Vec<&Entry> = self.entries.iter().filter(|entry| self.is_current(entry)).collect();
        currents.sort_by(|a, b| a.id.cmp(&b.id));
        currents
    }

    /// Everything under an id, the latest last.
    pub(crate) fn of_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.id == id)
    }

    /// Whether a release was made from a package, and is therefore no person's own.
    pub(crate) fn made(&self, graph: &GraphName, release: &ReleaseId) -> bool {
        self.entries.iter().any(|entry| entry.graph == *graph && entry.release() == *release)
    }

    /// What would serve a graph if everything of this id were gone: what was deployed last of the rest.
    pub(crate) fn successor(&self, id: &str) -> Option<&Entry> {
        let graph = &self.current(id)?.graph;
        self.entries.iter().rfind(|entry| entry.graph == *graph && entry.id != id && self.is_current(entry))
    }

    /// The entry that the intent would add, if it is one to deploy.
    pub(crate) fn intended(&self) -> Option<&Entry> {
        match &self.intent {
            Some(Intent::Deploy(entry)) => Some(entry),
            Some(Intent::Undeploy { .. }) | None => None,
        }
    }

    fn is_current(&self, entry: &Entry) -> bool {
        self.current(&entry.id).is_some_and(|current| std::ptr::eq(current, entry))
    }
}

// === impl Ledger: changing ===

impl Ledger {
    /// Says what is about to change.
    pub(crate) fn begin(&mut self, intent: Intent) {
        debug_assert!(self.intent.is_none(), "one change at a time");
        self.intent = Some(intent);
    }

    /// Says what came of the intent, as far as the plan store tells.
    pub(crate) fn settle(&mut self, held: &dyn Fn(&Entry) -> Held) -> Option<Settled> {
        match self.intent.take()? {
            Intent::Deploy(entry) => {
                let settled = Settled { id: entry.id.clone(), forward: held(&entry) == Held::Latest };
                if settled.forward {
                    self.entries.retain(|known| (&known.id, known.digest) != (&entry.id, entry.digest));
                    self.entries.push(*entry);
                }
                Some(settled)
            }
            Intent::Undeploy { id } => {
                let forward = self.of_id(&id).all(|entry| held(entry) == Held::Not);
                if forward {
                    self.entries.retain(|entry| entry.id != id);
                }
                Some(Settled { id, forward })
            }
        }
    }

    /// Forgets what is no longer needed: what was replaced, and of which the store keeps no release.
    /// Gives what was forgotten.
    pub(crate) fn forget(&mut self, held: &dyn Fn(&Entry) -> Held) -> Vec<Entry> {
        let spare: Vec<bool> =
            self.entries.iter().map(|entry| !self.is_current(entry) && held(entry) == Held::Not).collect();
        let mut spare = spare.into_iter();
        let (forgotten, kept) =
            std::mem::take(&mut self.entries).into_iter().partition(|_| spare.next().unwrap_or(false));
        self.entries = kept;
        forgotten
    }
}

// === the file ===

impl Ledger {
    /// The bytes of the file: the SHA-256 of all that follows, and what follows.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let ledger = Self { format: FORMAT, ..self.clone() };
        // Strings, numbers and lists always serialize.
        let body = serde_json::to_string_pretty(&ledger).unwrap_or_default() + "\n";
        format!("{}\n{body}", PackageDigest::of(body.as_bytes())).into_bytes()
    }

    /// The ledger in these bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, LedgerFault> {
        let line_end = bytes.iter().position(|byte| *byte == b'\n').ok_or(LedgerFault::Damaged)?;
        let (digest, body) = (&bytes[..line_end], &bytes[line_end + 1..]);
        let found: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        if digest != found.as_bytes() {
            return Err(LedgerFault::Damaged);
        }
        let Head { format } = serde_json::from_slice(body).map_err(|_| LedgerFault::Damaged)?;
        if format > FORMAT {
            return Err(LedgerFault::LaterFormat(format));
        }
        serde_json::from_slice(body).map_err(|_| LedgerFault::Damaged)
    }
}
