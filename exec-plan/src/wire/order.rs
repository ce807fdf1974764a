//! The order in which nodes run.
//!
//! A node that takes time comes after those that do not and need not wait for it: what it delays then waits
//! for its outcome anyway.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Wiring;
use super::nodes::Draft;

// === impl Wiring ===

impl Wiring<'_, '_> {
    /// The nodes, each after those that feed it, nodes that take time as late as the others let them,
    /// otherwise as in the document. Nodes that wait for each other, which is reported, and those behind them
    /// are left out.
    pub(super) fn order(&mut self) -> Vec<usize> {
        let count = self.drafts.len();
        let slow: Vec<bool> = self.drafts.iter().map(Draft::takes_time).collect();
        if !slow.contains(&true) && self.edges.iter().all(|edge| edge.from < edge.to) {
            return (0..count).collect();
        }
        let mut waiting_for = vec![0_u32; count];
        let mut first_reader = vec![0_u32; count + 1];
        for edge in &self.edges {
            waiting_for[edge.to as usize] += 1;
            first_reader[edge.from as usize + 1] += 1;
        }
        for node in 0..count {
            first_reader[node + 1] += first_reader[node];
        }
        let mut free = first_reader.clone();
        let mut readers = vec![0_u32; self.edges.len()];
        for edge in &self.edges {
            let place = &mut free[edge.from as usize];
            readers[*place as usize] = edge.to;
            *place += 1;
        }
        let rank = |node: usize| Reverse((slow[node], node));
        let mut ready: BinaryHeap<Reverse<(bool, usize)>> =
            (0..count).filter(|node| waiting_for[*node] == 0).map(rank).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push(node);
            for reader in &readers[first_reader[node] as usize..first_reader[node + 1] as usize] {
                let reader = *reader as usize;
                waiting_for[reader] -= 1;
                if waiting_for[reader] == 0 {
                    ready.push(rank(reader));
                }
            }
        }
        if order.len() < count {
            self.report_cycles(&order);
        }
        order
    }
}
