//! `json_to_proto`: encodes JSON as a protobuf message.
//!
//! | port | type | |
//! |---|---|---|
//! | input `json` | JSON, or a string or bytes that hold its text | the message in JSON |
//! | input `method` | string | only if neither `method` nor `message` is a parameter: `/package.Service/Method` |
//! | output `payload` | bytes | the encoded message |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `service` | | id of the deployed service whose schema has the message: `{namespace}.{Service}.{version}` |
//! | `digest` | what is current | SHA-256 of the package, in hexadecimal: binds the node to that package |
//! | `method` | | the method whose message it is |
//! | `message` | | the full name of the message, instead of a method |
//! | `side` | `"output"` | `"input"` or `"output"`: which message of the method, and whose fault an error is |
//! | `ignore_unknown` | `false` | `true` passes over fields that the message does not have |
//! | `lenient` | `false` | `true` also reads what hand-written guests answer: `""` as the first value of an enum, `null` as an empty message, a bare value as the `response` of a `…Response` |
//!
//! The mapping is that of proto3 JSON; original and JSON names of fields are understood. A message may have
//! up to 67,108,864 bytes.
//!
//! Does not wait. Fails with INVALID_ARGUMENT (`side` input) or INTERNAL (output) if the JSON is no such
//! message, with FAILED_PRECONDITION if the service is not deployed, with UNIMPLEMENTED if it has no such method.
//!
//! ```json
//! { "id": "encode", "kernel": "json_to_proto",
//!   "params": { "service": "shop.Orders.v1", "method": "Get", "lenient": true },
//!   "inputs": ["json"], "outputs": ["payload"] }
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Type, Value,
};
use proto_json::ReadOptions;
use serde::Deserialize;

use crate::messages::{Choice, MessageSource, Side};
use crate::{Services, json};

/// The `json_to_proto` kernel.
#[derive(Debug)]
pub(crate) struct JsonToProto {
    services: Services,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    service: Arc<str>,
    digest: Option<Arc<str>>,
    method: Option<String>,
    message: Option<String>,
    #[serde(default = "output")]
    side: Side,
    #[serde(default)]
    ignore_unknown: bool,
    #[serde(default)]
    lenient: bool,
}

struct Read {
    message: MessageSource,
    options: ReadOptions,
}

const JSON: usize = 0;
const METHOD: usize = 1;
const PAYLOAD: usize = 0;
/// A small message.
const COST: Duration = Duration::from_micros(2);

fn output() -> Side {
    Side::Output
}

// === impl JsonToProto ===

impl JsonToProto {
    /// A factory whose nodes find their schemas in `services`.
    pub(crate) fn new(services: Services) -> Self {
        Self { services }
    }
}

impl KernelFactory for JsonToProto {
    fn name(&self) -> &str {
        "json_to_proto"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { service, digest, method, message, side, ignore_unknown, lenient } =
            node.params.parse()?;
        let message = Choice { service, digest, method, message, side }.bind(&self.services)?;
        let options =
            ReadOptions { ignore_unknown_fields: ignore_unknown, lenient, ..ReadOptions::default() };
        let inputs = [InputPort::required("json", json::DOCUMENT)].into_iter().chain(message.port());
        let mut signature = Signature::new(inputs, [OutputPort::new("payload", Type::Bytes)]);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Read { message, options })) })
    }
}

// === impl Read ===

impl Kernel for Read {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let message = self.message.message(ports, METHOD)?;
        let text: Cow<'_, [u8]> = match ports.get(JSON) {
            Some(Value::Bytes(text)) => Cow::Borrowed(text),
            Some(Value::Str(text)) => Cow::Borrowed(text.as_bytes()),
            Some(other) => Cow::Owned(json::to_text(other.clone())?.into()),
            None => return Err(Fault::new(Code::Internal, "input 0 carries nothing")),
        };
        let mut payload = Vec::with_capacity(text.len());
        message
            .json_to_proto(&text, self.options, &mut payload)
            .map_err(|error| self.message.fault(error.to_string()))?;
        ports.set(PAYLOAD, Value::Bytes(payload.into()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DIGEST, bind, json as json_value, outcome, services, text};

    fn check(params: serde_json::Value, value: Value, expected: &str) {
        let kernel = JsonToProto::new(services());
        assert_eq!(outcome(&kernel, &json!({ "params": params }), [("json", value)]), expected);
    }

    #[test]
    fn json_in_every_form_becomes_a_message() {
        let params = json!({"service": "shop.Orders.v1", "message": "service.Order"});
        let expected = "payload=bytes(6)";
        check(params.clone(), text(r#"{"customerId":"x","counts":[7]}"#), expected);
        check(params.clone(), Value::Bytes(r#"{"customer_id":"x","counts":["7"]}"#.into()), expected);
        check(params, json_value(json!({"customerId": "x", "counts": [7]})), expected);
    }

    #[test]
    fn what_is_wrong_is_the_fault_of_its_side() {
        let error = r#"(line 1:9): unknown field "b""#;
        for digest in [json!(null), json!(DIGEST)] {
            let params = |side: &str, ignore: bool| json!({"service": "shop.Orders.v1", "digest": digest, "method": "Put", "side": side, "ignore_unknown": ignore});
            let value = text(r#"{"ok":1,"b":2}"#);
            check(params("output", false), value, "INTERNAL: (line 1:7): invalid value for bool field ok: 1");
            check(params("output", false), text(r#"{       "b":2}"#), &format!("INTERNAL: {error}"));
            check(params("input", false), text(r#"{       "b":2}"#), &format!("INVALID_ARGUMENT: {error}"));
            check(params("output", true), text(r#"{       "b":2}"#), "payload=bytes(0)");
        }
    }

    #[test]
    fn guests_are_understood_if_asked() {
        let params =
            |lenient: bool| json!({"service": "shop.Orders.v1", "method": "Count", "lenient": lenient});
        check(params(true), Value::I64(7), "payload=bytes(2)");
        check(params(true), Value::Null, "payload=bytes(0)");
        check(params(false), Value::I64(7), "INTERNAL: syntax error (line 1:1): unexpected token 7");
    }

    #[test]
    fn a_method_is_an_input_only_where_it_is_not_a_parameter() {
        let kernel = JsonToProto::new(services());
        let ports = |params: serde_json::Value| {
            bind(&kernel, &json!({ "params": params })).unwrap().signature.inputs.len()
        };
        assert_eq!(ports(json!({"service": "shop.Orders.v1"})), 2);
        assert_eq!(ports(json!({"service": "shop.Orders.v1", "method": "Put"})), 1);
    }
}
