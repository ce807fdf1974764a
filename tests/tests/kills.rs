//! `kill -9` at every write, sync and rename of every change of the real binary: what is found afterwards
//! is the state before the change or the state after it, whole, and never less than was acknowledged.
//!
//! The steps of a change are first watched, then each is hit in a run of its own, on a copy of the same
//! data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::clients::has_strace;
use tests::rpc::{Call, Code};
use tests::server::{Okra, Serve};
use tests::strace::{Fault, Point, Tracer, store_paths};
use tests::{documented_graph, say};

/// A change of the graph `swap`, whose active version is 2.0.0 with 1.0.0 before it.
#[derive(Clone, Copy, Debug)]
enum Change {
    Stage,
    /// Two changes for one request: what is found may lie between them, staged and not yet published.
    StageAndPublish,
    Publish,
    Pin,
    Unpin,
    Rollback,
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_a_new_version_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::StageAndPublish).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_a_staged_version_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Publish).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Pin).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_pin_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Unpin).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Rollback).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_not_acknowledged_and_calls_go_on() -> anyhow::Result<()> {
    if !has_strace()? {
        return Ok(());
    }
    let rehearsal = Rehearsal::of(Change::Rollback).await?;
    let point =
        rehearsal.steps.iter().find(|step| step.call == "fsync").context("no change without a sync")?;
    let data = copy(rehearsal.before.path())?;
    let okra = serve(data.path()).start().await?;
    let tracer = Tracer::hit(okra.id(), &rehearsal.paths(data.path()), point, Fault::Fails("EIO"))?;
    let answer = Change::Rollback.ask(&okra).await?;
    tracer.finish()?;
    assert!(answer.status >= 500, "acknowledged: {answer:?}");
    let problem = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(problem.contains("sync"), "the cause is not named: {problem}");
    assert_eq!(state(&okra).await?, rehearsal.state_before);
    assert_eq!(version_that_answers(&okra).await?, "2.0.0");

    // Asking the disk again would not tell what it holds, so nothing more is written, and that is loud.
    assert!(Change::Rollback.ask(&okra).await?.status >= 500);
    assert!(okra.admin().metrics().await?.sum("okra_store_read_only", &[]) > 0.5);
    okra.kill().await?;
    let okra = serve(data.path()).start().await?;
    let found = state(&okra).await?;
    assert!(found == rehearsal.state_before || found == rehearsal.state_after, "{found:#}");
    Ok(())
}

/// One unharmed run of a change, and what it looked like.
struct Rehearsal {
    before: TempDir,
    state_before: Value,
    /// What lies between, if the change is made of two.
    state_between: Option<Value>,
    state_after: Value,
    steps: Vec<Point>,
    /// The paths that the change touches, relative to the data directory.
    touched: Vec<PathBuf>,
}

impl Rehearsal {
    async fn of(change: Change) -> anyhow::Result<Self> {
        let before = TempDir::new()?;
        let okra = serve(before.path()).start().await?;
        for file in ["swap_v1.json", "swap_v2.json"] {
            publish_document(&okra, &std::fs::read_to_string(documented_graph(file))?).await?.expect_ok()?;
        }
        if matches!(change, Change::Unpin) {
            Change::Pin.ask(&okra).await?.expect_ok()?;
        }
        let state_before = state(&okra).await?;
        okra.kill().await?;

        let state_between = match change {
            Change::StageAndPublish => {
                let data = copy(before.path())?;
                let okra = serve(data.path()).start().await?;
                Change::Stage.ask(&okra).await?.expect_ok()?;
                Some(state(&okra).await?)
            }
            Change::Stage | Change::Publish | Change::Pin | Change::Unpin | Change::Rollback => None,
        };
        // Which files a change makes is only known once it has made them: it goes twice.
        let touched = {
            let data = copy(before.path())?;
            let okra = serve(data.path()).start().await?;
            change.ask(&okra).await?.expect_ok()?;
            okra.kill().await?;
            let relative = |path: PathBuf| Some(path.strip_prefix(data.path()).ok()?.to_owned());
            store_paths(data.path())?.into_iter().filter_map(relative).collect::<Vec<_>>()
        };
        let data = copy(before.path())?;
        let okra = serve(data.path()).start().await?;
        let paths: Vec<PathBuf> = touched.iter().map(|path| data.path().join(path)).collect();
        let tracer = Tracer::watch(okra.id(), &paths)?;
        change.ask(&okra).await?.expect_ok()?;
        let steps = tracer.finish()?;
        let state_after = state(&okra).await?;
        // What was acknowledged is there after a kill that follows at once.
        okra.kill().await?;
        let okra = serve(data.path()).start().await?;
        assert_eq!(state(&okra).await?, state_after, "less than was acknowledged");
        Ok(Self { before, state_before, state_between, state_after, steps, touched })
    }

    fn paths(&self, data: &Path) -> Vec<PathBuf> {
        self.touched.iter().map(|path| data.join(path)).collect()
    }
}

async fn survives_a_kill_at_every_step(change: Change) -> anyhow::Result<()> {
    if !has_strace()? {
        return Ok(());
    }
    let rehearsal = Rehearsal::of(change).await?;
    for kind in ["write", "fsync", "rename"] {
        assert!(rehearsal.steps.iter().any(|step| step.call == kind), "no {kind}: {:?}", rehearsal.steps);
    }
    assert_ne!(rehearsal.state_before, rehearsal.state_after, "the change changes nothing");
    let (mut kept, mut between, mut changed) = (0, 0, 0);
    for step in &rehearsal.steps {
        let found =
            killed_at(change, &rehearsal, step).await.with_context(|| format!("{change:?}, {step:?}"))?;
        let count = match found {
            found if found == rehearsal.state_before => &mut kept,
            found if found == rehearsal.state_after => &mut changed,
            _ => &mut between,
        };
        *count += 1;
    }
    let steps = rehearsal.steps.len();
    say(format!(
        "{change:?}: killed at each of {steps} steps: {kept} before, {between} between, {changed} after"
    ));
    assert!(kept > 0 && changed > 0, "both outcomes belong to a change that has several steps");
    Ok(())
}

/// Kills a server at one step of a change, and gives the state that the next one finds.
async fn killed_at(change: Change, rehearsal: &Rehearsal, step: &Point) -> anyhow::Result<Value> {
    let data = copy(rehearsal.before.path())?;
    let mut okra = serve(data.path()).start().await?;
    let tracer = Tracer::hit(okra.id(), &rehearsal.paths(data.path()), step, Fault::Kill)?;
    let answer = change.ask(&okra).await;
    ensure!(answer.is_err(), "acknowledged before its last step: {answer:?}");
    let status = okra.ended(tests::SOON).await?;
    ensure!(status.code().is_none(), "not killed but ended: {status}");
    drop(tracer);

    let okra = serve(data.path()).start().await?;
    let found = state(&okra).await?;
    ensure!(
        [Some(&rehearsal.state_before), rehearsal.state_between.as_ref(), Some(&rehearsal.state_after)]
            .contains(&Some(&found)),
        "neither before nor after: {found:#}"
    );
    for harm in ["is not what was written", "is gone", "are lost", "cannot be used", "could not be saved"] {
        ensure!(!okra.log().contains(harm), "something was torn:\n{}", okra.log());
    }
    let serving = found["versions"].as_array().into_iter().flatten().filter(|v| v["serves_now"] == true);
    let serving: Vec<_> = serving.filter_map(|version| version["version"].as_str()).collect();
    ensure!(serving == [version_that_answers(&okra).await?], "another version answers than {serving:?}");
    // What was found is in order: the same change goes through now.
    if found != rehearsal.state_after {
        change.ask(&okra).await?.expect_ok()?;
        ensure!(state(&okra).await? == rehearsal.state_after, "the change came out otherwise this time");
    }
    Ok(found)
}

// === impl Change ===

impl Change {
    async fn ask(self, okra: &Okra) -> anyhow::Result<tests::admin::Response> {
        let third = || {
            anyhow::Ok(std::fs::read_to_string(documented_graph("swap_v2.json"))?.replace("2.0.0", "3.0.0"))
        };
        let (what, body) = match self {
            Self::Stage => return okra.admin().post_text("/api/v1/graphs", &third()?).await,
            Self::StageAndPublish => return publish_document(okra, &third()?).await,
            Self::Publish => ("publish", json!({ "version": "1.0.0" })),
            Self::Pin => ("pin", json!({ "version": "1.0.0" })),
            Self::Unpin => ("pin", json!({ "version": null })),
            Self::Rollback => ("rollback", json!({})),
        };
        okra.admin().post(&format!("/api/v1/graphs/swap/{what}"), &body).await
    }
}

fn serve(data: &Path) -> Serve {
    Serve::empty().data_dir(data).flag("--default-graph", "swap")
}

async fn publish_document(okra: &Okra, text: &str) -> anyhow::Result<tests::admin::Response> {
    okra.admin().post_text("/api/v1/graphs?publish=true", text).await
}

/// What the server says of its one graph, without what belongs to the process alone.
async fn state(okra: &Okra) -> anyhow::Result<Value> {
    let graph = okra.admin().get("/api/v1/graphs/swap").await?.json()?;
    let serving = &graph["serving"];
    let version = |version: &Value| {
        let serves_now = version["hash"] == serving["hash"];
        json!({ "version": version["version"], "hash": version["hash"], "published": version["published"],
                "unusable": version["unusable"], "serves_now": serves_now })
    };
    let versions: Vec<Value> =
        graph["versions"].as_array().context("no versions")?.iter().map(version).collect();
    Ok(json!({ "active": graph["active"], "pinned": graph["pinned"], "previous": graph["previous"],
               "versions": versions }))
}

async fn version_that_answers(okra: &Okra) -> anyhow::Result<String> {
    let reply = okra.client().await?.call(Call::new("/swap.Swap/Read", "{}")).await?;
    ensure!(reply.code == Code::Ok, "{reply:?}");
    Ok(reply.json()?["first"].as_str().context("a version")?.to_owned())
}

/// A copy of a data directory; in memory where there is such a thing, for it is only killed, not unplugged.
fn copy(data: &Path) -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let copied = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }?;
    let graphs = copied.path().join("graphs");
    std::fs::create_dir(&graphs)?;
    for entry in std::fs::read_dir(data.join("graphs"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), graphs.join(entry.file_name()))?;
    }
    Ok(copied)
}
