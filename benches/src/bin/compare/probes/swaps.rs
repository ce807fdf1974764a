//! G14, its second half: a graph that is replaced a hundred times a second while it is called.
//!
//! Whoever swaps has a thread of its own, one kept connection and a low priority: it stands for an operator
//! elsewhere, and on a machine whose cores are all taken it would else be a part of what is measured. What
//! the server does for each swap competes with its calls as it may.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::json;
use tests::admin::Admin;
use tests::documented_graph;
use tests::graph::Graphs;
use tests::server::Serve;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::goals::{Bound, Finding};
use crate::load::{Load, Shape};
use crate::spread::Spread;

/// Lost calls, and the p99 with swaps over that without, in turns on one server.
pub(crate) async fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let graphs = Graphs::new()?;
    let echo = std::fs::read_to_string(documented_graph("echo.json"))?;
    graphs.write("first.json", &echo)?;
    graphs.write("second.json", &echo.replacen("\"1.0.0\"", "\"2.0.0\"", 1))?;
    let serve = Serve::graphs(graphs.path()).flag("--default-graph", "echo").flag("--transport", "native");
    let okra = serve.start().await?;
    let load = Load::new(64, Shape { connections: 8, streams: 32 }, EFFORT, false)?;
    load.warm_up(okra.service())?;

    let (mut ratios, mut lost, mut swaps, mut seconds) = (Vec::new(), 0, 0, 0.0);
    for round in 0..rounds {
        let mut p99 = [0.0; 2];
        for arm in [round % 2, 1 - round % 2] {
            let stop = CancellationToken::new();
            let swapping = (arm == 1).then(|| {
                let (admin, stop) = (okra.admin().clone(), stop.clone());
                thread::spawn(move || operate(admin, stop))
            });
            let before = okra.admin().stats().await?;
            let begun = std::time::Instant::now();
            p99[arm] = tokio::task::block_in_place(|| load.drive(okra.service()))?.p99_us;
            if arm == 1 {
                seconds += begun.elapsed().as_secs_f64();
            }
            stop.cancel();
            if let Some(swapping) = swapping {
                let swapped = tokio::task::block_in_place(|| swapping.join());
                swaps += swapped.map_err(|_| anyhow!("the swapping thread panicked"))??;
            }
            let after = okra.admin().stats().await?;
            ensure!(after.failed == before.failed && after.rejected == before.rejected, "{after:?}");
            lost += load.requests().abs_diff(after.completed - before.completed);
        }
        ratios.push(p99[1] / p99[0]);
    }
    let rate = f64::from(swaps) / seconds;
    let lost = Some(Spread::single(lost as f64));
    Ok(vec![
        Finding::new(
            "G14",
            "swaps a second under load, native",
            Some(Spread::single(rate)),
            "",
            Bound::AtLeast(ENOUGH),
        ),
        Finding::new("G14", format!("calls lost by {swaps} swaps"), lost, "", Bound::AtMost(0.0)),
        Finding::new(
            "G14",
            "p99 with swaps ÷ without, 64 B, 8x32",
            Spread::of(ratios),
            "",
            Bound::AtMost(1.1),
        ),
    ])
}

/// The life of the thread that swaps.
fn operate(admin: Admin, stop: CancellationToken) -> anyhow::Result<u32> {
    #[cfg(target_os = "linux")]
    rustix::process::nice(STEPS_BEHIND)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(swap(admin, stop))
}

/// Publishes the two versions in turn until told to stop. Returns how often.
async fn swap(admin: Admin, stop: CancellationToken) -> anyhow::Result<u32> {
    let mut admin = admin.keep().await?;
    let mut ticks = interval(PERIOD);
    // A swap that came late does not make those after it late: a hundred a second are what is measured.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0.. {
        tokio::select! {
            () = stop.cancelled() => return Ok(number),
            _ = ticks.tick() => {}
        }
        let version = if number % 2 == 0 { "2.0.0" } else { "1.0.0" };
        let body = json!({ "version": version });
        let receipt = admin.post("/api/v1/graphs/echo/publish", &body).await?.json()?;
        ensure!(receipt["dropped"] == 0, "{receipt}");
        ensure!(receipt["to"]["version"] == version, "{receipt}");
    }
    None.context("more swaps than can be counted")
}

const PERIOD: Duration = Duration::from_millis(10);
/// Fewer swaps a second than this are not what was to be measured.
const ENOUGH: f64 = 95.0;
/// How far the thread that swaps stands behind the others.
#[cfg(target_os = "linux")]
const STEPS_BEHIND: i32 = 10;
/// Percent of the usual number of requests: a second and more of the fastest server.
const EFFORT: u32 = 1_000;
