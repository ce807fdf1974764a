//! `json_merge`: applies a JSON merge patch (RFC 7396) to a document.
//!
//! | port | type | |
//! |---|---|---|
//! | input `target` | JSON, or a string or bytes that hold its text | the document |
//! | input `patch` | as `target` | its members replace those of the target, object by object; a `null` removes |
//! | output `value` | json | the changed document |
//!
//! Does not wait. Fails with INVALID_ARGUMENT if an input is not JSON.
//!
//! ```json
//! { "id": "full", "kernel": "json_merge", "inputs": ["target", "patch"], "outputs": ["value"] }
//! ```

use std::sync::Arc;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Fault, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    RequestContext, Signature, Type, Value,
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::{json, ports};

/// The `json_merge` kernel.
pub(crate) struct JsonMerge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

const TARGET: usize = 0;
const PATCH: usize = 1;
/// Parsing or copying two small documents.
const COST: Duration = Duration::from_micros(5);

impl KernelFactory for JsonMerge {
    fn name(&self) -> &str {
        "json_merge"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params {} = node.params.parse()?;
        let mut signature = Signature::new(
            [InputPort::required("target", json::DOCUMENT), InputPort::required("patch", json::DOCUMENT)],
            [OutputPort::new("value", Type::Json)],
        );
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for JsonMerge {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let mut document = Arc::unwrap_or_clone(json::document(ports::take(ports, TARGET)?)?);
        let patch = Arc::unwrap_or_clone(json::document(ports::take(ports, PATCH)?)?);
        merge(&mut document, patch);
        ports.set(0, Value::Json(Arc::new(document)));
        Ok(())
    }
}

/// RFC 7396, section 2. Recurses as deep as the patch, which the parser keeps within bounds.
fn merge(target: &mut Json, patch: Json) {
    let Json::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Json::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{outcome, text};

    #[test]
    fn the_examples_of_the_rfc_hold() {
        // RFC 7396, appendix A.
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"a": 1, "e": null})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let inputs = [("target", text(&target.to_string())), ("patch", text(&patch.to_string()))];
            let expected = format!("value=json({expected})");
            assert_eq!(outcome(&JsonMerge, &json!({}), inputs), expected, "{patch} on {target}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let inputs = [("target", text("{}")), ("patch", text("{a}"))];
        let expected = "INVALID_ARGUMENT: not JSON: key must be a string at line 1 column 2";
        assert_eq!(outcome(&JsonMerge, &json!({}), inputs), expected);
    }
}
