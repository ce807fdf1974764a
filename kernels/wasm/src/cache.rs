//! Compiled code on disk, by the digest of the module and the fingerprint of the engine.
//!
//! Beside each `.cwasm` file stands a `.sum` file with the digest of the code, and a stamp: what the file system
//! said of the file when the digest was taken. Code whose stamp still holds was not written to since, and is not
//! read whole again. Both are written beside their place, synced and renamed, the code first; what has no
//! matching sum is compiled again. What an
//! engine of other settings made, or a killed process left half-written, is removed when the folder is
//! opened; the oldest code goes when there is too much. The folder is this program's own: nothing in it
//! comes from a package, and whoever can write to it can run code as this program.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module};

/// The digest of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

/// What a `.sum` file says of its code.
struct Sum {
    digest: String,
    stamp: String,
}

/// The folder of compiled code, for one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    fingerprint: String,
}

/// Why code is not kept, or not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// The folder cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The engine refuses the code.
    #[error("{0}")]
    Refused(String),
}

/// Feeds what a `Hash` writes to SHA-256: the result is the same in every process.
struct Feed(Sha256);

/// The modules whose code is kept.
const MODULES_KEPT: usize = 256;

/// Numbers the files that are being written.
static SCRATCH: AtomicU64 = AtomicU64::new(0);

// === impl Cache ===

impl Cache {
    pub(crate) fn open(dir: PathBuf, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut feed = Feed(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut feed);
        let mut fingerprint = Digest(feed.0.finalize().into()).to_string();
        fingerprint.truncate(16);
        let cache = Self { dir, fingerprint };
        cache.tidy()?;
        Ok(cache)
    }

    /// Removes what no engine of this program can use.
    fn tidy(&self) -> io::Result<()> {
        let own = format!("{}-", std::process::id());
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let (stem, extension) = parts(&path);
            let useless = match extension {
                "tmp" => !stem.starts_with(&own),
                "cwasm" | "sum" => !stem.ends_with(&self.fingerprint),
                _ => false,
            };
            if useless {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest code beyond the most that is kept. What is mapped stays mapped.
    fn prune(&self) -> io::Result<()> {
        let mut codes = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if parts(&entry.path()).1 == "cwasm" {
                codes.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        codes.sort_unstable();
        let spare = codes.len().saturating_sub(MODULES_KEPT);
        for (_, code) in codes.drain(..spare) {
            fs::remove_file(code.with_extension("sum"))?;
            fs::remove_file(code)?;
        }
        Ok(())
    }

    /// The module compiled before, if its file is there and whole. A broken one is removed.
    pub(crate) fn find(&self, engine: &Engine, module: Digest) -> Option<Module> {
        let (code, sum) = self.paths(module);
        let expected = Sum::parse(&fs::read_to_string(&sum).ok()?);
        match load(engine, &code, &expected) {
            Ok(module) => Some(module),
            Err(error) => {
                let file = code.display();
                tracing::warn!(%file, %error, "compiled code is damaged; the module is compiled again");
                for path in [&sum, &code] {
                    drop(fs::remove_file(path));
                }
                None
            }
        }
    }

    /// A path beside the cached files that nobody else uses.
    pub(crate) fn scratch(&self) -> PathBuf {
        let number = SCRATCH.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{}-{number}.tmp", std::process::id()))
    }

    /// Keeps compiled code and maps it.
    ///
    /// # Errors
    /// The system's; or the engine's, if it has no room for such a module.
    pub(crate) fn keep(&self, engine: &Engine, module: Digest, code: &[u8]) -> Result<Module, CacheError> {
        let scratch = self.scratch();
        let written = write_synced(&scratch, code).map_err(CacheError::from);
        let kept = written.and_then(|()| self.adopt(engine, module, &scratch));
        if kept.is_err() {
            drop(fs::remove_file(&scratch));
        }
        kept
    }

    /// Keeps the compiled code in a synced file, which moves to its place, and maps it.
    ///
    /// # Errors
    /// As for [`keep`](Self::keep).
    pub(crate) fn adopt(
        &self,
        engine: &Engine,
        module: Digest,
        scratch: &Path,
    ) -> Result<Module, CacheError> {
        let (code, sum_path) = self.paths(module);
        let digest = Digest::of(&fs::read(scratch)?);
        fs::rename(scratch, &code)?;
        let sum = Sum { digest: digest.to_string(), stamp: stamp(&code)? };
        let sum_scratch = self.scratch();
        write_synced(&sum_scratch, format!("{} {}", sum.digest, sum.stamp).as_bytes())?;
        fs::rename(&sum_scratch, &sum_path)?;
        File::open(&self.dir)?.sync_all()?;
        if let Err(error) = self.prune() {
            tracing::warn!(%error, "old compiled code cannot be removed");
        }
        load(engine, &code, &sum)
    }

    /// Removes the code of all modules but these, the code of other engines, and what was left half-written.
    /// Code that is mapped stays mapped. Nothing may be compiled meanwhile.
    ///
    /// # Errors
    /// The first of the system's; the rest is removed all the same.
    pub(crate) fn keep_only(&self, modules: &[[u8; 32]]) -> io::Result<()> {
        let kept: HashSet<PathBuf> =
            modules.iter().flat_map(|module| <[PathBuf; 2]>::from(self.paths(Digest(*module)))).collect();
        let mut failed = None;
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let is_ours =
                path.extension().is_some_and(|kind| ["cwasm", "sum", "tmp"].iter().any(|own| kind == *own));
            if is_ours && !kept.contains(&path) {
                failed = fs::remove_file(&path).err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn paths(&self, module: Digest) -> (PathBuf, PathBuf) {
        let name = format!("{module}-{}", self.fingerprint);
        (self.dir.join(format!("{name}.cwasm")), self.dir.join(format!("{name}.sum")))
    }
}

/// Stem and extension of a file's name.
fn parts(path: &Path) -> (&str, &str) {
    fn text(part: Option<&OsStr>) -> &str {
        part.and_then(OsStr::to_str).unwrap_or_default()
    }
    (text(path.file_stem()), text(path.extension()))
}

/// Maps a file of compiled code that is as recorded.
fn load(engine: &Engine, path: &Path, expected: &Sum) -> Result<Module, CacheError> {
    let is_untouched = stamp(path)? == expected.stamp;
    if !is_untouched && Digest::of(&fs::read(path)?).to_string() != expected.digest {
        return Err(CacheError::Io(io::Error::new(io::ErrorKind::InvalidData, "the digest does not match")));
    }
    map(engine, path).map_err(|error| CacheError::Refused(error.root_cause().to_string()))
}

#[expect(unsafe_code, reason = "compiled code is machine code: mapping it is what a cache is for")]
fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: `deserialize_file` needs a file that `precompile_module` wrote and nobody has changed since,
    // nor changes while it is mapped. `load`, the one caller, has just found the file to have the digest
    // that was recorded when this program, or the compiler it started, had written it, or to be the very
    // file that had it then, by inode, length and the times of its last change; cached files are
    // only ever replaced by rename or removed, which leaves a mapping as it is; and the folder is this
    // program's own. No byte of a package comes here. wasmtime itself checks version and settings.
    unsafe { Module::deserialize_file(engine, path) }
}

/// What the file system says of a file, and would not say of it after a change.
fn stamp(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    Ok(format!(
        "{}:{}:{}:{}.{:09}:{}.{:09}",
        meta.dev(),
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    ))
}

/// Writes a file and waits until the disk has it.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

// === impl Sum ===

impl Sum {
    /// Text that is none gives a sum that no file has.
    fn parse(text: &str) -> Self {
        let (digest, stamp) = text.trim_end().split_once(' ').unwrap_or((text, ""));
        Self { digest: digest.to_owned(), stamp: stamp.to_owned() }
    }
}

// === impl Digest ===

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.write_str(&text)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

// === impl Feed ===

impl Hasher for Feed {
    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        u64::from_le_bytes(digest.first_chunk().copied().unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
