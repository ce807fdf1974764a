//! `proto_to_json`: writes an encoded protobuf message as JSON.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payload` | bytes | the encoded message |
//! | input `method` | string | only if neither `method` nor `message` is a parameter: `/package.Service/Method` |
//! | output `json` | bytes | the JSON text, as a guest or an HTTP peer wants it |
//! | output `value` | JSON | the same as a document, as `json_get` and `cel` want it |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `service` | | id of the deployed service whose schema has the message: `{namespace}.{Service}.{version}` |
//! | `digest` | what is current | SHA-256 of the package, in hexadecimal: binds the node to that package |
//! | `method` | | the method whose message it is |
//! | `message` | | the full name of the message, instead of a method |
//! | `side` | `"input"` | `"input"` or `"output"`: which message of the method, and whose fault an error is |
//! | `names` | `"lower_camel"` | `"original"` writes fields as the schema names them |
//! | `zeros` | `false` | `true` also writes scalars without presence that are zero (no enums, no lists) |
//!
//! The mapping is that of proto3 JSON. Only what something reads is made. JSON may have up to 67,108,864
//! bytes.
//!
//! Does not wait. Fails with INVALID_ARGUMENT (`side` input) or INTERNAL (output) if the bytes are no such
//! message, with FAILED_PRECONDITION if the service is not deployed, with UNIMPLEMENTED if it has no such method.
//!
//! ```json
//! { "id": "text", "kernel": "proto_to_json",
//!   "params": { "service": "shop.Orders.v1", "method": "Get", "names": "original", "zeros": true },
//!   "inputs": ["payload"], "outputs": ["json", "value"] }
//! ```

use std::sync::Arc;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Type, Value,
};
use proto_json::{FieldNames, WriteOptions, Zeros};
use serde::Deserialize;

use crate::Services;
use crate::messages::{Choice, MessageSource, Side};

/// The `proto_to_json` kernel.
#[derive(Debug)]
pub(crate) struct ProtoToJson {
    services: Services,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    service: Arc<str>,
    digest: Option<Arc<str>>,
    method: Option<String>,
    message: Option<String>,
    #[serde(default = "input")]
    side: Side,
    #[serde(default)]
    names: Names,
    #[serde(default)]
    zeros: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Names {
    #[default]
    LowerCamel,
    Original,
}

struct Write {
    message: MessageSource,
    options: WriteOptions,
}

const PAYLOAD: usize = 0;
const METHOD: usize = 1;
const JSON: usize = 0;
const VALUE: usize = 1;
/// A small message.
const COST: Duration = Duration::from_micros(2);

fn input() -> Side {
    Side::Input
}

// === impl ProtoToJson ===

impl ProtoToJson {
    /// A factory whose nodes find their schemas in `services`.
    pub(crate) fn new(services: Services) -> Self {
        Self { services }
    }
}

impl KernelFactory for ProtoToJson {
    fn name(&self) -> &str {
        "proto_to_json"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { service, digest, method, message, side, names, zeros } = node.params.parse()?;
        let message = Choice { service, digest, method, message, side }.bind(&self.services)?;
        let options = WriteOptions {
            field_names: match names {
                Names::LowerCamel => FieldNames::LowerCamel,
                Names::Original => FieldNames::Original,
            },
            zeros: if zeros { Zeros::Scalars } else { Zeros::Omitted },
            ..WriteOptions::default()
        };
        let inputs = [InputPort::required("payload", Type::Bytes)].into_iter().chain(message.port());
        let outputs = [OutputPort::new("json", Type::Bytes), OutputPort::new("value", Type::Json)];
        let mut signature = Signature::new(inputs, outputs);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Write { message, options })) })
    }
}

// === impl Write ===

impl Kernel for Write {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let message = self.message.message(ports, METHOD)?;
        let payload = ports.bytes(PAYLOAD)?;
        let mut text = Vec::with_capacity(payload.len() * 2);
        message
            .proto_to_json(payload, self.options, &mut text)
            .map_err(|error| self.message.fault(format!("{}: {error}", message.full_name())))?;
        if ports.wants(VALUE) {
            let value = serde_json::from_slice(&text).map_err(|error| {
                Fault::new(Code::Internal, "the JSON of a message is not read").with_source(error)
            })?;
            ports.set(VALUE, Value::Json(Arc::new(value)));
        }
        if ports.wants(JSON) {
            ports.set(JSON, Value::Bytes(text.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DIGEST, outcome, problems, services};

    fn check(params: serde_json::Value, inputs: &[(&str, Value)], expected: &str) {
        let kernel = ProtoToJson::new(services());
        assert_eq!(outcome(&kernel, &json!({ "params": params }), inputs.iter().cloned()), expected);
    }

    fn payload(bytes: &'static [u8]) -> (&'static str, Value) {
        ("payload", Value::Bytes(bytes.into()))
    }

    #[test]
    fn a_message_is_written_as_text_and_as_a_document() {
        let order = payload(&[0x0a, 1, b'x', 0x12, 1, 7]);
        let service = "shop.Orders.v1";
        let written = |json: &str| format!("json=bytes({}) value=json({json})", json.len());
        for (params, json) in [
            (json!({"service": service, "method": "Put"}), r#"{"customerId":"x","counts":[7]}"#),
            (json!({"service": service, "message": "service.Order"}), r#"{"customerId":"x","counts":[7]}"#),
            (
                json!({"service": service, "digest": DIGEST, "method": "/shop.Orders/Put", "names": "original", "zeros": true}),
                r#"{"customer_id":"x","counts":[7],"total":0}"#,
            ),
        ] {
            let kernel = ProtoToJson::new(services());
            let shown = outcome(&kernel, &json!({ "params": params }), [order.clone()]);
            let (text, value) = shown.split_once(" value=").unwrap();
            assert_eq!(text, written(json).split_once(' ').unwrap().0);
            let value = value.strip_prefix("json(").and_then(|value| value.strip_suffix(')')).unwrap();
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(parse(value), parse(json));
        }
    }

    #[test]
    fn the_method_may_come_with_the_call() {
        let method = |name: &str| ("method", Value::Str(name.into()));
        for digest in [json!(null), json!(DIGEST)] {
            let params = json!({"service": "shop.Orders.v1", "digest": digest, "side": "output"});
            let reply = payload(&[0x08, 1]);
            check(
                params.clone(),
                &[reply.clone(), method("/shop.Orders/Put")],
                r#"json=bytes(11) value=json({"ok":true})"#,
            );
            check(
                params,
                &[reply, method("/shop.Orders/Drop")],
                "UNIMPLEMENTED: shop.Orders.v1 has no method /shop.Orders/Drop",
            );
        }
    }

    #[test]
    fn what_is_wrong_is_the_fault_of_its_side() {
        let broken = payload(&[0x0a, 5]);
        let text = "service.Order: byte 1: unexpected end";
        let params =
            |side: &str| json!({"service": "shop.Orders.v1", "message": "service.Order", "side": side});
        check(params("input"), std::slice::from_ref(&broken), &format!("INVALID_ARGUMENT: {text}"));
        check(params("output"), &[broken], &format!("INTERNAL: {text}"));
        let absent = json!({"service": "shop.Gone.v1", "message": "service.Order"});
        check(absent, &[payload(&[])], "FAILED_PRECONDITION: service shop.Gone.v1 is not deployed here");
        let unknown = json!({"service": "shop.Orders.v1", "message": "service.Gone"});
        check(unknown, &[payload(&[])], "INTERNAL: shop.Orders.v1 has no message service.Gone");
    }

    #[test]
    fn a_digest_binds_when_the_graph_is_compiled() {
        for (params, expected) in [
            (
                json!({"service": "shop.Orders.v1", "digest": "00"}),
                "/digest: no package 00 is loaded for shop.Orders.v1",
            ),
            (
                json!({"service": "shop.Orders.v1", "digest": DIGEST, "message": "x.Y"}),
                "/message: shop.Orders.v1 has no message x.Y",
            ),
            (
                json!({"service": "shop.Orders.v1", "digest": DIGEST, "method": "Drop"}),
                "/method: shop.Orders.v1 has no method Drop",
            ),
            (
                json!({"service": "shop.Orders.v1", "method": "Put", "message": "service.Order"}),
                "/method: the parameter `message` names the message already",
            ),
            (json!({"message": "service.Order"}), "missing field `service`"),
        ] {
            assert_eq!(problems(&ProtoToJson::new(services()), &json!({ "params": params })), expected);
        }
    }
}
