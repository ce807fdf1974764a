//! The servers compared: okra, and the same service as users of other libraries write it.

mod embedded;
mod foreign;
mod guest;
mod hold;
mod plain;
mod wasmtime;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serve_host::TransportKind;
use tests::admin::Stats;
use tests::http::Http;
use tests::rpc::{Call, Client};
use tests::server::{Okra, Serve};

pub(crate) use self::foreign::Foreign;
use self::guest::Echo;
use crate::load::Wire;

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// A generated tonic service on the default runtime: what the tonic guide shows.
    Tonic,
    /// A tonic service over raw bytes, on the default runtime.
    TonicRaw,
    /// The same on one current-thread runtime: the best tonic can do on one core.
    TonicRawSingle,
    /// grpc-go with default settings, over raw bytes.
    GrpcGo,
    /// The asynchronous generic service of C++ gRPC, one completion queue.
    GrpcCpp,
    /// okra's tonic transport and a host that answers at once: no plan, no permit, no stats.
    BareTonic,
    /// The same over the native transport.
    BareNative,
    /// `okra serve --transport tonic graphs/echo.json`.
    OkraTonic,
    /// `okra serve --transport native graphs/echo.json`.
    OkraNative,
    /// The library over the tonic transport, with an echo graph whose plan runs on the request pool.
    PooledTonic,
    /// The same over the native transport.
    PooledNative,
    /// `okra serve` with a deployed package that echoes, its instances kept warm.
    WasmWarm,
    /// The same with an instance of its own for every call.
    WasmFresh,
    /// `wasmtime serve` as it comes: an instance of its own for every request.
    WasmtimeFresh,
    /// The same with instances that serve one request after another.
    WasmtimeWarm,
    /// `okra serve` with a deployed package like the component that those two run, with an instance of its own for
    /// every call.
    JsonFresh,
    /// The same, its instances kept warm.
    JsonWarm,
}

/// A running server.
pub(crate) struct Server {
    peer: Peer,
    address: SocketAddr,
    process: Process,
}

enum Process {
    Peer(Child),
    Embedded(Child, Mutex<(ChildStdin, BufReader<ChildStdout>)>),
    Okra(Okra),
}

/// What a server says of its calls so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Answered by the graph.
    pub(crate) completed: u64,
    /// Failed, cancelled or expired.
    pub(crate) failed: u64,
    /// Refused at the door.
    pub(crate) rejected: u64,
}

/// The message of `echo.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) payload: Vec<u8>,
}

// === impl Peer ===

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tonic => "tonic",
            Self::TonicRaw => "tonic-raw",
            Self::TonicRawSingle => "tonic-raw-single",
            Self::GrpcGo => "grpc-go",
            Self::GrpcCpp => "grpc-cpp",
            Self::BareTonic => "bare-tonic",
            Self::BareNative => "bare-native",
            Self::OkraTonic => "okra-tonic",
            Self::OkraNative => "okra-native",
            Self::PooledTonic => "pooled-tonic",
            Self::PooledNative => "pooled-native",
            Self::WasmWarm => "wasm-warm",
            Self::WasmFresh => "wasm-fresh",
            Self::WasmtimeFresh => "wasmtime-fresh",
            Self::WasmtimeWarm => "wasmtime-warm",
            Self::JsonFresh => "json-fresh",
            Self::JsonWarm => "json-warm",
        }
    }

    /// What its clients speak.
    pub(crate) fn wire(self) -> Wire {
        match self {
            Self::Tonic
            | Self::TonicRaw
            | Self::TonicRawSingle
            | Self::GrpcGo
            | Self::GrpcCpp
            | Self::BareTonic
            | Self::BareNative
            | Self::OkraTonic
            | Self::OkraNative
            | Self::PooledTonic
            | Self::PooledNative
            | Self::WasmWarm
            | Self::WasmFresh => Wire::Grpc,
            Self::WasmtimeFresh | Self::WasmtimeWarm | Self::JsonFresh | Self::JsonWarm => Wire::Json,
        }
    }

    /// What another compiler, or this one for another target, has to build for it.
    pub(crate) fn foreign(self) -> Option<Foreign> {
        match self {
            Self::GrpcGo => Some(Foreign::Go),
            Self::GrpcCpp => Some(Foreign::Cpp),
            Self::WasmtimeFresh | Self::WasmtimeWarm => Some(Foreign::Wasmtime),
            Self::JsonFresh | Self::JsonWarm => Some(Foreign::Guest),
            Self::Tonic
            | Self::TonicRaw
            | Self::TonicRawSingle
            | Self::BareTonic
            | Self::BareNative
            | Self::OkraTonic
            | Self::OkraNative
            | Self::PooledTonic
            | Self::PooledNative
            | Self::WasmWarm
            | Self::WasmFresh => None,
        }
    }

    /// Serves on `port` until killed.
    pub(crate) fn serve(self, port: u16) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self {
            Self::Tonic => plain::generated(address),
            Self::TonicRaw => plain::raw(address),
            Self::TonicRawSingle => plain::raw_single(address),
            Self::BareTonic => embedded::bare(address, TransportKind::Tonic),
            Self::BareNative => embedded::bare(address, TransportKind::Native),
            Self::PooledTonic => embedded::pooled(address, TransportKind::Tonic),
            Self::PooledNative => embedded::pooled(address, TransportKind::Native),
            Self::GrpcGo
            | Self::GrpcCpp
            | Self::OkraTonic
            | Self::OkraNative
            | Self::WasmWarm
            | Self::WasmFresh
            | Self::WasmtimeFresh
            | Self::WasmtimeWarm
            | Self::JsonFresh
            | Self::JsonWarm => anyhow::bail!("{} is a binary of its own", self.name()),
        }
    }

    /// `okra serve` as it is to be started, and the guest to be deployed to it; `None` for all other servers.
    fn okra(self) -> Option<(Serve, Option<Echo>)> {
        let graph = || Serve::graphs(tests::documented_graph("echo.json"));
        let (serve, transport, guest) = match self {
            Self::OkraTonic => (graph(), "tonic", None),
            Self::OkraNative => (graph(), "native", None),
            Self::WasmWarm => (Serve::empty(), "native", Some(Echo { compiled: false, fresh: false })),
            Self::WasmFresh => (Serve::empty(), "native", Some(Echo { compiled: false, fresh: true })),
            Self::JsonWarm => (Serve::empty(), "native", Some(Echo { compiled: true, fresh: false })),
            Self::JsonFresh => (Serve::empty(), "native", Some(Echo { compiled: true, fresh: true })),
            Self::Tonic
            | Self::TonicRaw
            | Self::TonicRawSingle
            | Self::GrpcGo
            | Self::GrpcCpp
            | Self::BareTonic
            | Self::BareNative
            | Self::PooledTonic
            | Self::PooledNative
            | Self::WasmtimeFresh
            | Self::WasmtimeWarm => return None,
        };
        Some((serve.flag("--transport", transport), guest))
    }

    /// The command by which any other server serves on `port`.
    fn command(self, port: u16) -> anyhow::Result<Vec<OsString>> {
        Ok(match self.foreign() {
            Some(Foreign::Wasmtime) => wasmtime::command(port, self == Self::WasmtimeFresh),
            Some(foreign) => vec![foreign.path().into(), port.to_string().into()],
            None => {
                let program = std::env::current_exe()?.into_os_string();
                let port = port.to_string();
                [program]
                    .into_iter()
                    .chain(["--peer", self.name(), "--port", &port].map(OsString::from))
                    .collect()
            }
        })
    }
}

// === impl Server ===

impl Server {
    /// Starts it as a process of its own, on core 0 alone if `pinned`.
    pub(crate) async fn start(peer: Peer, pinned: bool) -> anyhow::Result<Self> {
        if let Some((mut serve, guest)) = peer.okra() {
            if pinned {
                serve = serve.on_core(SERVER_CORE);
            }
            let okra = serve.start().await?;
            if let Some(echo) = guest {
                echo.deploy(&okra).await?;
            }
            return Ok(Self { peer, address: okra.service(), process: Process::Okra(okra) });
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let words = peer.command(port)?;
        let (program, arguments) = words.split_first().context("a program")?;
        let mut command = if pinned { on_core(SERVER_CORE) } else { Command::new(program) };
        if pinned {
            command.arg(program);
        }
        let counts = matches!(peer, Peer::PooledTonic | Peer::PooledNative);
        let pipe = || if counts { Stdio::piped() } else { Stdio::null() };
        let mut child = command.args(arguments).stdin(pipe()).stdout(pipe()).spawn()?;
        let process = match (child.stdin.take(), child.stdout.take()) {
            (Some(ask), Some(answer)) => Process::Embedded(child, Mutex::new((ask, BufReader::new(answer)))),
            _ => Process::Peer(child),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Self { peer, address, process };
        tests::eventually(peer.name(), async || {
            Ok(match peer.wire() {
                Wire::Grpc => Client::connect(address).await.ok().map(drop),
                Wire::Json => Http::one(address).await.ok().map(drop),
            })
        })
        .await?;
        Ok(server)
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        match &self.process {
            Process::Peer(child) | Process::Embedded(child, _) => child.id(),
            Process::Okra(okra) => okra.id(),
        }
    }

    /// Makes one real call and compares the answer.
    pub(crate) async fn check(&self, size: usize) -> anyhow::Result<()> {
        match self.peer.wire() {
            Wire::Grpc => self.check_grpc(size).await,
            Wire::Json => self.check_json(size).await,
        }
    }

    async fn check_grpc(&self, size: usize) -> anyhow::Result<()> {
        let message = message(size)?;
        let client = Client::connect(self.address).await?;
        let call = Call::new("/echo.Echo/Say", message.clone()).timeout(Duration::from_secs(5));
        let reply = client.call(call).await?;
        ensure!(
            reply.code == tonic::Code::Ok && reply.payload.as_deref() == Some(&message[..]),
            "{} does not echo: {reply:?}",
            self.peer.name()
        );
        Ok(())
    }

    async fn check_json(&self, size: usize) -> anyhow::Result<()> {
        let body = json(size)?;
        let mut client = Http::one(self.address).await?;
        let json = [("content-type", "application/json")];
        let reply = client.send("POST", "/echo.Echo/Say", &json, body.clone()).await?;
        let kind = reply.headers.get("content-type");
        ensure!(
            reply.status == 200 && kind.is_some_and(|kind| kind == "application/json") && reply.body == body,
            "{} does not echo: {reply:?}",
            self.peer.name()
        );
        Ok(())
    }

    /// How many calls it completed, if it counts them; an error if it failed one.
    pub(crate) async fn served(&self) -> anyhow::Result<Option<u64>> {
        let Some(counted) = self.counted().await? else { return Ok(None) };
        ensure!(counted.failed == 0 && counted.rejected == 0, "okra failed calls: {counted:?}");
        Ok(Some(counted.completed))
    }

    /// Its counters, if it has any.
    pub(crate) async fn counted(&self) -> anyhow::Result<Option<Counted>> {
        match &self.process {
            Process::Peer(_) => Ok(None),
            Process::Okra(okra) => {
                // A call on the pool is counted when it has ended, which is after its answer has left.
                let stats = tests::eventually("every call to be counted", async || {
                    Ok(Some(okra.admin().stats().await?).filter(Stats::is_quiet))
                })
                .await?;
                let failed = stats.failed + stats.cancelled + stats.expired;
                Ok(Some(Counted { completed: stats.completed, failed, rejected: stats.rejected }))
            }
            Process::Embedded(_, pipes) => {
                let mut pipes = pipes.lock().map_err(|_| anyhow::anyhow!("somebody panicked"))?;
                let (ask, answer) = &mut *pipes;
                writeln!(ask)?;
                let mut line = String::new();
                answer.read_line(&mut line)?;
                Counted::parse(&line).with_context(|| format!("no counters: {line:?}")).map(Some)
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Peer(child) | Process::Embedded(child, _) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

// === impl Counted ===

impl Counted {
    fn parse(line: &str) -> Option<Self> {
        let mut figures = line.split_whitespace().map(|figure| figure.parse().ok());
        let mut next = || figures.next().flatten();
        Some(Self { completed: next()?, failed: next()?, rejected: next()? })
    }
}

/// A command to be continued that runs on one core.
pub(crate) fn on_core(core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]);
    command
}

/// An `echo.Message` that takes `size` bytes in all, so that every server sees the same bytes.
pub(crate) fn message(size: usize) -> anyhow::Result<Vec<u8>> {
    let encoded = (0..size)
        .rev()
        .map(|payload| prost::Message::encode_to_vec(&Message { payload: vec![b'x'; payload] }))
        .find(|encoded| encoded.len() <= size);
    let encoded = encoded.context("a message has at least one byte")?;
    ensure!(encoded.len() == size, "no echo.Message takes exactly {size} bytes");
    Ok(encoded)
}

/// The same in JSON, likewise of `size` bytes in all.
pub(crate) fn json(size: usize) -> anyhow::Result<Vec<u8>> {
    let (before, after) = (r#"{"payload":""#, r#""}"#);
    let payload =
        size.checked_sub(before.len() + after.len()).context("no room for the JSON of a message")?;
    Ok(format!("{before}{}{after}", "x".repeat(payload)).into_bytes())
}

/// The core of a pinned server.
const SERVER_CORE: usize = 0;
