//! A program that serves a graph with a kernel of its own, as a host of its own or as one service of a
//! tonic server that has others.
//!
//! ```sh
//! cargo run -p serve-host --example embedding -- host
//! cargo run -p serve-host --example embedding -- tonic
//! ```
//!
//! The graph is `graphs/embedding/seed_example.json`. Its node `logic` runs the kernel `handle_rpc`, which
//! is not built in: `handle_rpc.rs` is all it takes. The address is printed; the program ends when its
//! standard input does.

#![expect(clippy::print_stdout, reason = "an example tells its address")]

mod handle_rpc;

use std::convert::Infallible;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use serve_host::{GrpcService, HostConfig, ServeHost, Server, ServerConfig, TransportKind, TransportLimits};
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::handle_rpc::HandleRpc;

fn main() -> anyhow::Result<()> {
    let grpc = GrpcService::new(Arc::new(host()?), TransportLimits::default());
    match std::env::args().nth(1).as_deref() {
        Some("host") => serve_alone(grpc),
        Some("tonic") => serve_in_tonic(grpc),
        _ => bail!("say `host` or `tonic`"),
    }
}

/// The built-in kernels and one more, the graph that uses it, and a host that serves that graph.
fn host() -> anyhow::Result<ServeHost> {
    let mut kernels = kernels::builtin();
    kernels.register(HandleRpc)?;
    let (store, _) = PlanStore::open(StoreOptions::in_memory(kernels, kernels::serve_env()))?;
    let staged = store.stage(&graph(), false)?;
    store.publish(&staged.graph, &staged.release.version)?;
    store.set_default(&staged.graph, None)?;
    println!("serving {} {}", staged.graph, staged.release.version);
    Ok(ServeHost::new(Arc::new(store), HostConfig::default())?)
}

fn graph() -> GraphSource {
    let text = include_str!("../../../graphs/embedding/seed_example.json");
    GraphSource {
        origin: "seed_example.json".into(),
        stem: Some("seed_example".to_owned()),
        text: text.into(),
    }
}

/// The host's own port: its accept loop, its limits, its drain.
fn serve_alone(grpc: GrpcService) -> anyhow::Result<()> {
    let config = ServerConfig {
        address: "127.0.0.1:0".parse()?,
        threads: NonZeroUsize::MIN,
        fallback: None,
        transport: TransportKind::default(),
    };
    let server = Server::bind(config, grpc)?;
    println!("listening on {}", server.local_addr());
    until_input_ends();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(server.drain(Duration::from_secs(5)));
    Ok(())
}

/// A tonic server with a service of its own; every other call is the graph's.
fn serve_in_tonic(grpc: GrpcService) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let incoming = {
        let _context = runtime.enter();
        TcpIncoming::bind("127.0.0.1:0".parse()?).context("no free port")?
    };
    println!("listening on {}", incoming.local_addr()?);
    let router = Routes::new(Status).into_axum_router().fallback_service(grpc);
    let server = tonic::transport::Server::builder().add_routes(router.into());
    runtime.spawn(server.serve_with_incoming(incoming));
    until_input_ends();
    Ok(())
}

fn until_input_ends() {
    // Whatever ends it, an error included, is the end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The service that this tonic server had before: it says that all is well, as a status.
#[derive(Clone)]
struct Status;

impl NamedService for Status {
    const NAME: &'static str = "own.Status";
}

impl Service<http::Request<tonic::body::Body>> for Status {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(tonic::Status::already_exists("all is well").into_http()))
    }
}
