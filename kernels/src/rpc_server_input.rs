//! `rpc_server_input`: what arrived with the call being answered.
//!
//! | port | type | |
//! |---|---|---|
//! | input `call` | call | bound from `$req.rpc.call` |
//! | output `method` | string | the full method, `/pkg.Service/Method` |
//! | output `payload` | bytes | the request message |
//! | output `meta` | metadata | the request's, without the names that belong to the wire |
//! | output `peer` | string | the client's address |
//! | output `deadline_ms` | i64 | milliseconds left; −1 if the client set no deadline |
//!
//! Only what something reads is made.
//!
//! Does not wait. Fails with INTERNAL if `call` is a handle of another kind.
//!
//! ```json
//! { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["method", "payload", "meta"] }
//! ```

use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Type, Value,
};
use serde::Deserialize;

use crate::RpcServerCall;

/// The `rpc_server_input` kernel.
pub(crate) struct RpcServerInput;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

const METHOD: usize = 0;
const PAYLOAD: usize = 1;
const META: usize = 2;
const PEER: usize = 3;
const DEADLINE_MS: usize = 4;
const COST: Duration = Duration::from_nanos(100);

impl KernelFactory for RpcServerInput {
    fn name(&self) -> &str {
        "rpc_server_input"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params {} = node.params.parse()?;
        let mut signature = Signature::new(
            [InputPort::required("call", Type::Call)],
            [
                OutputPort::new("method", Type::String),
                OutputPort::new("payload", Type::Bytes),
                OutputPort::new("meta", Type::Metadata),
                OutputPort::new("peer", Type::String),
                OutputPort::new("deadline_ms", Type::I64),
            ],
        );
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for RpcServerInput {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let call = RpcServerCall::of(ports.call(0)?)?;
        let envelope = call.envelope();
        let method = ports.wants(METHOD).then(|| Value::Str(envelope.method.clone()));
        let payload = ports.wants(PAYLOAD).then(|| Value::Bytes(envelope.payload.clone()));
        let meta = ports.wants(META).then(|| Value::Metadata(envelope.metadata.to_metadata()));
        let peer = ports.wants(PEER).then(|| Value::Str(envelope.peer.clone()));
        let deadline = ports.wants(DEADLINE_MS).then(|| Value::I64(call.deadline_ms()));
        let values =
            [(METHOD, method), (PAYLOAD, payload), (META, meta), (PEER, peer), (DEADLINE_MS, deadline)];
        for (port, value) in values {
            if let Some(value) = value {
                ports.set(port, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::testing::{call, outcome};

    #[test]
    fn the_envelope_comes_out_part_by_part() {
        let expected = r#"method="/shop.Orders/Get" payload=bytes(2) meta=metadata(1) peer="127.0.0.1:9" deadline_ms=-1"#;
        assert_eq!(outcome(&RpcServerInput, &json!({}), [("call", Value::Call(call()))]), expected);
    }

    #[test]
    fn a_foreign_handle_is_refused() {
        let expected = "INTERNAL: the call is a handle of another kind";
        assert_eq!(outcome(&RpcServerInput, &json!({}), [("call", Value::Call(Arc::new(7)))]), expected);
    }
}
