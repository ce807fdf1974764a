//! The figures of graphs: what serves, what runs, and what was swapped.

use std::fmt;
use std::sync::Arc;

use exec_plan::PlanStore;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;

pub(super) struct Graphs(pub(super) Arc<PlanStore>);

impl Collector for Graphs {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let graphs = self.0.list();
        let mut page = Page(encoder);
        let serving = graphs.iter().filter_map(|graph| {
            let id = graph.serving.as_ref()?;
            let labels = [
                ("graph", graph.name.to_string()),
                ("version", id.version.to_string()),
                ("hash", id.hash.short()),
            ];
            Some((labels, 1.0))
        });
        page.gauges("okra_graph_serving", "The version of each graph that serves", serving)?;
        let running = graphs.iter().flat_map(|graph| {
            let used = graph.versions.iter().filter(|version| version.published);
            used.map(|version| {
                let name = graph.name.to_string();
                let labels = [
                    ("graph", name),
                    ("version", version.version.to_string()),
                    ("hash", version.hash.short()),
                ];
                (labels, version.in_flight as f64)
            })
        });
        page.gauges("okra_graph_in_flight", "Calls that run on each version", running)?;
        page.gauge("okra_plans_live", "Plans in memory", None, self.0.live_plans() as f64)?;
        let swaps = self.0.receipts().last().and_then(|receipt| receipt.id).unwrap_or_default();
        page.counter("okra_swaps", "Times that what serves was changed", swaps)?;
        let read_only = if self.0.read_only().is_some() { 1.0 } else { 0.0 };
        page.gauge("okra_store_read_only", "1 if no changes are accepted until a restart", None, read_only)
    }
}

impl fmt::Debug for Graphs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Graphs")
    }
}
