//! G13: one call of a hundred keeps a thread of the pool for 5 ms; what do the others notice?
//!
//! The others are asked in two kinds: plans that run in place, and plans that need the pool, too. Windows
//! with and without slow calls take turns on the same server, at the same pace.

use std::time::Duration;

use anyhow::ensure;
use tests::rpc::{Call, Clients, Code};

use super::paced;
use crate::goals::{Bound, Finding};
use crate::peers::{Peer, Server, message};
use crate::spread::Spread;

/// The others' p99 with slow calls among them, over that without.
pub(crate) async fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let server = Server::start(Peer::PooledNative, false).await?;
    let clients = Clients::connect(server.address(), CONNECTIONS).await?;
    let mut findings = Vec::new();
    for (others, method) in [("in place", "/fast.Graph/Say"), ("on the pool", "/echo.Graph/Say")] {
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let mut p99 = [0.0; 2];
            for arm in [round % 2, 1 - round % 2] {
                p99[arm] = others_p99(&clients, method, arm == 1).await?;
            }
            ratios.push(p99[1] / p99[0]);
        }
        let what = format!(
            "1 % of {RATE} calls/s block 5 ms: p99 of the others, {others}, with them ÷ without, native"
        );
        findings.push(Finding::new("G13", what, Spread::of(ratios), "", Bound::AtMost(1.5)));
    }
    Ok(findings)
}

async fn others_p99(clients: &Clients, method: &'static str, beside_slow: bool) -> anyhow::Result<f64> {
    let message = message(64)?;
    let is_slow = |number: u64| beside_slow && number % 100 == 50;
    let answered = paced::drive(clients, RATE, WINDOW, |number| {
        Call::new(if is_slow(number) { "/slow.Graph/Say" } else { method }, message.clone())
    })
    .await?;
    ensure!(answered.iter().all(|answered| answered.code == Code::Ok), "a call failed");
    let slow = answered.iter().filter(|answered| is_slow(answered.number));
    ensure!(slow.clone().all(|slow| slow.latency >= HELD), "a slow call was fast");
    paced::p99_us(answered.iter().filter(|answered| !is_slow(answered.number)).copied())
}

/// Calls a second: with one of a hundred slow, a fifth of one thread of the pool is taken.
const RATE: f64 = 4_000.0;
const WINDOW: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;
const HELD: Duration = Duration::from_millis(5);
