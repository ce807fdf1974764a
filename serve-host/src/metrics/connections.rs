//! The figures of the service port: connections, what was cut off and what was refused before the host.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Page;
use crate::accept::Server;

pub(super) struct Connections(pub(super) Arc<Server>);

impl Collector for Connections {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, grpc) = (self.0.stats(), self.0.grpc());
        let mut page = Page(encoder);
        let open = self.0.open_connections() as f64;
        page.gauge("okra_connections_open", "Connections of the service port", None, open)?;
        page.counter("okra_connections_accepted", "Connections taken from the listeners", stats.accepted())?;
        page.counter("okra_connections_ended", "Connections that came to their end", stats.ended())?;
        let cuts = stats.cuts().map(|(cut, count)| ([("reason", cut.name())], count));
        page.counters("okra_connections_cut", "Times that the host cut a connection off", cuts)?;
        let refusals = grpc.refusals().map(|(reason, count)| ([("reason", reason.name())], count));
        page.counters(
            "okra_requests_refused",
            "Requests that were answered before they came to a graph",
            refusals,
        )?;
        let held = grpc.bytes_in_flight() as f64;
        page.gauge("okra_messages_in_flight", "Messages that are held", Some(&Unit::Bytes), held)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}
