//! The built-in node types, one file each: `"kernel": "name"` in a graph is `name.rs` here.
//!
//! Each file's head is the contract of its kernel: ports, parameters, errors, whether it waits, and an
//! example. [`call`](RpcServerCall) is the one thing the kernels share with the host: the RPC being
//! answered. Nothing here owns a listening socket or knows how a call arrived.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values and CEL's errors are non-exhaustive: a kernel names the types it takes and refuses the rest"
)]

mod bounded;
mod call;
mod cel;
mod r#const;
mod delay;
mod expression;
mod fail;
mod fan_out;
mod gather;
mod graph_call;
mod http_call;
mod identity;
mod inner;
mod join;
mod json;
mod json_get;
mod json_merge;
mod json_path;
mod json_set;
mod json_to_proto;
mod log;
mod messages;
mod metadata_json;
mod method_route;
mod ports;
mod proto_get;
mod proto_to_json;
mod registry;
mod rpc_server_input;
mod rpc_server_output;
mod rpc_unary_call;
mod rpc_unary_call_batch;
mod scatter;
mod services;
mod status;
mod switch;
#[cfg(test)]
mod testing;
mod upstream;
mod wasm_invoke;

pub use crate::call::{
    Answer, AnswerError, Closed, MetadataSource, RequestEnvelope, RpcServerCall, Standing, serve_env,
};
pub use crate::registry::{builtin, builtin_with};
pub use crate::services::{Service, Services};
