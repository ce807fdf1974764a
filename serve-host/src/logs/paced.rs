//! A counter with a log line that cannot be flooded: however often it counts, a line is due once a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts one kind of event.
#[derive(Debug, Default)]
pub(crate) struct PacedCount {
    count: AtomicU64,
    /// How many there were when the last line was due.
    told: AtomicU64,
    /// When that was, in milliseconds since the process began to count, plus one; 0 is never.
    told_at: AtomicU64,
}

// === impl PacedCount ===

impl PacedCount {
    /// How many there were.
    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one. If it is time for a line, how many it stands for.
    pub(crate) fn note(&self) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let now = elapsed_ms() + 1;
        let last = self.told_at.load(Ordering::Relaxed);
        let due = last == 0 || now >= last + LINE_EVERY_MS;
        if due && self.told_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            Some(count - self.told.swap(count, Ordering::Relaxed).min(count))
        } else {
            None
        }
    }
}

/// Milliseconds since this was first asked.
fn elapsed_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}

/// At most one line in so many milliseconds.
const LINE_EVERY_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_line_and_every_event_is_counted() {
        let count = PacedCount::default();
        let lines: Vec<u64> = (0..1000).filter_map(|_| count.note()).collect();
        assert_eq!(lines, [1]);
        assert_eq!(count.get(), 1000);
    }
}
