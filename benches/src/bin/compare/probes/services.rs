//! Deployed services: G16, what JSON over Connect costs; and the memory of each service that is loaded.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tempfile::{NamedTempFile, TempDir};
use tests::guests::go_guest;
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
    let what = format!("RSS of a loaded service of 300 KB, of {SERVICES}");
    Ok(vec![Finding::new("memory", what, measured, " MB", Bound::AtMost(2.0))])
}

async fn resident() -> anyhow::Result<f64> {
    let data = TempDir::new()?;
    let serve = || Serve::empty().data_dir(data.path());
    let held = |okra: &Okra| anyhow::Ok(Process(okra.id()).holding()?.memory_kib as f64 * 1024.0 / 1e6);
    let okra = serve().start().await?;
    package::deployed(&okra, &large(SERVICES)?).await?;
    drop(okra);
    // With one service the engine is there, and what all of them share.
    let okra = serve().start().await?;
    call(&okra, SERVICES).await?;
    let one = held(&okra)?;
    for number in 0..SERVICES {
        package::deployed(&okra, &large(number)?).await?;
    }
    drop(okra);
    let okra = serve().start().await?;
    for number in 0..=SERVICES {
        call(&okra, number).await?;
    }
    Ok((held(&okra)? - one) / f64::from(SERVICES))
}

async fn call(okra: &Okra, number: u32) -> anyhow::Result<()> {
    let said = ask(okra, &format!("/large.Large{number}/say"), r#"{"text":"x"}"#).await?;
    ensure!(said == r#"{"text":"x"}"#, "{said}");
    Ok(())
}

/// What a method says to some JSON, over Connect.
async fn ask(okra: &Okra, path: &str, json: &'static str) -> anyhow::Result<String> {
    let mut client = Http::one(okra.service()).await?;
    let reply = client.send("POST", path, &[("content-type", "application/json")], json).await?;
    Ok(String::from_utf8(reply.body.to_vec())?)
}

/// A service that echoes, with 300 KB of code beside that.
fn large(number: u32) -> anyhow::Result<Packed> {
    let schema = format!(
        "@okra(namespace: \"large\", version: \"v1\")\nservice Large{number} {{ say(input: Text): Text }}\n\
         type Text {{ text: String! }}\n"
    );
    package::pack(&schema, &with_code(number)?)
}

/// The guest that echoes, with 300 KB of code beside that; each number has code of its own.
pub(crate) fn with_code(number: u32) -> anyhow::Result<Vec<u8>> {
    let echo = std::fs::read_to_string(tests::repository().join("guests").join("echo").join("echo.wat"))?;
    let mut text = echo.trim_end().strip_suffix(')').context("a module")?.to_owned();
    for function in 0..FUNCTIONS {
        let constant = number * FUNCTIONS + function;
        write!(
            text,
            "(func (param $x i32) (result i32)
               (i32.xor (i32.mul (local.get $x) (i32.const {constant}))
                 (i32.rotl (i32.add (local.get $x) (i32.const {})) (i32.rem_u (local.get $x) (i32.const 31)))))",
            constant.wrapping_mul(2_654_435_761)
        )?;
    }
    text.push(')');
    let wasm = wat::parse_str(&text)?;
    ensure!((280_000..320_000).contains(&wasm.len()), "{} bytes of code", wasm.len());
    Ok(wasm)
}

const ADD_PATH: &str = "/test.math.MathService/add";
const ADD: &str = r#"{"a":20,"b":22}"#;
const CONNECTIONS: u32 = 64;
/// For each connection as many, so that all of them work to the end.
const REQUESTS: u32 = 32_000;
const SERVICES: u32 = 20;
/// Together about 300 KB.
const FUNCTIONS: u32 = 9_300;
