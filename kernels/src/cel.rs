//! `cel`: computes a value with a CEL expression (cel.dev).
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any but message and call | listed in the node's `inputs`, or else what the expression reads; a variable of it |
//! | output `value` | by the parameter `type` | what the expression gives |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `expr` | | the expression, at most 8 KiB |
//! | `type` | whatever it gives | `bool`, `i64`, `f64`, `string`, `bytes`, `json` or `list` |
//!
//! Without `type`, scalars and bytes come out as such values, lists and maps as JSON, with bytes in them
//! as base64 text. Unknown names and functions are found when the graph is compiled. How values appear in
//! CEL and what bounds an evaluation is said in [`expression`].
//!
//! Does not wait. Fails with INVALID_ARGUMENT if the inputs do not fit the expression (a missing key, a
//! wrong type) or the result neither has the type nor converts to it without loss; with OUT_OF_RANGE if a
//! number has no form outside CEL; with RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED or CANCELLED if a loop is
//! ended.
//!
//! ```json
//! { "id": "total", "kernel": "cel", "params": { "expr": "order.price * order.count", "type": "i64" },
//!   "inputs": ["order"], "outputs": ["value"] }
//! ```

use std::borrow::Cow;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, Kernel, KernelFactory, NodeSpec, OutputPort, Ports,
    RequestContext, Signature,
};
use serde::Deserialize;

use crate::expression::{self, Expression, Names};
use crate::json::ResultType;
use crate::ports;

/// The `cel` kernel.
pub(crate) struct Cel;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    expr: String,
    r#type: Option<ResultType>,
}

struct Compute {
    expression: Expression,
    names: Vec<Cow<'static, str>>,
    result: Option<ResultType>,
}

impl KernelFactory for Cel {
    fn name(&self) -> &str {
        "cel"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { expr, r#type: result } = node.params.parse()?;
        let mut names = Names::new(node.inputs);
        let expression = Expression::compile(&expr, "/expr", &mut names)?;
        let inputs = ports::named(names.iter(), expression::READABLE);
        let gives = result.map_or(expression::RESULT, |result| result.port().into());
        let names = ports::names(&inputs);
        let mut signature = Signature::new(inputs, [OutputPort::new("value", gives)]);
        signature.cost = expression.cost();
        let compute = Compute { expression, names, result };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(compute)) })
    }
}

impl Kernel for Compute {
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
        let value = self.expression.evaluate(&self.names, ports, cx)?;
        let value = match self.result {
            None => value,
            Some(result) => result.convert(value).map_err(|kept| {
                let message = format!("the expression gives {}, not {}", kept.kind(), result.port());
                Fault::new(Code::InvalidArgument, message)
            })?,
        };
        ports.set(0, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use exec_plan::{Type, Value};
    use serde_json::json;

    use super::*;
    use crate::testing::{bind, json as json_value, outcome, problems, text};

    #[test]
    fn inputs_are_variables() {
        let node = json!({"params": {"expr": "order.price * order.count + fee"}, "inputs": ["order", "fee"]});
        let order = json_value(json!({"price": 20, "count": 3}));
        assert_eq!(outcome(&Cel, &node, [("order", order), ("fee", Value::I64(5))]), "value=65");
    }

    #[test]
    fn without_a_list_the_inputs_are_what_the_expression_reads() {
        let node = json!({"params": {"expr": "[a, b.c].filter(x, x != a).size() + int(d)"}});
        let kernel = bind(&Cel, &node).unwrap();
        assert_eq!(ports::names(&kernel.signature.inputs), ["a", "b", "d"]);
    }

    #[test]
    fn a_type_refines_the_output() {
        for (kind, expr, port, expected) in [
            ("f64", "1", Type::F64, "value=1.0"),
            ("list", "[1, 'a']", Type::List, r#"value=[1, "a"]"#),
            ("json", "'a'", Type::Json, r#"value=json("a")"#),
            ("i64", "'a'", Type::I64, "INVALID_ARGUMENT: the expression gives string, not i64"),
        ] {
            let node = json!({"params": {"expr": expr, "type": kind}});
            assert_eq!(bind(&Cel, &node).unwrap().signature.outputs[0].gives, port.into());
            assert_eq!(outcome(&Cel, &node, []), expected);
        }
    }

    #[test]
    fn problems_are_found_when_the_node_is_bound() {
        let node = json!({"params": {"expr": "totl + fee(1)"}, "inputs": ["total"]});
        assert_eq!(problems(&Cel, &node), "/expr: \"totl\" is no input\n/expr: there is no function \"fee\"");
        assert_eq!(
            problems(&Cel, &json!({"params": {"exp": "1"}})),
            "unknown field `exp`, expected `expr` or `type`"
        );
    }

    #[test]
    fn inputs_that_do_not_fit_are_the_callers_fault() {
        let node = json!({"params": {"expr": "a.b"}});
        assert_eq!(
            outcome(&Cel, &node, [("a", json_value(json!({})))]),
            "INVALID_ARGUMENT: CEL: No such key: b"
        );
        let node = json!({"params": {"expr": "a + 1"}});
        let failed = outcome(&Cel, &node, [("a", text("x"))]);
        assert!(failed.starts_with("INVALID_ARGUMENT: CEL: "), "{failed}");
    }
}
