//! Measurements: criterion benches of the parts, and `compare`, which measures the whole binary beside
//! plain tonic servers in one run.
//!
//! Here is what the criterion benches measure with: graphs of any length, a call to run them on, and a message
//! to translate.

pub mod transcode;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{ExecPlan, GraphErrors, GraphSource, Metadata};
use kernels::RequestEnvelope;

/// A served graph of `nodes` nodes: the call's message passed on from one to the next, then answered.
///
/// # Panics
/// With fewer than two nodes.
pub fn chain(nodes: usize) -> GraphSource {
    assert!(nodes >= 2, "a served graph takes a call and answers it");
    let last = nodes - 2;
    let mut text = String::from(
        r#"{"version": "1.0.0", "name": "chain", "nodes": [{"id": "n0", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"]}"#,
    );
    let mut bindings = String::from(r#"{"to": "n0.call", "from": "$req.rpc.call"}"#);
    let mut value = "n0.payload".to_owned();
    for node in 1..=last {
        let _ = write!(
            text,
            r#", {{"id": "n{node}", "kernel": "identity", "inputs": ["value"], "outputs": ["value"]}}"#
        );
        let _ = write!(bindings, r#", {{"to": "n{node}.value", "from": "{value}"}}"#);
        value = format!("n{node}.value");
    }
    let _ = write!(
        text,
        r#", {{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}}], "bindings": [{bindings}, {{"to": "out.call", "from": "$req.rpc.call"}}, {{"to": "out.payload", "from": "{value}"}}]}}"#
    );
    GraphSource { origin: "chain".into(), stem: None, text: text.into() }
}

/// Compiles a graph of built-in kernels.
///
/// # Errors
/// What is wrong with it.
pub fn compile(source: &GraphSource) -> Result<ExecPlan, GraphErrors> {
    ExecPlan::compile(source, &kernels::builtin(), &kernels::serve_env())
}

/// A request of 64 bytes without metadata or deadline.
pub fn envelope() -> RequestEnvelope {
    RequestEnvelope {
        method: "/echo.Echo/Say".into(),
        payload: Bytes::from_static(&[b'x'; 64]),
        metadata: Arc::new(Metadata::new()),
        peer: "127.0.0.1:1".into(),
        deadline: None,
    }
}
