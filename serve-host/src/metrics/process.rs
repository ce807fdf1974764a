//! The figures of the process, under the names that every Prometheus client gives them.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Page;

/// Reads `/proc/self`; shows nothing where there is none.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        if let Some(bytes) = resident_bytes() {
            page.gauge("process_resident_memory", "Memory that is in use", Some(&Unit::Bytes), bytes as f64)?;
        }
        if let Some(threads) = threads() {
            page.gauge("process_threads", "Threads", None, threads as f64)?;
        }
        // The directory that is being read is one of them.
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            let count = files.count().saturating_sub(1);
            page.gauge("process_open_fds", "Open files and sockets", None, count as f64)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<u64> {
    let kib: u64 = status_line("VmRSS:")?.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn threads() -> Option<u64> {
    status_line("Threads:")?.trim().parse().ok()
}

fn status_line(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}
