//! Replacing a graph while it is called: nothing fails, nothing is mixed, nothing is left behind.
//!
//! The two versions of `swap` answer with their own name from two nodes, so an answer that was made by
//! parts of both would say so.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::clients::{python, script};
use tests::graph::Graphs;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};
use tests::{documented_graph, eventually, long_form};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_publishes_and_a_hundred_rollbacks_lose_no_call() -> anyhow::Result<()> {
    let graphs = both_versions()?;
    let okra = Serve::graphs(graphs.path()).flag("--default-graph", "swap").start().await?;
    publish(&okra, "1.0.0").await?;
    let plans = live_plans(&okra).await?;

    let other = Python::start(&okra)?;
    let own = Load::start(&okra).await?;
    let publishes = if long_form() { 10_000 } else { 1_000 };
    let mut in_flight = 0;
    for number in 0..publishes {
        let version = if number % 2 == 0 { "2.0.0" } else { "1.0.0" };
        let receipt = publish(&okra, version).await?;
        assert_eq!(receipt["dropped"], 0, "{receipt}");
        assert_eq!(receipt["to"]["version"], version, "{receipt}");
        assert_ne!(receipt["from"], receipt["to"], "{receipt}");
        in_flight += receipt["in_flight_at_flip"].as_u64().context("a count")?;
    }
    // Each goes one step further back, and the versions took turns on the way here.
    for number in 0..100 {
        let version = if number % 2 == 0 { "2.0.0" } else { "1.0.0" };
        let receipt = change(&okra, "rollback", json!({})).await?;
        assert_eq!(receipt["dropped"], 0, "{receipt}");
        assert_eq!(receipt["to"]["version"], version, "{receipt}");
    }
    let mut ledger = own.stop().await?;
    if let Some(other) = other {
        ledger.add(other.stop()?);
    }
    println!(
        "{publishes} publishes, {in_flight} calls in flight at their flips in all; {:?}",
        ledger.versions
    );
    assert_eq!(ledger.problems, BTreeMap::new());
    assert!(in_flight > 0, "no swap met a call: the load did not saturate");
    assert!(ledger.versions.len() == 2 && ledger.versions.values().all(|calls| *calls > 100), "{ledger:?}");

    let stats =
        eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet()))).await?;
    assert_eq!(stats.completed, ledger.versions.values().sum::<u64>(), "{stats:?}");
    assert!(stats.adds_up() && stats.rejected == 0 && stats.failed == 0, "{stats:?}");
    eventually("old plans to be freed", async || Ok((live_plans(&okra).await? == plans).then_some(())))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_and_pinned_survives_a_kill() -> anyhow::Result<()> {
    let graphs = both_versions()?;
    let data = tempfile::TempDir::new()?;
    let serve = || Serve::graphs(graphs.path()).flag("--default-graph", "swap").data_dir(data.path());

    let okra = serve().start().await?;
    publish(&okra, "2.0.0").await?;
    publish(&okra, "1.0.0").await?;
    assert_eq!(version_that_answers(&okra).await?, "1.0.0");
    okra.kill().await?;

    let okra = serve().start().await?;
    assert_eq!(version_that_answers(&okra).await?, "1.0.0", "the active version was forgotten");
    change(&okra, "pin", json!({ "version": "2.0.0" })).await?;
    assert_eq!(version_that_answers(&okra).await?, "2.0.0");
    okra.kill().await?;

    let okra = serve().start().await?;
    assert_eq!(version_that_answers(&okra).await?, "2.0.0", "the pin was forgotten");
    publish(&okra, "1.0.0").await?;
    assert_eq!(version_that_answers(&okra).await?, "2.0.0", "a pin holds whatever is published");
    Ok(())
}

/// What clients saw.
#[derive(Debug, Default)]
struct Ledger {
    versions: BTreeMap<String, u64>,
    problems: BTreeMap<String, u64>,
}

impl Ledger {
    fn note(&mut self, answer: anyhow::Result<Value>) {
        let (book, entry) = match answer {
            Ok(answer) if answer["first"] == answer["second"] => {
                (&mut self.versions, answer["first"].to_string())
            }
            Ok(answer) => (&mut self.problems, format!("mixed: {answer}")),
            Err(error) => (&mut self.problems, format!("{error:#}")),
        };
        *book.entry(entry.trim_matches('"').to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (version, calls) in other.versions {
            *self.versions.entry(version).or_default() += calls;
        }
        for (problem, calls) in other.problems {
            *self.problems.entry(problem).or_default() += calls;
        }
    }
}

/// Callers without pause, on connections of their own.
struct Load {
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    async fn start(okra: &Okra) -> anyhow::Result<Self> {
        let clients = okra.clients(CONNECTIONS).await?;
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Ledger::default())));
        let caller = |index| {
            let (client, stop, ledger): (Client, _, _) =
                (clients.pick(index).clone(), stop.clone(), ledger.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let answer = client.call(Call::new(METHOD, "{}")).await;
                    ledger.lock().note(answer.and_then(|reply| reply.json()));
                    // A connection that is gone fails at once, every time.
                    tokio::task::yield_now().await;
                }
            })
        };
        let callers = (0..CALLERS).map(caller).collect();
        Ok(Self { stop, ledger, callers })
    }

    async fn stop(mut self) -> anyhow::Result<Ledger> {
        self.stop.store(true, Relaxed);
        for caller in self.callers.drain(..) {
            caller.await?;
        }
        Ok(std::mem::take(&mut self.ledger.lock()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// The same from grpcio.
struct Python(std::process::Child);

impl Python {
    fn start(okra: &Okra) -> anyhow::Result<Option<Self>> {
        let Some(mut python) = python()? else { return Ok(None) };
        let process = python
            .arg(script("python/ledger.py"))
            .arg(okra.service().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Some(Self(process)))
    }

    fn stop(mut self) -> anyhow::Result<Ledger> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output()?;
        ensure!(output.status.success(), "ledger.py: {}", output.status);
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let book = |name: &str| serde_json::from_value(said[name].clone());
        Ok(Ledger { versions: book("versions")?, problems: book("problems")? })
    }
}

fn both_versions() -> anyhow::Result<Graphs> {
    let graphs = Graphs::new()?;
    for file in ["swap_v1.json", "swap_v2.json"] {
        graphs.write(file, &std::fs::read_to_string(documented_graph(file))?)?;
    }
    Ok(graphs)
}

async fn publish(okra: &Okra, version: &str) -> anyhow::Result<Value> {
    change(okra, "publish", json!({ "version": version })).await
}

async fn change(okra: &Okra, what: &str, body: Value) -> anyhow::Result<Value> {
    okra.admin().post(&format!("/api/v1/graphs/swap/{what}"), &body).await?.json()
}

async fn version_that_answers(okra: &Okra) -> anyhow::Result<String> {
    let reply = okra.client().await?.call(Call::new(METHOD, "{}")).await?;
    assert_eq!(reply.code, Code::Ok, "{reply:?}");
    Ok(reply.json()?["first"].as_str().context("a version")?.to_owned())
}

/// How many plans the process holds.
async fn live_plans(okra: &Okra) -> anyhow::Result<u64> {
    let stats = okra.admin().get("/api/v1/stats").await?.json()?;
    stats["live_plans"].as_u64().with_context(|| format!("no live_plans in {stats}"))
}

const METHOD: &str = "/swap.Swap/Read";
/// Callers at a time, and the connections they share.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 4;
