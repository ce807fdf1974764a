//! A client that behaves, beside others that do not: whatever they do, each of its calls must succeed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::rpc::{Call, Client, Code};
use crate::server::Okra;
use crate::texts::message;

/// A client that calls at a steady pace until it is told to stop. Dropping it stops it, too.
#[derive(Debug)]
pub struct Bystander {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<Seen>,
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls that were answered as they should be.
    pub answered: u64,
    /// All others, by what went wrong.
    pub problems: BTreeMap<String, u64>,
    /// How long the slowest answer took.
    pub slowest: Duration,
    /// How long each took, the shortest first.
    took: Vec<Duration>,
}

// === impl Seen ===

impl Seen {
    /// How long so many of a hundred answers took at most; zero if none came.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.took.len().saturating_sub(1);
        self.took.get(last * percent / 100).copied().unwrap_or_default()
    }
}

// === impl Bystander ===

impl Bystander {
    /// Begins to call `method`, which must give back its message: one of protobuf, with a text in field 1.
    ///
    /// # Errors
    /// If there is no connection to be had.
    pub async fn start(okra: &Okra, method: &'static str) -> anyhow::Result<Self> {
        let client = okra.client().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let calls = tokio::spawn(call_until(client, method, stop.clone()));
        Ok(Self { stop, calls })
    }

    /// Stops it, and tells what it saw.
    ///
    /// # Errors
    /// If it panicked.
    pub async fn stop(mut self) -> anyhow::Result<Seen> {
        self.stop.store(true, Relaxed);
        Ok((&mut self.calls).await?)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

async fn call_until(client: Client, method: &'static str, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    for number in 0_u64.. {
        let (message, begun) = (message(&number.to_string()), Instant::now());
        let problem = match client.call(Call::new(method, message.clone()).timeout(PATIENCE)).await {
            Ok(reply) if reply.code == Code::Ok && reply.payload.as_deref() == Some(&*message) => None,
            Ok(reply) => Some(format!("{:?}: {}", reply.code, reply.message)),
            Err(error) => Some(format!("{error:#}")),
        };
        let took = begun.elapsed();
        seen.slowest = seen.slowest.max(took);
        seen.took.push(took);
        match problem {
            None => seen.answered += 1,
            Some(problem) => *seen.problems.entry(problem).or_default() += 1,
        }
        if stop.load(Relaxed) {
            break;
        }
        tokio::time::sleep(PACE).await;
    }
    seen.took.sort_unstable();
    seen
}

/// Between two calls.
const PACE: Duration = Duration::from_millis(2);

/// The deadline of each.
const PATIENCE: Duration = Duration::from_secs(10);
