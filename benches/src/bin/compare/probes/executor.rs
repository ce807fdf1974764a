//! G8: what a run of a plan takes beside the making of its call, and how often it allocates.
//!
//! The calls are made before the clock starts and their answers taken after it has stopped. Allocations are
//! counted from outside, by `benches/peers/allocations.c`, in processes that differ only in how often they
//! run the plan, so that whatever happens once cancels out.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use exec_plan::{ExecPlan, Executor, RequestContext};
use kernels::{Answer, RpcServerCall};

use crate::counter;
use crate::goals::{Bound, Finding};
use crate::say;
use crate::spread::Spread;

/// How long runs take and what they allocate, for 3, 10 and 50 nodes.
pub(crate) fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (nodes, bound) in [(3, Bound::AtMost(70.0)), (10, Bound::Record), (50, Bound::AtMost(320.0))] {
        let plan = plan(nodes)?;
        let times = (0..rounds).map(|_| middle_of_batches(&plan)).collect::<anyhow::Result<Vec<_>>>()?;
        findings.push(Finding::new("G8", format!("a run of {nodes} nodes"), Spread::of(times), " ns", bound));
    }
    let counter =
        counter::build().inspect_err(|error| say(&format!("LEFT OUT: allocations: {error:#}"))).ok();
    for nodes in [3, 50] {
        let allocations = match &counter {
            Some(counter) => Some(Spread::single(allocations(counter, nodes)?)),
            None => None,
        };
        let what = format!("allocations of a run of {nodes} nodes");
        findings.push(Finding::new("G8", what, allocations, "", Bound::AtMost(0.0)));
    }
    Ok(findings)
}

/// Makes `runs` calls and runs a plan of `nodes` nodes on each; without nodes, only answers them.
pub(crate) fn execute(nodes: usize, runs: u32) -> anyhow::Result<()> {
    let plan = if nodes == 0 { None } else { Some(plan(nodes)?) };
    let envelope = benches::envelope();
    let mut executor = Executor::new();
    let now = Instant::now();
    for _ in 0..runs {
        let call = Arc::new(RpcServerCall::new(envelope.clone()));
        let cx = RequestContext::new(call.clone());
        match &plan {
            Some(plan) => drop(executor.run(plan, &cx, now).map_err(|error| anyhow::anyhow!("{error}"))?),
            None => call.answer(Answer::ok(envelope.payload.clone()))?,
        }
        black_box(call.take_answer());
    }
    Ok(())
}

fn plan(nodes: usize) -> anyhow::Result<ExecPlan> {
    benches::compile(&benches::chain(nodes)).map_err(|errors| anyhow::anyhow!("{errors}"))
}

/// Nanoseconds of one run: the middle of many batches.
fn middle_of_batches(plan: &ExecPlan) -> anyhow::Result<f64> {
    let envelope = benches::envelope();
    let mut executor = Executor::new();
    let now = Instant::now();
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let calls: Vec<_> = (0..BATCH)
            .map(|_| {
                let call = Arc::new(RpcServerCall::new(envelope.clone()));
                (RequestContext::new(call.clone()), call)
            })
            .collect();
        let begun = Instant::now();
        for (cx, _) in &calls {
            black_box(executor.run(plan, cx, now)).map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        batches.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        ensure!(calls.iter().all(|(_, call)| call.take_answer().is_some()), "a run gave no answer");
    }
    Ok(Spread::of(batches).context("no batches")?.median)
}

/// Allocations of one run.
pub(crate) fn allocations(counter: &std::path::Path, nodes: usize) -> anyhow::Result<f64> {
    let total = |nodes: usize, runs: u32| -> anyhow::Result<f64> {
        let mut counted = Command::new(std::env::current_exe()?);
        counted.env("LD_PRELOAD", counter).args(["--execute", &format!("{nodes}x{runs}")]);
        let output = counted.output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{text}");
        counter::read(text.lines())
    };
    let each = |nodes| -> anyhow::Result<f64> {
        Ok((total(nodes, 2 * COUNTED)? - total(nodes, COUNTED)?) / f64::from(COUNTED))
    };
    Ok(each(nodes)? - each(0)?)
}

/// Runs between two looks at the clock: enough that the clock does not count, few enough to stay in cache.
const BATCH: usize = 64;
/// Batches of which the middle is taken.
const BATCHES: usize = 2_000;
/// Runs whose allocations are counted.
const COUNTED: u32 = 10_000;
