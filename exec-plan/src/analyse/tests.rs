//! What the compiler's front half makes of whole documents.

mod kernels;

use super::*;
use crate::wire::Wire;

pub(crate) fn source(text: &str) -> GraphSource {
    GraphSource { origin: "graph.json".into(), stem: Some("graph".into()), text: text.to_owned().into() }
}

fn analysed(text: &str) -> Result<WiredGraph, GraphErrors> {
    analyse(&source(text), &kernels::registry(), &kernels::schema())
}

/// The document of the serve layer, word for word.
const SERVE_LAYER: &str = r#"{
  "nodes": [
    { "id": "in", "kernel": "rpc_server_input",
      "inputs": ["call"], "outputs": ["method", "payload", "meta"] },
    { "id": "logic", "kernel": "handle_rpc",
      "inputs": ["method", "payload", "meta"], "outputs": ["payload"] },
    { "id": "out", "kernel": "rpc_server_output",
      "inputs": ["call", "payload"], "outputs": [] }
  ],
  "bindings": [
    { "to": "in.call", "from": "$req.rpc.call" },
    { "to": "logic.method", "from": "in.method" },
    { "to": "logic.payload", "from": "in.payload" },
    { "to": "logic.meta", "from": "in.meta" },
    { "to": "out.call", "from": "$req.rpc.call" },
    { "to": "out.payload", "from": "logic.payload" }
  ]
}"#;

#[test]
fn the_serve_layers_example_is_wired() {
    let graph = analysed(SERVE_LAYER).unwrap();
    assert_eq!((graph.name.as_str(), graph.version.to_string().as_str()), ("graph", "0.0.0"));
    let ids: Vec<&str> = graph.nodes.iter().map(|node| &*node.id).collect();
    assert_eq!(ids, ["in", "logic", "out"]);
    assert!(matches!(graph.nodes[2].inputs[1], Wire::Node { node: 1, output: 0 }));
    assert_eq!(graph.env.len(), 1);
}
