//! G8: what a run of a plan takes beside the making of its call, and how often it allocates.
//!
//! The calls are made before the clock starts and their answers taken after it has stopped. Allocations are
//! counted from outside, by `benches/peers/allocations.c`, in processes that differ only in how often they
//! run the plan, so that whatever happens once cancels out.

use std::hint::black_box;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use exec_plan::{ExecPlan, Executor, NoOffload, RequestContext};
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
    for (what, nodes, bound) in COUNTS {
        let allocations = match &counter {
            Some(counter) => Some(Spread::single(allocations(counter, nodes)?)),
            None => None,
        };
        findings.push(Finding::new("G8", what, allocations, "", Bound::AtMost(bound)));
    }
    Ok(findings)
}

/// Which runs' allocations are counted, and how many there may be. That of a run that waits is its kernel's.
pub(crate) const COUNTS: [(&str, usize, f64); 3] = [
    ("allocations of a run of 3 nodes", 3, 0.0),
    ("allocations of a run of 50 nodes", 50, 0.0),
    ("allocations of a run that waits", WAITING, 1.0),
];

/// Stands for the plan that waits, where others are named by the number of their nodes.
const WAITING: usize = 1;

/// Makes `runs` calls and runs a plan of `nodes` nodes on each; without nodes, only answers them.
pub(crate) fn execute(nodes: usize, runs: u32) -> anyhow::Result<()> {
    let plan = if nodes == 0 { None } else { Some(Arc::new(plan(nodes)?)) };
    let envelope = benches::envelope();
    let mut executor = Executor::new();
    let now = Instant::now();
    for _ in 0..runs {
        let call = Arc::new(RpcServerCall::new(envelope.clone()));
        let cx = Arc::new(RequestContext::new(call.clone()));
        let ran = match &plan {
            Some(plan) if nodes == WAITING => to_end(Executor::drive(plan, &cx, &NoOffload)).map(drop),
            Some(plan) => executor.run(plan, &cx, now).map(drop),
            None => Ok(call.answer(Answer::ok(envelope.payload.clone()))?),
        };
        ran.map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(black_box(call.take_answer()).is_some(), "a run gave no answer");
    }
    Ok(())
}

/// Polls a future until it is ready, which it is without anybody's help.
fn to_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fn plan(nodes: usize) -> anyhow::Result<ExecPlan> {
    let source = if nodes == WAITING { benches::waiting(1) } else { benches::chain(nodes) };
    benches::compile(&source).map_err(|errors| anyhow::anyhow!("{errors}"))
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
