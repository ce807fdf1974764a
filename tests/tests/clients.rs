//! Clients that others wrote call the echo graph, and every view of the figures agrees with them.

use anyhow::Context as _;
use serde_json::Value;
use tempfile::NamedTempFile;
use tests::admin::Stats;
use tests::clients::{go_tool, h2load, node, python, run, script};
use tests::documented_graph;
use tests::server::{Okra, Serve, okra};

#[tokio::test]
async fn grpcio_of_python_calls_it() -> anyhow::Result<()> {
    let Some(mut python) = python()? else { return Ok(()) };
    let okra = echo().await?;
    let said = run(python.arg(script("python/echo.py")).arg(okra.service().to_string()))?;
    let said: Value = serde_json::from_str(&said)?;
    every_view_counts(&okra, said["calls"].as_u64().context("a count")?).await
}

#[tokio::test]
async fn grpc_js_of_node_calls_it() -> anyhow::Result<()> {
    let Some(mut node) = node()? else { return Ok(()) };
    let okra = echo().await?;
    let said = run(node.arg(script("node/echo.js")).arg(okra.service().to_string()))?;
    let said: Value = serde_json::from_str(&said)?;
    every_view_counts(&okra, said["calls"].as_u64().context("a count")?).await
}

#[tokio::test]
async fn ghz_calls_it() -> anyhow::Result<()> {
    let Some(mut ghz) = go_tool("ghz")? else { return Ok(()) };
    let okra = echo().await?;
    let target = okra.service().to_string();
    ghz.args([
        "--insecure",
        "--call",
        "echo.Echo/Say",
        "-d",
        r#"{"payload":"aGVsbG8="}"#,
        "-n",
        "2000",
        "-c",
        "20",
    ])
    .args(["--connections", "4", "--format", "json", "--proto"])
    .arg(script("echo.proto"))
    .arg(&target);
    let report: Value = serde_json::from_str(&run(&mut ghz)?)?;
    assert_eq!(report["statusCodeDistribution"], serde_json::json!({ "OK": 2000 }), "{report}");
    every_view_counts(&okra, 2000).await
}

#[tokio::test]
async fn grpcurl_calls_it() -> anyhow::Result<()> {
    let Some(mut grpcurl) = go_tool("grpcurl")? else { return Ok(()) };
    let okra = echo().await?;
    let said = run(grpcurl
        .args(["-plaintext", "-import-path"])
        .arg(script(""))
        .args(["-proto", "echo.proto", "-d", r#"{"payload":"aGVsbG8="}"#])
        .args([&okra.service().to_string(), "echo.Echo/Say"]))?;
    assert_eq!(serde_json::from_str::<Value>(&said)?["payload"], "aGVsbG8=");
    every_view_counts(&okra, 1).await
}

#[tokio::test]
async fn h2load_gets_every_byte_it_is_owed() -> anyhow::Result<()> {
    let Some(mut h2load) = h2load()? else { return Ok(()) };
    let okra = echo().await?;
    let frame = NamedTempFile::new()?;
    std::fs::write(frame.path(), b"\0\0\0\0\x05hello")?;
    let said = run(h2load
        .args([
            "-n",
            "8000",
            "-c",
            "8",
            "-m",
            "32",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "-d",
        ])
        .arg(frame.path())
        .arg(format!("http://{}/echo.Echo/Say", okra.service())))?;
    assert!(said.contains(" 8000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    // It cannot see a gRPC error, but an error brings no message back.
    assert!(said.contains("(80000) data"), "{said}");
    every_view_counts(&okra, 8000).await
}

async fn echo() -> anyhow::Result<Okra> {
    Serve::graphs(documented_graph("echo.json")).start().await
}

/// `/api/v1/stats`, `okra stats` and `/metrics` say the same: these calls, and no others.
async fn every_view_counts(server: &Okra, calls: u64) -> anyhow::Result<()> {
    // The last answer may reach its client a moment before it is counted.
    let stats = tests::eventually("the calls in the figures", async || {
        Ok(Some(server.admin().stats().await?).filter(|stats| stats.completed >= calls && stats.is_quiet()))
    })
    .await?;
    assert_eq!(stats, Stats { accepted: calls, completed: calls, ..Stats::default() });

    let admin = server.admin().address().to_string();
    let said = okra(&["stats", "--json", "--admin", &admin])?;
    assert!(said.status.success(), "{said:?}");
    assert_eq!(Stats::read(&serde_json::from_str(&said.stdout)?)?, stats);

    let metrics = server.admin().metrics().await?;
    let counted = metrics.sum("okra_rpc_requests_total", &["code=\"OK\""]);
    assert_eq!(counted, calls as f64, "{:?}", metrics.names().collect::<Vec<_>>());
    assert_eq!(metrics.sum("okra_rpc_requests_total", &[]), calls as f64);
    Ok(())
}
