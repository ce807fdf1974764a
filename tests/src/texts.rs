//! Guests in WebAssembly text: those of `guests/`, and variations on `guests/echo`; and packages of them.

use anyhow::Context as _;
use serde_json::Value;

use crate::package::{Packed, pack_with};
use crate::repository;

/// The code of a guest that is a text in `guests/`: `attackers/trap.wat` for example.
///
/// # Errors
/// There is no such guest.
pub fn text_guest(path: &str) -> anyhow::Result<Vec<u8>> {
    wat::parse_file(repository().join("guests").join(path)).with_context(|| path.to_owned())
}

/// `guests/echo` with another `handle_request`: its body may use the parameters `$method`, `$method_len`,
/// `$input` and `$len` and the local `$out`, and call `$allocate`, `$deallocate` and `$echo`, which is what
/// it was. Imports go before everything else, `extras` beside the functions.
///
/// # Errors
/// The parts do not make a module.
pub fn variation(imports: &str, extras: &str, body: &str) -> anyhow::Result<Vec<u8>> {
    const HANDLE: &str = "(func (export \"handle_request\")";
    let echo = std::fs::read_to_string(repository().join("guests/echo/echo.wat"))?;
    let text = echo.replacen("(memory (export", &format!("{imports} (memory (export"), 1).replacen(
        HANDLE,
        "(func $echo",
        1,
    );
    let text = text.trim_end().strip_suffix(')').context("a module ends with its bracket")?;
    let text = format!(
        "{text}
         {extras}
         {HANDLE} (param $method i32) (param $method_len i32) (param $input i32) (param $len i32)
           (result i64)
           (local $out i32)
           {body}))"
    );
    wat::parse_str(&text).with_context(|| text.clone())
}

/// A package of `NAMESPACE.Talk.v1`, whose one method `say` takes a `Message` and gives one: `text` is its
/// only field, number 1. `further` are keys of its `okra.json`.
///
/// # Errors
/// What `okra package pack` says.
pub fn talk(namespace: &str, wasm: &[u8], further: &Value) -> anyhow::Result<Packed> {
    let schema = format!(
        "@okra(namespace: \"{namespace}\", version: \"v1\")\n\
         service Talk {{ say(input: Message): Message }}\ntype Message {{ text: String! }}\n"
    );
    pack_with(&schema, wasm, further)
}

/// A `Message` with this text, shorter than 128 bytes.
pub fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 128).expect("a short text");
    [&[0x0a, length], text.as_bytes()].concat()
}
