//! Time as the connection sees it: a number of milliseconds that its driver passes in.

use std::time::Duration;

/// A moment, in milliseconds since whatever moment the driver chose. Never decreases on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

// === impl Tick ===

impl Tick {
    /// The moment `millis` milliseconds after the driver's zero.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the driver's zero.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `wait` later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Milliseconds from `earlier` to here; zero if `earlier` is later.
    pub(crate) fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
