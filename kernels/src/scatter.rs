//! `scatter`: runs another graph for every item of a list, several at a time.
//!
//! | port | type | |
//! |---|---|---|
//! | input `list` | list or JSON array | the items |
//! | any other input | any | the same for every item: the value behind `$req.<input>`; listed in the node's `inputs` |
//! | output `list` | list | the output of each run, in the order of the items |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `graph` | | the name of a graph that has `outputs` and answers no calls |
//! | `item` | `"item"` | the key of the item in the graph, `$req.item` |
//! | `output` | `"value"` | the graph's output that is collected |
//! | `concurrency` | 16 | runs at a time, 1 to 256 |
//! | `max_items` | 10,000 | the longest list, 1 to 1,000,000 |
//!
//! The graph is looked up once, when the node runs: all items meet the same version. Deadline,
//! cancellation and trace carry over to every run.
//!
//! Waits without a thread. The first run that fails ends the node and abandons the others; the message
//! begins with `item N: `. Fails as `graph_call` does, and with RESOURCE_EXHAUSTED for a list that is
//! too long.
//!
//! ```json
//! { "id": "priced", "kernel": "scatter", "params": { "graph": "price-of-item", "concurrency": 8 },
//!   "inputs": ["list", "currency"], "outputs": ["list"] }
//! ```

use std::sync::Arc;

use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Fault, GraphName, Inputs, KernelFactory, NodeSpec, OutputPort,
    Outputs, ReadInputs, RequestContext, Signature, Site, Type, TypeSet, Value,
};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::fan_out::{fan_out, items};
use crate::inner::{self, InnerEnvironment, graph_name};
use crate::ports;
use crate::upstream::params;

/// The `scatter` kernel.
#[derive(Debug)]
pub(crate) struct Scatter;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScatterParams {
    graph: String,
    item: Option<String>,
    output: Option<String>,
    concurrency: Option<u32>,
    max_items: Option<u32>,
}

#[derive(Debug)]
struct Node {
    graph: GraphName,
    item: Arc<str>,
    output: Arc<str>,
    /// Where the list is among the inputs; all others are shared.
    list: usize,
    inputs: Vec<Arc<str>>,
    concurrency: usize,
    max_items: usize,
}

const LIST: &str = "list";
const DEFAULT_ITEM: &str = "item";
const DEFAULT_OUTPUT: &str = "value";

// === impl Scatter ===

impl KernelFactory for Scatter {
    fn name(&self) -> &str {
        "scatter"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let params: ScatterParams = node.params.parse()?;
        let mut errors = Vec::new();
        let graph = graph_name(&params.graph).map_err(|error| errors.push(error)).ok();
        let concurrency = params::CONCURRENCY.read(params.concurrency, &mut errors) as usize;
        let max_items = params::MAX_ITEMS.read(params.max_items, &mut errors) as usize;
        let item: Arc<str> = params.item.as_deref().unwrap_or(DEFAULT_ITEM).into();
        let names = node.inputs.unwrap_or(&[LIST]).iter().copied();
        let mut ports = ports::named(names, TypeSet::ANY);
        for port in ports.iter_mut().filter(|port| port.name == LIST) {
            port.accepts = TypeSet::of(&[Type::List, Type::Json]);
        }
        let inputs: Vec<Arc<str>> = ports.iter().map(|port| Arc::from(&*port.name)).collect();
        if inputs.iter().any(|name| *name == item && &**name != LIST) {
            let message = format!("{item:?} is the key of the item");
            errors.push(BindError::new(Site::Input(item.to_string()), message));
        }
        let list = inputs.iter().position(|name| &**name == LIST).unwrap_or_else(|| {
            errors.push(BindError::new(Site::Node, "the inputs lack `list`"));
            0
        });
        let graph = graph.filter(|_| errors.is_empty()).ok_or(errors)?;
        let signature = Signature::new(ports, [OutputPort::new(LIST, Type::List)]);
        let output = params.output.as_deref().unwrap_or(DEFAULT_OUTPUT).into();
        let node = Node { graph, item, output, list, inputs, concurrency, max_items };
        Ok(BoundKernel { signature, body: Body::Async(Box::new(node)) })
    }
}

// === impl Node ===

impl Node {
    async fn call(&self, mut inputs: Inputs, cx: &RequestContext) -> Result<Outputs, Fault> {
        let list = items(inputs.take(self.list).as_ref(), self.max_items)?;
        let shared: Vec<(Arc<str>, Value)> = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != self.list)
            .filter_map(|(i, name)| Some((name.clone(), inputs.take(i)?)))
            .collect();
        let held = inner::resolve(&self.graph, cx)?;
        let plan = held.plan();
        let runs = list.into_iter().map(|item| async {
            let mut given = shared.clone();
            given.push((self.item.clone(), item));
            let ran = inner::run(plan, InnerEnvironment::new(cx, given), cx).await?;
            inner::output(plan, &ran, &self.output)
        });
        let values = fan_out(runs, self.concurrency).await?;
        Ok(Outputs::one(Value::List(values.into())))
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(self.call(inputs, cx))
    }
}
