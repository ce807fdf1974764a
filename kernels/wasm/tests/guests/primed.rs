//! Primed guests: what their samples left is in every instance, what an instance does is not, and what cannot
//! be primed is refused with the reason.

use std::path::Path;
use std::time::Duration;

use kernels_wasm::{
    Abi, Call, CompileError, Engine, EngineOptions, Guest, Isolation, Limits, LoadError, LoadOptions,
    Payload, Priming, Sample,
};

use crate::code::{compiler, engine, files, shell};
use crate::workshop::{ask, call, guest_file, module, options, text};

/// How a guest is primed that answers these methods, each with the input `x`.
fn priming(methods: &[&str]) -> Priming {
    let sample = |method: &&str| Sample { method: (*method).to_owned(), input: "x".into() };
    Priming { samples: methods.iter().map(sample).collect() }
}

/// A guest that answers with two digits: how often `_initialize` has run, and how many calls it has had since,
/// this one included. `trap` traps, `loop` loops, `bad` is an error of its own, `grow` takes 16 pages more.
fn counter() -> Vec<u8> {
    let extras = r#"
      (global $calls (mut i32) (i32.const 0))
      (data (i32.const 40) "00")
      (data (i32.const 48) "{\"error\":\"too early\"}")
      (func (export "_initialize") (i32.store8 (i32.const 40) (i32.add (i32.load8_u (i32.const 40)) (i32.const 1))))"#;
    let body = r#"
      (local.set $out (i32.load8_u (local.get $method)))
      (if (i32.eq (local.get $out) (i32.const 116)) (then unreachable))
      (if (i32.eq (local.get $out) (i32.const 108)) (then (loop $again (br $again))))
      (if (i32.eq (local.get $out) (i32.const 98)) (then (return (i64.const 0x8000003000000015))))
      (if (i32.eq (local.get $out) (i32.const 103)) (then
        (drop (memory.grow (i32.const 16)))
        (i32.store8 (i32.const 1000000) (i32.const 7))))
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (local.set $out (call $allocate (i32.const 2)))
      (i32.store8 (local.get $out) (i32.load8_u (i32.const 40)))
      (i32.store8 offset=1 (local.get $out) (i32.add (global.get $calls) (i32.const 48)))
      (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)) (i64.const 2))"#;
    module("", extras, body)
}

async fn load_primed(
    engine: &Engine,
    wasm: Vec<u8>,
    priming: Priming,
    limits: Limits,
) -> Result<Guest, LoadError> {
    engine.load_primed(wasm, priming, options("primed", limits)).await
}

async fn primed(engine: &Engine, wasm: Vec<u8>, methods: &[&str]) -> Guest {
    let loaded = load_primed(engine, wasm, priming(methods), Limits::default()).await;
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

async fn ask_fresh(guest: &Guest, method: &str) -> String {
    let call = Call { isolation: Isolation::Fresh, ..call(method, "x") };
    text(&guest.call(call).await.unwrap())
}

/// What stands in the way of priming.
async fn refused(engine: &Engine, wasm: Vec<u8>, methods: &[&str], limits: Limits) -> String {
    match load_primed(engine, wasm, priming(methods), limits).await {
        Err(LoadError::Compile(CompileError::Priming(why))) => why,
        other => panic!("{other:?}"),
    }
}

/// Engines that prime in this process, kept or not, and in one of its own.
fn engines(dir: &Path) -> Vec<Engine> {
    let here = EngineOptions { max_instances: 4, ..EngineOptions::default() };
    vec![Engine::new(here).unwrap(), engine(&dir.join("here"), None), engine(&dir.join("apart"), compiler())]
}

#[tokio::test]
async fn every_instance_begins_where_the_samples_ended() {
    let dir = tempfile::tempdir().unwrap();
    for engine in engines(dir.path()) {
        let unprimed = engine.load(counter(), options("plain", Limits::default())).await.unwrap();
        assert_eq!([ask_fresh(&unprimed, "m").await, ask_fresh(&unprimed, "m").await], ["11", "11"]);
        let started = primed(&engine, counter(), &[]).await;
        assert_eq!([ask_fresh(&started, "m").await, ask_fresh(&started, "m").await], ["11", "11"]);
        // Three calls later, and `_initialize` has run once.
        let guest = primed(&engine, counter(), &["a", "a", "a"]).await;
        for _ in 0..3 {
            assert_eq!(
                ask_fresh(&guest, "m").await,
                "14",
                "a fresh instance has seen no call but the samples"
            );
        }
        // A warm one goes on from there, and keeps what it learns to itself.
        assert_eq!(ask(&guest, "m", "x").await.unwrap(), "14");
        assert_eq!(ask(&guest, "m", "x").await.unwrap(), "15");
        assert_eq!(ask_fresh(&guest, "m").await, "14");
        // An instance that is lost takes nothing with it.
        assert!(ask(&guest, "trap", "x").await.is_err());
        assert_eq!(ask(&guest, "m", "x").await.unwrap(), "14");
    }
}

#[tokio::test]
async fn memory_that_grew_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    for engine in engines(dir.path()) {
        let guest = primed(&engine, counter(), &["grow"]).await;
        assert_eq!(ask_fresh(&guest, "m").await, "12");
        // 17 pages are there already, and so is what was written to the last of them.
        let limits = Limits { memory_bytes: 17 << 16, ..Limits::default() };
        let kept = load_primed(&engine, counter(), priming(&["grow"]), limits).await.unwrap();
        assert_eq!(ask_fresh(&kept, "m").await, "12");
        let limits = Limits { memory_bytes: 16 << 16, ..Limits::default() };
        assert!(load_primed(&engine, counter(), priming(&["grow", "a"]), limits).await.is_err());
    }
}

#[tokio::test]
async fn memory_that_is_full_to_its_limit_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // All that it may have, none of it zero.
    let body = r#"
      (if (i32.eq (memory.size) (i32.const 1)) (then
        (drop (memory.grow (i32.const 1023)))
        (memory.fill (i32.const 65536) (i32.const 120) (i32.const 67043328))))
      (i64.const 0x03ffff0000000002)"#;
    let engine = engine(dir.path(), compiler());
    let guest = primed(&engine, module("", "", body), &["a"]).await;
    assert_eq!(ask_fresh(&guest, "m").await, "xx");
    let short = Limits { memory_bytes: 63 << 20, ..Limits::default() };
    assert!(load_primed(&engine, module("", "", body), priming(&["a"]), short).await.is_err());
}

#[tokio::test]
async fn data_that_code_asks_for_by_number_is_found() {
    let extras = r#"(data (i32.const 40) "x") (data $late "okra")"#;
    let body = r#"
      (local.set $out (call $allocate (i32.const 4)))
      (memory.init $late (local.get $out) (i32.const 0) (i32.const 4))
      (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32)) (i64.const 4))"#;
    let engine = crate::workshop::engine();
    let guest = primed(&engine, module("", extras, body), &["a"]).await;
    assert_eq!(ask_fresh(&guest, "m").await, "okra");
}

#[tokio::test]
async fn instances_side_by_side_share_nothing() {
    let engine = crate::workshop::engine();
    let guest = primed(&engine, counter(), &["a"]).await;
    let calls = (0..64).map(|_| ask_fresh(&guest, "m"));
    for said in futures_util::future::join_all(calls).await {
        assert_eq!(said, "12");
    }
}

#[tokio::test]
async fn a_sample_that_fails_is_named_with_what_the_guest_said() {
    let dir = tempfile::tempdir().unwrap();
    let short = Limits { call_time: Duration::from_millis(200), ..Limits::default() };
    for engine in engines(dir.path()) {
        for (methods, why) in [
            (&["a", "trap"][..], "sample 1 of `primed.calls` (trap) failed: the service trapped: "),
            (&["bad"][..], "sample 0 of `primed.calls` (bad) failed: too early"),
            (
                &["a", "a", "loop"][..],
                "sample 2 of `primed.calls` (loop) failed: the service did not answer in time",
            ),
        ] {
            let told = refused(&engine, counter(), methods, short.clone()).await;
            assert!(told.starts_with(why), "{told}");
        }
    }
    assert_eq!(files(&dir.path().join("apart"), "cwasm").len(), 0);
    assert_eq!(files(&dir.path().join("apart"), "tmp").len(), 0);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let traps = r#"(func (export "_initialize") unreachable)"#;
    let table = r#"(table $t 1 funcref) (func $grows (drop (table.grow $t (ref.null func) (i32.const 1))))"#;
    let reference = r#"(global $r (mut funcref) (ref.null func))"#;
    let drops = r#"(data $d "x") (func $drops (data.drop $d))"#;
    let taken = r#"(func (export "__wizer_memory_0"))"#;
    let body = "(i64.const 0)";
    let command =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    for engine in engines(dir.path()) {
        for (wasm, why) in [
            (module("", table, body), "its state cannot be kept: unsupported `table.grow` instruction"),
            (module("", reference, body), "its state cannot be kept: unsupported mutable global"),
            (module("", drops, body), "its state cannot be kept: unsupported `data.drop` instruction"),
            (module("", taken, body), "its state cannot be kept: "),
            (module(r#"(import "env" "f" (func))"#, "", body), "cannot be primed: unknown imports: env.f"),
            (module("", traps, body), "the guest does not start: the service trapped: "),
            (command.clone(), "a command cannot be primed"),
            (b"\0asm\x01\0\0\0\xff".to_vec(), "its state cannot be kept: "),
        ] {
            let told = refused(&engine, wasm, &[], Limits::default()).await;
            assert!(told.contains(why), "{why}: {told}");
        }
        let told = refused(&engine, counter(), &["a"; 65], Limits::default()).await;
        assert!(told.starts_with("more than 64 samples"), "{told}");
        let long =
            Priming { samples: vec![Sample { method: "a".into(), input: vec![b'x'; 1 << 20].into() }] };
        assert!(load_primed(&engine, counter(), long, Limits::default()).await.is_err());
    }
}

#[tokio::test]
async fn a_primed_guest_is_found_again_and_each_priming_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let apart = engine(dir.path(), compiler());
    primed(&apart, counter(), &["a"]).await;
    primed(&apart, counter(), &["a", "a"]).await;
    apart.load(counter(), options("plain", Limits::default())).await.unwrap();
    assert_eq!(files(dir.path(), "cwasm").len(), 3);
    drop(apart);
    // A compiler that fails: it is not asked.
    let again = engine(dir.path(), shell("exit 9"));
    let (once, twice) =
        (primed(&again, counter(), &["a"]).await, primed(&again, counter(), &["a", "a"]).await);
    assert_eq!([ask_fresh(&once, "m").await, ask_fresh(&twice, "m").await], ["12", "13"]);
    assert!(load_primed(&again, counter(), priming(&["b"]), Limits::default()).await.is_err());
    // What is kept is known by the module and by how it was primed.
    let digest = priming(&["a"]).digest(&counter().into(), Abi::default());
    again.keep_compiled(&[digest]).unwrap();
    assert_eq!(files(dir.path(), "cwasm").len(), 1);
    primed(&engine(dir.path(), shell("exit 9")), counter(), &["a"]).await;
}

#[tokio::test]
async fn what_the_compilers_process_may_not_have_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (line, expected) in [
        ("kill -XCPU $$", "priming the guest and compiling it take longer than 30 s"),
        ("exit 3", "priming the guest and compiling it take more than 1024 MiB of memory"),
        ("echo bad >&2; exit 5", "bad"),
    ] {
        let engine = engine(dir.path(), shell(line));
        assert_eq!(refused(&engine, counter(), &[], Limits::default()).await, expected);
    }
}

#[tokio::test]
async fn samples_speak_the_abi_of_the_guest() {
    let envelope = Abi { payload: Payload::Protobuf, envelope: true };
    // The echo answers with the request's envelope: its method stands where a payload does in a result.
    let engine = crate::workshop::engine();
    let options = LoadOptions { name: "e".into(), abi: envelope, limits: Limits::default() };
    let guest = engine.load_primed(guest_file("echo/echo.wat"), priming(&["say"]), options).await;
    let guest = guest.unwrap_or_else(|error| panic!("{error}"));
    let call = Call { isolation: Isolation::Fresh, ..call("say", "x") };
    assert_eq!(text(&guest.call(call).await.unwrap()), "say");
}
