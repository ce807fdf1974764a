//! Whether the host takes calls, as load balancers ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A switch that all who hold a clone see: starting, then taking calls, then draining.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// Where the host is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// It is not listening yet.
    Starting = 0,
    /// It takes calls.
    Serving = 1,
    /// It finishes what it has and takes no more.
    Draining = 2,
}

impl Readiness {
    /// The host is listening.
    pub fn serving(&self) {
        self.0.fetch_max(Phase::Serving as u8, Ordering::AcqRel);
    }

    /// The host is going; there is no way back.
    pub fn draining(&self) {
        self.0.fetch_max(Phase::Draining as u8, Ordering::AcqRel);
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
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
