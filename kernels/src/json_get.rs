//! `json_get`: takes the value at one place of a JSON document.
//!
//! | port | type | |
//! |---|---|---|
//! | input `value` | JSON, or a string or bytes that hold its text | the document |
//! | output `value` | by the parameter `type` | what is there |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `path` | | `user.tags.0` or, as a JSON pointer, `/user/tags/0`; `""` for the whole document |
//! | `default` | | given where nothing is at the path; without it that is a failure |
//! | `type` | whatever is there | `bool`, `i64`, `f64`, `string`, `bytes` (from base64 text), `json` or `list` |
//!
//! Without `type`, scalars become such values (an integer that fits as i64, any other number as f64),
//! arrays and objects JSON. Of a text, only what the path leads to is built; the rest is read past.
//!
//! Does not wait. Fails with INVALID_ARGUMENT if the text is not JSON, if nothing is at the path, or if
//! what is there neither has the type nor converts to it without loss.
//!
//! ```json
//! { "id": "total", "kernel": "json_get", "params": { "path": "order.total", "type": "f64", "default": 0 },
//!   "inputs": ["value"], "outputs": ["value"] }
//! ```

use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Site, Type, TypeSet, Value,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use crate::json::{self, ResultType};
use crate::json_path::JsonPath;
use crate::ports;

/// The `json_get` kernel.
pub(crate) struct JsonGet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    path: JsonPath,
    #[serde(default, deserialize_with = "present")]
    default: Option<Json>,
    r#type: Option<ResultType>,
}

struct Get {
    path: JsonPath,
    default: Option<Value>,
    result: Option<ResultType>,
}

/// What a JSON document holds at a place.
const GIVES: TypeSet = TypeSet::of(&[Type::Null, Type::Bool, Type::I64, Type::F64, Type::String, Type::Json]);
/// Reading past a small document.
const COST: Duration = Duration::from_micros(2);

impl KernelFactory for JsonGet {
    fn name(&self) -> &str {
        "json_get"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { path, default, r#type: result } = node.params.parse()?;
        let default =
            default.map(|default| of_type(Value::from(default), result)).transpose().map_err(|kept| {
                let wanted = result.map_or("any", |wanted| wanted.port().name());
                let message = format!("the default is {}, not {wanted}", kept.kind());
                vec![BindError::new(Site::Param("/default".to_owned()), message)]
            })?;
        let gives = result.map_or(GIVES, |result| result.port().into());
        let mut signature =
            Signature::new([InputPort::required("value", json::DOCUMENT)], [OutputPort::new("value", gives)]);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Get { path, default, result })) })
    }
}

impl Kernel for Get {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let found = match ports.get(0) {
            Some(Value::Json(document)) => self.path.get(document).cloned(),
            Some(Value::Str(text)) => self.seek(text.as_bytes())?,
            Some(Value::Bytes(text)) => self.seek(text)?,
            _ => self.path.get(&*json::document(ports::take(ports, 0)?)?).cloned(),
        };
        let value = match (found, &self.default) {
            (Some(found), _) => {
                of_type(Value::from(found), self.result).map_err(|kept| self.mistyped(&kept))?
            }
            (None, Some(default)) => default.clone(),
            (None, None) => {
                let message = format!("the document has nothing at {}", self.path);
                return Err(Fault::new(Code::InvalidArgument, message));
            }
        };
        ports.set(0, value);
        Ok(())
    }
}

impl Get {
    fn seek(&self, text: &[u8]) -> Result<Option<Json>, Fault> {
        self.path.seek(text).map_err(|error| json::not_json(&error))
    }

    #[cold]
    fn mistyped(&self, value: &Value) -> Fault {
        let wanted = self.result.map_or("any", |wanted| wanted.port().name());
        Fault::new(Code::InvalidArgument, format!("{} is {}, not {wanted}", self.path, value.kind()))
    }
}

fn of_type(value: Value, result: Option<ResultType>) -> Result<Value, Value> {
    match result {
        Some(result) => result.convert(value),
        None => Ok(value),
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
    use crate::testing::{bind, json as json_value, outcome, problems, text};

    #[test]
    fn the_place_is_found_in_every_form_of_a_document() {
        let node = json!({"params": {"path": "a.b.1"}});
        for (input, expected) in [
            (json_value(json!({"a": {"b": [1, {"c": 2}]}})), r#"value=json({"c":2})"#),
            (text(r#"{"a":{"b":[1,2.5]}}"#), "value=2.5"),
            (Value::Bytes(r#"{"a":{"b":[1,"x"]}}"#.into()), r#"value="x""#),
            (Value::I64(1), "INVALID_ARGUMENT: the document has nothing at a.b.1"),
            (text("{"), "INVALID_ARGUMENT: not JSON: EOF while parsing an object at line 1 column 1"),
        ] {
            assert_eq!(outcome(&JsonGet, &node, [("value", input)]), expected);
        }
    }

    #[test]
    fn the_empty_path_parses_a_document() {
        let node = json!({"params": {"path": "", "type": "json"}});
        assert_eq!(outcome(&JsonGet, &node, [("value", text("[1]"))]), "value=json([1])");
        assert_eq!(outcome(&JsonGet, &node, [("value", text("7"))]), "value=json(7)");
    }

    #[test]
    fn a_default_stands_in_for_nothing_but_not_for_null() {
        let node = json!({"params": {"path": "a", "default": 5}});
        assert_eq!(outcome(&JsonGet, &node, [("value", text("{}"))]), "value=5");
        assert_eq!(outcome(&JsonGet, &node, [("value", text(r#"{"a":null}"#))]), "value=null");
        let node = json!({"params": {"path": "a", "default": null}});
        assert_eq!(outcome(&JsonGet, &node, [("value", text("{}"))]), "value=null");
    }

    #[test]
    fn a_type_refines_the_output_and_is_checked() {
        for (kind, port, document, expected) in [
            ("i64", Type::I64, "3.0", "value=3"),
            ("i64", Type::I64, "3.5", "INVALID_ARGUMENT: the document is f64, not i64"),
            ("f64", Type::F64, "3", "value=3.0"),
            ("string", Type::String, "3", "INVALID_ARGUMENT: the document is i64, not string"),
            ("bytes", Type::Bytes, "\"AQI=\"", "value=bytes(2)"),
            ("list", Type::List, "[1]", "value=[1]"),
            ("bool", Type::Bool, "true", "value=true"),
        ] {
            let node = json!({"params": {"path": "", "type": kind}});
            let kernel = bind(&JsonGet, &node).unwrap();
            assert_eq!(kernel.signature.outputs[0].gives, port.into());
            assert_eq!(outcome(&JsonGet, &node, [("value", text(document))]), expected);
        }
    }

    #[test]
    fn parameters_are_checked() {
        for (params, expected) in [
            (json!({}), "missing field `path`"),
            (json!({"path": "a..b"}), "step 2 of the path is empty"),
            (json!({"path": "a", "type": "i64", "default": "x"}), "/default: the default is string, not i64"),
            (
                json!({"path": "a", "type": "map"}),
                "unknown variant `map`, expected one of `bool`, `i64`, `f64`, `string`, `bytes`, `json`, `list`",
            ),
        ] {
            assert_eq!(problems(&JsonGet, &json!({"params": params})), expected);
        }
    }
}
