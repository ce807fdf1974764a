//! The service port over real sockets: an echo of a host behind it, and clients of every kind before it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::duplicate_mod, reason = "every test runs over both transports")]

mod client;
mod differential;
#[path = "../../examples/mounted_in_tonic.rs"]
#[expect(dead_code, reason = "its `main` is not run here")]
mod example;
mod host;
mod over_native;
mod over_tonic;
