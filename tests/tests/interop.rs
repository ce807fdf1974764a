//! grpc-go's own interop client: the cases that a host of unary calls can answer.
//!
//! Left out are those that need a second message before the first answer, or TLS: `ping_pong`,
//! `custom_metadata` (its second half), `*_streaming`, `cancel_after_first_response`, `*_creds`.

use tests::clients::{go_tool, run};
use tests::proving::Proving;

const CASES: [&str; 9] = [
    "empty_unary",
    "large_unary",
    "unimplemented_method",
    "unimplemented_service",
    "status_code_and_message",
    "special_status_message",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "rpc_soak",
];

#[test]
fn the_go_interop_client_passes_over_tonic() -> anyhow::Result<()> {
    all_cases_pass("tonic")
}

#[test]
fn the_go_interop_client_passes_over_native() -> anyhow::Result<()> {
    all_cases_pass("native")
}

fn all_cases_pass(transport: &str) -> anyhow::Result<()> {
    let proving = Proving::start(transport)?;
    let port = proving.address().port().to_string();
    let mut failures = Vec::new();
    for case in CASES {
        let Some(mut client) = go_tool("client")? else { return Ok(()) };
        client.args(["--server_host=127.0.0.1", "--server_port", &port, "--test_case", case]);
        client.args(["--soak_iterations=200", "--soak_overall_timeout_seconds=30"]);
        if let Err(error) = run(&mut client) {
            failures.push(format!("{case}: {error:#}"));
        }
    }
    anyhow::ensure!(failures.is_empty(), "{transport}:\n{}", failures.join("\n"));
    Ok(())
}
