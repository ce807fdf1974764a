//! The explanation as text, for people and for golden files.

use std::fmt;

use super::{Explain, human};

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}@{}, {}", self.graph, self.version, self.class)?;
        if let Some(description) = &self.description {
            writeln!(f, "  {description}")?;
        }
        if !self.serves.is_empty() {
            writeln!(f, "serves {}", self.serves.join(", "))?;
        }
        let widest =
            |width: fn(&super::ExplainNode) -> usize| self.nodes.iter().map(width).max().unwrap_or(0);
        let (ids, kernels) =
            (widest(|node| node.id.chars().count()), widest(|node| node.kernel.chars().count()));
        writeln!(f, "runs")?;
        for (number, node) in self.nodes.iter().enumerate() {
            let (id, kernel) = (&node.id, &node.kernel);
            let cost = human(node.cost_ns);
            write!(f, "{:>4}  {id:ids$}  {kernel:kernels$}  {:8}  {cost:>7}", number + 1, node.body)?;
            for feed in &node.inputs {
                write!(f, "  {}={}", feed.port, feed.from)?;
            }
            for (flag, word) in [
                (node.routes, "one of its outputs fires"),
                (node.may_skip, "may be skipped"),
                (node.answers, "answers"),
            ] {
                if flag {
                    write!(f, "  [{word}]")?;
                }
            }
            if !node.policy.is_empty() {
                write!(f, "  [{}]", node.policy)?;
            }
            writeln!(f)?;
        }
        for output in &self.outputs {
            writeln!(f, "gives {}={}", output.port, output.from)?;
        }
        for set in &self.parallel {
            writeln!(f, "in parallel {}", set.join(", "))?;
        }
        writeln!(
            f,
            "critical path {}, about {}",
            self.critical_path.join(" -> "),
            human(self.critical_cost_ns)
        )
    }
}
