//! The control plane does what its own description says: schemathesis asks each of its operations, in good
//! ways and bad, and finds no answer that is not documented and none that is the host's fault.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::clients::{run, schemathesis, script};
use tests::package::{Orders, deployed};
use tests::server::Serve;
use tests::{documented_graph, say};

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_is_not_documented() -> anyhow::Result<()> {
    let Some(schemathesis) = schemathesis()? else { return Ok(()) };
    let server = Serve::graphs(documented_graph("echo.json")).start().await?;
    for version in ["v1", "v2"] {
        deployed(&server, &Orders::saying(version, "hello").pack()?).await?;
    }
    let document = server.admin().get("/openapi.json").await?.json()?;
    let paths = document["paths"].as_object().context("paths")?;
    // It has read the document itself by then.
    let asked = paths.iter().filter(|(path, _)| *path != "/openapi.json");
    let operations: usize = asked.map(|(_, path)| operations(path)).sum();
    let own = tempfile::tempdir()?;
    // It leaves what it has learnt behind, which is not to steer the next time.
    let said = run(Command::new(schemathesis.get_program())
        .current_dir(own.path())
        .arg("--config-file")
        .arg(script("python/schemathesis.toml"))
        .args(["run", "--phases", "coverage,fuzzing,stateful"])
        .arg(format!("http://{}/openapi.json", server.admin().address())))?;
    ensure!(
        said.contains(&format!("Tested: {operations}\n")) && operations > 20,
        "{operations} operations: {said}"
    );
    say(said.lines().find(|line| line.contains("generated, ")).context("a count")?.trim());
    ensure!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.admin().get("/healthz").await?.status, 200);
    Ok(())
}

/// How many operations a path has.
fn operations(path: &Value) -> usize {
    ["get", "post", "put", "delete", "patch"].iter().filter(|method| path[**method].is_object()).count()
}
