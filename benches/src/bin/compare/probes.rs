//! The goals that driving whole servers with `h2load` does not show, one file each.
//!
//! Every ratio is of two figures taken one after the other, again and again; what is reported is the middle
//! of the ratios.

pub(crate) mod blocking;
pub(crate) mod compile;
pub(crate) mod executor;
pub(crate) mod idle;
pub(crate) mod overload;
mod paced;
pub(crate) mod services;
pub(crate) mod swaps;
pub(crate) mod transcode;
pub(crate) mod wasm;

use crate::goals::Finding;
use crate::say;

/// Measures the goals that `wanted` names, each with `rounds` repetitions.
///
/// # Errors
/// What kept a probe from its figure, with the probe's name.
pub(crate) async fn run(wanted: &dyn Fn(&str) -> bool, rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if wanted("G8") {
        say("G8: the executor");
        findings.extend(executor::findings(rounds)?);
    }
    if wanted("G9") || wanted("G10") || wanted("G11") {
        say("G9, G10, G11: guests");
        findings.extend(wasm::findings(rounds).await?);
    }
    if wanted("G12") {
        say("G12: JSON and protobuf");
        findings.extend(transcode::findings(rounds)?);
    }
    if wanted("G13") {
        say("G13: plans that block beside others");
        findings.extend(blocking::findings(rounds).await?);
    }
    if wanted("G14") {
        say("G14: compiling, and swapping under load");
        findings.extend(compile::findings(rounds)?);
        findings.extend(swaps::findings(rounds).await?);
    }
    if wanted("G15") {
        say("G15: overload");
        findings.extend(overload::findings(rounds).await?);
    }
    if wanted("memory") {
        say("memory: idle connections");
        findings.extend(idle::findings().await?);
    }
    if wanted("G16") {
        say("G16: JSON over Connect");
        findings.extend(services::connect(rounds).await?);
    }
    if wanted("memory") {
        say("memory: services");
        findings.extend(services::memory().await?);
    }
    Ok(findings)
}
