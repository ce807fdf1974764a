//! The steps of a deploy, told as they begin: to the log, and to whoever listens.

use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc;

/// What a deploy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DeployStep {
    /// Gets the package.
    Fetch,
    /// Waits for deploys that came before.
    Wait,
    /// Reads and checks the package.
    Check,
    /// Compiles the guest, or finds it compiled, and starts its first instance.
    Compile,
    /// The same for a guest that is primed, which begins with its samples.
    Prime,
    /// Makes the graph and compiles it.
    Plan,
    /// Keeps the package and makes its graph the one that serves.
    Publish,
}

/// A step that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeployProgress {
    /// The step.
    pub step: DeployStep,
    /// Milliseconds since the deploy began.
    pub at_ms: u64,
}

/// Tells of the steps of one deploy.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    listener: Option<mpsc::Sender<DeployProgress>>,
}

/// Room for every step there is: whoever listens slowly misses none.
pub(crate) const STEPS: usize = 16;

// === impl Progress ===

impl Progress {
    pub(crate) fn new(listener: Option<mpsc::Sender<DeployProgress>>) -> Self {
        Self { begun: Instant::now(), listener }
    }

    /// Tells that a step begins.
    pub(crate) fn begin(&self, step: DeployStep) {
        let at_ms = self.elapsed_ms();
        tracing::info!(?step, at_ms, "deploying");
        if let Some(listener) = &self.listener {
            // Whoever has left hears nothing; the deploy goes on.
            let _heard = listener.try_send(DeployProgress { step, at_ms });
        }
    }

    /// Milliseconds since the deploy began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
