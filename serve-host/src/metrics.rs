//! What Prometheus reads: the host's figures as OpenMetrics text.
//!
//! Nothing is counted here. Each page is written from what others count at the moment it is asked for,
//! so a metric cannot disagree with `/api/v1/stats`. Labels are graphs, their versions, methods that a
//! graph implements (the rest is `_OTHER`), codes and keys of the configuration: nothing that strangers
//! can make up.

mod calls;
mod connections;
mod graphs;
mod host;
mod overlong;
mod page;
mod process;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use exec_plan::PlanStore;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use self::calls::Calls;
use self::connections::Connections;
use self::graphs::Graphs;
use self::host::Host;
use self::overlong::Overlong;
use self::process::Process;
use crate::accept::Server;
use crate::admin::{Readiness, StatsSource};
use crate::config::Config;
use crate::host::ServeHost;

/// Everything `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

/// Where the figures come from.
pub struct MetricsSources<'a> {
    /// The calls.
    pub stats: StatsSource,
    /// The graphs.
    pub store: Arc<PlanStore>,
    /// Whether the host takes calls.
    pub readiness: Readiness,
    /// The limits.
    pub config: &'a Config,
    /// Log lines that had no room.
    pub dropped_log_lines: Arc<AtomicU64>,
}

impl Metrics {
    /// The content type of a page.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// A page of these figures.
    pub fn new(sources: MetricsSources<'_>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Calls(sources.stats)));
        registry.register_collector(Box::new(Graphs(sources.store)));
        registry.register_collector(Box::new(Host::new(
            sources.config,
            sources.readiness,
            sources.dropped_log_lines,
        )));
        Self { registry }
    }

    /// Adds the figures of nodes that block.
    #[must_use]
    pub fn with_host(self, host: ServeHost) -> Self {
        self.with(Overlong(host))
    }

    /// Adds figures of the process: memory, files, processor time.
    #[must_use]
    pub fn with_process(self) -> Self {
        self.with(Process)
    }

    /// Adds the figures of the service port.
    #[must_use]
    pub fn with_server(self, server: Arc<Server>) -> Self {
        self.with(Connections(server))
    }

    /// Adds the figures of someone else.
    #[must_use]
    pub fn with(mut self, collector: impl Collector) -> Self {
        self.registry.register_collector(Box::new(collector));
        self
    }

    /// The page of the moment.
    ///
    /// # Errors
    /// A collector failed.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl fmt::Debug for MetricsSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsSources")
    }
}

#[cfg(test)]
mod tests;
