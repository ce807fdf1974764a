//! `fail`: ends the run with a failure of the graph's choosing.
//!
//! | port | type | |
//! |---|---|---|
//! | input `message` | string | optional; instead of the parameter |
//! | input `details` | bytes or JSON | optional; a serialized `google.rpc.Status`, or an error info; instead of the parameter |
//! | any other input | any | listed in the node's `inputs`; only decides whether it runs: bind the branch that must fail |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `code` | | a status code other than OK, by name or number |
//! | `message` | `""` | the status message, for the caller |
//! | `details` | | an error info, `{"reason": "…", "domain": "…", "metadata": {…}}`; the last two may be left out |
//!
//! The message is the graph's own words and reaches the caller as it is. To answer with a failure and
//! metadata, use `rpc_server_output`.
//!
//! Does not wait. Fails as it is told; with INTERNAL if `details` carries JSON that is no error info.
//!
//! ```json
//! { "id": "refuse", "kernel": "fail",
//!   "params": { "code": "PERMISSION_DENIED", "message": "not yours" }, "inputs": ["when"] }
//! ```

use std::time::Duration;

use bytes::Bytes;
use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, NodeSpec, Ports, ReadInputs,
    RequestContext, Signature, Site, Type, TypeSet, Value,
};
use serde::Deserialize;

use crate::ports;
use crate::status::{self, CodeParam, ErrorInfo};

/// The `fail` kernel.
pub(crate) struct Fail;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    code: CodeParam,
    #[serde(default)]
    message: String,
    details: Option<ErrorInfo>,
}

struct Failure {
    code: Code,
    message: String,
    details: Option<ErrorInfo>,
}

const MESSAGE: usize = 0;
const DETAILS: usize = 1;
const COST: Duration = Duration::from_nanos(200);

impl KernelFactory for Fail {
    fn name(&self) -> &str {
        "fail"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { code: CodeParam(code), message, details } = node.params.parse()?;
        if code == Code::Ok {
            return Err(vec![BindError::new(Site::Param("/code".to_owned()), "OK is not a failure")]);
        }
        let triggers = node.inputs.unwrap_or_default().iter().copied();
        let triggers = triggers.filter(|name| !matches!(*name, "message" | "details"));
        let own =
            [InputPort::optional("message", Type::String), InputPort::optional("details", status::DETAILS)];
        let inputs = own.into_iter().chain(ports::named(triggers, TypeSet::ANY));
        let mut signature = Signature::new(inputs, []);
        signature.fails = true;
        signature.cost = COST;
        let body = Body::Inline(Box::new(Failure { code, message, details }));
        Ok(BoundKernel { signature, body })
    }
}

impl Kernel for Failure {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let message = match ports.get(MESSAGE) {
            Some(Value::Str(message)) => message.to_string(),
            _ => self.message.clone(),
        };
        let details = self.details(ports.take(DETAILS), &message)?;
        let fault = Fault::new(self.code, message).verbatim();
        Err(match details {
            Some(details) => fault.with_details(details),
            None => fault,
        })
    }
}

impl Failure {
    fn details(&self, given: Option<Value>, message: &str) -> Result<Option<Bytes>, Fault> {
        match given {
            Some(details) => status::details(details, self.code, message).map(Some),
            None => Ok(self.details.as_ref().map(|info| info.encode(self.code, message))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{bind, json as json_value, outcome, problems, run, text};

    #[test]
    fn it_fails_as_told() {
        let node = json!({"params": {"code": "NOT_FOUND", "message": "no such order"}, "inputs": ["when", "message"]});
        assert_eq!(outcome(&Fail, &node, [("when", Value::Null)]), "NOT_FOUND: no such order");
        let inputs = [("when", Value::Null), ("message", text("order 7"))];
        assert_eq!(outcome(&Fail, &node, inputs), "NOT_FOUND: order 7");
        assert_eq!(outcome(&Fail, &json!({"params": {"code": 8}}), []), "RESOURCE_EXHAUSTED: ");
    }

    #[test]
    fn details_come_from_the_input_or_else_the_parameter() {
        let info = json!({"reason": "OUT_OF_STOCK"});
        let kernel = bind(&Fail, &json!({"params": {"code": 5, "message": "m", "details": info}})).unwrap();
        let expected: ErrorInfo = serde_json::from_value(info.clone()).unwrap();
        let fault = run(&kernel, []).unwrap_err();
        assert!(fault.is_verbatim());
        assert_eq!(fault.details(), Some(&expected.encode(Code::NotFound, "m")));
        let fault = run(&kernel, [("details", Value::Bytes("raw".into()))]).unwrap_err();
        assert_eq!(fault.details().unwrap(), "raw");
        let fault = run(&kernel, [("details", json_value(json!({"no": "info"})))]).unwrap_err();
        assert_eq!(fault.code(), Code::Internal);
    }

    #[test]
    fn success_is_no_failure() {
        for (params, expected) in [
            (json!({"code": "OK"}), "/code: OK is not a failure"),
            (
                json!({"code": 99}),
                "invalid value: integer `99`, expected a status code like \"NOT_FOUND\", or its number",
            ),
            (json!({"message": "x"}), "missing field `code`"),
        ] {
            assert_eq!(problems(&Fail, &json!({"params": params})), expected);
        }
    }
}
