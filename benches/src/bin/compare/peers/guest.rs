//! An echo as a deployed package, so that a guest answers what all the others answer.
//!
//! The guest gets the message in protobuf: a client that speaks JSON has it transcoded, on the way in and on the
//! way out.

use anyhow::Context as _;
use tests::package;
use tests::server::Okra;

use super::Foreign;

/// A guest that echoes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    /// `benches/peers/okra-echo`, which is written in Rust as the component that `wasmtime serve` runs; or else
    /// `guests/echo`.
    pub(super) compiled: bool,
    /// Every call has an instance of its own.
    pub(super) fresh: bool,
}

// === impl Echo ===

impl Echo {
    /// Deploys it to a running server.
    pub(super) async fn deploy(self, okra: &Okra) -> anyhow::Result<()> {
        let abi = serde_json::json!({ "abi": { "payload": "protobuf" } });
        package::deployed(okra, &package::pack_with(SCHEMA, &self.wasm()?, &abi)?).await?;
        if self.fresh {
            okra.admin().post_text("/api/v1/graphs?publish=true", FRESH).await?.expect_ok()?;
        }
        Ok(())
    }

    fn wasm(self) -> anyhow::Result<Vec<u8>> {
        if self.compiled {
            let path = Foreign::Guest.path();
            return std::fs::read(&path).with_context(|| path.display().to_string());
        }
        let text = std::fs::read_to_string(tests::repository().join("guests").join("echo").join("echo.wat"))?;
        Ok(wat::parse_str(text)?)
    }
}

const SCHEMA: &str = r#"@okra(namespace: "echo", version: "v1")
service Echo { Say(input: Message): Message }
type Message { payload: String! }
"#;

/// Takes the place of the graph that the deploy made.
const FRESH: &str = r#"{"version": "2.0.0", "name": "echo.Echo", "serves": ["echo.Echo"], "nodes": [
    {"id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"]},
    {"id": "guest", "kernel": "wasm_invoke", "params": {"service": "echo.Echo.v1", "isolation": "fresh"},
     "inputs": ["payload"], "outputs": ["payload"]},
    {"id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": []}
], "bindings": [
    {"to": "in.call", "from": "$req.rpc.call"},
    {"to": "guest.payload", "from": "in.payload"},
    {"to": "out.call", "from": "$req.rpc.call"},
    {"to": "out.payload", "from": "guest.payload"}
]}"#;
