//! `kill -9` at every write, sync and rename of a deploy and an undeploy of the real binary: what is found
//! afterwards is the old service or the new one, whole, never less than was acknowledged, and no file of
//! nobody's.
//!
//! The steps are first watched, then each is hit in a run of its own, on a copy of the same data directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tests::admin::Response;
use tests::clients::has_strace;
use tests::package::Orders;
use tests::rpc::Call;
use tests::say;
use tests::server::{Okra, Serve};
use tests::strace::{Fault, Point, Tracer};

/// A change of what is deployed.
#[derive(Clone, Debug)]
enum Change {
    Deploy(Bytes),
    Undeploy,
}

/// One unharmed run of a change, and what it looked like.
struct Rehearsal {
    change: Change,
    before: TempDir,
    state_before: Value,
    state_after: Value,
    steps: Vec<Point>,
    /// The paths that the change touches, relative to the data directory.
    touched: Vec<PathBuf>,
}

/// The folders that a deploy writes to; compiled code is only a copy of what a package has.
const FOLDERS: [&str; 2] = ["packages", "graphs"];

/// How long the last of the steps may come after the answer.
const AFTERMATH: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deploy_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    let change = Change::Deploy(Orders::saying("v1", "new").pack()?.bytes()?);
    survives_a_kill_at_every_step(change, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_a_package_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    let change = Change::Deploy(Orders::saying("v1", "new").pack()?.bytes()?);
    survives_a_kill_at_every_step(change, &["older", "old"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undeploy_survives_a_kill_at_every_step() -> anyhow::Result<()> {
    survives_a_kill_at_every_step(Change::Undeploy, &["older", "old"]).await
}

async fn survives_a_kill_at_every_step(change: Change, deployed: &[&str]) -> anyhow::Result<()> {
    if !has_strace()? {
        return Ok(());
    }
    let rehearsal = Rehearsal::of(change, deployed).await?;
    for kind in ["write", "fsync", "rename"] {
        assert!(rehearsal.steps.iter().any(|step| step.call == kind), "no {kind}: {:?}", rehearsal.steps);
    }
    let (mut old, mut new) = (0, 0);
    for step in &rehearsal.steps {
        let found = rehearsal.killed_at(step).await.with_context(|| format!("{step:?}"))?;
        if found == rehearsal.state_before { old += 1 } else { new += 1 }
    }
    say(format!(
        "killed at each of {} steps: the old {old} times, the new {new} times",
        rehearsal.steps.len()
    ));
    assert!(old > 0 && new > 0, "both outcomes belong to a change that has several steps");
    Ok(())
}

// === impl Rehearsal ===

impl Rehearsal {
    async fn of(change: Change, deployed: &[&str]) -> anyhow::Result<Self> {
        let before = TempDir::new()?;
        let okra = serve(before.path()).await?;
        for says in deployed {
            let package = Orders::saying("v1", *says).pack()?.bytes()?;
            Change::Deploy(package).ask(&okra).await?.expect_ok()?;
        }
        let state_before = state(&okra).await?;
        okra.stop().await?;

        // Which files a change makes is only known once it has made them: it goes twice.
        let data = copy(before.path())?;
        let mut touched = files(data.path())?;
        let okra = serve(data.path()).await?;
        change.ask(&okra).await?.expect_ok()?;
        touched.extend(files(data.path())?);
        tokio::time::sleep(AFTERMATH).await;
        okra.kill().await?;
        let unfinished = |path: &PathBuf| PathBuf::from(format!("{}.tmp", path.display()));
        touched.extend(touched.iter().map(unfinished).collect::<Vec<_>>());
        touched.extend(FOLDERS.map(PathBuf::from));

        let data = copy(before.path())?;
        let okra = serve(data.path()).await?;
        let paths: Vec<PathBuf> = touched.iter().map(|path| data.path().join(path)).collect();
        let tracer = Tracer::watch(okra.id(), &paths)?;
        change.ask(&okra).await?.expect_ok()?;
        tokio::time::sleep(AFTERMATH).await;
        let steps = tracer.finish()?;
        let state_after = state(&okra).await?;
        ensure!(state_before != state_after, "the change changes nothing");
        // What was acknowledged is there after a kill that follows at once.
        okra.kill().await?;
        let okra = serve(data.path()).await?;
        ensure!(state(&okra).await? == state_after, "less than was acknowledged");
        let touched = touched.into_iter().collect();
        Ok(Self { change, before, state_before, state_after, steps, touched })
    }

    /// Kills a server at one step of the change, and gives the state that the next one finds.
    async fn killed_at(&self, step: &Point) -> anyhow::Result<Value> {
        let data = copy(self.before.path())?;
        let mut okra = serve(data.path()).await?;
        let paths: Vec<PathBuf> = self.touched.iter().map(|path| data.path().join(path)).collect();
        let tracer = Tracer::hit(okra.id(), &paths, step, Fault::Kill)?;
        let acknowledged = self.change.ask(&okra).await.is_ok_and(|answer| answer.status < 300);
        // The tracer counts for each thread. A step after the answer may be another thread's this time;
        // then the kill comes after all steps.
        match okra.ended(AFTERMATH).await {
            Ok(status) => ensure!(status.code().is_none(), "not killed but ended: {status}"),
            Err(_) => ensure!(acknowledged, "neither killed nor answered"),
        }
        drop(tracer);
        okra.kill().await?;

        let okra = serve(data.path()).await?;
        let found = state(&okra).await?;
        let is_new = found == self.state_after;
        ensure!(is_new || (found == self.state_before && !acknowledged), "neither old nor new: {found:#}");
        for harm in ["is not what was written", "is gone", "are lost", "cannot be used", "could not be saved"]
        {
            ensure!(!okra.log().contains(harm), "something was torn:\n{}", okra.log());
        }
        let left: Vec<String> = files(data.path())?.iter().map(|path| path.display().to_string()).collect();
        ensure!(!left.iter().any(|path| path.ends_with(".tmp")), "{left:?}");
        // What was found is in order: the same change goes through now.
        if !is_new {
            self.change.ask(&okra).await?.expect_ok()?;
            ensure!(state(&okra).await? == self.state_after, "the change came out otherwise this time");
        }
        okra.kill().await?;
        Ok(found)
    }
}

// === impl Change ===

impl Change {
    async fn ask(&self, okra: &Okra) -> anyhow::Result<Response> {
        match self {
            Self::Deploy(package) => {
                okra.admin().upload("/api/v1/packages/deploy?override=true", package.clone()).await
            }
            Self::Undeploy => okra.admin().delete("/api/v1/packages/shop.Orders.v1").await,
        }
    }
}

async fn serve(data: &Path) -> anyhow::Result<Okra> {
    Serve::empty().data_dir(data).start().await
}

/// What is listed, without its time, and what answers.
async fn state(okra: &Okra) -> anyhow::Result<Value> {
    let mut list = okra.admin().get("/api/v1/packages").await?.json()?;
    for service in list["services"].as_array_mut().context("a list")? {
        service["deployed_at"] = Value::Null;
    }
    let reply = okra.client().await?.call(Call::new("/shop.Orders/place", b"\x0a\x01x".as_slice())).await?;
    let says = reply.payload.map(|payload| String::from_utf8_lossy(&payload).into_owned());
    list["says"] = serde_json::json!([format!("{:?}", reply.code), says]);
    Ok(list)
}

/// The files of a data directory that a deploy has to do with, relative to it.
fn files(data: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(data.join(folder))? {
            files.insert(Path::new(folder).join(entry?.file_name()));
        }
    }
    Ok(files)
}

/// A copy of a data directory; in memory where there is such a thing, for it is only killed, not unplugged.
fn copy(data: &Path) -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let copied = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }?;
    for folder in ["packages", "graphs", "cache"] {
        let target = copied.path().join(folder);
        fs::create_dir(&target)?;
        for entry in fs::read_dir(data.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), target.join(entry.file_name()))?;
            }
        }
    }
    Ok(copied)
}
