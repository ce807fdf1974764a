//! The bytes of messages that all calls together may hold.
//!
//! A [`Charge`] grows with what has arrived, not with what was announced, so that nobody can occupy the
//! budget by announcing. Invariant: the budget's figure is the sum of the living charges; dropping a
//! charge returns it, on every path.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::grpc::Refusal;

/// A number of bytes that charges share.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    limit: usize,
    held: AtomicUsize,
}

/// Some bytes of a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

// === impl ByteBudget ===

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }

    /// How many bytes are held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether `more` bytes could be held now, for a message that most likely needs not be.
    ///
    /// # Errors
    /// [`Refusal::OverBudget`] if not.
    pub(crate) fn check(&self, more: usize) -> Result<(), Refusal> {
        let fits = self.held().saturating_add(more) <= self.limit;
        if fits { Ok(()) } else { Err(Refusal::OverBudget { limit: self.limit }) }
    }
}

// === impl Charge ===

impl Charge {
    /// No bytes yet.
    pub(crate) fn new(budget: &Arc<ByteBudget>) -> Self {
        Self { budget: budget.clone(), bytes: 0 }
    }

    /// Holds `more` bytes.
    ///
    /// # Errors
    /// [`Refusal::OverBudget`] if the budget has not that many left; nothing changes then.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Refusal> {
        let before = self.budget.held.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.limit {
            self.budget.held.fetch_sub(more, Ordering::Relaxed);
            return Err(Refusal::OverBudget { limit: self.budget.limit });
        }
        self.bytes += more;
        Ok(())
    }

    /// These bytes, even over the limit: an answer that exists must get out, a call that has begun goes on,
    /// and whoever comes next is refused instead.
    pub(crate) fn forced(budget: &Arc<ByteBudget>, bytes: usize) -> Self {
        budget.held.fetch_add(bytes, Ordering::Relaxed);
        Self { budget: budget.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_given_and_one_more_is_not() {
        let budget = ByteBudget::new(10);
        let mut first = Charge::new(&budget);
        first.grow(6).unwrap();
        let mut second = Charge::new(&budget);
        second.grow(4).unwrap();
        assert!(second.grow(1).is_err());
        assert_eq!(budget.held(), 10);
        drop(first);
        second.grow(1).unwrap();
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn an_answer_may_exceed_the_budget_and_then_blocks_requests() {
        let budget = ByteBudget::new(10);
        let answer = Charge::forced(&budget, 50);
        assert!(Charge::new(&budget).grow(1).is_err());
        drop(answer);
        assert_eq!(budget.held(), 0);
    }
}
