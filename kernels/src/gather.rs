//! `gather`: makes a list of its inputs.
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any but call | listed in the node's `inputs` |
//! | output `value` | list | the inputs in the order of the list |
//!
//! Where its inputs come from nodes that wait, those run side by side: this is where they meet again.
//!
//! Does not wait. Never fails.
//!
//! ```json
//! { "id": "both", "kernel": "gather", "inputs": ["first", "second"], "outputs": ["value"] }
//! ```

use std::time::Duration;

use exec_plan::{
    BindError, Body, BoundKernel, Fault, Kernel, KernelFactory, NodeSpec, OutputPort, Ports, RequestContext,
    Signature, Type, TypeSet, Value,
};
use serde::Deserialize;

use crate::ports;

/// The `gather` kernel.
pub(crate) struct Gather;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

const COST: Duration = Duration::from_nanos(100);
const ACCEPTS: TypeSet = TypeSet::JSON_LIKE.union(TypeSet::of(&[Type::Bytes, Type::Message, Type::Metadata]));

impl KernelFactory for Gather {
    fn name(&self) -> &str {
        "gather"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params {} = node.params.parse()?;
        let mut signature =
            Signature::new(ports::listed(node, ACCEPTS)?, [OutputPort::new("value", Type::List)]);
        signature.cost = COST;
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for Gather {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let items = (0..ports.len()).map(|input| ports::take(ports, input)).collect::<Result<Vec<_>, _>>()?;
        ports.set(0, Value::List(items.into()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{outcome, text};

    #[test]
    fn inputs_become_a_list_in_the_order_of_the_ports() {
        let node = json!({"inputs": ["b", "a"]});
        assert_eq!(outcome(&Gather, &node, [("a", Value::I64(1)), ("b", text("x"))]), r#"value=["x", 1]"#);
        assert_eq!(outcome(&Gather, &node, [("b", text("x"))]), r#"INTERNAL: input "a" is unbound"#);
    }
}
