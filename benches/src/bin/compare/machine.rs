//! What is measured on, and how much processor time a process has used.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// The machine, as a report needs it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    /// How busy it was with other work before the first round.
    pub(crate) load_before: String,
}

impl Machine {
    /// Reads it from `/proc`.
    pub(crate) fn read() -> Self {
        let processor = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let text = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor,
            kernel: text("/proc/sys/kernel/osrelease"),
            load_before: text("/proc/loadavg"),
        }
    }
}

/// The time all threads of a process have spent on a processor so far, to the nanosecond.
///
/// A thread that ended takes its share with it; the servers measured here keep theirs.
pub(crate) fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task")).context("the server is gone")? {
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let running = text.split(' ').next().context("schedstat has three columns")?;
        total += running.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn line_of(path: impl AsRef<Path>, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
