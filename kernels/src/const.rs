//! `const`: gives a value that the document holds.
//!
//! | port | type | |
//! |---|---|---|
//! | output `value` | by the parameter | the value |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `value` | | any JSON: scalars become such values, arrays and objects JSON, `{"$base64": "…"}` bytes |
//!
//! A binding may hold a constant as well; this kernel is for one that several nodes share.
//!
//! Does not wait. Never fails.
//!
//! ```json
//! { "id": "limits", "kernel": "const", "params": { "value": { "max": 10 } }, "outputs": ["value"] }
//! ```

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use exec_plan::{
    BindError, Body, BoundKernel, Fault, Kernel, KernelFactory, NodeSpec, OutputPort, Ports, RequestContext,
    Signature, Site, Value,
};
use serde::Deserialize;
use serde_json::Value as Json;

/// The `const` kernel.
pub(crate) struct Const;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    value: Json,
}

struct Constant(Value);

const COST: Duration = Duration::from_nanos(20);
/// The only member of an object that stands for bytes.
const BASE64: &str = "$base64";

impl KernelFactory for Const {
    fn name(&self) -> &str {
        "const"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { value } = node.params.parse()?;
        let value = constant(value).map_err(|error| vec![error])?;
        let mut signature = Signature::new([], [OutputPort::new("value", value.kind())]);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Constant(value))) })
    }
}

impl Kernel for Constant {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        ports.set(0, self.0.clone());
        Ok(())
    }
}

fn constant(value: Json) -> Result<Value, BindError> {
    let base64 = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get(BASE64));
    let Some(base64) = base64 else { return Ok(Value::from(value)) };
    let decoded = base64.as_str().and_then(|text| STANDARD.decode(text).ok());
    decoded
        .map(|bytes| Value::Bytes(bytes.into()))
        .ok_or_else(|| BindError::new(Site::Param(format!("/value/{BASE64}")), "expected padded base64"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{outcome, problems};

    #[test]
    fn each_json_value_gives_its_kind() {
        for (value, expected) in [
            (json!(null), "value=null"),
            (json!(true), "value=true"),
            (json!(3), "value=3"),
            (json!(2.5), "value=2.5"),
            (json!("a"), r#"value="a""#),
            (json!([1]), "value=json([1])"),
            (json!({"$base64": "AQID"}), "value=bytes(3)"),
            (json!({"$base64": "AQID", "x": 1}), r#"value=json({"$base64":"AQID","x":1})"#),
        ] {
            assert_eq!(outcome(&Const, &json!({"params": {"value": value}}), []), expected);
        }
    }

    #[test]
    fn a_missing_or_broken_value_is_refused() {
        for (node, expected) in [
            (json!({}), "missing field `value`"),
            (json!({"params": {"value": {"$base64": "%"}}}), "/value/$base64: expected padded base64"),
            (json!({"params": {"value": {"$base64": 1}}}), "/value/$base64: expected padded base64"),
            (json!({"params": {"value": 1, "kind": "x"}}), "unknown field `kind`, expected `value`"),
        ] {
            assert_eq!(problems(&Const, &node), expected);
        }
    }
}
