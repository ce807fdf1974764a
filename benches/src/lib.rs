//! Measurements: criterion benches of the parts, and `compare`, which measures the whole binary beside
//! plain tonic servers in one run.
//!
//! Here is what the criterion benches measure with: graphs of any length, one that waits, and a call to run them on.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, ExecPlan, Fault, Gives, GraphErrors, GraphSource, InputPort,
    Inputs, KernelFactory, Metadata, NodeSpec, OutputPort, Outputs, ReadInputs, RequestContext, Signature,
    TypeSet,
};
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

/// A served graph of three nodes, the second of which waits for so many turns of its thread.
pub fn waiting(turns: u32) -> GraphSource {
    let text = format!(
        r#"{{"version": "1.0.0", "name": "waiting", "nodes": [
            {{"id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"]}},
            {{"id": "wait", "kernel": "turns", "params": {{"turns": {turns}}}, "inputs": ["value"], "outputs": ["value"]}},
            {{"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}}],
          "bindings": [{{"to": "in.call", "from": "$req.rpc.call"}}, {{"to": "wait.value", "from": "in.payload"}},
            {{"to": "out.call", "from": "$req.rpc.call"}}, {{"to": "out.payload", "from": "wait.value"}}]}}"#
    );
    GraphSource { origin: "waiting".into(), stem: None, text: text.into() }
}

/// Compiles a graph of built-in kernels and [`Turns`].
///
/// # Errors
/// What is wrong with it.
///
/// # Panics
/// If a built-in kernel is named like one of these.
pub fn compile(source: &GraphSource) -> Result<ExecPlan, GraphErrors> {
    let mut kernels = kernels::builtin();
    kernels.register(Turns).expect("no built-in kernel has this name");
    ExecPlan::compile(source, &kernels, &kernels::serve_env())
}

/// `turns`: passes its input on after so many turns of its thread, and does nothing else.
#[derive(Debug)]
pub struct Turns;

#[derive(Clone, Copy, serde::Deserialize)]
struct TurnsLeft {
    turns: u32,
}

impl KernelFactory for Turns {
    fn name(&self) -> &str {
        "turns"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let turns: TurnsLeft = node.params.parse()?;
        let signature = Signature::new(
            [InputPort::required("value", TypeSet::ANY)],
            [OutputPort::new("value", Gives::SameAsInput(0))],
        );
        Ok(BoundKernel { signature, body: Body::Async(Box::new(turns)) })
    }
}

impl AsyncKernel for TurnsLeft {
    fn run<'a>(
        &'a self,
        mut inputs: Inputs,
        _cx: &'a RequestContext,
    ) -> Pin<Box<dyn Future<Output = Result<Outputs, Fault>> + Send + 'a>> {
        let mut left = self.turns;
        Box::pin(poll_fn(move |task| match left {
            0 => Poll::Ready(Ok(inputs.take(0).map(Outputs::one).unwrap_or_default())),
            _ => {
                left -= 1;
                task.waker().wake_by_ref();
                Poll::Pending
            }
        }))
    }
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
