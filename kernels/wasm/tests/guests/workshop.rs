//! Makes guests from text, and engines to run them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernels_wasm::{
    Abi, Call, Engine, EngineOptions, Guest, GuestFault, Limits, LoadError, LoadOptions, Reply,
};

/// A guest whose `handle_request` is this text; it may use `$method`, `$method_len`, `$input`, `$len` and
/// the local `$out`, and call `$allocate`, `$deallocate` and `$echo`.
pub(crate) fn module(imports: &str, extras: &str, body: &str) -> Vec<u8> {
    let echo = std::fs::read_to_string(file("echo/echo.wat")).unwrap();
    let (head, handle) = echo.split_once("  (func (export \"handle_request\")").unwrap();
    let (head, memory) = head.split_once("  (memory").unwrap();
    let text = format!(
        "{head}{imports}  (memory{memory}{extras}
           (func $echo {handle}
           (func (export \"handle_request\")
             (param $method i32) (param $method_len i32) (param $input i32) (param $len i32) (result i64)
             (local $out i32)
             {body}))",
        handle = handle.trim_end().strip_suffix(')').unwrap(),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The code of a guest in `guests/`.
pub(crate) fn guest_file(name: &str) -> Vec<u8> {
    wat::parse_file(file(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(name)
}

/// An engine for a few instances.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions { max_instances: 32, ..EngineOptions::default() }).unwrap()
}

pub(crate) fn options(name: &str, limits: Limits) -> LoadOptions {
    LoadOptions { name: name.into(), abi: Abi::default(), limits }
}

pub(crate) async fn load(engine: &Engine, wasm: Vec<u8>) -> Guest {
    load_with(engine, wasm, Limits::default()).await
}

pub(crate) async fn load_with(engine: &Engine, wasm: Vec<u8>, limits: Limits) -> Guest {
    engine.load(wasm, options("guest", limits)).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn refused(engine: &Engine, wasm: Vec<u8>) -> LoadError {
    engine.load(wasm, options("guest", Limits::default())).await.expect_err("it must not load")
}

/// A call that must be answered within a while.
pub(crate) fn call(method: &str, input: &str) -> Call {
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    Call { deadline, ..Call::new(method, input.to_owned()) }
}

/// What a call gives, as text.
pub(crate) async fn ask(guest: &Guest, method: &str, input: &str) -> Result<String, GuestFault> {
    guest.call(call(method, input)).await.map(|reply| text(&reply))
}

pub(crate) fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.payload).into_owned()
}
