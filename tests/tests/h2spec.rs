//! HTTP/2 as h2spec understands it, strictly, over both transports.

use tests::clients::{go_tool, run};
use tests::documented_graph;
use tests::server::{Serve, Transport};

#[tokio::test]
async fn all_of_h2spec_passes_over_the_native_transport() -> anyhow::Result<()> {
    all_of_h2spec_passes(Transport::Native).await
}

#[tokio::test]
async fn all_of_h2spec_passes_over_hyper() -> anyhow::Result<()> {
    all_of_h2spec_passes(Transport::Tonic).await
}

async fn all_of_h2spec_passes(transport: Transport) -> anyhow::Result<()> {
    let Some(mut h2spec) = go_tool("h2spec")? else { return Ok(()) };
    let okra = Serve::graphs(documented_graph("echo.json")).over(transport).start().await?;
    let port = okra.service().port().to_string();
    let report = run(h2spec.args(["-S", "-h", "127.0.0.1", "-p", &port, "-P", "/healthz"]))?;
    let summary = report.lines().rev().find(|line| line.contains(" passed")).unwrap_or_default();
    assert_eq!(summary, "146 tests, 146 passed, 0 skipped, 0 failed", "{report}");
    Ok(())
}
