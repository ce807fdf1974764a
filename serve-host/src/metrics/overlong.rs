//! The figures of nodes that block for too long.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use crate::host::ServeHost;

pub(super) struct Overlong(pub(super) ServeHost);

impl Collector for Overlong {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let nodes = self.0.overlong_nodes();
        let counts =
            nodes.iter().map(|(graph, node, count)| ([("graph", &**graph), ("node", &**node)], *count));
        Page(encoder).counters("okra_blocking_overlong", "Times that a node blocked for too long", counts)
    }
}

impl fmt::Debug for Overlong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlong")
    }
}
