//! Counts the allocations of a process from outside, by `benches/peers/allocations.c` loaded before it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Builds the counter and says where it lies.
///
/// # Errors
/// If there is no C compiler.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let folder = tests::repository().join("target").join("peers");
    std::fs::create_dir_all(&folder)?;
    let library = folder.join("allocations.so");
    let source = tests::repository().join("benches").join("peers").join("allocations.c");
    let mut compiler = Command::new("cc");
    let status = compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    ensure!(status.context("apt-get install gcc")?.success(), "the counter of allocations does not build");
    Ok(library)
}

/// Reads what the counter said at the end of a process.
///
/// # Errors
/// If it said nothing.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> anyhow::Result<f64> {
    let count = lines.into_iter().find_map(|line| line.trim().strip_prefix("allocations: ")?.parse().ok());
    count.context("nothing was counted")
}
