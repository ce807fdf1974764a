//! The figures of the host itself: what it is, whether it takes calls, and its limits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Page;
use crate::admin::{Phase, Readiness};
use crate::config::Config;

#[derive(Debug)]
pub(super) struct Host {
    /// Every limit of the configuration that is on.
    limits: Vec<(String, f64)>,
    readiness: Readiness,
    dropped_log_lines: Arc<AtomicU64>,
}

impl Host {
    pub(super) fn new(config: &Config, readiness: Readiness, dropped_log_lines: Arc<AtomicU64>) -> Self {
        let mut limits = Vec::new();
        config.clone().each(&mut |key, setting| {
            if let Some(limit) = setting.limit() {
                limits.push((key.path(), limit));
            }
        });
        Self { limits, readiness, dropped_log_lines }
    }
}

impl Collector for Host {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let build = [([("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        page.gauges("okra_build_info", "The program that runs", build)?;
        let ready = if self.readiness.phase() == Phase::Serving { 1.0 } else { 0.0 };
        page.gauge("okra_taking_calls", "1 while the host takes calls", None, ready)?;
        let dropped = self.dropped_log_lines.load(Ordering::Relaxed);
        page.counter("okra_log_lines_dropped", "Log lines that nobody read in time", dropped)?;
        let limits = self.limits.iter().map(|(key, limit)| ([("key", key.as_str())], *limit));
        page.gauges("okra_config_limit", "Limits of the configuration, in seconds, bytes or counts", limits)
    }
}
