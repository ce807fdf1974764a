//! Admission: exactly how many calls run, wait, expire and are refused under a burst.
//!
//! The burst is open-loop: every call is sent before any answer is awaited. The upstream holds all calls
//! behind a gate, so the counts are exact and no timing decides them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tests::eventually;
use tests::graph::Graphs;
use tests::rpc::{Call, Clients, Code, Reply};
use tests::server::{Okra, Serve};
use tests::upstream::{Gate, Upstream};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn no_queue_and_one_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(0, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_queue_and_64_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(0, 64).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_one_and_one_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(1, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_one_and_64_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(1, 64).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_1024_and_one_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(1024, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_1024_and_64_at_a_time() -> anyhow::Result<()> {
    a_burst_is_counted_exactly(1024, 64).await
}

/// Fills all places, then sends two bursts of `queue` + [`EXCESS`] calls: the first expires in the queue,
/// the second is served once the gate opens.
async fn a_burst_is_counted_exactly(queue: usize, inflight: usize) -> anyhow::Result<()> {
    let gate = Gate::closed();
    let upstream = Upstream::behind(&gate).await?;
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?)
        .flag("--queue-capacity", queue)
        .flag("--max-inflight", inflight)
        .flag("--max-queue-wait", "60s")
        .start()
        .await?;
    let clients = okra.clients((inflight + queue + EXCESS).div_ceil(STREAMS)).await?;

    let running = send(&clients, inflight, PATIENT);
    settles(&okra, inflight, 0).await?;

    let expiring = send(&clients, queue + EXCESS, SHORT);
    settles(&okra, inflight, queue).await?;
    let counts = tally(expiring).await?;
    assert_eq!(counts, counts_of([(Code::DeadlineExceeded, queue), (Code::ResourceExhausted, EXCESS)]));
    assert_eq!(upstream.started(), inflight as u64, "a call that expired in the queue ran");

    let waiting = send(&clients, queue + EXCESS, PATIENT);
    settles(&okra, inflight, queue).await?;
    // All refusals are in before a place is freed.
    let refused = 2 * EXCESS as u64;
    eventually("the refusals", async || Ok((okra.admin().stats().await?.rejected == refused).then_some(())))
        .await?;
    gate.open();
    assert_eq!(tally(waiting).await?, counts_of([(Code::Ok, queue), (Code::ResourceExhausted, EXCESS)]));
    assert_eq!(tally(running).await?, counts_of([(Code::Ok, inflight)]));
    assert_eq!(upstream.started(), (inflight + queue) as u64);

    let stats =
        eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet()))).await?;
    assert!(stats.adds_up(), "{stats:?}");
    assert_eq!(stats.accepted, (inflight + 2 * queue) as u64);
    assert_eq!(stats.completed, (inflight + queue) as u64);
    assert_eq!(stats.expired, queue as u64);
    assert_eq!((stats.rejected, stats.failed, stats.cancelled), (refused, 0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_when_to_come_back() -> anyhow::Result<()> {
    let gate = Gate::closed();
    let upstream = Upstream::behind(&gate).await?;
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?)
        .flag("--queue-capacity", 0)
        .flag("--max-inflight", 1)
        .start()
        .await?;
    let clients = okra.clients(1).await?;
    let running = send(&clients, 1, PATIENT);
    settles(&okra, 1, 0).await?;

    let reply = clients.pick(0).call(Call::new(METHOD, "late")).await?;
    assert_eq!(reply.code, Code::ResourceExhausted);
    let pushback =
        reply.trailers.get("grpc-retry-pushback-ms").or(reply.headers.get("grpc-retry-pushback-ms"));
    let pushback: u64 = pushback.context("no pushback")?.to_str()?.parse()?;
    assert!(pushback > 0);
    gate.open();
    assert_eq!(tally(running).await?, counts_of([(Code::Ok, 1)]));
    Ok(())
}

fn send(clients: &Clients, count: usize, timeout: Duration) -> Vec<JoinHandle<anyhow::Result<Reply>>> {
    let call = move |index: usize| {
        let client = clients.pick(index).clone();
        let payload = Bytes::from(index.to_string());
        tokio::spawn(async move {
            let reply = client.call(Call::new(METHOD, payload.clone()).timeout(timeout)).await?;
            anyhow::ensure!(
                reply.code != Code::Ok || reply.payload == Some(payload),
                "another call's answer"
            );
            Ok(reply)
        })
    };
    (0..count).map(call).collect()
}

async fn settles(okra: &Okra, in_flight: usize, queued: usize) -> anyhow::Result<()> {
    let wanted = (in_flight as u64, queued as u64);
    eventually(&format!("{in_flight} in flight and {queued} queued"), async || {
        let stats = okra.admin().stats().await?;
        assert!(stats.in_flight <= wanted.0 && stats.queued <= wanted.1, "a limit is exceeded: {stats:?}");
        assert!(stats.adds_up(), "{stats:?}");
        Ok(((stats.in_flight, stats.queued) == wanted).then_some(()))
    })
    .await
}

async fn tally(calls: Vec<JoinHandle<anyhow::Result<Reply>>>) -> anyhow::Result<BTreeMap<i32, usize>> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.await??.code.into()).or_default() += 1;
    }
    Ok(counts)
}

fn counts_of<const N: usize>(counts: [(Code, usize); N]) -> BTreeMap<i32, usize> {
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(code, count)| (code.into(), count)).collect()
}

const METHOD: &str = "/forward.Forward/Say";
/// Calls of a burst beyond what the queue holds.
const EXCESS: usize = 100;
/// Calls at a time on one connection, well below what the server allows.
const STREAMS: usize = 100;
/// Long enough for a whole burst to arrive before its first call expires.
const SHORT: Duration = Duration::from_secs(2);
/// Longer than the test.
const PATIENT: Duration = Duration::from_secs(60);
