//! The only place where the store touches a disk, one step at a time.
//!
//! A file is replaced whole: written under another name, synced, renamed. A step that fails before its
//! rename leaves nothing but a `.tmp` file, which nobody reads. A sync that fails is another matter:
//! what the disk then holds is unknown, and asking again would not tell, so from then on nothing more
//! is written and every change is refused, until the store is opened anew and looks at what is there.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A directory, and the right to write to it.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    /// The directory itself; holds the lock that keeps other processes out.
    handle: File,
    read_only: Option<Arc<str>>,
    watch: DiskWatch,
}

/// A step about to be taken.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum DiskStep<'a> {
    /// To write a file that nobody reads yet.
    Write {
        /// The file.
        path: &'a Path,
        /// All of its bytes.
        bytes: &'a [u8],
    },
    /// To make the bytes of a file durable.
    SyncFile {
        /// The file.
        path: &'a Path,
    },
    /// To give a file its name, in place of what has it.
    Rename {
        /// Its name until now.
        from: &'a Path,
        /// Its name from then on.
        to: &'a Path,
    },
    /// To make the names in the directory durable.
    SyncDir,
    /// To remove a file.
    Remove {
        /// The file.
        path: &'a Path,
    },
}

/// Sees every step before it is taken, and may make it fail: how tests pull the plug.
pub struct DiskWatch(Option<Box<Watcher>>);

type Watcher = dyn FnMut(&DiskStep<'_>) -> io::Result<()> + Send;

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A step failed.
    #[error("cannot {action} {}", path.display())]
    Failed {
        /// What was to be done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something written earlier may not be on the disk, so nothing more is written.
    #[error("no changes are accepted until a restart: {cause}")]
    ReadOnly {
        /// What failed.
        cause: Arc<str>,
    },
}

/// How often the lock of a directory is asked for, and how long is waited after each time: a fifth of a second.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Where damaged files go.
const QUARANTINE: &str = "quarantine";

/// The ending of files that are being written.
const UNFINISHED: &str = ".tmp";

// === impl DiskWatch ===

impl DiskWatch {
    /// Nobody watches.
    pub const NOBODY: Self = Self(None);

    /// Watched by this function.
    pub fn by(watch: impl FnMut(&DiskStep<'_>) -> io::Result<()> + Send + 'static) -> Self {
        Self(Some(Box::new(watch)))
    }

    fn take<T>(&mut self, step: &DiskStep<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(watch) = &mut self.0 {
            watch(step)?;
        }
        act()
    }
}

impl fmt::Debug for DiskWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskWatch").field(&self.0.is_some()).finish()
    }
}

// === impl Disk ===

impl Disk {
    /// Opens a directory, which is made if it is not there. `None` if another process has it open.
    ///
    /// # Errors
    /// It can be neither opened nor made.
    pub fn open(dir: PathBuf, watch: DiskWatch) -> Result<Option<Self>, DiskError> {
        make_dirs(&dir).map_err(|source| failed("make", &dir, source))?;
        let handle = File::open(&dir).map_err(|source| failed("open", &dir, source))?;
        // Whoever had it may be just going: a lock also lasts while a process begins that was forked under it.
        for _ in 0..LOCK_TRIES {
            match handle.try_lock() {
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                // Some network file systems cannot lock a directory; that is no reason not to serve.
                Err(fs::TryLockError::Error(_)) | Ok(()) => {
                    return Ok(Some(Self { dir, handle, read_only: None, watch }));
                }
            }
        }
        Ok(None)
    }

    /// Where a file of this name is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Why nothing more is written, if so.
    pub fn read_only(&self) -> Option<&Arc<str>> {
        self.read_only.as_ref()
    }

    /// The files in the directory, by name.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn files(&self) -> Result<Vec<OsString>, DiskError> {
        let list = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    names.push(entry.file_name());
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|source| failed("list", &self.dir, source))
    }

    /// The bytes of a file, of which no more than `limit` are read; `None` if there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path_of(name);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(limit).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path, source)),
        }
    }

    /// Replaces a file whole. Its name is durable once [`sync_names`](Self::sync_names) has returned.
    ///
    /// # Errors
    /// A step failed; the old file, if there was one, is as it was.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.check_writable()?;
        let path = self.path_of(name);
        let unfinished = self.path_of(&format!("{name}{UNFINISHED}"));
        let result = self.write_then_rename(&unfinished, &path, bytes);
        if result.is_err() {
            // If even that fails, the next opening clears it away.
            let _left_over =
                self.watch.take(&DiskStep::Remove { path: &unfinished }, || fs::remove_file(&unfinished));
        }
        result
    }

    /// Makes durable which names the directory has.
    ///
    /// # Errors
    /// It is unknown what is durable: nothing more is written.
    pub fn sync_names(&mut self) -> Result<(), DiskError> {
        self.check_writable()?;
        let synced = self.watch.take(&DiskStep::SyncDir, || self.handle.sync_all());
        synced.map_err(|source| self.no_longer_write(failed("sync", &self.dir, source)))
    }

    /// Removes a file that nobody needs.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.check_writable()?;
        let path = self.path_of(name);
        self.watch
            .take(&DiskStep::Remove { path: &path }, || fs::remove_file(&path))
            .map_err(|source| failed("remove", &path, source))
    }

    /// Moves a file to where nobody reads it, and returns its name from there on.
    ///
    /// # Errors
    /// It is where it was.
    pub fn set_aside(&mut self, name: &str) -> Result<String, DiskError> {
        self.check_writable()?;
        let quarantine = self.path_of(QUARANTINE);
        make_dirs(&quarantine).map_err(|source| failed("make", &quarantine, source))?;
        let mut kept_as = format!("{QUARANTINE}/{name}");
        for copy in 1u32.. {
            if !self.path_of(&kept_as).exists() {
                break;
            }
            kept_as = format!("{QUARANTINE}/{name}.{copy}");
        }
        let (from, to) = (self.path_of(name), self.path_of(&kept_as));
        self.watch
            .take(&DiskStep::Rename { from: &from, to: &to }, || fs::rename(&from, &to))
            .map_err(|source| failed("move", &from, source))?;
        Ok(kept_as)
    }

    fn write_then_rename(&mut self, unfinished: &Path, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let write = || {
            let mut file = File::create(unfinished)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        let file = self
            .watch
            .take(&DiskStep::Write { path: unfinished, bytes }, write)
            .map_err(|source| failed("write", unfinished, source))?;
        self.watch
            .take(&DiskStep::SyncFile { path: unfinished }, || file.sync_all())
            .map_err(|source| self.no_longer_write(failed("sync", unfinished, source)))?;
        self.watch
            .take(&DiskStep::Rename { from: unfinished, to: path }, || fs::rename(unfinished, path))
            .map_err(|source| failed("rename", unfinished, source))
    }

    fn check_writable(&self) -> Result<(), DiskError> {
        match &self.read_only {
            Some(cause) => Err(DiskError::ReadOnly { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn no_longer_write(&mut self, error: DiskError) -> DiskError {
        let cause = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.read_only = Some(cause.into());
        error
    }
}

/// Whether a file is one that was being written when the process ended.
pub fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DiskError {
    DiskError::Failed { action, path: path.to_owned(), source }
}

/// Makes a directory and those above it, and makes durable that they are there.
fn make_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dirs(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) | Ok(()) => {}
    }
    File::open(parent)?.sync_all()
}
