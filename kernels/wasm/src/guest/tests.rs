use std::time::Duration;

use super::*;
use crate::engine::{Engine, EngineOptions, Evict as _};

#[tokio::test]
async fn instances_that_nobody_needs_are_dropped_but_for_those_kept_ready() {
    let wasm = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/echo/echo.wat")).unwrap();
    let engine = Engine::new(EngineOptions { max_instances: 8, ..EngineOptions::default() }).unwrap();
    let options = LoadOptions { name: "e".into(), abi: Abi::default(), limits: Limits::default() };
    let guest = engine.load(wasm, options).await.unwrap();
    let pool = &guest.0.pool;
    let take = async |number: usize| {
        let mut held = Vec::new();
        for _ in 0..number {
            let wish = Wish { deadline: None, fresh: false, nested: false };
            let mut lease = pool.check_out(wish).await.unwrap();
            lease.is_sound();
            held.push(lease);
        }
    };
    take(6).await;
    pool.trim();
    assert_eq!(guest.stats().idle, 6, "they were needed");
    take(2).await;
    pool.trim();
    assert_eq!((guest.stats().idle, guest.stats().live), (2, 2), "four were not");
    pool.trim();
    pool.trim();
    assert_eq!((guest.stats().idle, engine.live_instances()), (1, 1), "one stays ready");
    assert_eq!(guest.call(Call::new("m", "x")).await.unwrap().payload, "x");
}

#[tokio::test]
async fn a_start_that_overruns_in_place_is_made_again() {
    let echo =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/echo/echo.wat")).unwrap();
    let slow = "(func (export \"_initialize\") (local $left i32) (local.set $left (i32.const 200000000))
      (loop $count (br_if $count (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))";
    let text = format!("{}{slow})", echo.trim_end().strip_suffix(')').unwrap());
    let engine = Engine::new(EngineOptions { max_instances: 8, ..EngineOptions::default() }).unwrap();
    let options = LoadOptions { name: "s".into(), abi: Abi::default(), limits: Limits::default() };
    let guest = engine.load(wat::parse_str(text).unwrap(), options).await.unwrap();
    let starts = &guest.0.pool.suspicions.starts;
    while !starts.lets_in_place() {
        starts.allay();
    }
    let Begun::Waits(rest) = guest.begin(Call { isolation: Isolation::Fresh, ..Call::new("m", "x") }) else {
        panic!("it has ended")
    };
    assert!(starts.is_roused());
    assert_eq!((guest.stats().live, engine.live_instances()), (1, 0), "it keeps its place alone");
    assert_eq!(rest.end().await.unwrap().payload, "x");
    let stats = guest.stats();
    assert_eq!((stats.calls, stats.completed, stats.starts, stats.live), (1, 1, 2, 0), "{stats:?}");
}

/// Echoes, but for the method `loop`, and counts for some milliseconds before each of many naps for `naps`.
const MOODY: &str = "
  (func (export \"handle_request\") (param $method i32) (param $method_len i32) (param $input i32) (param $len i32)
    (result i64)
    (local $left i32) (local $naps i32)
    (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 108)) (then (loop $for_ever (br $for_ever))))
    (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 110)) (then
      (i32.store (i32.const 80) (i32.const 1))
      (i64.store (i32.const 88) (i64.const 100000))
      (loop $again
        (local.set $left (i32.const 5000000))
        (loop $count (br_if $count (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
        (br_if $again (i32.lt_u (local.tee $naps (i32.add (local.get $naps) (i32.const 1))) (i32.const 100))))))
    (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))))";

async fn moody() -> (Engine, Guest) {
    let echo =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/echo/echo.wat")).unwrap();
    let import = "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" \
                  (func $poll (param i32 i32 i32 i32) (result i32))) (memory (export";
    let text = echo.replacen("(memory (export", import, 1).replacen(
        "(func (export \"handle_request\")",
        "(func $echo",
        1,
    );
    let text = format!("{}{MOODY}", text.trim_end().strip_suffix(')').unwrap());
    let engine = Engine::new(EngineOptions { max_instances: 8, ..EngineOptions::default() }).unwrap();
    let options = LoadOptions { name: "m".into(), abi: Abi::default(), limits: Limits::default() };
    let guest = engine.load(wat::parse_str(text).unwrap(), options).await.unwrap();
    (engine, guest)
}

async fn ask(guest: &Guest, method: &str, within: Duration) -> Result<Bytes, GuestFault> {
    let deadline = Some(Instant::now() + within);
    guest.call(Call { deadline, ..Call::new(method, "x") }).await.map(|reply| reply.payload)
}

const SOON: Duration = Duration::from_millis(300);
const AMPLE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn who_is_hung_up_on_while_it_overruns_is_suspect_too() {
    let (engine, guest) = moody().await;
    assert_eq!(ask(&guest, "echo", AMPLE).await.unwrap(), "x");
    let hung_up = tokio::time::timeout(SOON, guest.call(Call::new("loop", "x")));
    assert!(hung_up.await.is_err());
    let slot = engine.0.lane.slot().await;
    assert_eq!(ask(&guest, "echo", SOON).await, Err(GuestFault::Deadline), "it began without a slot");
    drop(slot);
    assert_eq!(ask(&guest, "echo", AMPLE).await.unwrap(), "x");
}

#[tokio::test]
async fn a_first_tick_in_pieces_is_one_tick() {
    let (engine, guest) = moody().await;
    let slot = engine.0.lane.slot().await;
    let waits = ask(&guest, "naps", Duration::from_secs(2)).await;
    assert_eq!(waits, Err(GuestFault::Deadline), "it went on without a slot");
    drop(slot);
    assert_eq!(ask(&guest, "naps", AMPLE).await.unwrap(), "x");
}
