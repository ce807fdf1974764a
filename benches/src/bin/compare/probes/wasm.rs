//! G9, G10 and G11: what a guest costs over a native kernel, with an instance of its own, and at a restart.
//!
//! The engine is set up as `okra serve` sets it up: interruptible, pooled memory. The guests are those of
//! `guests/`; the one in Go is built by the Go of the machine.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use exec_plan::{ExecPlan, Executor, GraphSource, NoOffload, RequestContext};
use kernels::{RpcServerCall, Service, Services};
use kernels_wasm::{
    Abi, Call, Engine, EngineOptions, Guest, Isolation, Limits, LoadOptions, Payload, Priming, Sample,
};
use proto_json::Schema;
use serve_host::deploy::PackageDigest;

use super::services;
use crate::goals::{Bound, Finding};
use crate::say;
use crate::spread::Spread;

/// The node, the call alone, fresh instances, and loading what was compiled before.
pub(crate) async fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let echo = std::fs::read_to_string(guests().join("echo").join("echo.wat"))?;
    let large =
        echo.replacen("(memory (export \"memory\") 1)", &LARGE.replace("DATA", &"a".repeat(1 << 20)), 1);
    ensure!(large.len() > 1 << 20, "the echo guest declares its memory in another way");
    let (echo, large) = (wat::parse_str(&echo)?, wat::parse_str(&large)?);
    let go = build_go().inspect_err(|error| say(&format!("LEFT OUT: the guest in Go: {error:#}"))).ok();
    let rust = services::ordinary()
        .inspect_err(|error| say(&format!("LEFT OUT: the guest in Rust: {error:#}")))
        .ok();

    let engine = Engine::new(options(None))?;
    let echo_guest = load(&engine, "bench.Echo.v1", echo.clone(), Payload::Protobuf).await?;
    let mut findings = node(&echo_guest, rounds).await?;
    let large = load(&engine, "bench.Large.v1", large, Payload::Protobuf).await?;
    let (go_guest, primed) = match &go {
        Some(wasm) => (
            Some(load(&engine, "bench.Math.v1", wasm.clone(), Payload::Json).await?),
            Some(load_primed(&engine, "bench.Math.v2", wasm.clone()).await?),
        ),
        None => (None, None),
    };
    for (what, guest, bound) in [
        ("tiny", Some(&echo_guest), Bound::AtMost(3.5)),
        ("1 MiB of data", Some(&large), Bound::AtMost(7.0)),
        ("a Go-sized JSON guest", go_guest.as_ref(), Bound::Record),
        ("a Go-sized JSON guest (primed snapshot)", primed.as_ref(), Bound::AtMost(15.0)),
    ] {
        let measured = match guest {
            Some(guest) => Some(fresh(guest, rounds).await?),
            None => None,
        };
        let what = format!("a fresh instance for a call: {what}");
        findings.push(Finding::new("G10", what, measured, " µs", bound));
    }
    let cache = tempfile::TempDir::new()?;
    for (what, wasm) in [("tiny", Some(echo)), ("300 KB of Rust", rust), ("3 MB of Go", go)] {
        let measured = match wasm {
            Some(wasm) => Some(restart(cache.path(), &wasm, rounds).await?),
            None => None,
        };
        let what = format!("loading from the cache at a restart: {what}");
        let bound = if what.ends_with("of Go") { Bound::Record } else { Bound::AtMost(150.0) };
        findings.push(Finding::new("G11", what, measured, " µs", bound));
    }
    Ok(findings)
}

/// A plan with `wasm_invoke` over the same with `identity`, from the run to the answer, and the call alone.
async fn node(guest: &Guest, rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let services = Services::new();
    services.insert(Service {
        id: "bench.Echo.v1".into(),
        route: "bench.Echo".into(),
        digest: "d".into(),
        schema: Schema::parse(Bytes::new())?,
        guest: guest.clone(),
        calls: Arc::new([]),
    });
    let native = plan(r#""identity""#, "value", &services)?;
    let invoking = r#""wasm_invoke", "params": {"service": "bench.Echo.v1", "digest": "d"}"#;
    let invoking = plan(invoking, "payload", &services)?;
    let (mut over, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut own, mut wasm, mut call) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            own.push(batch_of_runs(&native).await?);
            wasm.push(batch_of_runs(&invoking).await?);
            call.push(batch_of_calls(guest).await?);
        }
        let middle = |figures| anyhow::Ok(Spread::of(figures).context("no batches")?.median);
        over.push(middle(wasm)? - middle(own)?);
        alone.push(middle(call)?);
    }
    Ok(vec![
        Finding::new(
            "G9",
            "wasm_invoke over identity, warm echo of 64 B",
            Spread::of(over),
            " ns",
            Bound::AtMost(50.0),
        ),
        Finding::new("G9", "the call of the guest alone", Spread::of(alone), " ns", Bound::Record),
    ])
}

/// Nanoseconds of one run.
async fn batch_of_runs(plan: &Arc<ExecPlan>) -> anyhow::Result<f64> {
    let envelope = benches::envelope();
    let calls: Vec<_> = (0..BATCH)
        .map(|_| {
            let call = Arc::new(RpcServerCall::new(envelope.clone()));
            (Arc::new(RequestContext::new(call.clone())), call)
        })
        .collect();
    let begun = Instant::now();
    for (cx, _) in &calls {
        let run = Executor::drive(plan, cx, &NoOffload).await;
        black_box(run).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let taken = begun.elapsed();
    for (_, call) in &calls {
        let answer = call.take_answer().context("a run gave no answer")?;
        ensure!(answer.payload == envelope.payload, "{answer:?}");
    }
    Ok(taken.as_nanos() as f64 / BATCH as f64)
}

/// Nanoseconds of one call.
async fn batch_of_calls(guest: &Guest) -> anyhow::Result<f64> {
    let call = call(guest, Isolation::Warm);
    let begun = Instant::now();
    for _ in 0..BATCH {
        black_box(guest.call(call.clone()).await?);
    }
    Ok(begun.elapsed().as_nanos() as f64 / BATCH as f64)
}

/// Microseconds of a call in an instance of its own.
async fn fresh(guest: &Guest, rounds: usize) -> anyhow::Result<Spread> {
    let call = call(guest, Isolation::Fresh);
    let mut middles = Vec::new();
    for _ in 0..rounds {
        let mut taken = Vec::new();
        for _ in 0..FRESH {
            let call = call.clone();
            let begun = Instant::now();
            let reply = guest.call(call).await?;
            taken.push(begun.elapsed().as_secs_f64() * 1e6);
            ensure!(!reply.payload.is_empty(), "the guest answered nothing");
        }
        middles.extend(Spread::of(taken).map(|spread| spread.median));
    }
    Spread::of(middles).context("no rounds")
}

/// Microseconds of a load by an engine that was just started, with the compiled code of another one.
///
/// As the host does it: the module's digest is known beforehand, for it stands in the ledger of what is deployed.
/// From there to a first instance that is ready; that the host also reads and unpacks the package is not in it.
async fn restart(cache: &Path, wasm: &[u8], rounds: usize) -> anyhow::Result<Spread> {
    drop(load(&Engine::new(options(Some(cache)))?, "bench", wasm.to_vec(), Payload::Protobuf).await?);
    let digest = *PackageDigest::of(wasm).as_bytes();
    let other = wat::parse_str(std::fs::read_to_string(guests().join("attackers").join("trap.wat"))?)?;
    let mut taken = Vec::new();
    for _ in 0..rounds {
        let engine = Engine::new(options(Some(cache)))?;
        // A host that restarts has many to load; the first also starts the engine's clock.
        drop(load(&engine, "other", other.clone(), Payload::Protobuf).await?);
        let options = load_options("bench", Payload::Protobuf);
        let begun = Instant::now();
        let guest = engine.load_kept(digest, options).await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e6);
        ensure!(guest.is_some(), "the code was not kept");
    }
    Spread::of(taken).context("no rounds")
}

async fn load(engine: &Engine, name: &str, wasm: Vec<u8>, payload: Payload) -> anyhow::Result<Guest> {
    Ok(engine.load(wasm, load_options(name, payload)).await?)
}

fn load_options(name: &str, payload: Payload) -> LoadOptions {
    LoadOptions { name: name.into(), abi: Abi { payload, envelope: false }, limits: Limits::default() }
}

/// The guest in Go after some calls like those that are measured.
async fn load_primed(engine: &Engine, name: &str, wasm: Vec<u8>) -> anyhow::Result<Guest> {
    let options = load_options(name, Payload::Json);
    let sample = Sample { method: "add".to_owned(), input: Bytes::from_static(ADD) };
    Ok(engine.load_primed(wasm, Priming { samples: vec![sample; SAMPLES] }, options).await?)
}

fn call(guest: &Guest, isolation: Isolation) -> Call {
    let is_json = guest.abi().payload == Payload::Json;
    Call {
        method: if is_json { "add" } else { "say" }.into(),
        input: if is_json { Bytes::from_static(ADD) } else { benches::envelope().payload },
        envelope: None,
        deadline: None,
        isolation,
        nested: false,
        host: None,
    }
}

fn options(cache: Option<&Path>) -> EngineOptions {
    EngineOptions { cache: cache.map(Path::to_owned), ..EngineOptions::default() }
}

/// The call's message through one node, then answered.
fn plan(kernel: &str, port: &str, services: &Services) -> anyhow::Result<Arc<ExecPlan>> {
    let output = if port == "value" { "value" } else { "payload" };
    let text = format!(
        r#"{{"version": "1.0.0", "name": "one", "nodes": [
            {{"id": "node", "kernel": {kernel}, "inputs": ["{port}"], "outputs": ["{output}"]}},
            {{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}}
        ], "bindings": [
            {{"to": "node.{port}", "from": "$req.rpc.payload"}},
            {{"to": "out.call", "from": "$req.rpc.call"}},
            {{"to": "out.payload", "from": "node.{output}"}}
        ]}}"#
    );
    let source = GraphSource { origin: "one".into(), stem: None, text: text.into() };
    let plan = ExecPlan::compile(&source, &kernels::builtin_with(services), &kernels::serve_env());
    Ok(Arc::new(plan.map_err(|errors| anyhow::anyhow!("{errors}"))?))
}

fn build_go() -> anyhow::Result<Vec<u8>> {
    let wasm = tests::repository().join("target").join("peers").join("math.wasm");
    let mut go = Command::new("go");
    go.current_dir(guests().join("math")).env("GOOS", "wasip1").env("GOARCH", "wasm");
    go.args(["build", "-buildmode=c-shared", "-ldflags=-s -w", "-o"]).arg(&wasm).arg(".");
    ensure!(go.status().context("install Go 1.26")?.success(), "it does not build");
    Ok(std::fs::read(wasm)?)
}

fn guests() -> std::path::PathBuf {
    tests::repository().join("guests")
}

/// Memory of a guest with a mebibyte of data behind what the echo uses.
const LARGE: &str = r#"(memory (export "memory") 18) (data (i32.const 131072) "DATA")"#;
/// A call of the guest in Go.
const ADD: &[u8] = br#"{"a":20,"b":22}"#;
/// The calls that prime it.
const SAMPLES: usize = 3;
const BATCH: usize = 64;
const BATCHES: usize = 500;
/// Calls with an instance of their own, in a round.
const FRESH: usize = 300;
