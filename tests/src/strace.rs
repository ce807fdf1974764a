//! Faults in the system calls of a running server, put there by `strace`: no line of the product knows of it.
//!
//! A fault hits the N-th call of one kind that touches one of the named paths, so that each write, sync
//! and rename of a change can be hit in turn and nothing else is.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

/// The calls that change what is on a disk, or make it last.
pub const DURABLE_CALLS: [&str; 11] = [
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
];

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The whole process is killed, and the call is not made.
    Kill,
    /// The call is not made and gives this error: `EIO`, `ENOSPC`.
    Fails(&'static str),
}

/// A call to be hit: the `nth`, from 1, of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The name of the system call.
    pub call: String,
    /// Its position among those of the same name.
    pub nth: usize,
}

/// A tracer of a running process. Dropping it lets the process go.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
    record: NamedTempFile,
}

// === impl Tracer ===

impl Tracer {
    /// Watches what process `id` does to `paths`, without interfering.
    ///
    /// # Errors
    /// If the process may not be traced.
    pub fn watch(id: u32, paths: &[PathBuf]) -> anyhow::Result<Self> {
        Self::attach(id, paths, &DURABLE_CALLS.join(","), None)
    }

    /// Puts a fault at one point of what process `id` does to `paths`.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub fn hit(id: u32, paths: &[PathBuf], point: &Point, fault: Fault) -> anyhow::Result<Self> {
        let effect = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            Fault::Fails(error) => format!("error={error}"),
        };
        let injection = format!("inject={}:{effect}:when={}", point.call, point.nth);
        Self::attach(id, paths, &point.call, Some(injection))
    }

    /// Lets the process go, and tells which calls it made, in order.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn finish(mut self) -> anyhow::Result<Vec<Point>> {
        self.detach()?;
        let record = std::fs::read_to_string(self.record.path())?;
        let mut points: Vec<Point> = Vec::new();
        for line in record.lines() {
            let Some(call) = DURABLE_CALLS.into_iter().find(|call| line.contains(&format!(" {call}(")))
            else {
                continue;
            };
            let nth = 1 + points.iter().filter(|point| point.call == call).count();
            points.push(Point { call: call.to_owned(), nth });
        }
        Ok(points)
    }

    fn attach(id: u32, paths: &[PathBuf], calls: &str, injection: Option<String>) -> anyhow::Result<Self> {
        let record = NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-p", &id.to_string(), "-e", &format!("trace={calls}"), "-o"]);
        command.arg(record.path());
        for path in paths {
            command.arg("-P").arg(path);
        }
        if let Some(injection) = injection {
            command.args(["-e", &injection]);
        }
        let mut strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(strace.stderr.take().context("stderr is piped")?).lines();
        let mut heard = String::new();
        while let Some(line) = said.next().transpose()? {
            if line.contains("attached") {
                // The rest must be read, or a tracer with much to say would wait for ever.
                std::thread::spawn(move || said.for_each(drop));
                return Ok(Self { strace, record });
            }
            heard.push_str(&line);
        }
        bail!("strace cannot attach to {id} ({}): {heard}", strace.wait()?)
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        // It may have ended with what it traced.
        let _ = Command::new("kill").arg(self.strace.id().to_string()).stderr(Stdio::null()).status()?;
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.detach();
    }
}

/// What the plan store keeps in the data directory `data`, and what it makes on the way there: the paths
/// that a [`Tracer`] is to look at.
///
/// # Errors
/// If the directory cannot be read.
pub fn store_paths(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let graphs = data.join("graphs");
    let mut paths = vec![graphs.clone()];
    for entry in std::fs::read_dir(&graphs)? {
        let path = entry?.path();
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".tmp");
        paths.extend([path, unfinished.into()]);
    }
    Ok(paths)
}
