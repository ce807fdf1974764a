//! How long a plan takes to run, for 3, 10 and 50 nodes: the run alone, and from a new call to its answer; and
//! for 3 nodes of which one may wait, over whose kernel alone the rest is the executor's.
//!
//! The run alone is what the executor and the kernels cost. The rest, the making of the call, its context and
//! the taking of the answer, is the host's; `request/without a plan` shows it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use exec_plan::{Executor, NoOffload, RequestContext};
use kernels::{Answer, RequestEnvelope, RpcServerCall};

fn executor(c: &mut Criterion) {
    let envelope = benches::envelope();
    let mut group = c.benchmark_group("executor");
    for nodes in SIZES {
        let plan = benches::compile(&benches::chain(nodes)).expect("a chain is a valid graph");
        let mut executor = Executor::new();
        let now = Instant::now();
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &plan, |b, plan| {
            // More than a few calls at a time would measure the cache.
            b.iter_batched_ref(
                || context(&envelope).1,
                |cx| executor.run(plan, cx, now).expect("a chain cannot fail"),
                BatchSize::NumIterations(64),
            );
        });
    }
    group.finish();
}

fn request(c: &mut Criterion) {
    let envelope = benches::envelope();
    let mut group = c.benchmark_group("request");
    group.bench_function("without a plan", |b| {
        b.iter(|| {
            let (call, _cx) = context(&envelope);
            call.answer(Answer::ok(envelope.payload.clone())).expect("nobody else answers");
            call.take_answer()
        });
    });
    for nodes in SIZES {
        let plan = benches::compile(&benches::chain(nodes)).expect("a chain is a valid graph");
        let mut executor = Executor::new();
        let now = Instant::now();
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &plan, |b, plan| {
            b.iter(|| {
                let (call, cx) = context(&envelope);
                executor.run(plan, &cx, now).expect("a chain cannot fail");
                call.take_answer()
            });
        });
    }
    group.finish();
}

fn waiting(c: &mut Criterion) {
    let envelope = benches::envelope();
    let mut group = c.benchmark_group("waiting");
    for (name, turns) in [("ready", 0), ("pends once", 1)] {
        let plan = Arc::new(benches::compile(&benches::waiting(turns)).expect("the graph is valid"));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Arc::new(context(&envelope).1),
                |cx| {
                    let mut run = pin!(Executor::drive(&plan, cx, &NoOffload));
                    let mut task = Context::from_waker(Waker::noop());
                    while run.as_mut().poll(&mut task).is_pending() {}
                },
                BatchSize::NumIterations(64),
            );
        });
    }
    group.finish();
}

fn context(envelope: &RequestEnvelope) -> (Arc<RpcServerCall>, RequestContext) {
    let call = Arc::new(RpcServerCall::new(envelope.clone()));
    (call.clone(), RequestContext::new(call))
}

const SIZES: [usize; 3] = [3, 10, 50];

criterion_group!(all, executor, request, waiting);
criterion_main!(all);
