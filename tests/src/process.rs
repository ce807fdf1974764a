//! What the system says of a running process: its memory, files, threads and processor time.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// A process, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Resident memory, in KiB.
    pub memory_kib: u64,
    /// Open files, sockets among them.
    pub files: usize,
    /// Threads.
    pub threads: usize,
}

// === impl Process ===

impl Process {
    /// What it holds now.
    ///
    /// # Errors
    /// If it is gone.
    pub fn holding(self) -> anyhow::Result<Holding> {
        let Self(id) = self;
        Ok(Holding {
            memory_kib: self.status("VmRSS")?,
            files: fs::read_dir(format!("/proc/{id}/fd"))?.count(),
            threads: fs::read_dir(format!("/proc/{id}/task"))?.count(),
        })
    }

    /// The most memory it held since the last [`forget_peak`](Self::forget_peak), in KiB.
    ///
    /// # Errors
    /// If it is gone.
    pub fn peak_kib(self) -> anyhow::Result<u64> {
        self.status("VmHWM")
    }

    /// Lets the peak begin anew.
    ///
    /// # Errors
    /// If it is gone, or belongs to somebody else.
    pub fn forget_peak(self) -> anyhow::Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), "5")?)
    }

    /// The processor time of its living threads so far.
    ///
    /// # Errors
    /// If it is gone.
    pub fn processor_time(self) -> anyhow::Result<Duration> {
        Ok(self.schedule()?.0)
    }

    /// How long its living threads wanted to run so far, whether or not there was a processor for them: two
    /// that always do want two seconds each second, also on a busy machine.
    ///
    /// # Errors
    /// If it is gone.
    pub fn wanted_time(self) -> anyhow::Result<Duration> {
        let (ran, waited) = self.schedule()?;
        Ok(ran + waited)
    }

    /// How long its threads ran, and how long they waited for a processor.
    fn schedule(self) -> anyhow::Result<(Duration, Duration)> {
        let (mut ran, mut waited) = (Duration::ZERO, Duration::ZERO);
        for task in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let mut figures = text.split(' ').map(|figure| figure.parse().map(Duration::from_nanos));
            ran += figures.next().context("schedstat begins with the time")??;
            waited += figures.next().context("and goes on with the wait")??;
        }
        Ok((ran, waited))
    }

    fn status(self, field: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()).context("no such line")?;
        Ok(number.parse()?)
    }
}
