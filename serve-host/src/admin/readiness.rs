//! Whether the host takes calls, as load balancers ask.

use std::sync::Arc;

use tokio::sync::watch;

/// A switch that all who hold a clone see: starting, then taking calls, then draining.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<watch::Sender<Phase>>);

/// Where the host is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is not listening yet.
    #[default]
    Starting,
    /// It takes calls.
    Serving,
    /// It finishes what it has and takes no more.
    Draining,
}

impl Readiness {
    /// The host is listening.
    pub fn serving(&self) {
        self.reach(Phase::Serving);
    }

    /// The host is going; there is no way back.
    pub fn draining(&self) {
        self.reach(Phase::Draining);
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Tells of every step.
    pub fn changes(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    fn reach(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let goes_on = *now < phase;
            *now = phase.max(*now);
            goes_on
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_drains_does_not_come_back() {
        let readiness = Readiness::default();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.serving();
        assert_eq!(readiness.phase(), Phase::Serving);
        readiness.draining();
        readiness.serving();
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
