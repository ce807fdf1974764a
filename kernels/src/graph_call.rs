//! `graph_call`: runs another graph and gives its outputs.
//!
//! | port | type | |
//! |---|---|---|
//! | any input | any | the value behind `$req.<input>` in the other graph; listed in the node's `inputs` |
//! | any output | any | the output of this name of the other graph; listed in the node's `outputs` |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `graph` | | the name of a graph that has `outputs` and answers no calls |
//! | `output` | `"value"` | the one output, if the node lists none |
//!
//! The graph is looked up when the node runs: it is the version published then, whole. Keys of the
//! served request, `$req.rpc.metadata` for example, mean the same request within. Deadline, cancellation
//! and trace carry over.
//!
//! Waits without a thread. Fails with FAILED_PRECONDITION if the graph is not published, answers calls
//! itself, needs an input this node does not have, or did not set an output; with RESOURCE_EXHAUSTED if
//! graphs call each other more than 8 deep; else with whatever the other graph failed with.
//!
//! ```json
//! { "id": "total", "kernel": "graph_call", "params": { "graph": "cart-total" },
//!   "inputs": ["items", "country"], "outputs": ["sum", "tax"] }
//! ```

use std::sync::Arc;

use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Fault, GraphName, Inputs, KernelFactory, NodeSpec, Outputs,
    ReadInputs, RequestContext, Signature, Site, TypeSet,
};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::inner::{self, InnerEnvironment, graph_name};
use crate::ports;

/// The `graph_call` kernel.
#[derive(Debug)]
pub(crate) struct GraphCall;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphCallParams {
    graph: String,
    output: Option<String>,
}

#[derive(Debug)]
struct Node {
    graph: GraphName,
    inputs: Vec<Arc<str>>,
    outputs: Vec<Arc<str>>,
}

/// The output of a node that lists none and names none.
const DEFAULT_OUTPUT: &str = "value";

// === impl GraphCall ===

impl KernelFactory for GraphCall {
    fn name(&self) -> &str {
        "graph_call"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let params: GraphCallParams = node.params.parse()?;
        let graph = graph_name(&params.graph).map_err(|error| vec![error])?;
        let names = match (node.outputs, &params.output) {
            (Some(_), Some(_)) => {
                let site = Site::Param("/output".to_owned());
                let error = BindError::new(site, "the node lists its outputs already");
                return Err(vec![error.with_help("remove `output`, or the list of outputs")]);
            }
            (Some(listed), None) => listed.to_vec(),
            (None, named) => vec![named.as_deref().unwrap_or(DEFAULT_OUTPUT)],
        };
        let inputs = ports::named(node.inputs.unwrap_or_default().iter().copied(), TypeSet::ANY);
        let mut outputs = Vec::new();
        for name in names {
            ports::output(&mut outputs, name, TypeSet::ANY.into(), "/output").map_err(|error| vec![error])?;
        }
        let node = Node {
            graph,
            inputs: inputs.iter().map(|port| Arc::from(&*port.name)).collect(),
            outputs: outputs.iter().map(|port| Arc::from(&*port.name)).collect(),
        };
        Ok(BoundKernel { signature: Signature::new(inputs, outputs), body: Body::Async(Box::new(node)) })
    }
}

// === impl Node ===

impl Node {
    async fn call(&self, mut inputs: Inputs, cx: &RequestContext) -> Result<Outputs, Fault> {
        let held = inner::resolve(&self.graph, cx)?;
        let plan = held.plan();
        let given = self.inputs.iter().enumerate();
        let given = given.filter_map(|(i, name)| Some((name.clone(), inputs.take(i)?))).collect();
        let ran = inner::run(plan, InnerEnvironment::new(cx, given), cx).await?;
        let mut outputs = Outputs::new();
        for (i, name) in self.outputs.iter().enumerate() {
            outputs = outputs.with(i, inner::output(plan, &ran, name)?);
        }
        Ok(outputs)
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(self.call(inputs, cx))
    }
}
