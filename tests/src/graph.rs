//! Documented graphs made to call a test's own upstream.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::documented_graph;

/// The upstream that the documented graphs name.
pub const DOCUMENTED_UPSTREAM: &str = "http://127.0.0.1:50051";

/// A directory of graphs of one test's making.
#[derive(Debug)]
pub struct Graphs(TempDir);

// === impl Graphs ===

impl Graphs {
    /// An empty directory.
    ///
    /// # Errors
    /// If none can be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(TempDir::new()?))
    }

    /// Copies a documented graph, with its upstream at `upstream`, and gives the copy's path.
    ///
    /// # Errors
    /// If the graph does not name the documented upstream.
    pub fn with_upstream(&self, file: &str, upstream: SocketAddr) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(documented_graph(file)).with_context(|| file.to_owned())?;
        anyhow::ensure!(text.contains(DOCUMENTED_UPSTREAM), "{file} does not call {DOCUMENTED_UPSTREAM}");
        self.write(file, &text.replace(DOCUMENTED_UPSTREAM, &format!("http://{upstream}")))
    }

    /// Writes a document.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.path().join(file);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A graph that answers each call with its own message after so many milliseconds. It serves the service that is
/// called as the graph is, with a capital: `late.Late` for `late`.
pub fn waiting(name: &str, ms: u64) -> String {
    let (first, rest) = name.split_at(1);
    serde_json::json!({
        "version": "1.0.0", "name": name, "serves": [format!("{name}.{}{rest}", first.to_uppercase())],
        "nodes": [
            { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] },
            { "id": "wait", "kernel": "delay", "params": { "ms": ms }, "inputs": ["value"], "outputs": ["value"] },
            { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }
        ],
        "bindings": [
            { "to": "in.call", "from": "$req.rpc.call" },
            { "to": "wait.value", "from": "in.payload" },
            { "to": "out.call", "from": "$req.rpc.call" },
            { "to": "out.payload", "from": "wait.value" }
        ]
    })
    .to_string()
}
