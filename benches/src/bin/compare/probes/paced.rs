//! A client that keeps its pace whatever the server does: calls go out by the clock, not by the answers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tests::rpc::{Call, Clients, Code};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// One call that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// Its number, from 0.
    pub(crate) number: u64,
    pub(crate) code: Code,
    pub(crate) latency: Duration,
    /// When the answer came, from the first call on.
    pub(crate) at: Duration,
}

/// Sends `rate` calls a second for as long as `window`, and waits for all answers.
///
/// # Errors
/// If a call brings no gRPC answer.
pub(crate) async fn drive(
    clients: &Clients,
    rate: f64,
    window: Duration,
    call: impl Fn(u64) -> Call,
) -> anyhow::Result<Vec<Answered>> {
    let begun = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    let mut number = 0;
    while begun.elapsed() < window {
        ticks.tick().await;
        let due = begun.elapsed().min(window).as_secs_f64() * rate;
        while (number as f64) < due {
            let client = clients.pick(usize::try_from(number).unwrap_or(0)).clone();
            let call = call(number);
            calls.spawn(async move {
                let sent = Instant::now();
                let reply = client.call(call).await?;
                anyhow::Ok(Answered {
                    number,
                    code: reply.code,
                    latency: sent.elapsed(),
                    at: begun.elapsed(),
                })
            });
            number += 1;
        }
    }
    calls.join_all().await.into_iter().collect()
}

/// The latency that one answer of a hundred exceeds, in microseconds.
pub(crate) fn p99_us(answered: impl Iterator<Item = Answered>) -> anyhow::Result<f64> {
    let mut latencies: Vec<_> = answered.map(|answered| answered.latency).collect();
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1).context("nothing was answered")?;
    Ok(latencies[last * 99 / 100].as_secs_f64() * 1e6)
}

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(1);
