//! How long a document takes to become a plan: 10, 1,000 and 10,000 nodes.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn compile(c: &mut Criterion) {
    let (kernels, env) = (kernels::builtin(), kernels::serve_env());
    let mut group = c.benchmark_group("compile");
    for nodes in [10, 1_000, 10_000] {
        let source = benches::chain(nodes);
        group.throughput(Throughput::Bytes(source.text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &source, |b, source| {
            b.iter(|| {
                exec_plan::ExecPlan::compile(source, &kernels, &env).expect("a chain is a valid graph")
            });
        });
    }
    group.finish();
}

criterion_group!(all, compile);
criterion_main!(all);
