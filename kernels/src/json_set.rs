//! `json_set`: puts a value at one place of a JSON document.
//!
//! | port | type | |
//! |---|---|---|
//! | input `target` | JSON, or a string or bytes that hold its text | optional; the document, or else an empty object |
//! | input `value` | anything with a JSON form | what is put there; text stays text |
//! | output `value` | json | the changed document |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `path` | | as for `json_get`; objects missing on the way are made, and `-` appends to an array |
//!
//! Does not wait. Fails with INVALID_ARGUMENT if the target is not JSON, if a step leads into a scalar or
//! past an array's end, or if the value has no JSON form.
//!
//! ```json
//! { "id": "priced", "kernel": "json_set", "params": { "path": "order.total" },
//!   "inputs": ["target", "value"], "outputs": ["value"] }
//! ```

use std::sync::Arc;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    ReadInputs, RequestContext, Signature, Type, TypeSet, Value,
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::json_path::JsonPath;
use crate::{json, ports};

/// The `json_set` kernel.
pub(crate) struct JsonSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    path: JsonPath,
}

struct Set(JsonPath);

const TARGET: usize = 0;
const VALUE: usize = 1;
const ACCEPTS: TypeSet = TypeSet::JSON_LIKE.union(TypeSet::of(&[Type::Bytes, Type::Metadata]));
/// Parsing or copying a small document.
const COST: Duration = Duration::from_micros(3);

impl KernelFactory for JsonSet {
    fn name(&self) -> &str {
        "json_set"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { path } = node.params.parse()?;
        let mut signature = Signature::new(
            [InputPort::optional("target", json::DOCUMENT), InputPort::required("value", ACCEPTS)],
            [OutputPort::new("value", Type::Json)],
        );
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Set(path))) })
    }
}

impl Kernel for Set {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let value = json::to_json(&ports::take(ports, VALUE)?)?;
        let mut document = match ports.take(TARGET) {
            Some(target) => Arc::unwrap_or_clone(json::document(target)?),
            None => Json::Object(Map::new()),
        };
        self.0
            .set(&mut document, value)
            .map_err(|error| Fault::new(Code::InvalidArgument, error.to_string()))?;
        ports.set(0, Value::Json(Arc::new(document)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{json as json_value, outcome, problems, text};

    #[test]
    fn the_value_is_put_into_every_form_of_a_document() {
        let node = json!({"params": {"path": "a.b"}});
        for (target, expected) in [
            (None, r#"value=json({"a":{"b":"7"}})"#),
            (Some(json_value(json!({"c": 1}))), r#"value=json({"a":{"b":"7"},"c":1})"#),
            (Some(text(r#"{"a":{"b":1,"c":2}}"#)), r#"value=json({"a":{"b":"7","c":2}})"#),
            (Some(text(r#"{"a":1}"#)), r#"INVALID_ARGUMENT: a.b: step "b" leads into a scalar"#),
            (
                Some(Value::Bytes("{".into())),
                "INVALID_ARGUMENT: not JSON: EOF while parsing an object at line 1 column 1",
            ),
        ] {
            let inputs = [("value", text("7"))].into_iter().chain(target.map(|target| ("target", target)));
            assert_eq!(outcome(&JsonSet, &node, inputs), expected);
        }
    }

    #[test]
    fn a_document_that_others_share_is_not_changed_under_them() {
        let shared = Arc::new(json!({"a": 1}));
        let inputs = [("target", Value::Json(shared.clone())), ("value", Value::I64(2))];
        assert_eq!(outcome(&JsonSet, &json!({"params": {"path": "a"}}), inputs), r#"value=json({"a":2})"#);
        assert_eq!(*shared, json!({"a": 1}));
    }

    #[test]
    fn the_path_is_required() {
        assert_eq!(problems(&JsonSet, &json!({})), "missing field `path`");
    }
}
