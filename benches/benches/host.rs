//! What a call costs beside its plan: the snapshot, and the whole way through the host for a call that is
//! served in place, for one that is refused, and for one that runs on the pool.

use std::num::NonZeroUsize;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use exec_plan::{GraphSource, PlanStore, StoreOptions, Version};
use serve_host::{Begun, HostConfig, MaxInflight, QueueCapacity, ServeHost, UnaryHost as _};

fn snapshot(c: &mut Criterion) {
    let store = serving(&benches::chain(3));
    let version: Version = "1.0.0".parse().expect("a version");
    let mut group = c.benchmark_group("snapshot");
    group.bench_function("default", |b| b.iter(|| store.resolve_default()));
    group.bench_function("named", |b| b.iter(|| store.resolve_named("chain", None)));
    group.bench_function("version", |b| b.iter(|| store.resolve_named("chain", Some(&version))));
    group.finish();
}

fn admission(c: &mut Criterion) {
    let mut group = c.benchmark_group("admission");
    let envelope = benches::envelope();
    let host =
        ServeHost::new(serving(&benches::chain(3)), HostConfig::default()).expect("a machine has threads");
    group.bench_function("served", |b| {
        b.iter(|| {
            let begun = host.begin(envelope.clone());
            assert!(matches!(begun, Begun::Done(_)), "a chain is served in place");
            begun
        });
    });

    // One call holds the only place for as long as it is measured, and there is no line.
    let config = HostConfig {
        max_inflight: MaxInflight(NonZeroUsize::MIN),
        queue_capacity: QueueCapacity(0),
        ..HostConfig::default()
    };
    let full = ServeHost::new(serving(&delaying(60_000)), config).expect("a machine has threads");
    let holder = full.begin(envelope.clone());
    assert!(matches!(holder, Begun::Pending(_)), "a delay is not served in place");
    group.bench_function("refused", |b| b.iter(|| full.begin(envelope.clone())));
    let refused: u64 = full.stats().rejected.values().sum();
    assert!(refused > 0, "nothing was refused");
    group.finish();
}

/// From the call to its answer by way of the pool: to another thread and back, with nothing else under way.
fn hop(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let host = ServeHost::new(serving(&delaying(0)), HostConfig::default()).expect("a machine has threads");
    let envelope = benches::envelope();
    c.bench_function("pool/there and back", |b| {
        b.iter(|| match host.begin(envelope.clone()) {
            Begun::Pending(answer) => runtime.block_on(answer),
            Begun::Done(answer) => panic!("a delay is not served in place: {answer:?}"),
        });
    });
}

/// A store that serves one graph by default.
fn serving(source: &GraphSource) -> Arc<PlanStore> {
    let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
    let (store, _) = PlanStore::open(options).expect("memory is a place");
    let staged = store.stage(source, false).expect("a valid graph");
    store.publish(&staged.graph, &staged.release.version).expect("it was staged");
    store.set_default(&staged.graph, None).expect("it is published");
    Arc::new(store)
}

/// A graph that takes so many milliseconds; as it may wait, it runs on the pool.
fn delaying(ms: u32) -> GraphSource {
    let text = r#"{"version": "1.0.0", "name": "delaying", "nodes": [
        {"id": "wait", "kernel": "delay", "params": {"ms": MS}, "inputs": ["value"], "outputs": ["value"]},
        {"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}
    ], "bindings": [
        {"to": "wait.value", "from": "late"},
        {"to": "out.call", "from": "$req.rpc.call"},
        {"to": "out.payload", "from": "wait.value"}
    ]}"#;
    GraphSource { origin: "delaying".into(), stem: None, text: text.replace("MS", &ms.to_string()).into() }
}

criterion_group!(all, snapshot, admission, hop);
criterion_main!(all);
