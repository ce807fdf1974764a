//! `identity`: passes its input on, unchanged.
//!
//! | port | type | |
//! |---|---|---|
//! | input `value` | any | |
//! | output `value` | as the input | what came in |
//!
//! Does not wait. Never fails.
//!
//! ```json
//! { "id": "same", "kernel": "identity", "inputs": ["value"], "outputs": ["value"] }
//! ```

use exec_plan::{
    BindError, Body, BoundKernel, Fault, Gives, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort,
    Ports, RequestContext, Signature, TypeSet,
};
use serde::Deserialize;

use crate::ports;

/// The `identity` kernel.
pub(crate) struct Identity;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

impl KernelFactory for Identity {
    fn name(&self) -> &str {
        "identity"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params {} = node.params.parse()?;
        let signature = Signature::new(
            [InputPort::required("value", TypeSet::ANY)],
            [OutputPort::new("value", Gives::SameAsInput(0))],
        );
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for Identity {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        if ports.pass(0, 0) { Ok(()) } else { Err(ports::nothing(0)) }
    }
}

#[cfg(test)]
mod tests {
    use exec_plan::Value;
    use serde_json::json;

    use super::*;
    use crate::testing::{outcome, problems};

    #[test]
    fn what_comes_in_goes_out() {
        assert_eq!(outcome(&Identity, &json!({}), [("value", Value::I64(1))]), "value=1");
        assert_eq!(
            problems(&Identity, &json!({"params": {"x": 1}})),
            "unknown field `x`, there are no fields"
        );
    }
}
