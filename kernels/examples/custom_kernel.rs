//! A kernel of one's own: implement [`KernelFactory`], register it beside the built-in ones, and name
//! it in a graph. Run with `cargo run -p kernels --example custom_kernel`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use exec_plan::{
    BindError, Body, BoundKernel, EnvKey, EnvSchema, Environment, ExecPlan, Executor, Fault, GraphSource,
    InputPort, Kernel, KernelFactory, NodeSpec, OutputPort, Ports, ReadInputs, RequestContext, Signature,
    Site, Type, Value,
};
use serde::Deserialize;

/// `word_count`: counts the words of `text` that have at least `min_length` letters.
struct WordCount;

/// A misspelt parameter is an error: the report points at it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default = "one")]
    min_length: usize,
}

/// What runs for every request: the parsed parameters, nothing else.
struct Count {
    min_length: usize,
}

fn one() -> usize {
    1
}

impl KernelFactory for WordCount {
    fn name(&self) -> &str {
        "word_count"
    }

    /// Once for each node, when its graph is compiled: everything that can be refused is refused here.
    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { min_length } = node.params.parse()?;
        if min_length == 0 {
            let error = BindError::new(Site::Param("/min_length".to_owned()), "expected at least 1");
            return Err(vec![error.with_help("leave it out to count every word")]);
        }
        let signature = Signature::new(
            [InputPort::required("text", Type::String)],
            [OutputPort::new("count", Type::I64)],
        );
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(Count { min_length })) })
    }
}

impl Kernel for Count {
    /// For each request: ports go by their index in the signature, whose types hold.
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let words = ports.str(0)?.split_whitespace();
        let counted = words.filter(|word| word.chars().count() >= self.min_length).count();
        ports.set(0, Value::I64(i64::try_from(counted).unwrap_or(i64::MAX)));
        Ok(())
    }
}

/// What the graph's `$req.text` stands for. A host that serves RPCs brings its own environment.
struct Text(&'static str);

impl Environment for Text {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        match &*key.name {
            "text" => Value::Str(self.0.into()),
            _ => Value::Null,
        }
    }
}

const GRAPH: &str = r#"{
  "name": "long_words",
  "nodes": [
    { "id": "long", "kernel": "word_count", "params": { "min_length": 5 }, "inputs": ["text"], "outputs": ["count"] },
    { "id": "many", "kernel": "cel", "params": { "expr": "count > 2" }, "inputs": ["count"], "outputs": ["value"] }
  ],
  "bindings": [
    { "to": "long.text", "from": "$req.text" },
    { "to": "many.count", "from": "long.count" }
  ],
  "outputs": [{ "from": "long.count", "as": "count" }, { "from": "many.value", "as": "many" }]
}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut registry = kernels::builtin();
    registry.register(WordCount)?;

    let source = GraphSource { origin: "GRAPH".into(), stem: None, text: GRAPH.into() };
    let schema = EnvSchema::new([("text", Type::String)]);
    let plan = ExecPlan::compile(&source, &registry, &schema)?;
    println!("compiled {}", plan.label());

    let cx = RequestContext::new(Arc::new(Text("nothing dropped, everything explained, quick as ever")));
    let outputs = Executor::new().run(&plan, &cx, Instant::now())?;
    for (name, value) in outputs.iter() {
        println!("{name} = {value:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use exec_plan::{Inputs, Params};

    use super::*;

    #[tokio::test]
    async fn a_kernel_is_tested_without_a_graph() {
        let node =
            NodeSpec { id: "n", params: Params::new(r#"{"min_length": 3}"#), inputs: None, outputs: None };
        let kernel = WordCount.bind(&node).unwrap();
        let inputs: Inputs = [Some(Value::Str("an eye for an eye".into()))].into_iter().collect();
        let outputs = kernel.run_once(inputs, &RequestContext::new(Arc::new(Text("")))).await.unwrap();
        assert!(matches!(outputs.get(0), Some(Value::I64(3))));
    }

    #[test]
    fn a_wrong_parameter_is_refused() {
        for text in [r#"{"min_length": 0}"#, r#"{"minlength": 3}"#] {
            let node = NodeSpec { id: "n", params: Params::new(text), inputs: None, outputs: None };
            assert!(WordCount.bind(&node).is_err(), "{text}");
        }
    }
}
