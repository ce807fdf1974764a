//! `rpc_unary_call`: makes one unary gRPC call to another server.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payload` | bytes | the request message |
//! | input `meta` | metadata | optional; of it, the names listed in `metadata` are passed on |
//! | input `method` | string | only if there is no parameter `method`: `/package.Service/Method` |
//! | output `payload` | bytes | the response message |
//! | output `meta` | metadata | what came before the message |
//! | output `trailers` | metadata | what came after it |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `target` | | `http://host:port` |
//! | `method` | | `/package.Service/Method` |
//! | `metadata` | `[]` | names to pass on, with all their values; `-bin` values are bytes |
//! | `timeout_ms` | what the request has left, or 30,000 | 1 to 3,600,000; never longer than what the request has left |
//! | `max_message_bytes` | 4,194,304 | the largest message in either direction, up to 67,108,864 |
//! | `max_in_flight` | 256 | calls to the target at a time, over all nodes, 1 to 65,536 |
//! | `max_waiting` | 1024 | calls that wait for their turn, 0 to 65,536 |
//! | `max_wait_ms` | 1000 | how long each waits, 0 to 60,000 |
//! | `connect_timeout_ms` | 5000 | one attempt to connect, 1 to 60,000 |
//!
//! Nodes share a target, its connections and its limits if they agree on `target`, `max_in_flight`,
//! `max_waiting` and `connect_timeout_ms`, whatever graph or version they are in. The time left is sent
//! as `grpc-timeout` and watched here as well; the trace of the request is carried on in `traceparent`
//! with a span of its own.
//!
//! Waits without a thread. A call is made once: trying again is for the node's `retry`. Fails with the
//! status the upstream answered (code, message, details and trailers), or with a status of the table in
//! [`upstream`](crate::upstream), which is the contract for every way an upstream can fail.
//!
//! ```json
//! { "id": "stock", "kernel": "rpc_unary_call",
//!   "params": { "target": "http://127.0.0.1:50051", "method": "/shop.Stock/Get",
//!               "metadata": ["authorization"], "timeout_ms": 500 },
//!   "inputs": ["payload", "meta"], "outputs": ["payload"] }
//! ```

use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Fault, InputPort, Inputs, KernelFactory, NodeSpec, OutputPort,
    Outputs, ReadInputs, RequestContext, Signature, Site, Type, Value,
};
use futures_util::future::BoxFuture;

use crate::upstream::Upstreams;
use crate::upstream::unary::{CallParams, Caller};

/// The `rpc_unary_call` kernel.
#[derive(Debug, Default)]
pub(crate) struct RpcUnaryCall {
    upstreams: Upstreams,
}

#[derive(Debug)]
struct Node(Caller);

const PAYLOAD: usize = 0;
const META: usize = 1;
const TRAILERS: usize = 2;

/// The input `method`, if there is one.
const METHOD: usize = 2;

// === impl RpcUnaryCall ===

impl RpcUnaryCall {
    /// A factory whose nodes connect through `upstreams`.
    pub(crate) fn new(upstreams: Upstreams) -> Self {
        Self { upstreams }
    }
}

impl KernelFactory for RpcUnaryCall {
    fn name(&self) -> &str {
        "rpc_unary_call"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let params: CallParams = node.params.parse()?;
        let mut errors = Vec::new();
        let of_batches = [
            ("concurrency", params.concurrency.is_some()),
            ("max_items", params.max_items.is_some()),
            ("on_error", params.on_error.is_some()),
        ];
        for (key, _) in of_batches.into_iter().filter(|(_, given)| *given) {
            let site = Site::Param(format!("/{key}"));
            errors.push(BindError::new(site, "only `rpc_unary_call_batch` has this parameter"));
        }
        let caller = Caller::bind(&params, node, &self.upstreams, &mut errors).ok_or(errors)?;
        let mut inputs =
            vec![InputPort::required("payload", Type::Bytes), InputPort::optional("meta", Type::Metadata)];
        if caller.wants_method() {
            inputs.push(InputPort::required("method", Type::String));
        }
        let outputs = [
            OutputPort::new("payload", Type::Bytes),
            OutputPort::new("meta", Type::Metadata),
            OutputPort::new("trailers", Type::Metadata),
        ];
        Ok(BoundKernel {
            signature: Signature::new(inputs, outputs),
            body: Body::Async(Box::new(Node(caller))),
        })
    }
}

// === impl Node ===

impl Node {
    async fn call(&self, inputs: Inputs, cx: &RequestContext) -> Result<Outputs, Fault> {
        let payload = inputs.bytes(PAYLOAD)?.clone();
        let meta = inputs.get(META).map(|_| inputs.metadata(META)).transpose()?;
        let given = inputs.get(METHOD).map(|_| inputs.str(METHOD)).transpose()?;
        let method = self.0.method(given.map(|method| &**method))?;
        let reply = self.0.call(&method, payload, meta.map(|meta| &**meta), cx).await?;
        Ok(Outputs::new()
            .with(PAYLOAD, Value::Bytes(reply.payload))
            .with(META, Value::Metadata(reply.headers))
            .with(TRAILERS, Value::Metadata(reply.trailers)))
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(self.call(inputs, cx))
    }
}

#[cfg(test)]
mod tests;
