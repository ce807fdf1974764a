//! The compiler's side: what the process does that another starts to compile one module, primed or as it is.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::cache::write_synced;
use crate::engine::on_one_thread;
use crate::limits::MODULE_BYTES;
use crate::primed::{self, JOB_BYTES, Job};

/// The address space of the compiler, in bytes.
pub(crate) const MEMORY_BYTES: u64 = 1 << 30;

/// The CPU time of the compiler.
pub(crate) const TIME: Duration = Duration::from_secs(30);

/// The exit code for a module that is not valid.
pub(crate) const INVALID: i32 = 2;

/// The exit code for a module that takes too much memory.
pub(crate) const MEMORY: i32 = 3;

/// The exit code for code that finds no room.
pub(crate) const FULL: i32 = 4;

/// The exit code for a guest that cannot be primed.
pub(crate) const UNPRIMED: i32 = 5;

/// Limits this process for good, compiles the module that `input` gives, primed if it says so, and writes the code to `output`.
/// Returns the exit code and what to say on standard error: all that the process then has to do.
pub fn compile_guest(input: impl Read, output: &Path) -> (i32, String) {
    let ran = limit_this_process().and_then(|()| {
        let mut wasm = Vec::new();
        input.take(JOB_BYTES as u64 + 1).read_to_end(&mut wasm)?;
        Ok(wasm)
    });
    let wasm = match ran {
        Ok(read) => Bytes::from(read),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return (MEMORY, error.to_string()),
        Err(error) => return (1, error.to_string()),
    };
    let wasm = match Job::read(wasm.clone()) {
        None => wasm,
        Some(job) if job.wasm.len() > MODULE_BYTES => job.wasm,
        Some(job) => match primed::prime(&job) {
            Ok(primed) => return compile(&primed, output),
            Err(error) => return (UNPRIMED, error.to_string()),
        },
    };
    match wasm.len() > MODULE_BYTES {
        true => (INVALID, "the module is too large".to_owned()),
        false => compile(&wasm, output),
    }
}

fn compile(wasm: &[u8], output: &Path) -> (i32, String) {
    match on_one_thread().and_then(|engine| engine.precompile_module(wasm)) {
        Ok(code) => match write_synced(output, &code) {
            Ok(()) => (0, String::new()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => (FULL, error.to_string()),
            Err(error) => (1, error.to_string()),
        },
        Err(error) => (INVALID, format!("{error:#}")),
    }
}

fn limit_this_process() -> io::Result<()> {
    let both = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, both(MEMORY_BYTES))?;
    setrlimit(Resource::Cpu, both(TIME.as_secs()))?;
    setrlimit(Resource::Core, both(0))?;
    Ok(())
}
