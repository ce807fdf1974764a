//! `rpc_unary_call_batch`: makes one unary gRPC call for every item of a list, several at a time.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payloads` | list or JSON array | the request messages: bytes, or strings, which count as UTF-8 |
//! | input `meta` | metadata | optional; of it, the names listed in `metadata` go with every call |
//! | input `method` | string | only if there is no parameter `method` |
//! | output `payloads` | list of bytes | the response messages, in the order of the requests |
//! | output `results` | JSON array | only with `"on_error": "collect"`: per call `{"code", "message"}` |
//!
//! The parameters of `rpc_unary_call`, where `timeout_ms` is for each call, and:
//!
//! | parameter | default | |
//! |---|---|---|
//! | `concurrency` | 16 | calls of this node at a time, 1 to 256; `max_in_flight` holds as well |
//! | `max_items` | 10,000 | the longest list, 1 to 1,000,000 |
//! | `on_error` | `"fail"` | `"fail"`: the first call that fails ends the node and abandons the others. `"collect"`: all are made; where one failed, `payloads` has null and `results` says why |
//!
//! Waits without a thread. Fails as `rpc_unary_call` does, with `item N: ` before the message; with
//! INVALID_ARGUMENT for an item that is no message; with RESOURCE_EXHAUSTED for a list that is too long.
//!
//! ```json
//! { "id": "prices", "kernel": "rpc_unary_call_batch",
//!   "params": { "target": "http://127.0.0.1:50051", "method": "/shop.Prices/Get", "on_error": "collect" },
//!   "inputs": ["payloads"], "outputs": ["payloads", "results"] }
//! ```

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Fault, InputPort, Inputs, KernelFactory, NodeSpec,
    OutputPort, Outputs, ReadInputs, RequestContext, Signature, Type, TypeSet, Value,
};
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::fan_out::{at_item, fan_out, items};
use crate::upstream::unary::{CallParams, Caller, OnError};
use crate::upstream::{Upstreams, params};

/// The `rpc_unary_call_batch` kernel.
#[derive(Debug, Default)]
pub(crate) struct RpcUnaryCallBatch {
    upstreams: Upstreams,
}

#[derive(Debug)]
struct Node {
    caller: Caller,
    concurrency: usize,
    max_items: usize,
    on_error: OnError,
}

const PAYLOADS: usize = 0;
const META: usize = 1;
const METHOD: usize = 2;
const RESULTS: usize = 1;

// === impl RpcUnaryCallBatch ===

impl RpcUnaryCallBatch {
    /// A factory whose nodes connect through `upstreams`.
    pub(crate) fn new(upstreams: Upstreams) -> Self {
        Self { upstreams }
    }
}

impl KernelFactory for RpcUnaryCallBatch {
    fn name(&self) -> &str {
        "rpc_unary_call_batch"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let params: CallParams = node.params.parse()?;
        let mut errors = Vec::new();
        let concurrency = params::CONCURRENCY.read(params.concurrency, &mut errors);
        let max_items = params::MAX_ITEMS.read(params.max_items, &mut errors);
        let on_error = params.on_error.unwrap_or_default();
        let caller = Caller::bind(&params, node, &self.upstreams, &mut errors).ok_or(errors)?;
        let mut inputs = vec![
            InputPort::required("payloads", TypeSet::of(&[Type::List, Type::Json])),
            InputPort::optional("meta", Type::Metadata),
        ];
        if caller.wants_method() {
            inputs.push(InputPort::required("method", Type::String));
        }
        let mut outputs = vec![OutputPort::new("payloads", Type::List)];
        if on_error == OnError::Collect {
            outputs.push(OutputPort::new("results", Type::Json));
        }
        let (concurrency, max_items) = (concurrency as usize, max_items as usize);
        Ok(BoundKernel {
            signature: Signature::new(inputs, outputs),
            body: Body::Async(Box::new(Node { caller, concurrency, max_items, on_error })),
        })
    }
}

// === impl Node ===

impl Node {
    async fn call(&self, inputs: Inputs, cx: &RequestContext) -> Result<Outputs, Fault> {
        let meta = inputs.get(META).map(|_| inputs.metadata(META)).transpose()?;
        let given = inputs.get(METHOD).map(|_| inputs.str(METHOD)).transpose()?;
        let method = self.caller.method(given.map(|method| &**method))?;
        let payloads = items(inputs.get(PAYLOADS), self.max_items)?
            .into_iter()
            .enumerate()
            .map(|(i, item)| message(item).map_err(|fault| at_item(i, fault)))
            .collect::<Result<Vec<_>, _>>()?;
        let call = |payload| self.caller.call(&method, payload, meta.map(|meta| &**meta), cx);
        let calls = payloads.into_iter().map(|payload| async {
            let result = call(payload).await.map(|reply| reply.payload);
            match self.on_error {
                OnError::Fail => result.map(Ok),
                OnError::Collect => Ok(result),
            }
        });
        Ok(outputs(fan_out(calls, self.concurrency).await?, self.on_error))
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(self.call(inputs, cx))
    }
}

/// An item as a request message.
fn message(item: Value) -> Result<Bytes, Fault> {
    if let Value::Bytes(bytes) = item {
        return Ok(bytes);
    }
    if let Value::Str(text) = item {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let message = format!("expected bytes or a string, found {}", item.kind());
    Err(Fault::new(Code::InvalidArgument, message))
}

fn outputs(outcomes: Vec<Result<Bytes, Fault>>, on_error: OnError) -> Outputs {
    let results = (on_error == OnError::Collect).then(|| {
        let result = |outcome: &Result<Bytes, Fault>| match outcome {
            Ok(_) => json!({ "code": Code::Ok.name(), "message": "" }),
            Err(fault) => json!({ "code": fault.code().name(), "message": fault.message() }),
        };
        Value::Json(Arc::new(outcomes.iter().map(result).collect()))
    });
    let payloads = outcomes.into_iter().map(|outcome| outcome.map_or(Value::Null, Value::Bytes));
    let outputs = Outputs::new().with(PAYLOADS, Value::List(payloads.collect()));
    match results {
        Some(results) => outputs.with(RESULTS, results),
        None => outputs,
    }
}

#[cfg(test)]
mod tests;
