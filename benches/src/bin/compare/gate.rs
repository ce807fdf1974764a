//! Says whether a change made calls dearer, within a minute and on a busy machine.
//!
//! Nothing is gated that a busy machine moves by more than a change that matters would: no time, no rate, no
//! latency. What is gated are counts, of allocations and of system calls, and the ratio of processor time to
//! a plain tonic server built by the same compiler with the same options, the two in turns on one core. All
//! of it works in the dev profile, whose programs the tests build anyway; its ratios say nothing of those of
//! a release, but what makes a call dearer there makes it dearer here.
//!
//! How the limits were chosen: ten runs of five rounds each on two cores that others wanted, too. Allocations
//! hardly differ from run to run, so half of one more is too many; on the native transport the calls of a read
//! share theirs, which leaves 0.058 to 0.068 for each. The medians of the ratio lay between 0.275 and 0.304
//! (native) and between 0.985 and 1.083 (tonic), single rounds between 0.264 and 0.321 and between 0.933 and
//! 1.131; the limits lie a fifth above the highest median. System calls depend on how many calls a read brings:
//! 0.074 to 0.089 and 0.092 to 0.121; the limits lie two fifths above. A change that makes calls cheaper should
//! lower them.

use std::path::Path;

use anyhow::ensure;
use tests::server::Serve;
use tests::{documented_graph, eventually};

use crate::counter;
use crate::goals::{Bound, Finding, Table};
use crate::load::{Load, Shape, Wire};
use crate::measure::{self, Plan};
use crate::peers::Peer;
use crate::probes::executor;
use crate::spread::Spread;
use crate::table::{Figure, Key};
use crate::{machine::Machine, say};

/// Measures everything and prints the table.
///
/// # Errors
/// If a limit is exceeded.
pub(crate) async fn run(rounds: usize) -> anyhow::Result<()> {
    let limits = limits();
    let mut findings = Vec::new();
    let counter = counter::build()?;
    for (what, nodes, most) in executor::COUNTS {
        let counted = executor::allocations(&counter, nodes)?;
        findings.push(Finding::new("gate", what, Some(Spread::single(counted)), "", Bound::AtMost(most)));
    }
    for (transport, most) in [("native", limits.native_allocations), ("tonic", limits.tonic_allocations)] {
        let counted = allocations_of_a_call(&counter, transport).await?;
        let what = format!("allocations of a call, {transport}");
        findings.push(Finding::new("gate", what, Some(Spread::single(counted)), "", Bound::AtMost(most)));
    }
    let plan = Plan {
        rounds,
        shapes: vec![CROWD],
        sizes: vec![64],
        servers: vec![Peer::TonicRawSingle, Peer::OkraNative, Peer::OkraTonic],
        effort: EFFORT,
        pinnings: vec![true],
    };
    let report = measure::compare(&plan, &Machine::read()).await?;
    let key = Key { wire: Wire::Grpc, pinned: true, size: 64, shape: CROWD };
    for (peer, calls, ratio) in [
        (Peer::OkraNative, limits.native_syscalls, limits.native_ratio),
        (Peer::OkraTonic, limits.tonic_syscalls, limits.tonic_ratio),
    ] {
        let name = peer.name();
        let counted = report.figure(key, peer, Figure::Syscalls);
        if counted.is_none() {
            say("LEFT OUT: system calls: perf cannot count them here");
        }
        findings.push(Finding::new(
            "gate",
            format!("system calls of a call, {name}"),
            counted,
            "",
            Bound::AtMost(calls),
        ));
        let share = report.ratio(key, peer, Peer::TonicRawSingle, Figure::Cpu);
        let what = format!("CPU, {name} ÷ tonic-raw-single");
        findings.push(Finding::new("gate", what, share, "", Bound::AtMost(ratio)));
    }
    say(&format!("\n{}", Table(&findings)));
    let missed: Vec<_> = findings.iter().filter(|finding| finding.verdict() == "missed").collect();
    ensure!(missed.is_empty(), "calls have become dearer: {} limits exceeded", missed.len());
    Ok(())
}

/// Allocations of the whole server for one call, over the wire.
async fn allocations_of_a_call(counter: &Path, transport: &str) -> anyhow::Result<f64> {
    let preload = format!("LD_PRELOAD={}", counter.display());
    let mut totals = Vec::new();
    let mut calls = Vec::new();
    // Two runs that differ only in the number of calls, so that whatever happens once cancels out.
    for effort in [COUNTED, 2 * COUNTED] {
        let load = Load::new(64, CROWD, effort, false)?;
        let serve = Serve::graphs(documented_graph("echo.json")).flag("--transport", transport);
        let okra = serve.within(["env", &preload]).start().await?;
        let log = okra.log().clone();
        load.drive(okra.service())?;
        okra.stop().await?;
        eventually("the count", async || Ok(log.contains("allocations: ").then_some(()))).await?;
        totals.push(counter::read(log.to_string().lines().map(|line| line.trim_start_matches([' ', '|'])))?);
        calls.push(load.requests() as f64);
    }
    Ok((totals[1] - totals[0]) / (calls[1] - calls[0]))
}

/// What a call may cost.
struct Limits {
    native_allocations: f64,
    tonic_allocations: f64,
    native_syscalls: f64,
    tonic_syscalls: f64,
    native_ratio: f64,
    tonic_ratio: f64,
}

fn limits() -> Limits {
    Limits {
        native_allocations: 0.56,
        tonic_allocations: 12.5,
        native_syscalls: 0.13,
        tonic_syscalls: 0.17,
        native_ratio: 0.37,
        tonic_ratio: 1.30,
    }
}

const CROWD: Shape = Shape { connections: 8, streams: 32 };
/// Percent of the usual number of requests in a round.
const EFFORT: u32 = 25;
/// The same for the shorter of the runs that count allocations.
const COUNTED: u32 = 25;
