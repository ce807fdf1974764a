//! What guests see of the world: real clocks, real randomness, and nothing else.

use kernels_wasm::Limits;

use crate::workshop::{ask, call, engine, load, load_with, module};

const WASI: &str = "wasi_snapshot_preview1";

/// A guest that answers with 32 bytes at 64, which `body` fills.
fn shows(name: &str, signature: &str, body: &str) -> Vec<u8> {
    let import = format!("(import \"{WASI}\" \"{name}\" (func $f {signature}))");
    let body = format!(
        "{body}
         (local.set $out (call $allocate (i32.const 32)))
         (memory.copy (local.get $out) (i32.const 64) (i32.const 32))
         (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)) (i64.const 32))"
    );
    module(&import, "", &body)
}

async fn bytes(wasm: Vec<u8>) -> Vec<u8> {
    let guest = load(&engine(), wasm).await;
    guest.call(call("m", "x")).await.unwrap().payload.to_vec()
}

#[tokio::test]
async fn randomness_differs_from_call_to_call() {
    let wasm =
        shows("random_get", "(param i32 i32) (result i32)", "(drop (call $f (i32.const 64) (i32.const 32)))");
    let guest = load(&engine(), wasm).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..64 {
        assert!(seen.insert(guest.call(call("m", "x")).await.unwrap().payload));
    }
}

#[tokio::test]
async fn clocks_are_real() {
    let body = "(drop (call $f (i32.const 0) (i64.const 0) (i32.const 64)))";
    let shown = bytes(shows("clock_time_get", "(param i32 i64 i32) (result i32)", body)).await;
    let nanos = u128::from(u64::from_le_bytes(*shown.first_chunk().unwrap()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert!(now - nanos < 20_000_000_000, "{nanos} {now}");
}

/// Calls with every argument zero, and says what the errno was.
async fn errno(name: &str, arguments: &str) -> u8 {
    let types: Vec<_> = arguments.chars().map(|c| if c == 'l' { "i64" } else { "i32" }).collect();
    let zeros: Vec<_> = types.iter().map(|t| format!("({t}.const 0)")).collect();
    let signature = format!("(param {}) (result i32)", types.join(" "));
    let body = format!("(i32.store (i32.const 64) (call $f {}))", zeros.join(" "));
    bytes(shows(name, &signature, &body)).await[0]
}

#[tokio::test]
async fn there_are_no_files_no_sockets_and_no_arguments() {
    for (name, arguments, expected) in [
        ("args_get", "ii", 0),
        ("args_sizes_get", "ii", 0),
        ("environ_get", "ii", 0),
        ("environ_sizes_get", "ii", 0),
        ("fd_prestat_get", "ii", 8),
        ("fd_prestat_dir_name", "iii", 8),
        ("fd_readdir", "iiili", 8),
        ("fd_seek", "ilii", 70),
        ("fd_fdstat_get", "ii", 0),
        ("fd_close", "i", 0),
        ("path_open", "iiiiillii", 76),
        ("path_unlink_file", "iii", 76),
        ("sock_accept", "iii", 58),
        ("sched_yield", "", 0),
        ("proc_raise", "i", 58),
        ("poll_oneoff", "iiii", 28),
        ("clock_res_get", "ii", 0),
    ] {
        assert_eq!(errno(name, arguments).await, expected, "{name}");
    }
}

#[tokio::test]
async fn pointers_outside_memory_are_an_error_of_the_guests() {
    for (name, signature, arguments) in [
        ("random_get", "(param i32 i32) (result i32)", "(i32.const -8) (i32.const 9)"),
        ("clock_time_get", "(param i32 i64 i32) (result i32)", "(i32.const 1) (i64.const 0) (i32.const -4)"),
        (
            "fd_write",
            "(param i32 i32 i32 i32) (result i32)",
            "(i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0)",
        ),
        (
            "fd_read",
            "(param i32 i32 i32 i32) (result i32)",
            "(i32.const 0) (i32.const -1) (i32.const 9) (i32.const 0)",
        ),
        (
            "poll_oneoff",
            "(param i32 i32 i32 i32) (result i32)",
            "(i32.const -48) (i32.const 0) (i32.const 2) (i32.const 0)",
        ),
        ("args_sizes_get", "(param i32 i32) (result i32)", "(i32.const -1) (i32.const 0)"),
    ] {
        let body = format!("(i32.store (i32.const 64) (call $f {arguments}))");
        assert_eq!(bytes(shows(name, signature, &body)).await[0], 21, "{name}");
    }
}

#[tokio::test]
async fn calls_of_wasi_are_counted() {
    let wasm =
        shows("fd_close", "(param i32) (result i32)", "(loop $l (drop (call $f (i32.const 9))) (br $l))");
    let limits = Limits { wasi_calls: 5_000, ..Limits::default() };
    let guest = load_with(&engine(), wasm, limits).await;
    let fault = ask(&guest, "m", "x").await.unwrap_err();
    assert_eq!(fault.to_string(), "the service made more than 5000 calls to its host");
}
