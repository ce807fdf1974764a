//! A host for proofs: kernels that misbehave, and the service that other stacks' interop clients call.
//!
//! ```sh
//! cargo run -p serve-host --example proving -- native
//! ```
//!
//! The argument is the transport, `tonic` or `native`. The address is printed; each line on the standard
//! input is answered by a line of figures. The program drains and ends when its standard input does.

#![expect(clippy::print_stdout, reason = "a program that tests talk to")]

mod interop;
mod misbehave;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use serde_json::json;
use serve_host::{GrpcService, HostConfig, ServeHost, Server, ServerConfig, TransportKind, TransportLimits};

use crate::interop::Interop;
use crate::misbehave::Misbehave;

fn main() -> anyhow::Result<()> {
    let transport = match std::env::args().nth(1).as_deref() {
        Some("tonic") => TransportKind::Tonic,
        Some("native") => TransportKind::Native,
        _ => bail!("say `tonic` or `native`"),
    };
    let host = host()?;
    let config = ServerConfig {
        address: "127.0.0.1:0".parse()?,
        threads: NonZeroUsize::MIN,
        fallback: None,
        transport,
    };
    let server = Server::bind(config, GrpcService::new(Arc::new(host.clone()), TransportLimits::default()))?;
    println!("listening on {}", server.local_addr());
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", figures(&host));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let report = runtime.block_on(server.drain(GRACE));
    println!("{}", json!({ "forced_calls": report.forced_calls }));
    // A kernel that blocks would hold whoever drops the pool it runs on.
    std::process::exit(0)
}

fn host() -> anyhow::Result<ServeHost> {
    let mut kernels = kernels::builtin();
    kernels.register(Misbehave)?;
    kernels.register(Interop)?;
    let (store, _) = PlanStore::open(StoreOptions::in_memory(kernels, kernels::serve_env()))?;
    let misbehaving = ["Inline", "Blocking", "Async", "Drop", "Sleep"].map(misbehaving);
    for text in misbehaving.into_iter().chain([interop()]) {
        let staged =
            store.stage(&GraphSource { origin: "proving".into(), stem: None, text: text.into() }, false)?;
        store.publish(&staged.graph, &staged.release.version)?;
    }
    let config = HostConfig { blocking_alarm: ALARM, ..HostConfig::default() };
    Ok(ServeHost::new(Arc::new(store), config)?)
}

/// A graph that serves `proving.{how}` and misbehaves like that.
fn misbehaving(how: &str) -> String {
    json!({
        "name": how.to_lowercase(), "version": "1.0.0", "serves": [format!("proving.{how}")],
        "nodes": [
            { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] },
            { "id": "culprit", "kernel": "misbehave", "params": { "how": how.to_lowercase() },
              "inputs": ["payload"], "outputs": ["payload", "trap"] },
            { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }
        ],
        "bindings": [
            { "to": "in.call", "from": "$req.rpc.call" },
            { "to": "culprit.payload", "from": "in.payload" },
            { "to": "out.call", "from": "$req.rpc.call" },
            { "to": "out.payload", "from": "culprit.payload" }
        ]
    })
    .to_string()
}

/// The graph that serves `grpc.testing.TestService`.
fn interop() -> String {
    json!({
        "name": "interop", "version": "1.0.0", "serves": ["grpc.testing.TestService"],
        "nodes": [
            { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"],
              "outputs": ["method", "payload", "meta"] },
            { "id": "logic", "kernel": "interop", "inputs": ["method", "payload", "meta"],
              "outputs": ["payload", "headers", "trailers", "status", "message"] },
            { "id": "out", "kernel": "rpc_server_output",
              "inputs": ["call", "payload", "headers", "trailers", "status", "message"], "outputs": [] }
        ],
        "bindings": [
            { "to": "in.call", "from": "$req.rpc.call" },
            { "to": "logic.method", "from": "in.method" },
            { "to": "logic.payload", "from": "in.payload" },
            { "to": "logic.meta", "from": "in.meta" },
            { "to": "out.call", "from": "$req.rpc.call" },
            { "to": "out.payload", "from": "logic.payload" },
            { "to": "out.headers", "from": "logic.headers" },
            { "to": "out.trailers", "from": "logic.trailers" },
            { "to": "out.status", "from": "logic.status" },
            { "to": "out.message", "from": "logic.message" }
        ]
    })
    .to_string()
}

fn figures(host: &ServeHost) -> String {
    let stats = host.stats();
    let overlong = host.overlong_nodes().into_iter();
    let overlong: Vec<_> = overlong.map(|(graph, node, count)| json!([graph, node, count])).collect();
    json!({
        "accepted": stats.accepted, "completed": stats.completed, "failed": stats.failed,
        "in_flight": stats.in_flight, "adds_up": stats.identity_holds(), "overlong": overlong,
    })
    .to_string()
}

/// How long calls may take to finish at the end.
const GRACE: Duration = Duration::from_secs(1);
/// What blocks longer is overlong.
const ALARM: Duration = Duration::from_millis(200);
