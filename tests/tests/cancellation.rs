//! Deadlines and cancellation: work that nobody waits for stops, and the books balance whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tests::graph::Graphs;
use tests::rpc::{Call, Code};
use tests::server::Serve;
use tests::upstream::{Gate, Told, Upstream};
use tests::{eventually, long_form};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_client_gave_up_stops_within_ten_milliseconds() -> anyhow::Result<()> {
    let upstream = Upstream::behind(&Gate::closed()).await?;
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?).start().await?;
    let client = okra.client().await?;

    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(Call::new(METHOD, "never answered")).await }
        });
        eventually("the call upstream", async || Ok((upstream.started() > round).then_some(()))).await?;
        let given_up = Instant::now();
        call.abort();
        let stopped = eventually("the end of the work", async || {
            Ok(upstream.abandoned().get(usize::try_from(round)?).copied())
        })
        .await?;
        delays.push(stopped.saturating_duration_since(given_up));
    }
    delays.sort_unstable();
    let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("a cancelled call stopped after {median:?} (median of {ROUNDS}), {worst:?} at worst");
    assert!(median <= Duration::from_millis(10), "stopped after {median:?}");

    let stats =
        eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet()))).await?;
    assert_eq!((stats.cancelled, stats.completed), (ROUNDS, 0), "{stats:?}");
    assert!(stats.adds_up(), "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_by_the_server_and_carried_upstream() -> anyhow::Result<()> {
    let carried = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let upstream = Upstream::start({
        let carried = carried.clone();
        move |asked| {
            carried.lock().push(asked.timeout());
            async {
                std::future::pending::<()>().await;
                Told::ok("never")
            }
        }
    })
    .await?;
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?).start().await?;
    let client = okra.client().await?;

    let deadline = Duration::from_millis(200);
    let begun = Instant::now();
    let reply = client.call(Call::new(METHOD, "x").timeout(deadline)).await?;
    let took = begun.elapsed();
    assert_eq!(reply.code, Code::DeadlineExceeded, "{reply:?}");
    assert!(took >= deadline - Duration::from_millis(5), "answered after {took:?}");
    assert!(took < deadline + Duration::from_millis(100), "answered after {took:?}");
    let carried = carried.lock().clone();
    assert!(matches!(carried[..], [Some(left)] if left <= deadline), "upstream was told {carried:?}");
    eventually("the end of the work", async || Ok((upstream.abandoned().len() == 1).then_some(()))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cancelled_at_random_points_leave_the_books_balanced() -> anyhow::Result<()> {
    let upstream = Upstream::start(|asked| async move {
        tokio::time::sleep(Duration::from_micros(asked.number % 5_000)).await;
        Told::ok(asked.payload)
    })
    .await?;
    let graphs = Graphs::new()?;
    let okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?)
        .flag("--max-inflight", 16)
        .flag("--queue-capacity", 32)
        .start()
        .await?;
    let calls: u64 = if long_form() { 1_000_000 } else { 10_000 };
    let clients = okra.clients(4).await?;
    let ledger = Arc::new(Ledger::default());
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (client, ledger) = (clients.pick(caller).clone(), ledger.clone());
        callers.push(tokio::spawn(async move {
            loop {
                let number = ledger.sent.fetch_add(1, Relaxed);
                if number >= calls {
                    return anyhow::Ok(());
                }
                let call =
                    client.call(Call::new(METHOD, number.to_string()).timeout(Duration::from_secs(20)));
                let gives_up = number.is_multiple_of(3);
                let patience = if gives_up { scatter(number) % 8_000 } else { PATIENCE_US };
                match tokio::time::timeout(Duration::from_micros(patience), call).await {
                    Ok(reply) => {
                        let code = reply?.code;
                        ledger.note(code)?;
                        if code == Code::ResourceExhausted {
                            tokio::time::sleep(BACK_OFF).await;
                        }
                    }
                    Err(_) if gives_up => _ = ledger.given_up.fetch_add(1, Relaxed),
                    Err(_) => anyhow::bail!("call {number} got no answer"),
                }
            }
        }));
    }
    // The identity holds at every moment, not only at the end.
    while callers.iter().any(|caller| !caller.is_finished()) {
        let stats = okra.admin().stats().await?;
        assert!(stats.adds_up(), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for caller in callers {
        caller.await??;
    }

    let stats =
        eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet()))).await?;
    let [answered, refused, given_up] =
        [&ledger.answered, &ledger.refused, &ledger.given_up].map(|n| n.load(Relaxed));
    println!("{answered} answered, {refused} refused, {given_up} given up; {stats:?}");
    assert!(stats.adds_up(), "{stats:?}");
    assert_eq!(answered + refused + given_up, calls);
    assert!(given_up > calls / 10 && answered > calls / 3, "the mixture is not what it should be");
    assert_eq!((stats.failed, stats.expired), (0, 0), "{stats:?}");
    // What a client gave up may have been answered, refused or cancelled meanwhile, or never been sent.
    let seen = stats.accepted + stats.rejected;
    assert!((calls - given_up..=calls).contains(&seen), "{seen} calls seen");
    assert!((answered..=answered + given_up).contains(&stats.completed), "{stats:?}");
    assert!((refused..=refused + given_up).contains(&stats.rejected), "{stats:?}");
    assert!(stats.cancelled <= given_up, "{stats:?}");
    Ok(())
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Ledger {
    sent: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
}

impl Ledger {
    fn note(&self, code: Code) -> anyhow::Result<()> {
        anyhow::ensure!(matches!(code, Code::Ok | Code::ResourceExhausted), "a call failed with {code:?}");
        let count = if code == Code::Ok { &self.answered } else { &self.refused };
        count.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// A number that looks random and is the same in every run.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

const METHOD: &str = "/forward.Forward/Say";
/// How often a call is cancelled to measure how soon its work stops.
const ROUNDS: u64 = 50;
/// How long a refused caller waits before its next call.
const BACK_OFF: Duration = Duration::from_millis(10);
/// How long a caller waits that does not give up, in microseconds.
const PATIENCE_US: u64 = 20_000_000;
/// Callers at a time: more than run and wait together, so that some are refused.
const CALLERS: usize = 64;
