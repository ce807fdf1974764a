//! A server of the services of `clients/greet.proto`: one gives back what it gets, one always fails.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde_json::json;

use crate::clients::script;
use crate::graph::Graphs;
use crate::server::{Okra, Serve};

/// The server, and the files it serves from.
#[derive(Debug)]
pub struct Greet {
    /// The server.
    pub okra: Okra,
    descriptors: PathBuf,
    _graphs: Graphs,
}

// === impl Greet ===

impl Greet {
    /// Starts it with these flags.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(flags: &[(&str, &str)]) -> anyhow::Result<Self> {
        let graphs = Graphs::new()?;
        graphs.write("greeter.json", &greeter().to_string())?;
        graphs.write("grumbler.json", &grumbler().to_string())?;
        graphs.write("plain.json", &plain().to_string())?;
        let folder = script("");
        let set = protox::compile([folder.join("greet.proto")], [folder])?;
        let descriptors = graphs.path().join("greet.pb");
        std::fs::write(&descriptors, set.encode_to_vec())?;
        let mut serve = Serve::graphs(graphs.path()).flag("--services-descriptors", descriptors.display());
        for (name, value) in flags {
            serve = serve.flag(name, value);
        }
        Ok(Self { okra: serve.start().await?, descriptors, _graphs: graphs })
    }

    /// The descriptor set of the services.
    pub fn descriptors(&self) -> &Path {
        &self.descriptors
    }
}

fn greeter() -> serde_json::Value {
    echo("greeter", "greet.v1.Greeter")
}

/// A service that nobody describes.
fn plain() -> serde_json::Value {
    echo("plain", "plain.Echo")
}

fn echo(name: &str, service: &str) -> serde_json::Value {
    json!({
        "version": "1.0.0", "name": name, "serves": [service],
        "nodes": [
            { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] },
            { "id": "slowly", "kernel": "delay", "params": { "ms": 1 }, "inputs": ["value"], "outputs": ["value"] },
            { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }
        ],
        "bindings": [
            { "to": "in.call", "from": "$req.rpc.call" },
            { "to": "slowly.value", "from": "in.payload" },
            { "to": "out.call", "from": "$req.rpc.call" },
            { "to": "out.payload", "from": "slowly.value" }
        ]
    })
}

fn grumbler() -> serde_json::Value {
    json!({
        "version": "1.0.0", "name": "grumbler", "serves": ["greet.v1.Grumbler"],
        "nodes": [{
            "id": "out", "kernel": "rpc_server_output", "inputs": ["call"], "outputs": [],
            "params": {
                "status": "FAILED_PRECONDITION", "message": "not today: ☹",
                "details": { "reason": "MOOD", "domain": "greet.v1" },
                "headers": { "x-leading": "1" }, "trailers": { "x-trailing": "2" }
            }
        }],
        "bindings": [{ "to": "out.call", "from": "$req.rpc.call" }]
    })
}
