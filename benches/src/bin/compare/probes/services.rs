//! Deployed services: G16, what JSON over Connect costs; and the memory of each service that is loaded.
//!
//! The service of 300 KB is `guests/redactor`. [`ordinary`] says what it is made of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::{NamedTempFile, TempDir};
use tests::guests::{go_guest, rust_guest};
use tests::http::Http;
use tests::package::{self, DEPLOY, Packed};
use tests::process::Process;
use tests::server::{Okra, Serve};

use crate::goals::{Bound, Finding};
use crate::load::{Load, Shape};
use crate::machine;
use crate::peers::{Peer, Server};
use crate::say;
use crate::spread::Spread;

/// CPU of a JSON call of a Go-sized guest over HTTP/1.1, over that of a call of plain tonic with as many clients,
/// and over that of our own 404.
pub(crate) async fn connect(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let (over_tonic, over_404) = match measure_connect(rounds).await {
        Ok((over_tonic, over_404)) => (Some(over_tonic), Some(over_404)),
        Err(error) => {
            say(&format!("LEFT OUT: JSON over Connect: {error:#}"));
            (None, None)
        }
    };
    let what = "CPU, JSON over Connect and HTTP/1.1 to a guest in Go, 64 connections";
    Ok(vec![
        Finding::new("G16", format!("{what} ÷ tonic, 64 B, 64x1"), over_tonic, "", Bound::AtMost(1.5)),
        Finding::new("G16", format!("{what} ÷ our own 404"), over_404, "", Bound::AtMost(1.6)),
    ])
}

async fn measure_connect(rounds: usize) -> anyhow::Result<(Spread, Spread)> {
    let okra = Serve::empty().start().await?;
    let package = std::fs::read(go_guest("math")?)?;
    okra.admin().upload(DEPLOY, package.into()).await?.json()?;
    let tonic = Server::start(Peer::Tonic, false).await?;
    let load = Load::new(64, Shape { connections: CONNECTIONS, streams: 1 }, 50, false)?;
    let body = NamedTempFile::new()?;
    std::fs::write(body.path(), ADD)?;
    let said = ask(&okra, ADD_PATH, ADD).await?;
    ensure!(said == r#"{"sum":42}"#, "the guest answers {said}");

    let (mut over_tonic, mut over_404) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let json = cpu_of(&okra, || post(okra.service(), ADD_PATH, &body, "2xx"))?;
        let missing = cpu_of(&okra, || post(okra.service(), "/no.Service/none", &body, "4xx"))?;
        let before = machine::cpu_time(tonic.id())?;
        load.drive(tonic.address())?;
        let grpc = (machine::cpu_time(tonic.id())? - before).as_nanos() as f64 / load.requests() as f64;
        // The first round fills caches.
        if round > 0 {
            over_tonic.push(json / grpc);
            over_404.push(json / missing);
        }
    }
    Ok((Spread::of(over_tonic).context("no rounds")?, Spread::of(over_404).context("no rounds")?))
}

/// Nanoseconds of the server for each of [`REQUESTS`].
fn cpu_of(okra: &Okra, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let before = machine::cpu_time(okra.id())?;
    work()?;
    Ok((machine::cpu_time(okra.id())? - before).as_nanos() as f64 / f64::from(REQUESTS))
}

/// Posts JSON over HTTP/1.1, as often as [`REQUESTS`] says; all answers must be of one class.
fn post(server: SocketAddr, path: &str, body: &NamedTempFile, class: &str) -> anyhow::Result<()> {
    let mut client = Command::new("h2load");
    client.args(["--h1", "-t1", "-Hcontent-type: application/json"]);
    client.args([
        format!("-n{REQUESTS}"),
        format!("-c{CONNECTIONS}"),
        format!("-d{}", body.path().display()),
    ]);
    let output = client.arg(format!("http://{server}{path}")).output().context("install nghttp2-client")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains(&format!("{REQUESTS} {class}")), "{path}:\n{text}");
    Ok(())
}

/// Resident memory that each of many services adds, loaded after a restart and called once.
pub(crate) async fn memory() -> anyhow::Result<Vec<Finding>> {
    let measured = match resident().await {
        Ok(megabytes) => Some(Spread::single(megabytes)),
        Err(error) => {
            say(&format!("LEFT OUT: the memory of a service: {error:#}"));
            None
        }
    };
    let what = format!("RSS of a loaded service of 300 KB (Rust), of {SERVICES}");
    Ok(vec![Finding::new("memory", what, measured, " MB", Bound::AtMost(2.0))])
}

async fn resident() -> anyhow::Result<f64> {
    let data = TempDir::new()?;
    let serve = || Serve::empty().data_dir(data.path());
    let held = |okra: &Okra| anyhow::Ok(Process(okra.id()).holding()?.memory_kib as f64 * 1024.0 / 1e6);
    let okra = serve().start().await?;
    let guest = ordinary()?;
    package::deployed(&okra, &redactor(&guest, SERVICES)?).await?;
    drop(okra);
    // With one service the engine is there, and what all of them share.
    let okra = serve().start().await?;
    call(&okra, SERVICES).await?;
    let one = held(&okra)?;
    for number in 0..SERVICES {
        package::deployed(&okra, &redactor(&guest, number)?).await?;
    }
    drop(okra);
    let okra = serve().start().await?;
    for number in 0..=SERVICES {
        call(&okra, number).await?;
    }
    Ok((held(&okra)? - one) / f64::from(SERVICES))
}

async fn call(okra: &Okra, number: u32) -> anyhow::Result<()> {
    let said = ask(okra, &format!("/large.Redactor{number}/redact"), ASKED).await?;
    ensure!(said == SAID, "{said}");
    Ok(())
}

/// What a method says to some JSON, over Connect.
async fn ask(okra: &Okra, path: &str, json: &'static str) -> anyhow::Result<String> {
    let mut client = Http::one(okra.service()).await?;
    let reply = client.send("POST", path, &[("content-type", "application/json")], json).await?;
    Ok(String::from_utf8(reply.body.to_vec())?)
}

/// One of many services that are alike; each has a module of its own, for the host would share one.
fn redactor(guest: &[u8], number: u32) -> anyhow::Result<Packed> {
    let schema = std::fs::read_to_string(redactor_folder().join("service.okra.gql"))?;
    let schema = schema.replace("\"myapp\"", "\"large\"");
    let schema = schema.replace("service Redactor {", &format!("service Redactor{number} {{"));
    // A custom section: its length, and that of its name, stand before the name.
    let mut wasm = guest.to_vec();
    wasm.extend_from_slice(b"\x00\x09\x04twin");
    wasm.extend_from_slice(&number.to_le_bytes());
    package::pack(&schema, &wasm)
}

/// A guest of 300 KB such as a compiler makes: `guests/redactor`, in Rust, with libraries for JSON and for patterns,
/// built with the options of `guests/greeter`.
///
/// With Rust 1.95 it has 298 KB, of which 259 KB are 597 functions: 432 bytes in the mean, half of them under 155,
/// a tenth over 985. The greeter (104 KB) has 219 of 335 bytes in the mean, half under 110; the adder in Go
/// (3.4 MB) 2,192 of 1,005, half under 531. That matters, for loading takes time for each function, too.
pub(crate) fn ordinary() -> anyhow::Result<Vec<u8>> {
    rust_guest("redactor")?;
    let wasm = std::fs::read(redactor_folder().join("target/wasm32-wasip1/release/redactor.wasm"))?;
    ensure!((270_000..330_000).contains(&wasm.len()), "guests/redactor is {} bytes now", wasm.len());
    Ok(wasm)
}

fn redactor_folder() -> PathBuf {
    tests::repository().join("guests").join("redactor")
}

/// Something for it to do.
const ASKED: &str = r#"{"text":"Ada <ada@example.org> paid with 4111 1111 1111 1111."}"#;
const SAID: &str = r#"{"text":"Ada <***> paid with ***1111.","addresses":1,"cards":1}"#;
const ADD_PATH: &str = "/test.math.MathService/add";
const ADD: &str = r#"{"a":20,"b":22}"#;
const CONNECTIONS: u32 = 64;
/// For each connection as many, so that all of them work to the end.
const REQUESTS: u32 = 32_000;
const SERVICES: u32 = 20;
