//! Writes `benches/RESULTS.md`: the goals and the whole comparison of one run, with what it takes to repeat it.
//!
//! Nothing of the machine but its kind is told: no paths, no names.

use anyhow::{Context as _, ensure};

use crate::goals::{Finding, Table};
use crate::machine::Machine;
use crate::say;
use crate::table::Report;

/// Writes the page.
///
/// # Errors
/// If this is no release, or the file cannot be written.
pub(crate) fn write(
    date: &str,
    machine: &Machine,
    findings: &[Finding],
    report: Option<&Report>,
) -> anyhow::Result<()> {
    ensure!(!cfg!(debug_assertions), "only a release says how fast anything is: cargo run --release");
    let Machine { cores, processor, kernel, load_before } = machine;
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    // Where the samples went is this machine's business.
    if let Some(at) = arguments.iter().position(|argument| argument == "--json") {
        arguments.drain(at..(at + 2).min(arguments.len()));
    }
    let missed = findings.iter().filter(|finding| finding.verdict() == "missed").count();
    let absent = findings.iter().filter(|finding| finding.verdict() == "not measured").count();
    let mut page = format!(
        "# Results\n\
         Written by `cargo run --release -p benches --bin compare -- {}` on {date}; nothing below is edited by hand.\n\n\
         {cores} cores, {processor}, Linux {kernel}; load before: {load_before}. Figures are medians with their\n\
         spread in brackets; a ratio is taken within one round, its two sides one after the other.\n\n\
         {} of {} figures miss their goal, {absent} could not be taken.\n\n{}",
        arguments.join(" "),
        missed,
        findings.len(),
        Table(findings)
    );
    if let Some(report) = report {
        page += &format!("\n## The servers\n```text\n{report}```\n");
    }
    let file = tests::repository().join("benches").join("RESULTS.md");
    std::fs::write(&file, page).with_context(|| file.display().to_string())?;
    say("written: benches/RESULTS.md");
    Ok(())
}
