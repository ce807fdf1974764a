//! Memory: what ten thousand connections hold that made one call each and wait.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::documented_graph;
use tests::process::Process;
use tests::raw::{self, PREFACE, SETTINGS, call_headers, frame};
use tests::server::Serve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::goals::{Bound, Finding};
use crate::say;
use crate::spread::Spread;

/// Resident memory with the connections open.
pub(crate) async fn findings() -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for transport in ["native", "tonic"] {
        let bound = if transport == "native" { Bound::AtMost(120.0) } else { Bound::Record };
        let measured = match resident(transport).await {
            Ok(megabytes) => Some(Spread::single(megabytes)),
            Err(error) => {
                say(&format!("LEFT OUT: idle connections, {transport}: {error:#}"));
                None
            }
        };
        let what = format!("RSS with {CONNECTIONS} idle connections, {transport}");
        findings.push(Finding::new("memory", what, measured, " MB", bound));
    }
    Ok(findings)
}

async fn resident(transport: &str) -> anyhow::Result<f64> {
    let okra = Serve::graphs(documented_graph("echo.json"))
        .flag("--transport", transport)
        .flag("--connections-max", CONNECTIONS + 100)
        .flag("--connections-max-per-ip", CONNECTIONS + 100)
        .flag("--connections-idle-timeout", "1h")
        .start()
        .await?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        open.push(called(okra.service()).await.with_context(|| format!("connection {number}"))?);
    }
    let completed = okra.admin().stats().await?.completed;
    ensure!(completed == CONNECTIONS as u64, "{completed} calls were answered");
    let held = Process(okra.id()).holding()?;
    ensure!(held.files > CONNECTIONS, "only {} files are open", held.files);
    Ok(held.memory_kib as f64 * 1024.0 / 1e6)
}

/// A connection that made one call.
async fn called(address: std::net::SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let message = frame(raw::DATA, raw::END_STREAM, 1, &raw::message(0, MESSAGE));
    let headers = frame(raw::HEADERS, raw::END_HEADERS, 1, &call_headers("/echo.Echo/Say"));
    let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat();
    stream.write_all(&[PREFACE, &settings, &headers, &message].concat()).await?;
    let mut answer = Vec::new();
    let echoed = async {
        while !answer.windows(MESSAGE.len()).any(|part| part == MESSAGE) {
            ensure!(stream.read_buf(&mut answer).await? > 0, "closed before it answered");
        }
        Ok(())
    };
    timeout(PATIENCE, echoed).await.context("no answer")??;
    Ok(stream)
}

const CONNECTIONS: usize = 10_000;
const MESSAGE: &[u8] = b"ten thousand of these";
const PATIENCE: Duration = Duration::from_secs(10);
