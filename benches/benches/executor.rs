//! How long a plan takes to run: 3, 10 and 50 nodes, from a new call to its answer.

use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use exec_plan::{Executor, RequestContext};
use kernels::RpcServerCall;

fn executor(c: &mut Criterion) {
    let envelope = benches::envelope();
    let mut group = c.benchmark_group("executor");
    group.bench_function("without a plan", |b| {
        b.iter(|| RequestContext::new(Arc::new(RpcServerCall::new(envelope.clone()))));
    });
    for nodes in [3, 10, 50] {
        let plan = benches::compile(&benches::chain(nodes)).expect("a chain is a valid graph");
        let mut executor = Executor::new();
        let now = Instant::now();
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &plan, |b, plan| {
            b.iter(|| {
                let call = Arc::new(RpcServerCall::new(envelope.clone()));
                let cx = RequestContext::new(call.clone());
                executor.run(plan, &cx, now).expect("a chain cannot fail");
                call.take_answer()
            });
        });
    }
    group.finish();
}

criterion_group!(all, executor);
criterion_main!(all);
