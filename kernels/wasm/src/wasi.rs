//! WASI preview 1 for guests, without files, sockets, arguments or environment.
//!
//! Every function of the interface exists, so that whatever a toolchain links is there. Clocks and
//! randomness are real. Standard output and error are log lines, or the result of a command; standard
//! input is a command's request. Waiting ends with the call. What would need a file answers EBADF, what
//! would need a path or a socket ENOTCAPABLE or ENOTSUP, and nothing more happens.

mod io;
mod poll;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Engine, FuncType, Linker, Val, ValType};

pub(crate) use self::io::Stdio;
use crate::fault::GuestFault;
use crate::limits::RANDOM_BYTES;
use crate::state::State;

/// The import module of these functions.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// The numbers of errors, and of success.
mod errno {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const BADF: u32 = 8;
    pub(super) const FAULT: u32 = 21;
    pub(super) const INVAL: u32 = 28;
    pub(super) const IO: u32 = 29;
    pub(super) const NOTSUP: u32 = 58;
    pub(super) const SPIPE: u32 = 70;
    pub(super) const NOTCAPABLE: u32 = 76;
}

/// A clock's number: wall time.
const REALTIME: u32 = 0;
/// A clock's number: time that only grows.
const MONOTONIC: u32 = 1;

/// The parameters of a function: `i` for 32 bits, `l` for 64.
type Parameters = &'static str;

/// The functions that refuse whatever they are asked.
const REFUSED: &[(&str, Parameters, u32)] = &[
    ("fd_advise", "illi", errno::BADF),
    ("fd_allocate", "ill", errno::BADF),
    ("fd_datasync", "i", errno::BADF),
    ("fd_fdstat_set_flags", "ii", errno::BADF),
    ("fd_fdstat_set_rights", "ill", errno::BADF),
    ("fd_filestat_set_size", "il", errno::BADF),
    ("fd_filestat_set_times", "illi", errno::BADF),
    ("fd_pread", "iiili", errno::BADF),
    ("fd_prestat_dir_name", "iii", errno::BADF),
    ("fd_prestat_get", "ii", errno::BADF),
    ("fd_pwrite", "iiili", errno::BADF),
    ("fd_readdir", "iiili", errno::BADF),
    ("fd_renumber", "ii", errno::BADF),
    ("fd_seek", "ilii", errno::SPIPE),
    ("fd_sync", "i", errno::BADF),
    ("fd_tell", "ii", errno::SPIPE),
    ("path_create_directory", "iii", errno::NOTCAPABLE),
    ("path_filestat_get", "iiiii", errno::NOTCAPABLE),
    ("path_filestat_set_times", "iiiilli", errno::NOTCAPABLE),
    ("path_link", "iiiiiii", errno::NOTCAPABLE),
    ("path_open", "iiiiillii", errno::NOTCAPABLE),
    ("path_readlink", "iiiiii", errno::NOTCAPABLE),
    ("path_remove_directory", "iii", errno::NOTCAPABLE),
    ("path_rename", "iiiiii", errno::NOTCAPABLE),
    ("path_symlink", "iiiii", errno::NOTCAPABLE),
    ("path_unlink_file", "iii", errno::NOTCAPABLE),
    ("proc_raise", "i", errno::NOTSUP),
    ("sock_accept", "iii", errno::NOTSUP),
    ("sock_recv", "iiiiii", errno::NOTSUP),
    ("sock_send", "iiiii", errno::NOTSUP),
    ("sock_shutdown", "ii", errno::NOTSUP),
];

/// The functions that do something.
const OFFERED: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_read",
    "fd_write",
    poll::NAME,
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Adds every function of the interface.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (name, parameters, errno) in REFUSED {
        linker.func_new(MODULE, name, signature(&engine, parameters), move |mut caller, _, results| {
            caller.data_mut().count_wasi()?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(errno.cast_signed());
            }
            Ok(())
        })?;
    }
    linker.func_wrap(MODULE, "args_get", |_: Caller<'_, State>, _: u32, _: u32| errno::SUCCESS)?;
    linker.func_wrap(MODULE, "args_sizes_get", no_strings)?;
    linker.func_wrap(MODULE, "clock_res_get", clock_res_get)?;
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(MODULE, "environ_get", |_: Caller<'_, State>, _: u32, _: u32| errno::SUCCESS)?;
    linker.func_wrap(MODULE, "environ_sizes_get", no_strings)?;
    linker.func_wrap(MODULE, "proc_exit", proc_exit)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "sched_yield", |_: Caller<'_, State>| errno::SUCCESS)?;
    io::link(linker)?;
    poll::link(linker)
}

/// Whether the interface has a function of this name.
pub(crate) fn offers(name: &str) -> bool {
    REFUSED.iter().any(|(refused, ..)| *refused == name) || OFFERED.contains(&name)
}

/// Whether the function of this name may wait.
pub(crate) fn waits(name: &str) -> bool {
    name == poll::NAME
}

fn signature(engine: &Engine, parameters: Parameters) -> FuncType {
    let parameters = parameters.bytes().map(|kind| if kind == b'l' { ValType::I64 } else { ValType::I32 });
    FuncType::new(engine, parameters, [ValType::I32])
}

/// Writes bytes to the guest; EFAULT if the place is not in its memory.
fn store(memory: &mut [u8], ptr: u32, bytes: &[u8]) -> u32 {
    let room = memory.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    room.map_or(errno::FAULT, |room| {
        room.copy_from_slice(bytes);
        errno::SUCCESS
    })
}

/// Reads a 32-bit number of the guest's.
fn load_u32(memory: &[u8], ptr: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*memory.get(ptr..)?.first_chunk()?))
}

/// Neither arguments nor environment: no strings, no bytes.
fn no_strings(mut caller: Caller<'_, State>, count: u32, bytes: u32) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    Ok(match store(memory, count, &[0; 4]) {
        errno::SUCCESS => store(memory, bytes, &[0; 4]),
        fault => fault,
    })
}

fn clock_res_get(mut caller: Caller<'_, State>, clock: u32, result: u32) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    Ok(match clock {
        REALTIME | MONOTONIC => store(memory, result, &1_u64.to_le_bytes()),
        _ => errno::INVAL,
    })
}

fn clock_time_get(
    mut caller: Caller<'_, State>,
    clock: u32,
    _precision: u64,
    result: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    Ok(match time(clock) {
        Some(time) => store(memory, result, &time.to_le_bytes()),
        None => errno::INVAL,
    })
}

/// What a clock says, in nanoseconds.
fn time(clock: u32) -> Option<u64> {
    let nanos = match clock {
        REALTIME => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
        MONOTONIC => monotonic().as_nanos(),
        _ => return None,
    };
    Some(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Time since some moment before the first guest.
fn monotonic() -> std::time::Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn proc_exit(_: Caller<'_, State>, code: u32) -> wasmtime::Result<()> {
    Err(GuestFault::Exited(code.cast_signed()).into())
}

fn random_get(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    let len = len as usize;
    if len > RANDOM_BYTES {
        return Ok(errno::INVAL);
    }
    let Some(room) = memory.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..len)) else {
        return Ok(errno::FAULT);
    };
    Ok(if getrandom::fill(room).is_ok() { errno::SUCCESS } else { errno::IO })
}
