use std::time::Duration;

use exec_plan::{Code, GraphSource, StoreOptions};

use super::*;
use crate::protocol::Protocol;
use crate::shards::ShardIndex;
use crate::stats::{End, Outcome, RejectReason, Stats};

fn store() -> Arc<PlanStore> {
    let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
    let (store, _) = PlanStore::open(options).unwrap();
    let text = r#"{
        "name": "shop", "version": "1.0.0", "serves": ["test.Shop"],
        "nodes": [{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}],
        "bindings": [{"to": "out.call", "from": "$req.rpc.call"}, {"to": "out.payload", "from": "hi"}]
    }"#;
    let source = GraphSource { origin: "test".into(), stem: None, text: text.into() };
    let staged = store.stage(&source, false).unwrap();
    store.publish(&staged.graph, &staged.release.version).unwrap();
    Arc::new(store)
}

fn stats() -> StatsSource {
    let (stats, shard) = (Stats::new(), ShardIndex::of_this_thread());
    let (graph, method) = ("shop".into(), "/test.Shop/Buy".into());
    let ends = [
        (Outcome::Completed, Code::Ok, 40),
        (Outcome::Completed, Code::Ok, 900),
        (Outcome::Failed, Code::Internal, 20_000),
        (Outcome::Completed, Code::Unimplemented, 10),
    ];
    for (outcome, code, micros) in ends {
        stats.accepted_running(shard);
        let latency = Duration::from_micros(micros);
        stats.ended(
            shard,
            &End { outcome, code, graph: &graph, method: &method, protocol: Protocol::Grpc, latency },
        );
    }
    stats.accepted_waiting(shard);
    stats.rejected(shard, RejectReason::QueueFull, 1);
    Arc::new(move || stats.snapshot())
}

fn metrics() -> Metrics {
    let readiness = Readiness::default();
    readiness.serving();
    Metrics::new(MetricsSources {
        stats: stats(),
        store: store(),
        readiness,
        config: &Config::default(),
        dropped_log_lines: Arc::new(AtomicU64::new(3)),
    })
}

#[test]
fn the_page() {
    insta::assert_snapshot!(metrics().render().unwrap());
}

#[test]
fn the_process_is_measured_where_that_can_be_done() {
    let page = metrics().with_process().render().unwrap();
    if cfg!(target_os = "linux") {
        for name in ["process_resident_memory_bytes ", "process_threads ", "process_open_fds "] {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line[name.len()..].parse::<f64>().unwrap() >= 1.0, "{line}");
        }
    }
}
