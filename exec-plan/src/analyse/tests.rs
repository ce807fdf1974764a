//! What becomes of a right document: order, wires, types, constants and policies.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::fault::{Code, Fault};
use crate::kernel::{
    BindError, Body, BoundKernel, Fires, Gives, InputPort, Kernel, KernelFactory, NodeSpec, OutputPort,
    Signature,
};
use crate::ports::Ports;
use crate::value::{Type, TypeSet, Value};
use crate::wire::{Fallback, Wire, WiredNode};
use crate::{RequestContext, document};

/// A kernel whose parameters say which ports it has.
struct Any;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// The types of the inputs; `?` before a name makes it optional.
    #[serde(default, rename = "in")]
    inputs: BTreeMap<String, Vec<String>>,
    /// The types of the outputs; `same` is that of the first input, `any` that of all.
    #[serde(default, rename = "out")]
    outputs: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    join: bool,
}

impl KernelFactory for Any {
    fn name(&self) -> &str {
        "any"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let Params { inputs, outputs, join } = node.params.parse()?;
        let input = |(name, types): (String, Vec<String>)| match name.strip_prefix('?') {
            Some(name) => InputPort::optional(name.to_owned(), types_of(&types)),
            None => InputPort::required(name, types_of(&types)),
        };
        let output = |(name, types): (String, Vec<String>)| {
            let gives = match types.first().map(String::as_str) {
                Some("same") => Gives::SameAsInput(0),
                Some("any") => Gives::AnyInput,
                _ => types_of(&types).into(),
            };
            OutputPort::new(name, gives)
        };
        let signature = Signature::new(inputs.into_iter().map(input), outputs.into_iter().map(output));
        let fires = if join { Fires::Any } else { Fires::All };
        Ok(BoundKernel { signature: Signature { fires, ..signature }, body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for Any {
    fn run(&self, _: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        Ok(())
    }
}

fn types_of(names: &[String]) -> TypeSet {
    let kind = |name: &String| Type::ALL.into_iter().find(|kind| kind.name() == name).unwrap();
    if names.is_empty() { TypeSet::ANY } else { TypeSet::of(&names.iter().map(kind).collect::<Vec<_>>()) }
}

fn analysed(nodes: &str, bindings: &str, outputs: &str) -> WiredGraph {
    let text = format!(
        r#"{{ "version": 3, "name": "g", "nodes": [{nodes}], "bindings": [{bindings}], "outputs": [{outputs}] }}"#
    );
    let source = GraphSource { origin: "graph.json".into(), stem: None, text: text.into() };
    let mut kernels = KernelRegistry::new();
    kernels.register(Any).unwrap();
    let schema = EnvSchema::new([("rpc.payload", Type::Bytes), ("rpc.deadline_ms", Type::I64)]);
    analyse(&source, &kernels, &schema).unwrap_or_else(|errors| panic!("{errors}"))
}

fn node<'g>(graph: &'g WiredGraph, id: &str) -> &'g WiredNode {
    graph.nodes.iter().find(|node| &*node.id == id).unwrap()
}

fn ids(graph: &WiredGraph) -> Vec<&str> {
    graph.nodes.iter().map(|node| &*node.id).collect()
}

#[test]
fn nodes_come_after_what_feeds_them_and_else_as_written() {
    let any = r#""kernel": "any", "params": { "in": { "?x": [], "?y": [] }, "out": { "v": [] } }"#;
    let nodes: Vec<String> =
        ["d", "c", "b", "a", "e"].iter().map(|id| format!(r#"{{ "id": "{id}", {any} }}"#)).collect();
    let bindings = r#"
        { "to": "d.x", "from": "a.v" }, { "to": "d.y", "from": "b.v" },
        { "to": "b.x", "from": "a.v" }, { "to": "e.x", "from": "c.v" }"#;
    let graph = analysed(&nodes.join(","), bindings, r#"{ "from": "d.v", "as": "last" }"#);
    assert_eq!(ids(&graph), ["c", "a", "b", "d", "e"]);
    assert!(matches!(
        node(&graph, "d").inputs[..],
        [Wire::Node { node: 1, output: 0 }, Wire::Node { node: 2, output: 0 }]
    ));
    assert!(matches!(graph.outputs[0].from, Wire::Node { node: 3, output: 0 }));
    assert!(matches!(node(&graph, "c").inputs[..], [Wire::Unbound, Wire::Unbound]));
}

#[test]
fn an_input_is_checked_at_run_time_only_if_types_may_differ() {
    let graph = analysed(
        r#"
        { "id": "some", "kernel": "any", "params": { "out": { "v": ["i64", "string"] } } },
        { "id": "int", "kernel": "any", "params": { "in": { "x": ["i64"] } } },
        { "id": "wide", "kernel": "any", "params": { "in": { "x": ["i64", "string", "json"] } } }"#,
        r#"{ "to": "int.x", "from": "some.v" }, { "to": "wide.x", "from": "some.v" }"#,
        r#"{ "from": 1, "as": "one" }"#,
    );
    assert_eq!(node(&graph, "int").checks, [(0, TypeSet::of(&[Type::I64]))]);
    assert_eq!(node(&graph, "wide").checks, []);
}

#[test]
fn types_pass_through_nodes_that_pass_values_on() {
    let graph = analysed(
        r#"
        { "id": "a", "kernel": "any", "params": { "out": { "v": ["i64"] } } },
        { "id": "b", "kernel": "any", "params": { "out": { "v": ["string"] } } },
        { "id": "id", "kernel": "any", "params": { "in": { "x": [] }, "out": { "v": ["same"] } } },
        { "id": "join", "kernel": "any", "params": { "in": { "?x": [], "?y": [] }, "out": { "v": ["any"] }, "join": true } },
        { "id": "int", "kernel": "any", "params": { "in": { "x": ["i64"] } } },
        { "id": "maybe", "kernel": "any", "params": { "in": { "x": ["i64", "bool"] } } }"#,
        r#"
        { "to": "id.x", "from": "a.v" }, { "to": "join.x", "from": "id.v" }, { "to": "join.y", "from": "b.v" },
        { "to": "int.x", "from": "id.v" }, { "to": "maybe.x", "from": "join.v" }"#,
        r#"{ "from": 1, "as": "one" }"#,
    );
    assert_eq!(node(&graph, "int").checks, []);
    assert_eq!(node(&graph, "maybe").checks, [(0, TypeSet::of(&[Type::I64, Type::Bool]))]);
}

#[test]
fn an_inner_graph_names_its_own_keys_and_keeps_known_types() {
    let graph = analysed(
        r#"{ "id": "a", "kernel": "any", "params": { "in": { "x": ["i64"], "y": ["i64"], "z": ["bytes"] } } }"#,
        r#"
        { "to": "a.x", "from": "$req.amount" }, { "to": "a.y", "from": "$req.rpc.deadline_ms" },
        { "to": "a.z", "from": "$req.rpc.payload" }"#,
        r#"{ "from": "$req.amount", "as": "amount" }"#,
    );
    let keys: Vec<(&str, Option<usize>)> = graph.env.iter().map(|key| (&*key.name, key.index)).collect();
    assert_eq!(keys, [("amount", None), ("rpc.deadline_ms", Some(1)), ("rpc.payload", Some(0))]);
    // Of a key that only the caller knows, the type is known only at run time.
    assert_eq!(node(&graph, "a").checks, [(0, TypeSet::of(&[Type::I64]))]);
    assert!(matches!(graph.outputs[0].from, Wire::Env(0)));
}

#[test]
fn constants_take_the_type_of_their_port() {
    let graph = analysed(
        r#"{ "id": "a", "kernel": "any", "params": { "in": { "f": ["f64"], "b": ["bytes"], "j": ["json"], "s": [] } } }"#,
        r#"
        { "to": "a.f", "from": 2 }, { "to": "a.b", "from": "hi" }, { "to": "a.j", "from": [1] },
        { "to": "a.s", "from": "no.such node" }"#,
        r#"{ "from": 1, "as": "one" }"#,
    );
    let values: Vec<String> = node(&graph, "a").inputs.iter().map(|wire| format!("{wire:?}")).collect();
    assert_eq!(values, ["Const(bytes(2))", "Const(2.0)", "Const(json([1]))", "Const(\"no.such node\")"]);
}

#[test]
fn policies_are_read_with_their_defaults() {
    let graph = analysed(
        r#"
        { "id": "a", "kernel": "any", "params": { "out": { "u": ["i64"], "v": ["bytes"] } },
          "timeout_ms": 250, "retry": { "attempts": 3 }, "fallback": { "v": "none" } },
        { "id": "b", "kernel": "any", "params": { "out": { "v": [] } }, "outputs": ["v", "failed"],
          "retry": { "attempts": 2, "backoff_ms": 0, "on": ["ABORTED", "INTERNAL"] }, "fallback": "failed" },
        { "id": "c", "kernel": "any", "params": { "in": { "x": ["json"] } } }"#,
        r#"{ "to": "c.x", "from": "b.failed" }"#,
        r#"{ "from": "a.v", "as": "v" }"#,
    );
    let policy = &node(&graph, "a").policy;
    assert_eq!(policy.timeout, Some(Duration::from_millis(250)));
    let retry = policy.retry.as_ref().unwrap();
    assert_eq!((retry.attempts.get(), &*retry.on), (3, &[Code::Unavailable][..]));
    assert_eq!(retry.backoff, Duration::from_millis(document::DEFAULT_BACKOFF_MS));
    assert!(
        matches!(&policy.fallback, Fallback::Values(values) if matches!(&values[..], [Value::Null, Value::Bytes(v)] if v == "none"))
    );

    let policy = &node(&graph, "b").policy;
    assert_eq!(policy.retry.as_ref().unwrap().on, [Code::Aborted, Code::Internal]);
    assert!(matches!(policy.fallback, Fallback::Fires));
    // The failure comes out right after the signature's own outputs, as JSON.
    assert!(matches!(node(&graph, "c").inputs[..], [Wire::Node { node: 1, output: 1 }]));
    assert_eq!(node(&graph, "c").checks, []);
}

#[test]
fn name_version_and_description_are_the_documents() {
    let graph = analysed("", "", r#"{ "from": null, "as": "nothing" }"#);
    assert_eq!((graph.name.as_str(), graph.version.to_string().as_str()), ("g", "3.0.0"));
    assert_eq!((graph.description, graph.serves.len(), graph.nodes.len()), (None, 0, 0));
}
