//! Standard input, output and error, and the little that their descriptors know of themselves.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::{MODULE, errno, load_u32, store};
use crate::fault::GuestFault;
use crate::limits::LOG_LINE_BYTES;
use crate::state::State;

/// The standard streams of a guest.
pub(crate) struct Stdio {
    guest: Arc<str>,
    stdin: Bytes,
    stdout: Stdout,
    out: Line,
    err: Line,
    line_limit: u32,
    lines_left: u32,
    /// Lines that were not logged, because there were too many.
    dropped: u32,
    /// The lines of a call that may have to be made again: nobody hears of them before it has ended.
    held: Option<Vec<Held>>,
}

/// A line for the log: of which stream, and its text.
type Held = (&'static str, String);

/// Where standard output goes.
#[derive(Debug, Default)]
enum Stdout {
    /// To the log.
    #[default]
    Log,
    /// To the result of the call.
    Collect {
        /// What was written.
        bytes: Vec<u8>,
        /// The most there may be.
        limit: usize,
    },
}

/// A line that has not ended yet.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// Bytes beyond the longest line were dropped.
    is_cut: bool,
}

/// The most buffers that one read or write may name.
const BUFFERS: u32 = 1_024;

/// The kind of all three descriptors: a character device.
const CHARACTER_DEVICE: u8 = 2;

const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_close", fd_close)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", fd_fdstat_get)?;
    linker.func_wrap(MODULE, "fd_filestat_get", fd_filestat_get)?;
    linker.func_wrap(MODULE, "fd_read", fd_read)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    Ok(())
}

fn fd_close(mut caller: Caller<'_, State>, fd: u32) -> wasmtime::Result<u32> {
    caller.data_mut().count_wasi()?;
    // The streams belong to the host: closing one is granted and changes nothing.
    Ok(if fd <= 2 { errno::SUCCESS } else { errno::BADF })
}

fn fd_fdstat_get(mut caller: Caller<'_, State>, fd: u32, result: u32) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    let rights = match fd {
        0 => RIGHT_READ,
        1 | 2 => RIGHT_WRITE,
        _ => return Ok(errno::BADF),
    };
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    Ok(store(memory, result, &stat))
}

fn fd_filestat_get(mut caller: Caller<'_, State>, fd: u32, result: u32) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    if fd > 2 {
        return Ok(errno::BADF);
    }
    let mut stat = [0; 64];
    stat[16] = CHARACTER_DEVICE;
    Ok(store(memory, result, &stat))
}

fn fd_read(
    mut caller: Caller<'_, State>,
    fd: u32,
    buffers: u32,
    count: u32,
    result: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    if fd != 0 {
        return Ok(errno::BADF);
    }
    let mut read = 0_u32;
    for number in 0..count.min(BUFFERS) {
        let Some((ptr, len)) = buffer(memory, buffers, number) else { return Ok(errno::FAULT) };
        let stdin = &mut state.call.stdio.stdin;
        let part = stdin.slice(..stdin.len().min(len as usize));
        let wrote = store(memory, ptr, &part);
        if wrote != errno::SUCCESS {
            return Ok(wrote);
        }
        drop(stdin.split_to(part.len()));
        read = read.saturating_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
    }
    Ok(store(memory, result, &read.to_le_bytes()))
}

fn fd_write(
    mut caller: Caller<'_, State>,
    fd: u32,
    buffers: u32,
    count: u32,
    result: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    if fd != 1 && fd != 2 {
        return Ok(errno::BADF);
    }
    let mut written = 0_u32;
    for number in 0..count.min(BUFFERS) {
        let Some((ptr, len)) = buffer(memory, buffers, number) else { return Ok(errno::FAULT) };
        let bytes = memory.get(ptr as usize..).and_then(|rest| rest.get(..len as usize));
        let Some(bytes) = bytes else { return Ok(errno::FAULT) };
        state.call.stdio.write(fd, bytes)?;
        written = written.saturating_add(len);
    }
    Ok(store(memory, result, &written.to_le_bytes()))
}

/// Pointer and length of one buffer of a list.
fn buffer(memory: &[u8], list: u32, number: u32) -> Option<(u32, u32)> {
    let at = (list as usize).checked_add(number as usize * 8)?;
    Some((load_u32(memory, at)?, load_u32(memory, at + 4)?))
}

// === impl Stdio ===

impl Stdio {
    pub(crate) fn new(guest: &Arc<str>, line_limit: u32) -> Self {
        Self {
            guest: guest.clone(),
            stdin: Bytes::new(),
            stdout: Stdout::Log,
            out: Line::default(),
            err: Line::default(),
            line_limit,
            lines_left: line_limit,
            dropped: 0,
            held: None,
        }
    }

    /// Begins a call, and says whether it may be abandoned.
    pub(crate) fn begin(&mut self, may_be_abandoned: bool) {
        self.held = may_be_abandoned.then(Vec::new);
        self.stdout = Stdout::Log;
        self.lines_left = self.line_limit;
        self.dropped = 0;
    }

    /// Sets what a command reads, and has what it writes collected, so many bytes at most.
    pub(crate) fn connect(&mut self, stdin: Bytes, limit: usize) {
        self.stdin = stdin;
        self.stdout = Stdout::Collect { bytes: Vec::new(), limit };
    }

    /// What the guest wrote to its standard output, if that was collected.
    pub(crate) fn collected(&mut self) -> Option<Vec<u8>> {
        match std::mem::take(&mut self.stdout) {
            Stdout::Collect { bytes, .. } => Some(bytes),
            Stdout::Log => None,
        }
    }

    /// Ends a call: logs what has no line end yet, and how much was dropped.
    pub(crate) fn end(&mut self) {
        self.flush(1);
        self.flush(2);
        for (stream, text) in self.held.take().into_iter().flatten() {
            self.tell(stream, &text);
        }
        if !self.stdin.is_empty() {
            self.stdin = Bytes::new();
        }
        if self.dropped > 0 {
            tracing::warn!(
                guest = &*self.guest,
                lines = self.dropped,
                "the guest logs too much; lines dropped"
            );
        }
    }

    /// Ends a call that is made again: nothing of it was heard, and nothing will be.
    pub(crate) fn abandon(&mut self) {
        self.held = None;
        (self.out, self.err) = (Line::default(), Line::default());
    }

    /// Logs an entry of the guest's own making.
    pub(crate) fn log(&mut self, level: tracing::Level, message: &str, context: Option<&str>) {
        let Some(left) = self.lines_left.checked_sub(1) else {
            self.dropped = self.dropped.saturating_add(1);
            return;
        };
        self.lines_left = left;
        let guest = &*self.guest;
        let (message, context) = (clean(message), context.map(clean));
        match level {
            tracing::Level::ERROR => tracing::error!(target: "okra::guest", guest, context, "{message}"),
            tracing::Level::WARN => tracing::warn!(target: "okra::guest", guest, context, "{message}"),
            tracing::Level::INFO => tracing::info!(target: "okra::guest", guest, context, "{message}"),
            _ => tracing::debug!(target: "okra::guest", guest, context, "{message}"),
        }
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<(), GuestFault> {
        if fd == 1
            && let Stdout::Collect { bytes: collected, limit } = &mut self.stdout
        {
            if collected.len() + bytes.len() > *limit {
                return Err(GuestFault::ResultTooLarge { limit: *limit });
            }
            collected.extend_from_slice(bytes);
            return Ok(());
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = if fd == 1 { &mut self.out } else { &mut self.err };
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LOG_LINE_BYTES - line.bytes.len();
            line.bytes.extend_from_slice(&text[..text.len().min(room)]);
            line.is_cut |= text.len() > room;
            if text.len() < part.len() {
                self.flush(fd);
            }
        }
        Ok(())
    }

    fn flush(&mut self, fd: u32) {
        let (line, stream) = if fd == 1 { (&mut self.out, "stdout") } else { (&mut self.err, "stderr") };
        if line.bytes.is_empty() {
            return;
        }
        let Line { bytes, is_cut } = std::mem::take(line);
        let Some(left) = self.lines_left.checked_sub(1) else {
            self.dropped = self.dropped.saturating_add(1);
            return;
        };
        self.lines_left = left;
        let mut text = clean(&String::from_utf8_lossy(&bytes));
        if is_cut {
            text.push('…');
        }
        match &mut self.held {
            Some(held) => held.push((stream, text)),
            None => self.tell(stream, &text),
        }
    }

    fn tell(&self, stream: &str, text: &str) {
        tracing::info!(target: "okra::guest", guest = &*self.guest, stream, "{text}");
    }
}

/// A guest's text without control characters, cut to a line of the log.
fn clean(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(LOG_LINE_BYTES)];
    cut.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines_and_bounded() {
        let mut stdio = Stdio::new(&"guest".into(), 2);
        stdio.begin(false);
        stdio.write(2, b"one\ntwo").unwrap();
        assert_eq!((stdio.lines_left, &stdio.err.bytes[..]), (1, &b"two"[..]));
        stdio.write(2, &vec![b'x'; LOG_LINE_BYTES * 3]).unwrap();
        assert_eq!(stdio.err.bytes.len(), LOG_LINE_BYTES);
        assert!(stdio.err.is_cut);
        stdio.write(1, b"\n\nout\nmore\n").unwrap();
        assert_eq!((stdio.lines_left, stdio.dropped), (0, 1));
        stdio.end();
        assert_eq!(stdio.dropped, 2);
        stdio.begin(false);
        assert_eq!((stdio.lines_left, stdio.dropped), (2, 0));
        assert!(stdio.err.bytes.is_empty());
    }

    #[test]
    fn lines_of_a_call_that_may_be_abandoned_are_held_back_till_it_ends() {
        let mut stdio = Stdio::new(&"guest".into(), 2);
        stdio.begin(true);
        stdio.write(2, b"one\ntwo\nthree\nrest").unwrap();
        let held = stdio.held.as_ref().unwrap();
        assert_eq!(
            held,
            &[("stderr", "one".to_owned()), ("stderr", "two".to_owned())],
            "no more than the limit"
        );
        stdio.abandon();
        assert!(stdio.held.is_none() && stdio.err.bytes.is_empty());
        stdio.begin(true);
        stdio.write(1, b"one").unwrap();
        stdio.end();
        assert!(stdio.held.is_none() && stdio.out.bytes.is_empty());
    }

    #[test]
    fn a_commands_output_is_its_result_up_to_a_limit() {
        let mut stdio = Stdio::new(&"guest".into(), 2);
        stdio.begin(false);
        stdio.connect(Bytes::new(), 4);
        stdio.write(1, b"abc").unwrap();
        stdio.write(2, b"log\n").unwrap();
        assert_eq!(stdio.write(1, b"de"), Err(GuestFault::ResultTooLarge { limit: 4 }));
        assert_eq!(stdio.collected().unwrap(), b"abc");
        assert_eq!(stdio.collected(), None);
    }

    #[test]
    fn a_log_line_holds_no_control_characters() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\u{0}"), "a[2Jbc");
    }
}
