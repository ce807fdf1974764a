//! The service `test.Moody`, whose guest does by the name of its method what guests should not do, and counts
//! what happened to it.
//!
//! It has one instance unless it says otherwise, so that its counts are those of all calls.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::http::Http;
use crate::package::{Packed, pack_with};
use crate::server::Okra;

/// What its only instance counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that the host has, or has forgotten to give back; those of the asking call among them.
    pub live: u32,
    /// Calls so far, the asking one among them.
    pub calls: u32,
}

/// A guest with as many instances at a time and as many milliseconds for each call.
///
/// # Errors
/// What `okra package pack` says.
pub fn moody(instances: u32, timeout_ms: u32) -> anyhow::Result<Packed> {
    let limits = json!({ "limits": { "instances": instances, "timeout_ms": timeout_ms } });
    pack_with(SCHEMA, &wat::parse_str(GUEST)?, &limits)
}

/// Asks for its counts.
///
/// # Errors
/// If it does not answer.
pub async fn counts(okra: &Okra) -> anyhow::Result<Counts> {
    let mut http = Http::one(okra.service()).await?;
    let json = [("content-type", "application/json")];
    let reply = http.send("POST", "/test.Moody/count", &json, "{}").await?;
    let reply = reply.json()?;
    let number = |name: &str| -> anyhow::Result<u32> {
        Ok(reply[name].as_str().with_context(|| reply.to_string())?.parse()?)
    };
    Ok(Counts { live: number("live")?, calls: number("calls")? })
}

/// What [`counts`] reads, as a call with JSON gets it.
pub fn is_answer(answer: &Value) -> bool {
    answer["live"].is_string() && answer["calls"].is_string()
}

const SCHEMA: &str = r#"@okra(namespace: "test", version: "v1")
service Moody {
  "Answers with counts, as all others do that answer."
  count(input: Ask): Counts
  "The same, and promises to change nothing."
  look(input: Ask): Counts @readonly
  "Exits."
  exit(input: Ask): Counts
  "Traps."
  trap(input: Ask): Counts
  "Fails in its own words."
  fail(input: Ask): Counts
  "Never ends."
  spin(input: Ask): Counts
  "Works for a second and a half."
  work(input: Ask): Counts
}
type Ask { text: String }
type Counts { live: String calls: String }
"#;

/// Blocks are given out one behind the other, and all of them are forgotten when the last one comes back.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 1024) "{\"error\":\"not today\"}")
  (data (i32.const 2048) "{\"live\":\"000\",\"calls\":\"000\"}")
  (global $top (mut i32) (i32.const 65536))
  (global $live (mut i32) (i32.const 0))
  (global $calls (mut i32) (i32.const 0))
  (func $allocate (export "allocate") (param $size i32) (result i32)
    (local $at i32)
    (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $size)))
    (global.set $live (i32.add (global.get $live) (i32.const 1)))
    (local.get $at))
  (func (export "deallocate") (param $at i32)
    (if (i32.eqz (local.get $at)) (then (return)))
    (global.set $live (i32.sub (global.get $live) (i32.const 1)))
    (if (i32.eqz (global.get $live)) (then (global.set $top (i32.const 65536)))))
  (func $digit (param $at i32) (param $number i32) (param $unit i32)
    (i32.store8 (local.get $at)
      (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $number) (local.get $unit)) (i32.const 10)))))
  (func $write (param $at i32) (param $number i32)
    (call $digit (local.get $at) (local.get $number) (i32.const 100))
    (call $digit (i32.add (local.get $at) (i32.const 1)) (local.get $number) (i32.const 10))
    (call $digit (i32.add (local.get $at) (i32.const 2)) (local.get $number) (i32.const 1)))
  (func $answer (param $at i32) (param $length i32) (result i64)
    (local $copy i32)
    (local.set $copy (call $allocate (local.get $length)))
    (memory.copy (local.get $copy) (local.get $at) (local.get $length))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $copy)) (i64.const 32)) (i64.extend_i32_u (local.get $length))))
  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 512)))
    (i64.load (i32.const 512)))
  (func $work
    (local $end i64) (local $left i32)
    (local.set $end (i64.add (call $now) (i64.const 1500000000)))
    (loop $more
      (local.set $left (i32.const 5000000))
      (loop $round
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $round (local.get $left)))
      (br_if $more (i64.lt_s (call $now) (local.get $end)))))
  (func (export "handle_request") (param $method i32) (param i32 i32 i32) (result i64)
    (local $letter i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $letter (i32.load8_u (local.get $method)))
    (if (i32.eq (local.get $letter) (i32.const 101 (; e ;))) (then (call $exit (i32.const 3))))
    (if (i32.eq (local.get $letter) (i32.const 116 (; t ;))) (then (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 115 (; s ;))) (then (loop $for_ever (br $for_ever))))
    (if (i32.eq (local.get $letter) (i32.const 119 (; w ;))) (then (call $work)))
    (if (i32.eq (local.get $letter) (i32.const 102 (; f ;)))
      (then
        (return (i64.or (call $answer (i32.const 1024) (i32.const 21)) (i64.const 0x8000000000000000)))))
    (call $write (i32.const 2057) (global.get $live))
    (call $write (i32.const 2071) (global.get $calls))
    (call $answer (i32.const 2048) (i32.const 28))))"#;
