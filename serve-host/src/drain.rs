//! Ending a server: nothing new, what has begun is finished, and never later than was said.
//!
//! Whether the host says that it is ready is decided elsewhere, and earlier. Here the listeners are
//! closed, every connection is sent GOAWAY and serves what it has accepted, and when the time is over the
//! rest is cut off. [`roll`] knows who is still at work, and until when they may be.
//!
//! Invariant: [`Drain::drain`] returns within the grace and [`MARGIN`], whatever clients and kernels do.

pub mod roll;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use self::roll::{Presence, Roll};
use crate::accept::census::Census;
use crate::accept::stats::{ConnectionStats, Cut};

/// Where a server stands between its birth and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It accepts connections and serves them.
    Serving,
    /// It finishes what has begun, until then at most.
    Draining {
        /// When what is left is cut off.
        until: Instant,
    },
    /// All its threads have ended.
    Drained,
}

/// Ends a server. Clones end the same one.
#[derive(Clone)]
pub struct Drain {
    roll: Arc<Roll<Instant>>,
    pub(crate) tally: Arc<Tally>,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that came to their end by themselves.
    pub finished: u64,
    /// Connections that were cut off when the time was over.
    pub forced: u64,
    /// Calls that were cut off with them.
    pub forced_calls: u64,
    /// Threads that did not even notice: something blocks them. What they hold is in the counts above as
    /// far as it is known.
    pub stuck_threads: usize,
}

/// What the threads tell about their ends.
pub(crate) struct Tally {
    pub(crate) stats: Arc<ConnectionStats>,
    pub(crate) census: Arc<Census>,
    forced: AtomicU64,
    forced_calls: AtomicU64,
}

// === impl Drain ===

impl Drain {
    pub(crate) fn new(stats: Arc<ConnectionStats>, census: Arc<Census>) -> Self {
        let tally = Tally { stats, census, forced: AtomicU64::new(0), forced_calls: AtomicU64::new(0) };
        Self { roll: Roll::new(), tally: Arc::new(tally) }
    }

    /// Where the server stands.
    pub fn phase(&self) -> Phase {
        match self.roll.end() {
            _ if self.roll.present() == 0 => Phase::Drained,
            None => Phase::Serving,
            Some(until) => Phase::Draining { until },
        }
    }

    /// Ends the server within `grace`. Asked again, the earlier end counts.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        let ended_before = self.tally.stats.ended();
        let until = self.order(grace);
        let all_ended = timeout_at(until + MARGIN, self.roll.cleared()).await.is_ok();
        let stuck_threads = if all_ended { 0 } else { self.roll.present() };
        // What stuck threads hold is still counted as open.
        let stuck = if all_ended { 0 } else { self.tally.census.open() as u64 };
        DrainReport {
            finished: self.tally.stats.ended() - ended_before,
            forced: self.tally.forced.load(Ordering::Relaxed) + stuck,
            forced_calls: self.tally.forced_calls.load(Ordering::Relaxed),
            stuck_threads,
        }
    }

    /// Tells the threads to end within `grace`, without waiting for them.
    pub(crate) fn order(&self, grace: Duration) -> Instant {
        self.roll.order(Instant::now() + grace)
    }

    /// What the threads look at.
    pub(crate) fn roll(&self) -> Arc<Roll<Instant>> {
        self.roll.clone()
    }

    /// Counts a thread as alive until this is dropped.
    pub(crate) fn thread(&self) -> Presence<Instant> {
        self.roll.enter()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.phase()).finish()
    }
}

// === impl Tally ===

impl Tally {
    /// Connections, and calls on them, that a thread had to cut off.
    pub(crate) fn note_forced(&self, connections: usize, calls: u64) {
        self.forced.fetch_add(connections as u64, Ordering::Relaxed);
        self.forced_calls.fetch_add(calls, Ordering::Relaxed);
        for _ in 0..connections {
            self.stats.note_cut(Cut::Drained, None);
        }
    }
}

/// How long threads may take to notice that the time is over.
pub(crate) const MARGIN: Duration = Duration::from_millis(500);
