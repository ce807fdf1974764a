//! `proto_get`: takes the value at one place of an encoded protobuf message.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payload` | bytes | the encoded message |
//! | input `method` | string | only if neither `method` nor `message` is a parameter: `/package.Service/Method` |
//! | output `value` | by the field | what is there |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `service` | | id of the deployed service whose schema has the message: `{namespace}.{Service}.{version}` |
//! | `digest` | what is current | SHA-256 of the package, in hexadecimal: binds the node to that package |
//! | `method` | | the method whose message it is |
//! | `message` | | the full name of the message, instead of a method |
//! | `side` | `"input"` | `"input"` or `"output"`: which message of the method, and whose fault an error is |
//! | `path` | | `order.items.0.name`: names of fields, places in lists, keys of maps; `""` for all of it |
//! | `default` | | given where nothing is at the path; without it that is a failure |
//!
//! Integers come as i64 (one above its range as JSON), floats as f64, enums as the name of their value,
//! messages, lists and maps as JSON with the fields' original names. A field without presence that is not
//! set is its zero, if the message around it is set. What the path leads past is not decoded. With a
//! `digest` and a message that is the same at each run, the path is checked when the graph is compiled and
//! the output has the field's type.
//!
//! Does not wait. Fails with INVALID_ARGUMENT (`side` input) or INTERNAL (output) if the bytes are no such
//! message, if the message has no such path or nothing is there; with FAILED_PRECONDITION if the service is not
//! deployed, with UNIMPLEMENTED if it has no such method.
//!
//! ```json
//! { "id": "customer", "kernel": "proto_get",
//!   "params": { "service": "shop.Orders.v1", "method": "Put", "path": "customer_id" },
//!   "inputs": ["payload"], "outputs": ["value"] }
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{
    BindError, Body, BoundKernel, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Site, Type, TypeSet, Value,
};
use proto_json::{Found, Gives, Path};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use crate::Services;
use crate::messages::{Choice, MessageSource, Side};

/// The `proto_get` kernel.
#[derive(Debug)]
pub(crate) struct ProtoGet {
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
    path: String,
    #[serde(default, deserialize_with = "present")]
    default: Option<Json>,
}

struct Get {
    message: MessageSource,
    path: String,
    /// The path in the message, where that is the same at each run.
    bound: Option<Path>,
    default: Option<Value>,
}

/// The most bytes of JSON that a part of a message becomes.
const MAX_JSON_BYTES: usize = 64 << 20;
const PAYLOAD: usize = 0;
const METHOD: usize = 1;
/// Reading past a small message.
const COST: Duration = Duration::from_micros(1);

/// Whatever a message can hold.
const ANY: TypeSet =
    TypeSet::of(&[Type::Null, Type::Bool, Type::I64, Type::F64, Type::String, Type::Bytes, Type::Json]);

fn input() -> Side {
    Side::Input
}

// === impl ProtoGet ===

impl ProtoGet {
    /// A factory whose nodes find their schemas in `services`.
    pub(crate) fn new(services: Services) -> Self {
        Self { services }
    }
}

impl KernelFactory for ProtoGet {
    fn name(&self) -> &str {
        "proto_get"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { service, digest, method, message, side, path, default } = node.params.parse()?;
        let message = Choice { service, digest, method, message, side }.bind(&self.services)?;
        let bound = message.fixed().map(|message| message.path(&path)).transpose();
        let bound = bound
            .map_err(|error| vec![BindError::new(Site::Param("/path".to_owned()), error.to_string())])?;
        let default = default.map(Value::from);
        let found = bound.as_ref().map_or(ANY, |path| types(path.gives()));
        let gives = default.as_ref().map_or(found, |default| found.union(default.kind().into()));
        let inputs = [InputPort::required("payload", Type::Bytes)].into_iter().chain(message.port());
        let mut signature = Signature::new(inputs, [OutputPort::new("value", gives)]);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Get { message, path, bound, default })) })
    }
}

// === impl Get ===

impl Kernel for Get {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let found = match &self.bound {
            Some(path) => self.seek(path, ports.bytes(PAYLOAD)?)?,
            None => {
                let message = self.message.message(ports, METHOD)?;
                let path = message.path(&self.path).map_err(|error| self.message.fault(error.to_string()))?;
                self.seek(&path, ports.bytes(PAYLOAD)?)?
            }
        };
        let value = found.or_else(|| self.default.clone());
        let nothing = || self.message.fault(format!("the message has nothing at {}", self.path));
        ports.set(0, value.ok_or_else(nothing)?);
        Ok(())
    }
}

impl Get {
    fn seek(&self, path: &Path, payload: &Bytes) -> Result<Option<Value>, Fault> {
        let found = path.get(payload, MAX_JSON_BYTES);
        let found = found.map_err(|error| self.message.fault(format!("{path}: {error}")))?;
        Ok(match found {
            None => None,
            Some(Found::Bool(truth)) => Some(Value::Bool(truth)),
            Some(Found::Bytes(bytes)) => Some(Value::Bytes(payload.slice_ref(bytes))),
            Some(Found::F64(number)) => Some(Value::F64(number)),
            Some(Found::I64(number)) => Some(Value::I64(number)),
            Some(Found::U64(number)) => Some(match i64::try_from(number) {
                Ok(number) => Value::I64(number),
                Err(_) => Value::Json(Arc::new(Json::from(number))),
            }),
            Some(Found::Str(text)) => Some(Value::Str(text.into())),
            Some(Found::Json(text)) => {
                let json: Json = serde_json::from_slice(&text)
                    .map_err(|error| self.message.fault(format!("{path}: {error}")))?;
                Some(Value::from(json))
            }
        })
    }
}

fn types(gives: Gives) -> TypeSet {
    match gives {
        Gives::Bool => Type::Bool.into(),
        Gives::Bytes => Type::Bytes.into(),
        Gives::Enum => TypeSet::of(&[Type::String, Type::I64]),
        Gives::F64 => Type::F64.into(),
        Gives::I64 => Type::I64.into(),
        Gives::Str => Type::String.into(),
        Gives::U64 => TypeSet::of(&[Type::I64, Type::Json]),
        // A well-known message may be written as a scalar.
        _ => TypeSet::of(&[Type::Null, Type::Bool, Type::I64, Type::F64, Type::String, Type::Json]),
    }
}

/// Tells a default of `null` from none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DIGEST, bind, outcome, problems, services};

    /// `{"ok":true,"order":{"customerId":"x","counts":[7,8]},"big":"18446744073709551615","level":"HIGH","at":"…05Z"}`
    const REPLY: &[u8] = &[
        0x08, 1, 0x12, 7, 0x0a, 1, b'x', 0x12, 2, 7, 8, 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1,
        0x28, 1, 0x32, 2, 0x08, 5,
    ];

    fn get(digest: Option<&str>, path: &str, default: Option<Json>) -> String {
        let mut params = json!({"service": "shop.Orders.v1", "digest": digest, "method": "Put", "side": "output", "path": path});
        if let Some(default) = default {
            params["default"] = default;
        }
        let payload = ("payload", Value::Bytes(REPLY.into()));
        outcome(&ProtoGet::new(services()), &json!({ "params": params }), [payload])
    }

    #[test]
    fn a_value_keeps_its_type() {
        for digest in [None, Some(DIGEST)] {
            for (path, expected) in [
                ("ok", "value=true"),
                ("order.customer_id", r#"value="x""#),
                ("order.customerId", r#"value="x""#),
                ("order.counts.1", "value=8"),
                ("order.counts", "value=json([7,8])"),
                ("order.total", "value=0.0"),
                ("order", r#"value=json({"counts":[7,8],"customer_id":"x"})"#),
                ("big", "value=json(18446744073709551615)"),
                ("level", r#"value="HIGH""#),
                ("at", r#"value="1970-01-01T00:00:05Z""#),
                ("at.seconds", "value=5"),
                ("code", "INTERNAL: the message has nothing at code"),
                ("order.counts.2", "INTERNAL: the message has nothing at order.counts.2"),
            ] {
                assert_eq!(get(digest, path, None), expected, "{path}");
            }
            assert_eq!(get(digest, "code", Some(json!("none"))), r#"value="none""#);
            assert_eq!(get(digest, "code", Some(json!(null))), "value=null");
        }
    }

    #[test]
    fn a_path_is_checked_as_soon_as_the_message_is_known() {
        let expected = "service.PutResponse has no field \"gone\"";
        assert_eq!(get(None, "gone", None), format!("INTERNAL: {expected}"));
        let node = |path: &str| json!({"params": {"service": "shop.Orders.v1", "digest": DIGEST, "message": "service.PutResponse", "path": path}});
        let kernel = ProtoGet::new(services());
        assert_eq!(problems(&kernel, &node("gone")), format!("/path: {expected}"));
        let bound = bind(&kernel, &node("order.total")).unwrap();
        assert_eq!(bound.signature.outputs[0].gives, Type::F64.into());
    }
}
