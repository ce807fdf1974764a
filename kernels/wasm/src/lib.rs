//! The engine room of wasm_invoke: loads, limits and calls WebAssembly guests.
//!
//! An [`Engine`] holds what all guests of a process share. [`Engine::load`] makes a [`Guest`] of a module,
//! and [`Guest::call`] makes a call. Guests are strangers' code: whatever one does comes back as a
//! [`GuestFault`], in bounded time and memory, and the next call finds things as they were.
//!
//! Knows wasmtime, and nothing of graphs, RPC or HTTP: payloads are bytes, methods are names, and what a
//! guest asks of other services goes to a [`Host`].

mod abi;
mod cache;
mod compile;
mod engine;
mod fault;
mod guest;
mod host;
mod instance;
mod lane;
mod limits;
mod pace;
mod pool;
mod primed;
mod state;
mod suspicion;
mod wasi;

pub use crate::abi::envelope::{Field, ReplyEnvelope, RequestEnvelope};
pub use crate::abi::{Abi, Entry, Payload};
pub use crate::compile::child::compile_guest;
pub use crate::compile::{CompileError, CompilerCommand};
pub use crate::engine::{Allocation, Engine, EngineError, EngineOptions};
pub use crate::fault::{GuestFault, GuestStatus};
pub use crate::guest::{
    Begun, Call, Guest, GuestStats, Isolation, LoadError, LoadOptions, MethodName, Reply, Waiting,
};
pub use crate::host::{Host, ServiceCall, ServiceError, ServiceErrorCode};
pub use crate::limits::Limits;
pub use crate::primed::{MAX_SAMPLE_BYTES, Priming, Sample};
