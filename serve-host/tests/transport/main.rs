//! The service port over real sockets: an echo of a host behind it, and clients of every kind before it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod client;
mod drain;
#[path = "../../examples/mounted_in_tonic.rs"]
#[expect(dead_code, reason = "its `main` is not run here")]
mod example;
mod files;
mod host;
mod limits;
mod mounted;
mod random;
