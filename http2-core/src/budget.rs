//! A budget for what costs us more than it costs the peer: spent by such frames, earned by time and by use.

use crate::settings::Allowance;
use crate::tick::Tick;

/// How much a connection may still spend. The clock is looked at only when the budget is spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u32,
    allowance: Allowance,
    refilled: Tick,
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(allowance: Allowance, now: Tick) -> Self {
        Self { left: allowance.burst, allowance, refilled: now }
    }

    /// Spends `cost`; `false` if there is not enough left.
    #[must_use]
    pub(crate) fn spend(&mut self, cost: u32, now: Tick) -> bool {
        if self.left < cost {
            self.refill(now);
        }
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }

    /// Gives back `amount` for useful work.
    pub(crate) fn earn(&mut self, amount: u32) {
        self.left = self.left.saturating_add(amount).min(self.allowance.burst);
    }

    fn refill(&mut self, now: Tick) {
        let earned =
            now.millis_since(self.refilled).saturating_mul(u64::from(self.allowance.per_second)) / 1000;
        // Without a whole unit earned the clock stays, so that frequent calls lose nothing.
        if earned > 0 {
            self.refilled = now;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_refills_with_time() {
        let at = Tick::from_millis;
        let mut budget = Budget::new(Allowance { burst: 10, per_second: 4 }, at(0));
        assert!(budget.spend(10, at(0)));
        assert!(!budget.spend(1, at(249)));
        assert!(budget.spend(1, at(250)));
        assert!(!budget.spend(1, at(251)));
        assert!(budget.spend(10, at(1_000_000)));
        assert!(!budget.spend(1, at(1_000_000)), "no more than the burst is saved up");
    }

    #[test]
    fn a_budget_is_earned_by_use() {
        let now = Tick::default();
        let mut budget = Budget::new(Allowance { burst: 3, per_second: 0 }, now);
        assert!(budget.spend(3, now));
        budget.earn(8);
        assert!(budget.spend(3, now));
        assert!(!budget.spend(1, now));
    }
}
