//! One way of driving a server with `h2load`, and what it said.
//!
//! An echo is owed in whole: what a server answers is as long as what it was sent, or the run does not count.

use std::fmt;
use std::net::SocketAddr;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::peers::{json, message, on_core};

/// Connections, and calls at a time on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) connections: u32,
    pub(crate) streams: u32,
}

/// What a server is spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wire {
    /// gRPC.
    Grpc,
    /// JSON in a `POST` over HTTP/1.1, which is what Connect makes of a call.
    Json,
}

/// A run to be made: how many requests of what bytes in which shape.
pub(crate) struct Load {
    wire: Wire,
    size: usize,
    shape: Shape,
    requests: u64,
    /// The bytes of each request and of its answer.
    length: u64,
    pinned: bool,
    body: NamedTempFile,
}

/// What the client saw.
pub(crate) struct Driven {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

// === impl Shape ===

impl FromStr for Shape {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (connections, streams) =
            text.split_once('x').context("expected CONNECTIONSxSTREAMS, as in 8x32")?;
        Ok(Self { connections: connections.parse()?, streams: streams.parse()? })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.streams)
    }
}

// === impl Wire ===

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Json => "JSON over HTTP/1.1",
        }
    }

    /// Whether a client can make calls of this shape: over HTTP/1.1 a connection has one at a time.
    pub(crate) fn takes(self, shape: Shape) -> bool {
        match self {
            Self::Grpc => true,
            Self::Json => shape.streams == 1,
        }
    }

    /// What the client sends, and an echo brings back.
    fn body(self, size: usize) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Grpc => {
                let message = message(size)?;
                let mut framed = vec![0];
                framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
                framed.extend_from_slice(&message);
                Ok(framed)
            }
            Self::Json => json(size),
        }
    }
}

// === impl Load ===

impl Load {
    /// Calls over gRPC.
    pub(crate) fn new(size: usize, shape: Shape, effort: u32, pinned: bool) -> anyhow::Result<Self> {
        Self::over(Wire::Grpc, size, shape, effort, pinned)
    }

    /// Calls over either.
    pub(crate) fn over(
        wire: Wire,
        size: usize,
        shape: Shape,
        effort: u32,
        pinned: bool,
    ) -> anyhow::Result<Self> {
        let content = wire.body(size)?;
        let body = NamedTempFile::new()?;
        std::fs::write(body.path(), &content)?;
        let usual = if shape.connections * shape.streams == 1 { ALONE } else { CROWDED };
        // A whole number for each connection, so that all of them work to the end.
        let each = (usual * u64::from(effort) / 100 / u64::from(shape.connections)).max(1);
        let requests = each * u64::from(shape.connections);
        Ok(Self { wire, size, shape, requests, length: content.len() as u64, pinned, body })
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Lets the server fill its caches.
    pub(crate) fn warm_up(&self, server: SocketAddr) -> anyhow::Result<()> {
        let requests = (self.requests / 20).max(u64::from(self.shape.connections));
        self.finished(self.client().args(self.arguments(server, requests)), requests).map(drop)
    }

    /// Drives the server and reads the latencies that the client logged.
    pub(crate) fn drive(&self, server: SocketAddr) -> anyhow::Result<Driven> {
        let log = NamedTempFile::new()?;
        let mut client = self.client();
        client.args(self.arguments(server, self.requests)).arg("--log-file").arg(log.path());
        let text = self.finished(&mut client, self.requests)?;
        let line = text.lines().find(|line| line.starts_with("finished in")).context("no closing line")?;
        let rate = line.split(", ").nth(1).and_then(|part| part.split(' ').next()).context("no rate")?;

        let log = std::fs::read_to_string(log.path())?;
        let mut latencies: Vec<u64> = log
            .lines()
            .map(|line| anyhow::Ok(line.split('\t').nth(2).context("three columns")?.parse()?))
            .collect::<Result<_, _>>()?;
        ensure!(latencies.len() as u64 == self.requests, "{} latencies logged", latencies.len());
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100] as f64;
        Ok(Driven { requests_per_second: rate.parse()?, p50_us: at(50), p99_us: at(99) })
    }

    /// Drives a server that refuses every call: each answer is a status alone.
    pub(crate) fn drive_refused(&self, server: SocketAddr) -> anyhow::Result<()> {
        let output = self.client().args(self.arguments(server, self.requests)).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "h2load: {}", output.status);
        let all = format!(" {} succeeded, 0 failed, 0 errored, 0 timeout", self.requests);
        ensure!(text.contains(&all) && text.contains("(0) data"), "not all were refused:\n{text}");
        Ok(())
    }

    /// The server's system calls for each request; `None` where the machine cannot count them.
    pub(crate) fn syscalls(&self, process: u32, server: SocketAddr) -> anyhow::Result<Option<f64>> {
        let counts = NamedTempFile::new()?;
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &process.to_string(), "-o"])
            .arg(counts.path())
            .arg("--");
        if self.pinned {
            perf.args(["taskset", "-c", &CLIENT_CORE.to_string()]);
        }
        perf.arg("h2load").args(self.arguments(server, self.requests));
        let Ok(output) = perf.output() else { return Ok(None) };
        let counts = std::fs::read_to_string(counts.path())?;
        let count =
            counts.lines().find(|line| line.contains("sys_enter")).and_then(|line| line.split(',').next());
        let Some(count) = count.and_then(|count| count.parse::<f64>().ok()) else { return Ok(None) };
        self.check(&String::from_utf8_lossy(&output.stdout), self.requests)?;
        Ok(Some(count / self.requests as f64))
    }

    fn client(&self) -> Command {
        if !self.pinned {
            return Command::new("h2load");
        }
        let mut command = on_core(CLIENT_CORE);
        command.arg("h2load");
        command
    }

    fn arguments(&self, server: SocketAddr, requests: u64) -> Vec<String> {
        let (connections, streams) = (self.shape.connections, self.shape.streams);
        let body = self.body.path().display();
        let mut arguments = vec![
            format!("-n{requests}"),
            format!("-c{connections}"),
            format!("-m{streams}"),
            "-t1".to_owned(),
            format!("-d{body}"),
        ];
        arguments.extend(
            match self.wire {
                Wire::Grpc => ["-Hcontent-type: application/grpc", "-Hte: trailers"],
                Wire::Json => ["-Hcontent-type: application/json", "--h1"],
            }
            .map(str::to_owned),
        );
        arguments.push(format!("http://{server}/echo.Echo/Say"));
        arguments
    }

    fn finished(&self, client: &mut Command, requests: u64) -> anyhow::Result<String> {
        let output = client.output().context("h2load: install nghttp2-client")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "h2load: {}", output.status);
        self.check(&text, requests)?;
        Ok(text)
    }

    /// Every request succeeded and brought its whole message back: an error of either kind has another length.
    fn check(&self, text: &str, requests: u64) -> anyhow::Result<()> {
        ensure!(text.contains(&format!(" {requests} succeeded, 0 failed, 0 errored, 0 timeout")), "{text}");
        let owed = requests * self.length;
        ensure!(text.contains(&format!("({owed}) data")), "{owed} bytes of messages are owed:\n{text}");
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B, {}", self.size, self.shape)
    }
}

/// Requests of a run with many calls at a time: about one second of a plain tonic server.
const CROWDED: u64 = 64_000;
/// Requests of a run with one call at a time.
const ALONE: u64 = 8_000;
/// The core of a pinned client.
const CLIENT_CORE: usize = 1;
