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

const CALL: usize = 0;
const METHOD: usize = 0;
const PAYLOAD: usize = 1;
const META: usize = 2;
const PEER: usize = 3;
const DEADLINE_MS: usize = 4;

/// Reads one part of a call.
type Part = fn(&RpcServerCall) -> Value;

/// What each output gives of the call.
const PARTS: [(usize, Part); 5] = [
    (METHOD, |call| Value::Str(call.envelope().method.clone())),
    (PAYLOAD, |call| Value::Bytes(call.envelope().payload.clone())),
    (META, |call| Value::Metadata(call.envelope().metadata.to_metadata())),
    (PEER, |call| Value::Str(call.envelope().peer.clone())),
    (DEADLINE_MS, |call| Value::I64(call.deadline_ms())),
];

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
        for (port, part) in PARTS {
            if ports.wants(port) {
                let value = part(RpcServerCall::of(ports.call(CALL)?)?);
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
