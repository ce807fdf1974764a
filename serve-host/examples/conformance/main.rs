//! The service of the Connect conformance suite, as a graph of kernels: the server under test in its runner.
//!
//! ```sh
//! connectconformance --mode server --conf tests/conformance/unary.yaml -- \
//!     target/debug/examples/conformance DESCRIPTORS tonic
//! ```
//!
//! `DESCRIPTORS` is the suite's descriptor set, from which JSON is translated; behind it stands the
//! transport, `tonic` or `native`. The runner says on standard input, once, what it wants, and is told on
//! standard output where to find it. SIGTERM ends it.

mod answer_as_told;
// The service's messages are those of the guest that is the same service in WebAssembly.
#[path = "../../../guests/conformance/src/messages.rs"]
mod messages;
mod runner;

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use prost::Message as _;
use serve_host::schemas::Schemas;
use serve_host::{
    CorsConfig, Fallback, Gateway, GrpcService, HostConfig, ServeHost, Server, ServerConfig, TransportKind,
    TransportLimits,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::answer_as_told::AnswerAsTold;
use crate::runner::{ServerCompatRequest, ServerCompatResponse};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let descriptors = PathBuf::from(arguments.next().context("name the descriptor set")?);
    let transport = match arguments.next().as_deref().and_then(|name| name.to_str()) {
        Some("tonic") => TransportKind::Tonic,
        Some("native") => TransportKind::Native,
        _ => bail!("say `tonic` or `native`"),
    };
    let wanted = read_request()?;
    let mut limits = TransportLimits::default();
    if wanted.message_receive_limit > 0 {
        limits.messages.max_receive = wanted.message_receive_limit as usize;
    }
    // The runner is one client with many connections.
    limits.connections.max_per_ip = limits.connections.max;

    let schemas = Schemas::default();
    schemas.read_files(&[descriptors])?;
    let host = host()?;
    let grpc = GrpcService::new(Arc::new(host.clone()), limits);
    let gateway = Gateway::new(host, grpc.clone(), schemas, CorsConfig::default());
    let config = ServerConfig {
        address: "127.0.0.1:0".parse()?,
        threads: NonZeroUsize::MIN,
        fallback: Some(Fallback::new(gateway)),
        transport,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = signal(SignalKind::terminate())?;
        let server = Server::bind(config, grpc)?;
        write_response(&ServerCompatResponse {
            host: server.local_addr().ip().to_string(),
            port: server.local_addr().port().into(),
        })?;
        stop.recv().await;
        server.drain(Duration::from_secs(2)).await;
        Ok(())
    })
}

/// The built-in kernels and one more, and a host of the graph that uses it.
fn host() -> anyhow::Result<ServeHost> {
    let mut kernels = kernels::builtin();
    kernels.register(AnswerAsTold)?;
    let (store, _) = PlanStore::open(StoreOptions::in_memory(kernels, kernels::serve_env()))?;
    let graph = GraphSource {
        origin: "graph.json".into(),
        stem: Some("conformance".to_owned()),
        text: include_str!("graph.json").into(),
    };
    let staged = store.stage(&graph, false)?;
    store.publish(&staged.graph, &staged.release.version)?;
    Ok(ServeHost::new(Arc::new(store), HostConfig::default())?)
}

/// Messages to and from the runner stand behind their length. The end of its input means nothing.
fn read_request() -> anyhow::Result<ServerCompatRequest> {
    let mut length = [0; 4];
    std::io::stdin().read_exact(&mut length)?;
    let mut message = Vec::new();
    std::io::stdin().take(u32::from_be_bytes(length).into()).read_to_end(&mut message)?;
    Ok(ServerCompatRequest::decode(&message[..])?)
}

fn write_response(response: &ServerCompatResponse) -> anyhow::Result<()> {
    let message = response.encode_to_vec();
    let mut stdout = std::io::stdout();
    stdout.write_all(&u32::try_from(message.len())?.to_be_bytes())?;
    stdout.write_all(&message)?;
    Ok(stdout.flush()?)
}
