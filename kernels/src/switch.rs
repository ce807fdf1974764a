//! `switch`: sends a value down the branch of the first condition that holds.
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any but message and call | listed in the node's `inputs`, or else `value` and what the conditions read; a variable of them |
//! | any output | as the input `value`, or the first | named in `cases` and `default`; exactly one fires |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `cases` | | 1 to 256 of `{"when": condition in CEL, "then": output}`, tried in order |
//! | `default` | | the output if none holds; without it that is a failure |
//!
//! How values appear in CEL and what bounds a condition is said in [`expression`].
//!
//! Does not wait. Fails with INVALID_ARGUMENT if no condition holds and there is no default, or if the
//! inputs do not fit a condition; with RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED or CANCELLED if a loop in one
//! is ended.
//!
//! ```json
//! { "id": "size", "kernel": "switch",
//!   "params": { "cases": [{ "when": "value.total > 100", "then": "big" }], "default": "small" },
//!   "inputs": ["value"], "outputs": ["big", "small"] }
//! ```

use std::borrow::Cow;
use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Code, Emits, Fault, Gives, Kernel, KernelFactory, NodeSpec, Ports,
    RequestContext, Signature, Site,
};
use serde::Deserialize;

use crate::expression::{self, Expression, Names};
use crate::ports;

/// The `switch` kernel.
pub(crate) struct Switch;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    cases: Vec<CaseParam>,
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseParam {
    when: String,
    then: String,
}

struct Branches {
    cases: Vec<Case>,
    default: Option<usize>,
    names: Vec<Cow<'static, str>>,
    /// The input that is sent on.
    value: usize,
}

struct Case {
    when: Expression,
    then: usize,
}

/// The input that is sent on, if there is one of this name.
const VALUE: &str = "value";
/// The most cases; each costs an evaluation.
const MAX_CASES: usize = 256;

impl KernelFactory for Switch {
    fn name(&self) -> &str {
        "switch"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { cases, default } = node.params.parse()?;
        if cases.is_empty() || cases.len() > MAX_CASES {
            let message = format!("expected 1 to {MAX_CASES} cases, found {}", cases.len());
            return Err(vec![BindError::new(Site::Param("/cases".to_owned()), message)]);
        }
        let mut names = Names::new(node.inputs);
        names.imply(VALUE);
        let (mut errors, mut outputs, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        // The index is put right below, once the inputs are known.
        let gives = Gives::AnyInput;
        for (i, CaseParam { when, then }) in cases.iter().enumerate() {
            let when = Expression::compile(when, &format!("/cases/{i}/when"), &mut names);
            let then = ports::output(&mut outputs, then, gives, format!("/cases/{i}/then"));
            match (when, then) {
                (Ok(when), Ok(then)) => bound.push(Case { when, then }),
                (when, then) => {
                    errors.extend(when.err().into_iter().flatten());
                    errors.extend(then.err());
                }
            }
        }
        let default = default.map(|name| ports::output(&mut outputs, &name, gives, "/default")).transpose();
        let default = default.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let inputs = ports::named(names.iter(), expression::READABLE);
        if inputs.is_empty() {
            errors.push(BindError::new(Site::Node, "there is no input to send on"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let value = inputs.iter().position(|port| port.name == VALUE).unwrap_or(0);
        outputs.iter_mut().for_each(|output| output.gives = Gives::SameAsInput(value));
        let names = ports::names(&inputs);
        let mut signature = Signature::new(inputs, outputs);
        signature.emits = Emits::One;
        signature.cost = bound.iter().map(|case| case.when.cost()).sum::<Duration>();
        let branches = Branches { cases: bound, default, names, value };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(branches)) })
    }
}

impl Kernel for Branches {
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
        let output = self.choose(ports, cx)?;
        let value = ports::take(ports, self.value)?;
        ports.set(output, value);
        Ok(())
    }
}

impl Branches {
    fn choose(&self, ports: &Ports<'_>, cx: &RequestContext) -> Result<usize, Fault> {
        for case in &self.cases {
            if case.when.holds(&self.names, ports, cx)? {
                return Ok(case.then);
            }
        }
        self.default
            .ok_or_else(|| Fault::new(Code::InvalidArgument, "no case holds, and there is no default"))
    }
}

#[cfg(test)]
mod tests {
    use exec_plan::Value;
    use serde_json::json;

    use super::*;
    use crate::testing::{bind, json as json_value, outcome, problems};

    #[test]
    fn the_first_condition_that_holds_decides() {
        let node = json!({"params": {
            "cases": [
                {"when": "value.total > limit", "then": "big"},
                {"when": "value.total > 10", "then": "middle"},
                {"when": "value.total > 5", "then": "big"},
            ],
            "default": "small",
        }});
        for (total, expected) in [(200, "big"), (50, "middle"), (7, "big"), (1, "small")] {
            let inputs = [("value", json_value(json!({"total": total}))), ("limit", Value::I64(100))];
            let expected = format!(r#"{expected}=json({{"total":{total}}})"#);
            assert_eq!(outcome(&Switch, &node, inputs), expected);
        }
    }

    #[test]
    fn the_first_input_is_sent_on_if_none_is_named_value() {
        let node = json!({"params": {"cases": [{"when": "b", "then": "yes"}]}, "inputs": ["a", "b"]});
        let kernel = bind(&Switch, &node).unwrap();
        assert_eq!(kernel.signature.emits, Emits::One);
        assert_eq!(kernel.signature.outputs[0].gives, Gives::SameAsInput(0));
        let inputs = |b| [("a", Value::I64(1)), ("b", b)];
        assert_eq!(outcome(&Switch, &node, inputs(Value::Bool(true))), "yes=1");
        let nothing = "INVALID_ARGUMENT: no case holds, and there is no default";
        assert_eq!(outcome(&Switch, &node, inputs(Value::Bool(false))), nothing);
        let no_bool = "INVALID_ARGUMENT: the condition gives int, not bool";
        assert_eq!(outcome(&Switch, &node, inputs(Value::I64(1))), no_bool);
    }

    #[test]
    fn every_problem_is_reported_at_its_place() {
        let node = json!({
            "params": {
                "cases": [{"when": "valu > 1", "then": "a"}, {"when": "value >", "then": "no good"}],
                "default": "also-bad",
            },
            "inputs": ["value"],
        });
        let found = problems(&Switch, &node);
        let places: Vec<_> = found.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(places, ["/cases/0/when", "/cases/1/when", "/cases/1/then", "/default"], "{found}");
        let empty = "/cases: expected 1 to 256 cases, found 0";
        assert_eq!(problems(&Switch, &json!({"params": {"cases": []}})), empty);
    }
}
