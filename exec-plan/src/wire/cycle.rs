//! Explains why some nodes have no order.

use std::collections::VecDeque;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Wiring;
use super::bindings::Edge;
use crate::diagnostic::{GraphErrorCode as Code, Problem};

/// How many nodes of a cycle are named.
const MAX_NAMED: usize = 12;

// === impl Wiring ===

impl Wiring<'_, '_> {
    /// Reports one cycle for each group of nodes that wait for each other, a shortest one through the
    /// group's first node.
    #[cold]
    pub(super) fn report_cycles(&mut self, ordered: &[usize]) {
        let count = self.drafts.len();
        let mut is_ordered = vec![false; count];
        ordered.iter().for_each(|node| is_ordered[*node] = true);
        let stuck = |edge: &&Edge| !is_ordered[edge.from as usize] && !is_ordered[edge.to as usize];
        let edges: Vec<Edge> = self.edges.iter().filter(stuck).copied().collect();
        let mut graph: DiGraph<(), u32, u32> = DiGraph::with_capacity(count, edges.len());
        (0..count).for_each(|_| {
            graph.add_node(());
        });
        for edge in edges {
            graph.add_edge(
                NodeIndex::new(edge.from as usize),
                NodeIndex::new(edge.to as usize),
                edge.binding,
            );
        }
        let mut groups = kosaraju_scc(&graph);
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups.sort_unstable();
        let mut group_of = vec![usize::MAX; count];
        for (index, group) in groups.iter().enumerate() {
            group.iter().for_each(|node| group_of[node.index()] = index);
        }
        for group in groups {
            if let Some(first) = group.first()
                && let Some(cycle) = shortest_cycle(&graph, *first, &group_of)
            {
                self.report_cycle(first.index(), &cycle);
            }
        }
    }

    /// `cycle` names the bindings from a node back to it, each with the node it leads to.
    fn report_cycle(&mut self, first: usize, cycle: &[(usize, u32)]) {
        let id = |node: usize| self.doc.nodes[node].id.map_or("", |id| id.text);
        let mut names = vec![id(first)];
        let skipped = (cycle.len() + 1).saturating_sub(MAX_NAMED);
        let more = format!("({skipped} more)");
        for (step, (node, _)) in cycle.iter().enumerate() {
            if skipped == 0 || step < MAX_NAMED / 2 || step >= MAX_NAMED / 2 + skipped {
                names.push(id(*node));
            } else if step == MAX_NAMED / 2 {
                names.push(&more);
            }
        }
        let what = if cycle.len() == 1 { "a node waits for itself" } else { "nodes wait for each other" };
        let message = format!("{what}: {}", names.join(" -> "));
        let mut problem = Problem::new(Code::Cycle, self.doc.nodes[first].place(), message);
        for (node, binding) in cycle {
            if let Some(from) = self.doc.bindings[*binding as usize].from {
                problem = problem.related(self.tree.head(from), format!("`{}` waits for this", id(*node)));
            }
        }
        self.problems.push(problem.help("a graph has no loops: take away one of these bindings"));
    }
}

/// A shortest way from `first` back to it within its group, as the bindings taken and where they lead.
fn shortest_cycle(
    graph: &DiGraph<(), u32, u32>,
    first: NodeIndex<u32>,
    group_of: &[usize],
) -> Option<Vec<(usize, u32)>> {
    use petgraph::visit::EdgeRef;
    let group = group_of[first.index()];
    let mut came_by = foldhash::HashMap::default();
    let mut queue = VecDeque::from([first]);
    while let Some(node) = queue.pop_front() {
        // Edges come out latest first; the earliest binding explains best.
        let mut edges: Vec<_> = graph.edges(node).collect();
        edges.reverse();
        for edge in edges {
            let target = edge.target();
            if group_of[target.index()] != group {
                continue;
            }
            if target == first {
                let mut cycle = vec![(first.index(), *edge.weight())];
                let mut at = node;
                while let Some((before, binding)) = came_by.get(&at) {
                    cycle.push((at.index(), *binding));
                    at = *before;
                }
                cycle.reverse();
                return Some(cycle);
            }
            came_by.entry(target).or_insert_with(|| {
                queue.push_back(target);
                (node, *edge.weight())
            });
        }
    }
    None
}
