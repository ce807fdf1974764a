//! Drives all servers with the same bytes, round after round.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::load::{Load, Shape, Wire};
use crate::machine::{self, Machine};
use crate::peers::{Peer, Server};
use crate::say;
use crate::table::{Key, Report, Sample};

/// What to drive, and how often.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) servers: Vec<Peer>,
    /// The share of the usual number of requests, in percent.
    pub(crate) effort: u32,
    /// Whether server and client have a core each: each of these in turn.
    pub(crate) pinnings: Vec<bool>,
}

/// Builds what is built by other compilers than this program, and leaves out what cannot be built here, or
/// what takes minutes unless `slow`.
pub(crate) fn build_foreign(mut servers: Vec<Peer>, slow: bool) -> Vec<Peer> {
    servers.retain(|peer| {
        let Some(Err(error)) = peer.foreign().map(|foreign| foreign.build(slow)) else { return true };
        say(&format!("LEFT OUT: {} cannot be built on this machine: {error:#}", peer.name()));
        false
    });
    servers
}

/// Builds the `okra` beside this program, in the same profile.
///
/// # Errors
/// If it does not build.
pub(crate) fn build_okra() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "serve-host", "--bin", "okra"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.status()?;
    ensure!(built.success(), "okra does not build");
    Ok(())
}

/// Drives them all.
///
/// # Errors
/// If a server does not start, or leaves a request without its right answer.
pub(crate) async fn compare(plan: &Plan, machine: &Machine) -> anyhow::Result<Report> {
    let mut report = Report::new(machine.clone(), plan.rounds, plan.servers.clone());
    for &pinned in &plan.pinnings {
        if pinned && machine.cores < 2 {
            say("pinned: LEFT OUT, it needs two cores");
            continue;
        }
        for wire in [Wire::Grpc, Wire::Json] {
            measure(plan, wire, pinned, &mut report).await?;
        }
    }
    Ok(report)
}

/// Drives all servers of a wire, all running at once, round after round.
async fn measure(plan: &Plan, wire: Wire, pinned: bool, report: &mut Report) -> anyhow::Result<()> {
    let mut servers = Vec::new();
    for &peer in plan.servers.iter().filter(|peer| peer.wire() == wire) {
        servers.push(Server::start(peer, pinned).await?);
    }
    if servers.is_empty() {
        return Ok(());
    }
    let loads: Vec<_> = plan
        .sizes
        .iter()
        .flat_map(|&size| plan.shapes.iter().map(move |&shape| (size, shape)))
        .filter(|&(_, shape)| wire.takes(shape))
        .map(|(size, shape)| Load::over(wire, size, shape, plan.effort, pinned))
        .collect::<Result<_, _>>()?;
    for server in &servers {
        for &size in &plan.sizes {
            server.check(size).await?;
        }
    }
    let key = |load: &Load| Key { wire: load.wire(), pinned, size: load.size(), shape: load.shape() };
    for round in 0..plan.rounds {
        for load in &loads {
            let mut order: Vec<_> = (0..servers.len()).collect();
            order.rotate_left(round % servers.len());
            let mut samples = BTreeMap::new();
            for index in order {
                let server = &servers[index];
                let sample =
                    run(server, load).await.with_context(|| format!("{} at {load}", server.peer().name()))?;
                samples.insert(server.peer(), sample);
            }
            report.add(key(load), samples);
        }
        let cores = if pinned { "pinned" } else { "unpinned" };
        say(&format!("{}, {cores}, round {} of {}", wire.name(), round + 1, plan.rounds));
    }
    for load in &loads {
        for server in &servers {
            let calls = load.syscalls(server.id(), server.address())?;
            report.add_syscalls(key(load), server.peer(), calls);
        }
    }
    Ok(())
}

/// Drives one server once and checks that every request was answered.
pub(crate) async fn run(server: &Server, load: &Load) -> anyhow::Result<Sample> {
    load.warm_up(server.address())?;
    let counted = server.served().await?;
    let before = machine::cpu_time(server.id())?;
    let driven = load.drive(server.address())?;
    let cpu = machine::cpu_time(server.id())? - before;
    if let (Some(before), Some(after)) = (counted, server.served().await?) {
        ensure!(after - before == load.requests(), "okra counts {} of {}", after - before, load.requests());
    }
    Ok(Sample {
        cpu_us: cpu.as_secs_f64() * 1e6 / load.requests() as f64,
        requests_per_second: driven.requests_per_second,
        p50_us: driven.p50_us,
        p99_us: driven.p99_us,
    })
}
