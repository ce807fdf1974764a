//! The echo of `guests/echo` as a deployed package, so that a guest answers what all the others answer.

use tests::package;
use tests::server::Okra;

/// Deploys it to a running server; `fresh` gives every call an instance of its own.
pub(super) async fn deploy(okra: &Okra, fresh: bool) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(tests::repository().join("guests").join("echo").join("echo.wat"))?;
    let abi = serde_json::json!({ "abi": { "payload": "protobuf" } });
    let echo = package::pack_with(SCHEMA, &wat::parse_str(text)?, &abi)?;
    package::deployed(okra, &echo).await?;
    if fresh {
        okra.admin().post_text("/api/v1/graphs?publish=true", FRESH).await?.expect_ok()?;
    }
    Ok(())
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
