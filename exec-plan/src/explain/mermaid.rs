//! The explanation as a Mermaid flow chart, for pages that render it.

use std::fmt::Write;

use super::{Explain, ExplainNode};

impl Explain {
    /// The plan as a Mermaid flow chart.
    pub fn to_mermaid(&self) -> String {
        let mut chart = String::from("flowchart TD\n");
        for (index, node) in self.nodes.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ok = writeln!(chart, "  n{index}{}", shape(node));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for feed in &node.inputs {
                if let Some(from) = feed.node {
                    let port = feed.from.rsplit_once('.').map_or("", |(_, port)| port);
                    let _ok = writeln!(chart, "  n{from} -->|{}| n{index}", quoted(port));
                }
            }
        }
        let critical = |node: &ExplainNode| self.critical_path.contains(&node.id);
        let path: Vec<_> = (0..self.nodes.len())
            .filter(|index| critical(&self.nodes[*index]))
            .map(|index| format!("n{index}"))
            .collect();
        if !path.is_empty() {
            let _ok =
                writeln!(chart, "  classDef critical stroke-width:3px\n  class {} critical", path.join(","));
        }
        chart
    }
}

/// Routing nodes are diamonds, answering nodes are rounded, slow nodes have double sides.
fn shape(node: &ExplainNode) -> String {
    let label = quoted(&format!("{}<br/>{}", node.id, node.kernel));
    match node {
        _ if node.routes => format!("{{{label}}}"),
        _ if node.answers => format!("([{label}])"),
        _ if node.body != "inline" => format!("[[{label}]]"),
        _ => format!("[{label}]"),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;"))
}
