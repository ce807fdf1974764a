//! `join`: the end of branches; passes on the first input that fired.
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any | listed in the node's `inputs` |
//! | output `value` | as the input | of those that fired, the first in the order of the list |
//!
//! Runs when any input fired. Does not wait. Never fails.
//!
//! ```json
//! { "id": "either", "kernel": "join", "inputs": ["cheap", "dear"], "outputs": ["value"] }
//! ```

use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, Fires, Gives, Kernel, KernelFactory, NodeSpec, OutputPort,
    Ports, ReadInputs, RequestContext, Signature, TypeSet,
};
use serde::Deserialize;

use crate::ports;

/// The `join` kernel.
pub(crate) struct Join;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

impl KernelFactory for Join {
    fn name(&self) -> &str {
        "join"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params {} = node.params.parse()?;
        let inputs = ports::listed(node, TypeSet::ANY)?;
        let mut signature = Signature::new(inputs, [OutputPort::new("value", Gives::AnyInput)]);
        signature.fires = Fires::Any;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for Join {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let first = (0..ports.len()).find_map(|input| ports.take(input));
        let first = first.ok_or_else(|| Fault::new(Code::Internal, "none of the inputs fired"))?;
        ports.set(0, first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use exec_plan::Value;
    use serde_json::json;

    use super::*;
    use crate::testing::{outcome, problems};

    #[test]
    fn the_first_input_that_fired_passes() {
        let node = json!({"inputs": ["a", "b", "c"]});
        assert_eq!(outcome(&Join, &node, [("c", Value::I64(3)), ("b", Value::I64(2))]), "value=2");
        assert_eq!(outcome(&Join, &node, []), "INTERNAL: none of the inputs fired");
    }

    #[test]
    fn it_needs_inputs() {
        let none = "this kernel takes the inputs that the node lists, and it lists none";
        assert_eq!(problems(&Join, &json!({})), none);
        assert_eq!(problems(&Join, &json!({"inputs": []})), none);
    }
}
