//! The forms in which guests are called: OKRA with JSON, with envelopes, and commands.

use bytes::Bytes;
use kernels_wasm::{Abi, Call, Entry, Field, GuestFault, Limits, LoadOptions, Payload, RequestEnvelope};

use crate::workshop::{ask, call, engine, guest_file, load, module, text};

#[tokio::test]
async fn a_request_of_any_size_comes_back() {
    let guest = load(&engine(), guest_file("echo/echo.wat")).await;
    for len in [0, 1, 64, 4_096, 70_000, 4 << 20] {
        let sent = "x".repeat(len);
        let reply = ask(&guest, "echo", &sent).await;
        // An empty result is no result: the ABI has no other word for it than null.
        match len {
            0 => assert_eq!(reply, Err(GuestFault::GuestSilent)),
            _ => assert_eq!(reply.unwrap().len(), len),
        }
    }
    let too_much = ask(&guest, "echo", &"x".repeat(64 << 20)).await.unwrap_err();
    assert_eq!(too_much, GuestFault::MemoryLimit { limit: 64 << 20 });
    assert!(guest.stats().memory_high_water >= 8 << 20);
}

/// Answers with the packed result that stands in its data, `len` bytes of it.
fn says(words: &str, packed: u64) -> Vec<u8> {
    let escaped = words.replace('"', "\\\"");
    let data = format!("(data (i32.const 16) \"{escaped}\")");
    let body = format!(
        "(local.set $out (call $allocate (i32.const {len})))
         (memory.copy (local.get $out) (i32.const 16) (i32.const {len}))
         (i64.or (i64.const {packed}) (i64.or (i64.const {len})
           (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))))",
        len = words.len()
    );
    module("", &data, &body)
}

const ERROR: u64 = 1 << 63;

#[tokio::test]
async fn a_guests_error_is_told_in_its_own_words() {
    let engine = engine();
    for (words, expected) in [
        (r#"{"error":"no such cart"}"#, GuestFault::Guest("no such cart".into())),
        (r#"{"error":"unknown method: dance"}"#, GuestFault::UnknownMethod("dance".into())),
        ("oops", GuestFault::Malformed("an error that is not JSON")),
    ] {
        let guest = load(&engine, says(words, ERROR)).await;
        assert_eq!(ask(&guest, "dance", "{}").await, Err(expected));
    }
    let silent = load(&engine, module("", "", "(i64.const 0)")).await;
    assert_eq!(ask(&silent, "m", "{}").await, Err(GuestFault::GuestSilent));
    let null = load(&engine, says("null", 0)).await;
    assert_eq!(ask(&null, "m", "{}").await.unwrap(), "{}");
}

/// Knows `add` alone, as wrappers of Go guests do; anything else is an unknown method.
#[tokio::test]
async fn a_method_is_tried_with_a_small_letter_and_that_is_remembered() {
    let unknown = r#"{\"error\":\"unknown method: Add\"}"#;
    let wasm = module(
        "",
        &format!("(data (i32.const 16) \"{unknown}\") (global $calls (mut i32) (i32.const 0))"),
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 97)) (then
           (i32.store8 (local.get $input) (i32.add (i32.const 48) (global.get $calls)))
           (return (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len)))))
         (local.set $out (call $allocate (i32.const 31)))
         (memory.copy (local.get $out) (i32.const 16) (i32.const 31))
         (i64.or (i64.const 0x800000000000001f) (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)))",
    );
    let guest = load(&engine(), wasm).await;
    assert_eq!(ask(&guest, "Add", "?").await.unwrap(), "2", "tried as it is, then with a small letter");
    assert_eq!(ask(&guest, "Add", "?").await.unwrap(), "3", "and then at once");
    assert_eq!(ask(&guest, "add", "?").await.unwrap(), "4");
    let unknown = ask(&guest, "Sub", "?").await;
    assert_eq!(unknown, Err(GuestFault::UnknownMethod("Add".into())));
}

#[tokio::test]
async fn initialize_runs_once_an_instance() {
    let wasm = module(
        "",
        "(global $begun (mut i32) (i32.const 48))
         (func (export \"_initialize\") (global.set $begun (i32.add (global.get $begun) (i32.const 1))))",
        "(i32.store8 (local.get $input) (global.get $begun))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    );
    let guest = load(&engine(), wasm).await;
    for _ in 0..3 {
        assert_eq!(ask(&guest, "m", "?").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn an_envelope_carries_what_surrounds_the_payload() {
    let abi = Abi { payload: Payload::Protobuf, envelope: true };
    let options = LoadOptions { name: "e".into(), abi, limits: Limits::default() };
    // A request is no response, but read as one it shows what was sent: the method as payload.
    let guest = engine().load(guest_file("echo/echo.wat"), options).await.unwrap();
    let envelope = RequestEnvelope {
        metadata: vec![Field { name: "k".into(), value: Bytes::from_static(b"v") }],
        deadline_ms: Some(7),
        peer: "".into(),
        path: "/a.B/C".into(),
    };
    let fault = guest.call(Call { envelope: Some(envelope), ..call("C", "\x08\x05") }).await;
    let reply = fault.unwrap();
    assert_eq!(reply.payload, "/a.B/C");
    // The client's address, which is empty, reads as an entry of metadata.
    assert_eq!(reply.envelope.metadata, [Field { name: "".into(), value: Bytes::new() }]);
}

/// Reads standard input, and writes what follows the first `"input":` in place of the answer's result.
fn command(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2)
        (data (i32.const 0) "\00\01\00\00\00\10\00\00")
        (data (i32.const 32) "{{\"result\":")
        (data (i32.const 64) "}}")
        (data (i32.const 80) "{{\"error\":\"no\"}}")
        (func $put (param $ptr i32) (param $len i32)
          (i32.store (i32.const 8) (local.get $ptr))
          (i32.store (i32.const 12) (local.get $len))
          (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16))))
        (func (export "_start")
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 20)))
          {body}))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_command_reads_its_request_and_writes_its_result() {
    let engine = engine();
    let echo = "(call $put (i32.const 32) (i32.const 10))
                (call $put (i32.const 256) (i32.load (i32.const 20)))
                (call $put (i32.const 64) (i32.const 1))";
    let guest = load(&engine, command(echo)).await;
    assert_eq!(guest.entry(), Entry::Command);
    for n in 0..3 {
        let reply = ask(&guest, "say", &format!(r#"{{"n":{n}}}"#)).await.unwrap();
        assert_eq!(reply, format!(r#"{{"method":"say","input":{{"n":{n}}}}}"#));
    }
    assert_eq!(guest.stats().live, 0, "a command leaves nothing behind");

    let exits = load(&engine, command(&format!("{echo} (call $exit (i32.const 0))"))).await;
    assert!(ask(&exits, "say", "1").await.is_ok());
    for (body, expected) in [
        ("(call $put (i32.const 80) (i32.const 14))", GuestFault::Guest("no".into())),
        (
            "(call $put (i32.const 80) (i32.const 14)) (call $exit (i32.const 1))",
            GuestFault::Guest("no".into()),
        ),
        ("(call $exit (i32.const 9))", GuestFault::Exited(9)),
        ("(call $put (i32.const 32) (i32.const 5))", GuestFault::Malformed("neither a result nor an error")),
        (
            "(loop $l (call $put (i32.const 0) (i32.const 65536)) (br $l))",
            GuestFault::ResultTooLarge { limit: (16 << 20) + 64 },
        ),
    ] {
        let guest = load(&engine, command(body)).await;
        assert_eq!(ask(&guest, "say", "1").await, Err(expected), "{body}");
    }
}

#[tokio::test]
async fn a_fresh_instance_serves_one_call() {
    let counts = module(
        "",
        "(global $calls (mut i32) (i32.const 48))",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store8 (local.get $input) (global.get $calls))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    );
    let guest = load(&engine(), counts).await;
    let warm = [ask(&guest, "m", "?").await.unwrap(), ask(&guest, "m", "?").await.unwrap()];
    assert_eq!(warm, ["1", "2"]);
    for _ in 0..3 {
        let fresh = Call { isolation: kernels_wasm::Isolation::Fresh, ..call("m", "?") };
        assert_eq!(text(&guest.call(fresh).await.unwrap()), "1");
    }
}
