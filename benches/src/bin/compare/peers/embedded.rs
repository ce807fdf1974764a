//! okra as a library: a host that answers at once, and one with a kernel that blocks.
//!
//! Limits and threads are those of `okra serve` without a configuration. There is no control plane: whoever
//! writes a line to standard input is told the counters of calls.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use kernels::{Answer, RequestEnvelope};
use serve_host::config::Config;
use serve_host::{Begun, GrpcService, ServeHost, Server, ServerConfig, TransportKind, UnaryHost};

use super::hold::Hold;

/// Answers every call with what it said.
struct Echo;

impl UnaryHost for Echo {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        Begun::Done(Answer::ok(envelope.payload))
    }
}

/// The transport alone.
pub(super) fn bare(address: SocketAddr, transport: TransportKind) -> anyhow::Result<()> {
    let config = Config::default();
    let _server = bind(&config, address, transport, Arc::new(Echo))?;
    loop {
        std::thread::park();
    }
}

/// Three graphs that answer with what they were asked: `echo`, which takes all calls that name no other and
/// runs on the request pool, `slow`, which keeps a thread of it for [`HELD_MS`], and `fast`, which runs in
/// place. Each is also at `/NAME.Graph`.
pub(super) fn pooled(address: SocketAddr, transport: TransportKind) -> anyhow::Result<()> {
    let config = Config::default();
    let mut kernels = kernels::builtin();
    kernels.register(Hold)?;
    let (store, _) = PlanStore::open(StoreOptions::in_memory(kernels, kernels::serve_env()))?;
    for (name, ms) in [("fast", None), ("slow", Some(HELD_MS)), ("echo", Some(0))] {
        let staged = store.stage(&graph(name, ms), false)?;
        store.publish(&staged.graph, &staged.release.version)?;
        store.set_default(&staged.graph, None)?;
    }
    let host = ServeHost::new(Arc::new(store), config.host())?;
    let _server = bind(&config, address, transport, Arc::new(host.clone()))?;
    for line in std::io::stdin().lock().lines() {
        line?;
        // A call on the pool is counted when it has ended, which is after its answer has left.
        let stats = std::iter::repeat_with(|| host.stats())
            .inspect(|_| std::thread::sleep(Duration::from_millis(1)))
            .find(|stats| stats.in_flight + stats.queued == 0)
            .context("asked for ever")?;
        let failed = stats.failed + stats.cancelled + stats.expired;
        let rejected: u64 = stats.rejected.values().sum();
        writeln!(std::io::stdout(), "{} {failed} {rejected}", stats.completed)?;
    }
    Ok(())
}

fn bind(
    config: &Config,
    address: SocketAddr,
    transport: TransportKind,
    host: Arc<dyn UnaryHost>,
) -> anyhow::Result<Server> {
    let config = ServerConfig { address, transport, ..config.server() };
    Ok(Server::bind(config, GrpcService::new(host, Config::default().transport()))?)
}

/// A graph with a node that holds its thread, or with one that does nothing.
fn graph(name: &str, ms: Option<u64>) -> GraphSource {
    let kernel = ms.map_or(r#""identity""#.to_owned(), |ms| format!(r#""hold", "params": {{"ms": {ms}}}"#));
    let text = format!(
        r#"{{"version": "1.0.0", "name": "{name}", "serves": ["{name}.Graph"], "nodes": [
            {{"id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"]}},
            {{"id": "pass", "kernel": {kernel}, "inputs": ["value"], "outputs": ["value"]}},
            {{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}}
        ], "bindings": [
            {{"to": "in.call", "from": "$req.rpc.call"}},
            {{"to": "pass.value", "from": "in.payload"}},
            {{"to": "out.call", "from": "$req.rpc.call"}},
            {{"to": "out.payload", "from": "pass.value"}}
        ]}}"#
    );
    GraphSource { origin: name.into(), stem: None, text: text.into() }
}

/// How long the slow graph keeps its thread, in milliseconds.
const HELD_MS: u64 = 5;
