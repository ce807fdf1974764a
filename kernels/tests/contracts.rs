//! Every built-in kernel has a file of its name, whose head is its contract: the ports it has, and an
//! example node that binds.

#![expect(clippy::unwrap_used, reason = "a test whose premise fails must fail")]

use std::path::PathBuf;

use exec_plan::{BoundKernel, KernelFactory, NodeSpec, Params};
use kernels::builtin;
use serde_json::Value as Json;

/// The text of a kernel file's head, without the comment signs.
fn head(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}.rs"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}.rs: {error}"));
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The example node at the end of a head.
fn example(name: &str, head: &str) -> Json {
    let (_, fenced) = head.split_once("```json\n").unwrap_or_else(|| panic!("{name} has no example"));
    let (json, _) = fenced.split_once("```").unwrap();
    serde_json::from_str(json).unwrap_or_else(|error| panic!("the example of {name}: {error}"))
}

fn names<'n>(node: &'n Json, list: &str) -> Option<Vec<&'n str>> {
    let names = node.get(list)?.as_array().unwrap();
    Some(names.iter().map(|name| name.as_str().unwrap()).collect())
}

fn bind(kernel: &dyn KernelFactory, node: &Json) -> BoundKernel {
    let params = node.get("params").map(Json::to_string);
    let (inputs, outputs) = (names(node, "inputs"), names(node, "outputs"));
    let spec = NodeSpec {
        id: node["id"].as_str().unwrap(),
        params: params.as_deref().map(Params::new).unwrap_or_default(),
        inputs: inputs.as_deref(),
        outputs: outputs.as_deref(),
    };
    kernel.bind(&spec).unwrap_or_else(|errors| panic!("the example of {}: {errors:?}", kernel.name()))
}

#[test]
fn a_kernels_file_opens_with_its_name() {
    for name in builtin().names() {
        assert!(head(name).starts_with(&format!("`{name}`: ")), "{name}");
    }
}

#[test]
fn the_example_of_a_contract_binds() {
    let kernels = builtin();
    for name in kernels.names() {
        let node = example(name, &head(name));
        assert_eq!(node["kernel"], name);
        let signature = bind(kernels.get(name).unwrap(), &node).signature;
        for input in names(&node, "inputs").unwrap_or_default() {
            assert!(signature.inputs.iter().any(|port| port.name == input), "{name}: {input}");
        }
        for output in names(&node, "outputs").unwrap_or_default() {
            assert!(signature.outputs.iter().any(|port| port.name == output), "{name}: {output}");
        }
    }
}

#[test]
fn a_contract_has_a_row_for_every_port() {
    let kernels = builtin();
    for name in kernels.names() {
        let head = head(name);
        let signature = bind(kernels.get(name).unwrap(), &example(name, &head)).signature;
        let row = |side: &str, port: &str| {
            let any = [format!("| any {side} |"), format!("| any other {side} |")];
            head.contains(&format!("| {side} `{port}` |")) || any.iter().any(|any| head.contains(any))
        };
        for port in &signature.inputs {
            assert!(row("input", &port.name), "{name} does not tell of its input {}", port.name);
        }
        for port in &signature.outputs {
            assert!(row("output", &port.name), "{name} does not tell of its output {}", port.name);
        }
    }
}
