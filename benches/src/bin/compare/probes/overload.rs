//! G15: twice the load that can be served: what is still served, and what a refusal costs.
//!
//! Goodput is measured with plans that keep a thread of the pool for 5 ms, so that the pool is the limit and
//! not the client. The cost of a refusal is that of a call which finds every place taken, driven as hard as
//! `h2load` can, over that of the same call served in place.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tests::graph::{Graphs, waiting};
use tests::rpc::{Call, Clients, Code};
use tests::server::{Okra, Serve};
use tests::{documented_graph, eventually};

use super::paced;
use crate::goals::{Bound, Finding};
use crate::load::{Load, Shape};
use crate::machine;
use crate::peers::{Peer, Server, message};
use crate::spread::Spread;

/// Goodput over peak, and CPU per refusal over CPU per served call.
pub(crate) async fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let goodput = goodput(rounds).await?;
    let refusal = refusal(rounds).await?;
    Ok(vec![
        Finding::new(
            "G15",
            "goodput at 2 × the peak ÷ peak, native",
            Some(goodput),
            "",
            Bound::AtLeast(0.95),
        ),
        Finding::new(
            "G15",
            "CPU of a refusal ÷ of a call served in place, 64 B, 8x32, native",
            Some(refusal),
            "",
            Bound::AtMost(1.0),
        ),
    ])
}

async fn goodput(rounds: usize) -> anyhow::Result<Spread> {
    let server = Server::start(Peer::PooledNative, false).await?;
    let clients = Clients::connect(server.address(), CONNECTIONS).await?;
    let message = message(64)?;
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let peak = peak(&clients, &message).await?;
        let call = |_| Call::new(SLOW, message.clone()).timeout(PATIENCE);
        let answered = paced::drive(&clients, 2.0 * peak, OVERLOAD, call).await?;
        // By the second half every place and the line are full.
        let half = OVERLOAD / 2;
        let steady = answered.iter().filter(|answered| (half..OVERLOAD).contains(&answered.at));
        let served = steady.filter(|answered| answered.code == Code::Ok).count();
        let refused = answered.iter().filter(|answered| answered.code != Code::Ok).count();
        ensure!(refused > 0, "twice the peak of {peak:.0} calls/s, and none of {} refused", answered.len());
        ratios.push(served as f64 / half.as_secs_f64() / peak);
    }
    Spread::of(ratios).context("no rounds")
}

/// Calls a second that are served when there are always some waiting.
async fn peak(clients: &Clients, message: &[u8]) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|number| {
        let (client, message) = (clients.pick(number).clone(), message.to_vec());
        tokio::spawn(async move {
            let mut served = 0_u32;
            while begun.elapsed() < PEAK {
                let reply = client.call(Call::new(SLOW, message.clone())).await?;
                ensure!(reply.code == Code::Ok, "refused below the peak: {reply:?}");
                served += u32::from(begun.elapsed() <= PEAK);
            }
            anyhow::Ok(served)
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut served = 0;
    for caller in callers {
        served += caller.await??;
    }
    Ok(f64::from(served) / PEAK.as_secs_f64())
}

async fn refusal(rounds: usize) -> anyhow::Result<Spread> {
    let graphs = Graphs::new()?;
    graphs.write("echo.json", &std::fs::read_to_string(documented_graph("echo.json"))?)?;
    graphs.write("held.json", &waiting("held", HELD_MS))?;
    let serve = || Serve::graphs(graphs.path()).flag("--default-graph", "echo").flag("--transport", "native");
    let serving = serve().start().await?;
    let full = serve().flag("--max-inflight", 1).flag("--queue-capacity", 0).start().await?;
    let client = full.client().await?;
    // Keeps the only place for as long as all of it takes.
    tokio::spawn(async move { client.call(Call::new("/held.Held/Wait", "x")).await });
    eventually("the place to be taken", async || {
        Ok((full.admin().stats().await?.in_flight == 1).then_some(()))
    })
    .await?;

    let load = Load::new(64, Shape { connections: 8, streams: 32 }, EFFORT, false)?;
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let served = cpu_of(&serving, || load.drive(serving.service()).map(drop))?;
        let before = full.admin().stats().await?.rejected;
        let refused = cpu_of(&full, || load.drive_refused(full.service()))?;
        let counted = full.admin().stats().await?.rejected - before;
        ensure!(counted == load.requests(), "{counted} of {} were refused", load.requests());
        ratios.push(refused / served);
    }
    Spread::of(ratios).context("no rounds")
}

/// Nanoseconds that the server worked meanwhile.
fn cpu_of(okra: &Okra, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let before = machine::cpu_time(okra.id())?;
    tokio::task::block_in_place(work)?;
    Ok((machine::cpu_time(okra.id())? - before).as_nanos() as f64)
}

const SLOW: &str = "/slow.Graph/Say";
const CONNECTIONS: usize = 16;
/// Enough that the pool never idles, few enough that none is refused.
const CALLERS: usize = 64;
const PEAK: Duration = Duration::from_secs(2);
/// Twice as long as two pool threads take to fall behind by all the places there are.
const OVERLOAD: Duration = Duration::from_secs(12);
/// The deadline of a call under overload: longer than any wait the server allows.
const PATIENCE: Duration = Duration::from_secs(20);
/// Percent of the usual number of requests.
const EFFORT: u32 = 100;

/// How long a call keeps its place, in milliseconds: the longest there is.
const HELD_MS: u64 = 60_000;
