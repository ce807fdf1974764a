//! Packages on the disk: the ledger, twice the same, and each package under its digest.
//!
//! ```text
//! packages/
//!   ledger.json, ledger.copy.json   what is deployed
//!   DIGEST.okra.pkg                 a package, byte for byte as it came
//!   quarantine/                     what was damaged, under its old name
//! ```
//!
//! A package is whole and durable before a ledger names it, and is removed after none does. The copy of
//! the ledger is written first, so it is never older than what was acknowledged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use exec_plan::{Disk, DiskError, DiskWatch, is_unfinished};

use super::ledger::{FORMAT, Ledger, LedgerFault};
use super::source::PackageDigest;
use crate::causes::with_causes;

/// The packages of one host.
#[derive(Debug)]
pub(crate) struct Shelf {
    disk: Disk,
    packages: BTreeSet<PackageDigest>,
    /// The ledger on the disk, if what is there is known and twice the same.
    saved: Option<Vec<u8>>,
}

/// What is worth telling of what was on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageFinding {
    /// A package is not what was written.
    Altered {
        /// The service.
        id: String,
        /// The file.
        file: String,
        /// Where it is kept now.
        kept_as: Option<String>,
    },
    /// A package cannot be made a service of.
    Unusable {
        /// The service.
        id: String,
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
    /// A package is gone.
    Missing {
        /// The service.
        id: String,
        /// The file.
        file: String,
    },
    /// A file is left over from a change that was cut short; it is removed.
    Leftover {
        /// The file.
        file: String,
    },
    /// A change was cut short after it had happened.
    Finished {
        /// The service.
        id: String,
    },
    /// A change was cut short before it had happened, and is undone.
    Undone {
        /// The service.
        id: String,
    },
    /// One copy of the ledger was not to be read, and was made anew from the other.
    LedgerRestored {
        /// The file.
        file: String,
        /// Where the damaged one is kept.
        kept_as: Option<String>,
    },
    /// Neither copy of the ledger can be read: nothing is known of what was deployed.
    LedgerLost {
        /// Where the damaged ones are kept.
        kept_as: Vec<String>,
    },
    /// What was found could not be written back in order.
    NotSaved {
        /// Why.
        cause: String,
    },
}

/// Why the packages cannot be opened at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process has the directory open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The ledger was written by a later release of this program.
    #[error("{} has format {format}, and this program reads no later one than {FORMAT}", path.display())]
    LaterFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
}

/// A ledger file as it was found.
enum Found {
    Absent,
    Damaged,
    Good(Vec<u8>, Ledger),
}

/// The ledger.
pub(crate) const LEDGER: &str = "ledger.json";

/// The copy of the ledger.
pub(crate) const LEDGER_COPY: &str = "ledger.copy.json";

/// What the names of packages end with.
const PACKAGE: &str = ".okra.pkg";

/// The largest ledger that is read, in bytes: thousands of services.
const MAX_LEDGER: u64 = 64 << 20;

/// The file of a package.
pub(crate) fn package_file(digest: &PackageDigest) -> String {
    format!("{digest}{PACKAGE}")
}

// === impl Shelf ===

impl Shelf {
    /// Opens the directory, which is made if it is not there.
    pub(crate) fn open(
        dir: &Path,
        watch: DiskWatch,
        findings: &mut Vec<PackageFinding>,
    ) -> Result<(Self, Ledger), ShelfError> {
        let in_use = || ShelfError::InUse { dir: dir.to_owned() };
        let disk = Disk::open(dir.to_owned(), watch)?.ok_or_else(in_use)?;
        let mut shelf = Self { disk, packages: BTreeSet::new(), saved: None };
        for file in shelf.disk.files()? {
            let digest = file.to_str().and_then(|name| name.strip_suffix(PACKAGE));
            shelf.packages.extend(digest.and_then(|digest| digest.parse::<PackageDigest>().ok()));
        }
        let ledger = shelf.read_ledger(findings)?;
        Ok((shelf, ledger))
    }

    fn read_ledger(&mut self, findings: &mut Vec<PackageFinding>) -> Result<Ledger, ShelfError> {
        let (first, copy) = (self.read_copy(LEDGER)?, self.read_copy(LEDGER_COPY)?);
        let mut restored = |disk: &mut Disk, file: &str, found: &Found| {
            let kept_as = match found {
                Found::Damaged => disk.set_aside(file).ok(),
                Found::Absent | Found::Good(..) => None,
            };
            findings.push(PackageFinding::LedgerRestored { file: file.to_owned(), kept_as });
        };
        Ok(match (first, copy) {
            (Found::Good(bytes, ledger), Found::Good(copy, _)) => {
                // The copy is ahead of a change that was never acknowledged; the next save mends that.
                self.saved = (bytes == copy).then_some(bytes);
                ledger
            }
            (Found::Good(_, ledger), other) => {
                restored(&mut self.disk, LEDGER_COPY, &other);
                ledger
            }
            // A first ledger whose second copy was never written was never acknowledged.
            (Found::Absent, Found::Good(_, ledger)) if ledger.entries.is_empty() => ledger,
            (other, Found::Good(_, ledger)) => {
                restored(&mut self.disk, LEDGER, &other);
                ledger
            }
            (Found::Absent, Found::Absent) => Ledger::default(),
            (first, copy) => {
                let files = [(LEDGER, first), (LEDGER_COPY, copy)];
                let damaged = files.iter().filter(|(_, found)| matches!(found, Found::Damaged));
                let mut kept_as: Vec<_> =
                    damaged.filter_map(|(file, _)| self.disk.set_aside(file).ok()).collect();
                // What no ledger names would be removed; these are all there is to deploy from again.
                let packages = std::mem::take(&mut self.packages);
                kept_as.extend(
                    packages.iter().filter_map(|digest| self.disk.set_aside(&package_file(digest)).ok()),
                );
                findings.push(PackageFinding::LedgerLost { kept_as });
                Ledger::default()
            }
        })
    }

    fn read_copy(&self, file: &str) -> Result<Found, ShelfError> {
        let Some(bytes) = self.disk.read(file, MAX_LEDGER)? else { return Ok(Found::Absent) };
        match Ledger::decode(&bytes) {
            Ok(ledger) => Ok(Found::Good(bytes, ledger)),
            Err(LedgerFault::Damaged) => Ok(Found::Damaged),
            Err(LedgerFault::LaterFormat(format)) => {
                Err(ShelfError::LaterFormat { path: self.disk.path_of(file), format })
            }
        }
    }

    /// Reads a package back and checks every byte of it.
    pub(crate) fn read(&mut self, id: &str, digest: &PackageDigest) -> Result<Bytes, PackageFinding> {
        let file = package_file(digest);
        let id = id.to_owned();
        match self.disk.read(&file, u64::MAX) {
            Ok(Some(bytes)) if PackageDigest::of(&bytes) == *digest => Ok(Bytes::from(bytes)),
            Ok(Some(_)) => {
                self.packages.remove(digest);
                let kept_as = self.disk.set_aside(&file).ok();
                Err(PackageFinding::Altered { id, file, kept_as })
            }
            Ok(None) => Err(PackageFinding::Missing { id, file }),
            Err(error) => Err(PackageFinding::Unusable { id, file, cause: with_causes(&error) }),
        }
    }

    /// Writes a package that a later ledger may name.
    pub(crate) fn put(&mut self, digest: &PackageDigest, bytes: &[u8]) -> Result<(), DiskError> {
        if self.packages.contains(digest) {
            return Ok(());
        }
        self.disk.replace(&package_file(digest), bytes)?;
        self.packages.insert(*digest);
        self.disk.sync_names()
    }

    /// Saves a ledger. When this returns `Ok`, the ledger survives whatever happens.
    pub(crate) fn save(&mut self, ledger: &Ledger) -> Result<(), DiskError> {
        let bytes = ledger.encode();
        if self.saved.as_ref() != Some(&bytes) {
            let before = self.saved.take();
            if let Err(error) = self.disk.replace(LEDGER_COPY, &bytes) {
                // Neither file was touched.
                self.saved = before;
                return Err(error);
            }
            self.disk.replace(LEDGER, &bytes)?;
            self.disk.sync_names()?;
            self.saved = Some(bytes);
        }
        self.sweep(ledger);
        Ok(())
    }

    /// Removes packages that a ledger does not name. What cannot be removed now is tried again later.
    fn sweep(&mut self, ledger: &Ledger) {
        let named: BTreeSet<PackageDigest> =
            ledger.entries.iter().chain(ledger.intended()).map(|entry| entry.digest).collect();
        let disk = &mut self.disk;
        self.packages.retain(|digest| named.contains(digest) || disk.remove(&package_file(digest)).is_err());
    }

    /// Removes what a change that was cut short has left.
    pub(crate) fn clear(
        &mut self,
        ledger: &Ledger,
        findings: &mut Vec<PackageFinding>,
    ) -> Result<(), DiskError> {
        for file in self.disk.files()? {
            let Some(file) = file.to_str().filter(|file| is_unfinished(file)) else { continue };
            if self.disk.remove(file).is_ok() {
                findings.push(PackageFinding::Leftover { file: file.to_owned() });
            }
        }
        let before = self.packages.clone();
        self.sweep(ledger);
        let removed = before.difference(&self.packages);
        findings.extend(removed.map(|digest| PackageFinding::Leftover { file: package_file(digest) }));
        Ok(())
    }
}

// === impl PackageFinding ===

impl std::fmt::Display for PackageFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = |kept_as: &Option<String>| {
            kept_as.as_ref().map_or_else(String::new, |file| format!("; kept as {file}"))
        };
        match self {
            Self::Altered { id, file, kept_as } => {
                write!(f, "the package of {id}, {file}, is not what was written{}", kept(kept_as))
            }
            Self::Unusable { id, file, cause } => {
                write!(f, "the package of {id}, {file}, cannot be used: {cause}")
            }
            Self::Missing { id, file } => write!(f, "the package of {id}, {file}, is gone"),
            Self::Leftover { file } => write!(f, "{file} is left over from a change that was cut short"),
            Self::Finished { id } => write!(f, "a change of {id} was cut short after it had happened"),
            Self::Undone { id } => write!(f, "a change of {id} was cut short before it had happened"),
            Self::LedgerRestored { file, kept_as } => {
                write!(f, "{file} is restored from its copy{}", kept(kept_as))
            }
            Self::LedgerLost { kept_as } => {
                write!(f, "both copies of the package ledger are lost: no package is known")?;
                kept_as.iter().try_for_each(|file| write!(f, "; kept as {file}"))
            }
            Self::NotSaved { cause } => write!(f, "the package ledger could not be saved: {cause}"),
        }
    }
}
