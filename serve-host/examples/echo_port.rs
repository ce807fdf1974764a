//! The service port with a host that answers every call with its own message: for load tools and for
//! protocol suites that need no graph.
//!
//! ```sh
//! cargo run --release -p serve-host --example echo_port -- 127.0.0.1:8080 1
//! h2spec -S -h 127.0.0.1 -p 8080 -P /healthz
//! ```
//!
//! The arguments are the address, the number of threads and the transport, `native` unless it is `tonic`. It drains
//! when its standard input ends.

#![expect(clippy::print_stdout, reason = "an example tells its address")]

use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kernels::{Answer, RequestEnvelope};
use serve_host::{Begun, GrpcService, Server, ServerConfig, TransportKind, TransportLimits, UnaryHost};

/// Answers every call with what it said.
struct Echo;

impl UnaryHost for Echo {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        Begun::Done(Answer::ok(envelope.payload))
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr =
        arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse().context("address")?;
    let threads: NonZeroUsize = arguments.next().as_deref().unwrap_or("1").parse().context("threads")?;
    let transport = match arguments.next().as_deref() {
        None | Some("native") => TransportKind::Native,
        Some("tonic") => TransportKind::Tonic,
        Some(other) => anyhow::bail!("{other:?} is no transport: native or tonic"),
    };
    let grpc = GrpcService::new(Arc::new(Echo), TransportLimits::default());
    let server = Server::bind(ServerConfig { address, threads, fallback: None, transport }, grpc)?;
    println!("{}", server.local_addr());

    std::io::stdin().read_to_end(&mut Vec::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let report = runtime.block_on(server.drain(Duration::from_secs(5)));
    println!("{report:?}");
    Ok(())
}
