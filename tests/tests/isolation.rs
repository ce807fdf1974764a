//! Kernels that misbehave: each costs the call it misbehaves in, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tests::proving::Proving;
use tests::rpc::{Call, Clients, Code};
use tests::{eventually, long_form, say};

#[tokio::test(flavor = "multi_thread")]
async fn one_panic_in_a_hundred_calls_costs_exactly_those_calls_over_tonic() -> anyhow::Result<()> {
    panics_cost_exactly_their_calls("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_panic_in_a_hundred_calls_costs_exactly_those_calls_over_native() -> anyhow::Result<()> {
    panics_cost_exactly_their_calls("native").await
}

/// Calls of every kind of kernel, one in a hundred of which panics.
async fn panics_cost_exactly_their_calls(transport: &str) -> anyhow::Result<()> {
    let calls: u64 = if long_form() { 100_000 } else { 10_000 };
    let mut proving = Proving::start(transport)?;
    let clients = Clients::connect(proving.address(), 4).await?;
    for method in METHODS {
        assert_eq!(clients.pick(0).call(Call::new(method, "warm")).await?.text()?, "warm");
    }
    let threads = proving.process().holding()?.threads;
    let (next, internal) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (client, next, internal) = (clients.pick(caller).clone(), next.clone(), internal.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= calls {
                        return anyhow::Ok(());
                    }
                    // Blocks of a hundred take turns over the methods; one call of each block panics.
                    let method = METHODS[usize::try_from(number / 100)? % METHODS.len()];
                    let panics = number % 100 == 37;
                    let payload = format!("{}{number}", if panics { "!" } else { "" });
                    let reply = client.call(Call::new(method, payload.clone())).await?;
                    if panics {
                        anyhow::ensure!(reply.code == Code::Internal, "{method} {payload}: {reply:?}");
                        internal.fetch_add(1, Relaxed);
                    } else {
                        anyhow::ensure!(reply.text()? == payload, "another call's answer: {reply:?}");
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let internal = internal.load(Relaxed);
    assert_eq!(internal, calls / 100);
    let figures = proving.figures()?;
    say(format!("{transport}: {internal} INTERNAL in {calls} calls, {threads} threads; {figures}"));
    assert_eq!(figures["adds_up"], true);
    assert_eq!(figures["failed"], internal);
    assert_eq!(figures["completed"], calls - internal + METHODS.len() as u64);
    assert_eq!(figures["in_flight"], 0);
    assert_eq!(proving.process().holding()?.threads, threads, "a thread was lost");
    let (report, code) = proving.end()?;
    assert_eq!((report["forced_calls"].as_u64(), code), (Some(0), Some(0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_blocks_for_too_long_is_counted_and_named_while_it_blocks() -> anyhow::Result<()> {
    let mut proving = Proving::start("tonic")?;
    let clients = Clients::connect(proving.address(), 1).await?;
    assert_eq!(clients.pick(0).call(Call::new("/proving.Sleep/For", "0")).await?.code, Code::Ok);
    let client = clients.pick(0).clone();
    let blocked = tokio::spawn(async move { client.call(Call::new("/proving.Sleep/For", "60000")).await });
    let named = eventually("its name", async || {
        Ok(proving.figures()?["overlong"].as_array().and_then(|nodes| nodes.first().cloned()))
    })
    .await?;
    assert!(named[0].as_str().is_some_and(|graph| graph.starts_with("sleep@1.0.0")), "{named}");
    assert_eq!((&named[1], &named[2]), (&"culprit".into(), &1.into()));

    // Others go on meanwhile, and it cannot hold up the end for longer than its grace of a second.
    assert_eq!(clients.pick(0).call(Call::new("/proving.Async/Say", "beside")).await?.text()?, "beside");
    let begun = Instant::now();
    let (report, code) = proving.end()?;
    assert_eq!((report["forced_calls"].as_u64(), code), (Some(1), Some(0)));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(blocked.await?.is_err(), "a call that was cut off got an answer");
    Ok(())
}

const METHODS: [&str; 4] =
    ["/proving.Inline/Say", "/proving.Blocking/Say", "/proving.Async/Say", "/proving.Drop/Say"];
/// Callers at a time.
const CALLERS: usize = 32;
