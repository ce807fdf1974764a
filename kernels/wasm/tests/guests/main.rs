//! Guests, good and bad, loaded and called as a host would.

#![expect(clippy::unwrap_used, reason = "a test whose premise fails must fail")]

mod abi;
mod attackers;
mod code;
mod in_place;
mod loading;
mod pool;
mod primed;
mod services;
mod wasi;
mod workshop;
