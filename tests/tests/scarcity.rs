//! A machine that has run out: of room on the disk, of files. Calls go on, what cannot be done is refused
//! with its cause, and all is well again once there is enough.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tests::bystander::Bystander;
use tests::process::Process;
use tests::raw::Raw;
use tests::rpc::Client;
use tests::server::{Okra, Serve};
use tests::{documented_graph, eventually, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_with_the_cause_and_calls_go_on() -> anyhow::Result<()> {
    let data = tempfile::TempDir::new()?;
    let Some(okra) = on_a_small_disk(data.path()).await? else { return Ok(()) };
    okra.admin().post_text("/api/v1/graphs?publish=true", &document("1.0.0")).await?.expect_ok()?;
    okra.admin().post_text("/api/v1/graphs", &document("2.0.0")).await?.expect_ok()?;
    let bystander = Bystander::start(&okra, METHOD).await?;

    // The disk is the server's own; it is reached through the server's eyes.
    let seen = format!("/proc/{}/root{}", okra.id(), data.path().display());
    let filler = Path::new(&seen).join("filler");
    fill(&filler)?;
    for (path, body) in [
        ("/api/v1/graphs?publish=true", document("3.0.0")),
        ("/api/v1/graphs/echo/publish", json!({ "version": "2.0.0" }).to_string()),
        ("/api/v1/graphs/echo/pin", json!({ "version": "1.0.0" }).to_string()),
    ] {
        let refused = okra.admin().post_text(path, &body).await?;
        let problem = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(refused.status >= 500, "{path}: acknowledged without room: {problem}");
        assert!(problem.contains("No space left on device"), "{path}: the cause is not named: {problem}");
    }
    assert_eq!(active(&okra).await?, "1.0.0", "what was refused has happened");

    std::fs::remove_file(&filler)?;
    let publish = json!({ "version": "2.0.0" });
    okra.admin().post("/api/v1/graphs/echo/publish", &publish).await?.expect_ok()?;
    assert_eq!(active(&okra).await?, "2.0.0");
    let seen = bystander.stop().await?;
    assert!(seen.problems.is_empty() && seen.answered > 0, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_accepting_pauses_and_resumes_over_tonic() -> anyhow::Result<()> {
    without_files_accepting_pauses_and_resumes("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_accepting_pauses_and_resumes_over_native() -> anyhow::Result<()> {
    without_files_accepting_pauses_and_resumes("native").await
}

async fn without_files_accepting_pauses_and_resumes(transport: &str) -> anyhow::Result<()> {
    let okra = Serve::graphs(documented_graph("echo.json"))
        .flag("--transport", transport)
        .flag("--connections-handshake-timeout", "2s")
        .flag("--admin-header-timeout", "1s")
        .start()
        .await?;
    let client = okra.client().await?;
    let process = Process(okra.id());
    // From here on it may open next to no file beyond those it has: the limit is on their numbers, and a few
    // numbers below may be free.
    let files = process.holding()?.files;
    limit_files(okra.id(), files)?;

    let (begun, before) = (Instant::now(), process.processor_time()?);
    let mut turned_away = Vec::new();
    for _ in 0..100 {
        turned_away.push(Raw::connect(okra.service()).await?);
    }
    // The other port is no better off, and must not spin either. What it takes, it gives back in time.
    let _waiting = Raw::connect(okra.admin().address()).await?;
    for peer in &mut turned_away {
        peer.until_closed(Duration::from_secs(10)).await?;
    }
    tokio::time::sleep(MEASURED.saturating_sub(begun.elapsed())).await;
    let (spent, elapsed) = (process.processor_time()? - before, begun.elapsed());
    let share = spent.as_secs_f64() / elapsed.as_secs_f64();
    say(format!("{transport}: {:.1} % of a core while there were no files", share * 100.0));
    assert!(share < 0.05, "{spent:?} of {elapsed:?}");
    assert!(client.call(tests::rpc::Call::new(METHOD, "still")).await?.text()? == "still");

    limit_files(okra.id(), 4096)?;
    eventually("a connection that is served", async || {
        let Ok(client) = Client::connect(okra.service()).await else { return Ok(None) };
        Ok(client.call(tests::rpc::Call::new(METHOD, "back")).await.ok())
    })
    .await?;
    let cut = eventually("the figures", async || Ok(okra.admin().metrics().await.ok())).await?;
    assert!(cut.sum("okra_connections_cut_total", &["no_files"]) >= 1.0);
    eventually("its line in the log", async || Ok(okra.log().contains("no_files").then_some(()))).await?;
    Ok(())
}

/// A server whose data directory is a file system of 256 KiB, seen by nobody else and gone with it. `None`
/// where that is not allowed.
async fn on_a_small_disk(data: &Path) -> anyhow::Result<Option<Okra>> {
    const MOUNT: &str = "mount -t tmpfs -o size=256k tmpfs \"$0\" && exec \"$@\"";
    let directory = data.to_str().context("a temporary directory has a plain name")?;
    for unshare in [&["unshare", "-m"][..], &["unshare", "-Urm"]] {
        let probe = [unshare, &["sh", "-c", MOUNT, directory, "true"]].concat();
        if !Command::new(probe[0]).args(&probe[1..]).output()?.status.success() {
            continue;
        }
        let wrapper = [unshare, &["sh", "-c", MOUNT, directory]].concat();
        let okra = Serve::empty().data_dir(data).flag("--default-graph", "echo").within(wrapper);
        return Ok(Some(okra.start().await?));
    }
    anyhow::ensure!(std::env::var_os("CI").is_none(), "no file system of one's own can be mounted here");
    say("NOT RUN: no file system of one's own can be mounted here");
    Ok(None)
}

/// Takes all the room that is left.
fn fill(path: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    Ok(())
}

fn limit_files(id: u32, files: usize) -> anyhow::Result<()> {
    let limit = format!("--nofile={files}:4096");
    let done = Command::new("prlimit").args(["--pid", &id.to_string(), &limit]).status()?;
    anyhow::ensure!(done.success(), "prlimit: {done}");
    Ok(())
}

fn document(version: &str) -> String {
    let text = std::fs::read_to_string(documented_graph("echo.json")).unwrap_or_default();
    text.replace("1.0.0", version)
}

async fn active(okra: &Okra) -> anyhow::Result<String> {
    let graph = okra.admin().get("/api/v1/graphs/echo").await?.json()?;
    Ok(graph["active"]["version"].as_str().context("an active version")?.to_owned())
}

const METHOD: &str = "/echo.Echo/Say";
/// How long the processor time is measured, at least.
const MEASURED: Duration = Duration::from_secs(3);
