//! From wasm to machine code: in a limited process of its own where one is configured, else here.
//!
//! Modules come from strangers, and compiling is where a small file can cost much. The compiler's process
//! has a bound on memory, on CPU time and on the clock; one module is compiled at a time. A guest that is
//! to be primed is primed there too.

pub(crate) mod child;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::Module;

use crate::cache::{Cache, CacheError, Digest};
use crate::engine::Shared;
use crate::limits::MODULE_BYTES;
use crate::primed::{self, Job, PrimingError};

/// How the compiler's process is started. It gets one more argument, the path to write the code to, and
/// what to compile on its standard input; its program calls [`compile_guest`](crate::compile_guest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before the path.
    pub args: Vec<OsString>,
}

/// Why a module was not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The code cannot be written or mapped.
    #[error("the compiled code cannot be kept")]
    Cache(#[source] io::Error),
    /// The module is not valid, or uses what is switched off here.
    #[error("failed to compile module: {0}")]
    Invalid(String),
    /// Compiling needs more memory than the compiler has.
    #[error("failed to compile module: it takes more than {} MiB of memory", child::MEMORY_BYTES >> 20)]
    Memory,
    /// The compiler is not done although it had its time: something else has the processors.
    #[error("the compiler was not done after {} s by the clock", PATIENCE.as_secs())]
    Overdue,
    /// The guest was to be primed, and could not be.
    #[error("{0}")]
    Priming(String),
    /// The compiler's process cannot be run.
    #[error("the compiler cannot be run")]
    Run(#[source] io::Error),
    /// Compiling takes more processor time than the compiler has.
    #[error("failed to compile module: it takes longer than {} s", child::TIME.as_secs())]
    Time,
    /// The module is larger than any may be.
    #[error("failed to compile module: {len} bytes are more than {MODULE_BYTES}")]
    TooLarge {
        /// Its size, in bytes.
        len: usize,
    },
}

/// What is to be compiled.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A module, as it is.
    Plain(Bytes),
    /// A module as it is once it is primed.
    Primed(Box<Job>),
}

/// How often a running compiler is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long the compiler may take by the clock. Several times its CPU time, for it may be one of many who want
/// the processors, and a module is not to be refused because the machine is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most of the compiler's complaint that is read, in bytes.
const COMPLAINT_BYTES: u64 = 16 << 10;

impl Shared {
    /// The module as it was compiled before. Reads a file, and waits for nobody.
    pub(crate) fn find(&self, task: &Task) -> Option<Module> {
        let cache = self.cache.as_ref().filter(|_| task.wasm().len() <= MODULE_BYTES)?;
        cache.find(&self.wasm, task.digest())
    }

    /// The compiled module: from the cache, or compiled now. Takes as long as that takes.
    pub(crate) fn compile(&self, task: &Task) -> Result<Module, CompileError> {
        task.check()?;
        let Some(cache) = &self.cache else {
            let _one_at_a_time = self.compiling.lock();
            return Module::new(&self.wasm, task.module()?).map_err(invalid);
        };
        let digest = task.digest();
        let _one_at_a_time = self.compiling.lock();
        // Whoever had the lock may have compiled the same module.
        if let Some(module) = cache.find(&self.wasm, digest) {
            return Ok(module);
        }
        match &self.compiler {
            Some(command) => {
                let scratch = cache.scratch();
                let module = self.compile_apart(command, cache, (digest, task), &scratch);
                if module.is_err() {
                    drop(std::fs::remove_file(&scratch));
                }
                module
            }
            None => {
                let code = self.wasm.precompile_module(&task.module()?).map_err(invalid)?;
                cache.keep(&self.wasm, digest, &code).map_err(CompileError::from)
            }
        }
    }

    fn compile_apart(
        &self,
        command: &CompilerCommand,
        cache: &Cache,
        (digest, task): (Digest, &Task),
        scratch: &Path,
    ) -> Result<Module, CompileError> {
        let child = Command::new(&command.program)
            .args(&command.args)
            .arg(scratch)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let (status, complaint) = finish(child.map_err(CompileError::Run)?, &task.to_bytes(), PATIENCE)?;
        if !status.success() {
            return Err(task.failure(status, complaint));
        }
        cache.adopt(&self.wasm, digest, scratch).map_err(CompileError::from)
    }
}

// === impl Task ===

impl Task {
    /// The module as it came.
    fn wasm(&self) -> &Bytes {
        match self {
            Self::Plain(wasm) => wasm,
            Self::Primed(job) => &job.wasm,
        }
    }

    /// What its code is kept under.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Plain(wasm) => Digest::of(wasm),
            Self::Primed(job) => Digest::from(job.digest()),
        }
    }

    fn check(&self) -> Result<(), CompileError> {
        let len = self.wasm().len();
        if len > MODULE_BYTES {
            return Err(CompileError::TooLarge { len });
        }
        match self {
            Self::Plain(_) => Ok(()),
            Self::Primed(job) => job.check().map_err(CompileError::from),
        }
    }

    /// The module to compile. Runs a guest that is to be primed.
    fn module(&self) -> Result<Cow<'_, [u8]>, CompileError> {
        match self {
            Self::Plain(wasm) => Ok(Cow::Borrowed(wasm)),
            Self::Primed(job) => Ok(primed::prime(job)?.into()),
        }
    }

    /// What the compiler's process reads.
    fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Plain(wasm) => Cow::Borrowed(wasm),
            Self::Primed(job) => job.to_bytes().into(),
        }
    }

    /// What the end of a failed compiler means.
    fn failure(&self, status: ExitStatus, complaint: String) -> CompileError {
        match (self, failure(status, complaint)) {
            (Self::Primed(_), CompileError::Time) => CompileError::Priming(format!(
                "priming the guest and compiling it take longer than {} s",
                child::TIME.as_secs()
            )),
            (Self::Primed(_), CompileError::Memory) => CompileError::Priming(format!(
                "priming the guest and compiling it take more than {} MiB of memory",
                child::MEMORY_BYTES >> 20
            )),
            (_, error) => error,
        }
    }
}

/// Feeds the compiler and waits for its end, at most for so long.
fn finish(mut child: Child, wasm: &[u8], patience: Duration) -> Result<(ExitStatus, String), CompileError> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    thread::scope(|scope| {
        // A compiler that does not read is killed when its time is up, which ends both threads.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(wasm)));
        let complaint = scope.spawn(move || {
            let mut text = Vec::new();
            if let Some(stderr) = stderr {
                drop(stderr.take(COMPLAINT_BYTES).read_to_end(&mut text));
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let until = Instant::now() + patience;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if Instant::now() < until => thread::sleep(LOOK),
                Ok(None) => break Err(CompileError::Overdue),
                Err(error) => break Err(CompileError::Run(error)),
            }
        };
        if status.is_err() {
            drop(child.kill());
            drop(child.wait());
        }
        Ok((status?, complaint.join().unwrap_or_default()))
    })
}

/// What the end of a failed compiler means.
fn failure(status: ExitStatus, complaint: String) -> CompileError {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(child::INVALID), _) => CompileError::Invalid(complaint),
        (Some(child::MEMORY), _) => CompileError::Memory,
        (Some(child::UNPRIMED), _) => CompileError::Priming(complaint),
        (Some(child::FULL), _) => CompileError::Cache(io::Error::new(io::ErrorKind::StorageFull, complaint)),
        // The two ends of CPU time, soft and hard.
        (None, Some(signal))
            if [rustix::process::Signal::XCPU, rustix::process::Signal::KILL]
                .iter()
                .any(|end| end.as_raw() == signal) =>
        {
            CompileError::Time
        }
        // What an allocation that fails, or a stack that cannot grow, ends a process with.
        (None, Some(signal))
            if [rustix::process::Signal::ABORT, rustix::process::Signal::SEGV]
                .iter()
                .any(|end| end.as_raw() == signal) =>
        {
            CompileError::Memory
        }
        _ => CompileError::Run(io::Error::other(format!("{status}: {complaint}"))),
    }
}

impl From<CacheError> for CompileError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Io(error) => Self::Cache(error),
            CacheError::Refused(why) => Self::Invalid(why),
        }
    }
}

impl From<PrimingError> for CompileError {
    fn from(error: PrimingError) -> Self {
        Self::Priming(error.to_string())
    }
}

fn invalid(error: wasmtime::Error) -> CompileError {
    CompileError::Invalid(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Child {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_compiler_that_is_not_done_in_time_is_ended() {
        let (child, begun) = (shell("exec sleep 60"), Instant::now());
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let ended = finish(child, &[0; 1 << 20], Duration::from_millis(50));
        assert!(matches!(ended, Err(CompileError::Overdue)), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(30) && !process.exists());
        let (status, complaint) =
            finish(shell("cat >/dev/null; echo no >&2; exit 2"), b"x", PATIENCE).unwrap();
        assert_eq!((status.code(), complaint.as_str()), (Some(2), "no"));
    }
}
