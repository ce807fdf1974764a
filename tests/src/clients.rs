//! Third-party clients, fetched by `tests/run` into `target/clients`.
//!
//! A client that is not there is said loudly. Where `CI` is set it fails the test: a proof that did not
//! run is no proof.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::repository;

/// The Python of the virtual environment that has grpcio.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn python() -> anyhow::Result<Option<Command>> {
    fetched("python/bin/python")
}

/// `schemathesis`, which asks a server all that its `OpenAPI` document says.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn schemathesis() -> anyhow::Result<Option<Command>> {
    fetched("python/bin/schemathesis")
}

/// Node, with grpc-js in its path.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn node() -> anyhow::Result<Option<Command>> {
    let modules = folder().join("node/node_modules");
    if !modules.join("@grpc/grpc-js").is_dir() {
        return missing("grpc-js");
    }
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules);
    Ok(Some(node))
}

/// A Go tool: `ghz`, `grpcurl`, `h2spec` or `connectconformance`.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn go_tool(name: &str) -> anyhow::Result<Option<Command>> {
    fetched(&format!("bin/{name}"))
}

/// The folder with the `.proto` files of the Connect conformance suite.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn conformance_protos() -> anyhow::Result<Option<PathBuf>> {
    let Ok(text) = std::fs::read_to_string(folder().join("conformance.json")) else {
        return missing("the conformance suite");
    };
    let module: serde_json::Value = serde_json::from_str(&text)?;
    let protos =
        PathBuf::from(module["Dir"].as_str().context("go mod download names a folder")?).join("proto");
    if protos.is_dir() { Ok(Some(protos)) } else { missing("the conformance suite") }
}

/// `h2load`, which the system brings.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn h2load() -> anyhow::Result<Option<Command>> {
    let there = Command::new("h2load").arg("--version").output().is_ok();
    if there { Ok(Some(Command::new("h2load"))) } else { missing("h2load") }
}

/// Whether `strace` is there, which the system brings.
///
/// # Errors
/// If it is missing where `CI` is set.
pub fn has_strace() -> anyhow::Result<bool> {
    let there = Command::new("strace").arg("--version").output().is_ok();
    Ok(there || missing::<()>("strace")?.is_some())
}

/// A script in `tests/clients`.
pub fn script(path: &str) -> PathBuf {
    repository().join("tests/clients").join(path)
}

/// Runs a client to its end and gives what it printed.
///
/// # Errors
/// What it wrote, if it fails.
pub fn run(client: &mut Command) -> anyhow::Result<String> {
    let output = client.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{client:?}: {}\n{stdout}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(stdout)
}

fn fetched(path: &str) -> anyhow::Result<Option<Command>> {
    let full = folder().join(path);
    if full.exists() { Ok(Some(Command::new(full))) } else { missing(path) }
}

#[expect(clippy::print_stderr, reason = "a test that could not run says so")]
fn missing<T>(what: &str) -> anyhow::Result<Option<T>> {
    if std::env::var_os("CI").is_some() {
        bail!("{what} is not in {}: run tests/run", folder().display());
    }
    eprintln!("NOT RUN: {what} is not in {}: run tests/run", folder().display());
    Ok(None)
}

fn folder() -> PathBuf {
    std::env::var_os("OKRA_CLIENTS").map_or_else(|| repository().join("target/clients"), PathBuf::from)
}
