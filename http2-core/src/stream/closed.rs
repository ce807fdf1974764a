//! The ids of streams that ended lately.
//!
//! What comes late for a stream that *we* reset was sent before the client knew, and is swallowed. On a stream
//! that ended otherwise nothing may come. The two are remembered apart, so that a busy connection does not
//! forget the few that were reset for the many that were answered.

/// The streams that ended lately.
#[derive(Debug, Default)]
pub(crate) struct ClosedIds {
    ended: Ring,
    reset_by_us: Ring,
}

/// The last ids of one kind.
#[derive(Debug, Default)]
struct Ring {
    ids: Vec<u32>,
    next: usize,
}

// === impl ClosedIds ===

impl ClosedIds {
    /// Remembers a stream that both sides ended, or that the client reset.
    pub(crate) fn add_ended(&mut self, id: u32) {
        self.ended.push(id);
    }

    /// Remembers a stream that we reset.
    pub(crate) fn add_reset(&mut self, id: u32) {
        self.reset_by_us.push(id);
    }

    pub(crate) fn has_ended(&self, id: u32) -> bool {
        self.ended.ids.contains(&id)
    }

    pub(crate) fn was_reset(&self, id: u32) -> bool {
        self.reset_by_us.ids.contains(&id)
    }
}

// === impl Ring ===

impl Ring {
    fn push(&mut self, id: u32) {
        if self.ids.len() < REMEMBERED {
            self.ids.push(id);
        } else {
            self.ids[self.next] = id;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }
}

/// Ids remembered of each kind.
const REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first_and_per_kind() {
        let mut closed = ClosedIds::default();
        closed.add_reset(1);
        for id in 0..257 {
            closed.add_ended(3 + 2 * id);
        }
        assert!(closed.was_reset(1) && !closed.has_ended(1));
        assert!(!closed.has_ended(3));
        assert!(closed.has_ended(5) && closed.has_ended(3 + 2 * 256));
        assert!(!closed.was_reset(5));
    }
}
