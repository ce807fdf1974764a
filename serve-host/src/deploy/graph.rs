//! The graph that is made for a package: what `okra graph explain` shows, and what may be built upon.
//!
//! It is bound to this very package by its digest, so the plan store's flip is also the flip of guest and
//! schema, and what is in flight keeps all three.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{GraphName, GraphSource};
use packages::{Abi, Package, Payload};
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
        bindings: bindings(package.abi()),
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
    let bound = [("service", json!(package.service_id())), ("digest", json!(package.digest()))];
    let params = |more: &[(&str, Value)]| -> Value {
        let pairs = bound.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(pairs.collect())
    };
    let Abi { payload, envelope } = package.abi();
    // What nobody reads is not made.
    let with_envelope = |plain: &[&'static str], more: &[&'static str]| -> Vec<&'static str> {
        plain.iter().chain(more.iter().filter(|_| envelope)).copied().collect()
    };
    let input = Node {
        id: "in",
        kernel: "rpc_server_input",
        params: Value::Null,
        inputs: vec!["call"],
        outputs: with_envelope(&["method", "payload"], &["meta"]),
    };
    let guest = Node {
        id: "guest",
        kernel: "wasm_invoke",
        params: params(&[]),
        inputs: with_envelope(&["method", "payload"], &["meta"]),
        outputs: with_envelope(&["payload"], &["headers", "trailers"]),
    };
    let output = Node {
        id: "out",
        kernel: "rpc_server_output",
        params: Value::Null,
        inputs: with_envelope(&["call", "payload"], &["headers", "trailers"]),
        outputs: vec![],
    };
    if payload == Payload::Protobuf {
        return vec![input, guest, output];
    }
    let to_json = Node {
        id: "to_json",
        kernel: "proto_to_json",
        // Guests look for fields by the names of the schema, and miss those that are left out.
        params: params(&[("names", json!("original")), ("zeros", json!(true))]),
        inputs: vec!["method", "payload"],
        outputs: vec!["json"],
    };
    let to_proto = Node {
        id: "to_proto",
        kernel: "json_to_proto",
        params: params(&[("lenient", json!(true))]),
        inputs: vec!["method", "json"],
        outputs: vec!["payload"],
    };
    vec![input, to_json, guest, to_proto, output]
}

fn bindings(abi: Abi) -> Vec<Binding> {
    let bind = |(to, from)| Binding { to, from };
    let transcoding = match abi.payload {
        Payload::Protobuf => &[("guest.payload", "in.payload"), ("out.payload", "guest.payload")][..],
        Payload::Json => &[
            ("to_json.method", "in.method"),
            ("to_json.payload", "in.payload"),
            ("guest.payload", "to_json.json"),
            ("to_proto.method", "in.method"),
            ("to_proto.json", "guest.payload"),
            ("out.payload", "to_proto.payload"),
        ],
    };
    let enveloped = match abi.envelope {
        true => {
            &[("guest.meta", "in.meta"), ("out.headers", "guest.headers"), ("out.trailers", "guest.trailers")]
                [..]
        }
        false => &[],
    };
    let always = [("in.call", "$req.rpc.call"), ("guest.method", "in.method"), ("out.call", "$req.rpc.call")];
    always.iter().chain(transcoding).chain(enveloped).copied().map(bind).collect()
}
