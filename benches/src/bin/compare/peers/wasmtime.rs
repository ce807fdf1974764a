//! `wasmtime serve`, the server that the wasmtime command comes with, and the component that it serves.
//!
//! The command is built from the registry at the version of wasmtime that okra itself is built with, with the
//! options of okra's own release, and once: it takes some ten minutes. What it can do beyond serving is left
//! out of it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use ::tests::repository;
use anyhow::{Context as _, ensure};

use super::foreign;

/// Where the command lies.
pub(super) fn program() -> PathBuf {
    foreign::built().join("wasmtime").join("bin").join("wasmtime")
}

/// The command that serves the echo on `port`.
///
/// All is as it comes: on Linux memory is pooled, every request has an instance of its own, and nothing
/// interrupts a guest. `-S cli` gives the component what Rust's standard library asks for. If it is not to be
/// `fresh`, an instance serves one request after another for as long as the run lasts.
pub(super) fn command(port: u16, fresh: bool) -> Vec<OsString> {
    let mut words = vec![program().into_os_string()];
    words.extend(["serve", "-S", "cli", "--addr", &format!("127.0.0.1:{port}")].map(OsString::from));
    if !fresh {
        words.extend(["--max-instance-reuse-count", REUSE].map(OsString::from));
    }
    words.push(component().into_os_string());
    words
}

/// Builds the component; and the command, unless it is there, only if that may be `slow`.
///
/// # Errors
/// What is missing, and how to come by it.
pub(super) fn build(slow: bool) -> anyhow::Result<()> {
    let version = version()?;
    if !is_there(&version) {
        ensure!(slow, "--build-wasmtime builds the command, in ten minutes");
        install(&version)?;
    }
    foreign::guest("wasi-http", "wasm32-wasip2")
}

fn component() -> PathBuf {
    foreign::built().join("wasi-http/wasm32-wasip2/release/wasi_http_echo.wasm")
}

/// The version of wasmtime that is in our lock file.
fn version() -> anyhow::Result<String> {
    let lock = std::fs::read_to_string(repository().join("Cargo.lock"))?;
    Ok(locked(&lock).context("no wasmtime in Cargo.lock")?.to_owned())
}

fn locked(lock: &str) -> Option<&str> {
    let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"")?;
    Some(after.split_once('"')?.0)
}

fn is_there(version: &str) -> bool {
    let Ok(said) = Command::new(program()).arg("--version").output() else { return false };
    String::from_utf8_lossy(&said.stdout).split_whitespace().nth(1) == Some(version)
}

fn install(version: &str) -> anyhow::Result<()> {
    let mut cargo = foreign::cargo();
    cargo.args(["install", "wasmtime-cli", "--version", &format!("={version}"), "--locked", "--force"]);
    cargo
        .args(["--no-default-features", "--features", FEATURES, "--root"])
        .arg(foreign::built().join("wasmtime"));
    cargo.arg("--target-dir").arg(foreign::built().join("wasmtime-build"));
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "thin").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "4");
    foreign::done(&mut cargo, "cargo fetches it from crates.io")
}

/// What serving takes, and what makes it fast.
const FEATURES: &str =
    "run,serve,cranelift,pooling-allocator,parallel-compilation,component-model-async,logging";
/// The requests of one instance.
const REUSE: &str = "1000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let package = |name, version| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
        let lock =
            package("wasm-encoder", "1.0.0") + &package("wasmtime", "2.3.4") + &package("wat", "5.0.0");
        assert_eq!(locked(&lock), Some("2.3.4"));
        assert_eq!(locked(&package("wasmtime-wizer", "1.0.0")), None);
    }
}
