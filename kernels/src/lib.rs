//! The built-in node types, one file each: `"kernel": "name"` in a graph is `name.rs` here.
//!
//! Each file's head is the contract of its kernel: ports, parameters, errors, whether it waits, and an
//! example. [`call`](RpcServerCall) is the one thing the kernels share with the host: the RPC being
//! answered. Nothing here owns a listening socket or knows how a call arrived.

mod call;

pub use crate::call::{
    Answer, AnswerError, Closed, MetadataSource, RequestEnvelope, RpcServerCall, Standing, serve_env,
};
