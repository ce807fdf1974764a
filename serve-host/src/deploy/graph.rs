//! The graph that is made for a package: what `okra graph explain` shows, and what may be built upon.
//!
//! It is bound to this very package by its digest, so the plan store's flip is also the flip of guest and
//! schema, and what is in flight keeps all three.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{GraphName, GraphSource};
use packages::{Package, Payload};
use serde::Serialize;
use serde_json::{Value, json};

/// A graph document, in the order in which people read one.
#[derive(Serialize)]
struct Document<'a> {
    version: String,
    name: &'a GraphName,
    description: String,
    serves: [&'a str; 1],
    nodes: Vec<Node>,
    bindings: Vec<Binding>,
}

#[derive(Serialize)]
struct Node {
    id: &'static str,
    kernel: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    params: Value,
    inputs: Vec<&'static str>,
    outputs: Vec<&'static str>,
}

#[derive(Serialize)]
struct Binding {
    to: &'static str,
    from: &'static str,
}

/// The graph of a package.
pub(crate) fn source(package: &Package, route: &GraphName) -> GraphSource {
    let document = Document {
        version: package.semver().to_string(),
        name: route,
        description: format!("Made for {} when its package was deployed", package.service_id()),
        serves: [package.route()],
        nodes: nodes(package),
        bindings: bindings(package.abi().payload),
    };
    // Strings and lists always serialize.
    let text = serde_json::to_string_pretty(&document).unwrap_or_default() + "\n";
    GraphSource {
        origin: Arc::from(format!("package of {}", package.service_id())),
        stem: None,
        text: Bytes::from(text),
    }
}

fn nodes(package: &Package) -> Vec<Node> {
    let bound = json!({ "service": package.service_id(), "digest": package.digest() });
    let with = |key: &str, value: Value| {
        let mut params = bound.clone();
        params[key] = value;
        params
    };
    let input = Node {
        id: "in",
        kernel: "rpc_server_input",
        params: Value::Null,
        inputs: vec!["call"],
        outputs: vec!["method", "payload", "meta"],
    };
    let guest = |payload| Node {
        id: "guest",
        kernel: "wasm_invoke",
        params: bound.clone(),
        inputs: vec!["method", payload, "meta"],
        outputs: vec![payload, "headers", "trailers"],
    };
    let output = Node {
        id: "out",
        kernel: "rpc_server_output",
        params: Value::Null,
        inputs: vec!["call", "payload", "headers", "trailers"],
        outputs: vec![],
    };
    match package.abi().payload {
        Payload::Protobuf => vec![input, guest("payload"), output],
        Payload::Json => {
            let to_json = Node {
                id: "to_json",
                kernel: "proto_to_json",
                // Guests find fields by the names of the schema, and miss those that are left out.
                params: json!({
                    "service": package.service_id(), "digest": package.digest(),
                    "names": "original", "zeros": true,
                }),
                inputs: vec!["method", "payload"],
                outputs: vec!["json"],
            };
            let to_proto = Node {
                id: "to_proto",
                kernel: "json_to_proto",
                params: with("lenient", json!(true)),
                inputs: vec!["method", "json"],
                outputs: vec!["payload"],
            };
            vec![input, to_json, guest("payload"), to_proto, output]
        }
    }
}

fn bindings(payload: Payload) -> Vec<Binding> {
    let bind = |to, from| Binding { to, from };
    let mut bindings = vec![
        bind("in.call", "$req.rpc.call"),
        bind("guest.method", "in.method"),
        bind("guest.meta", "in.meta"),
    ];
    match payload {
        Payload::Protobuf => {
            bindings.extend([bind("guest.payload", "in.payload"), bind("out.payload", "guest.payload")])
        }
        Payload::Json => bindings.extend([
            bind("to_json.method", "in.method"),
            bind("to_json.payload", "in.payload"),
            bind("guest.payload", "to_json.json"),
            bind("to_proto.method", "in.method"),
            bind("to_proto.json", "guest.payload"),
            bind("out.payload", "to_proto.payload"),
        ]),
    }
    bindings.extend([
        bind("out.call", "$req.rpc.call"),
        bind("out.headers", "guest.headers"),
        bind("out.trailers", "guest.trailers"),
    ]);
    bindings
}
