//! The figures of calls, from the host's own counters.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::{Distribution, Page};
use crate::admin::StatsSource;

pub(super) struct Calls(pub(super) StatsSource);

/// Upper bounds of the latency buckets, in microseconds: from inline plans to long calls.
const BUCKETS_US: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 60_000_000,
];

impl Collector for Calls {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = (self.0)();
        let mut page = Page(encoder);
        page.counter("okra_calls_accepted", "Calls that waited in line or ran", stats.accepted)?;
        let rejected = stats.rejected.iter().map(|(reason, count)| ([("reason", reason.label())], *count));
        page.counters("okra_calls_rejected", "Calls never accepted", rejected)?;
        page.counter("okra_calls_completed", "Calls the graph answered", stats.completed)?;
        page.counter("okra_calls_failed", "Calls the host answered because the run failed", stats.failed)?;
        page.counter("okra_calls_cancelled", "Calls whose client left first", stats.cancelled)?;
        page.counter("okra_calls_expired", "Calls whose time was up", stats.expired)?;
        page.gauge("okra_calls_queued", "Calls in line", None, stats.queued as f64)?;
        page.gauge("okra_calls_in_flight", "Calls running on the pool", None, stats.in_flight as f64)?;
        let ended = stats.graphs.iter().flat_map(|(graph, figures)| {
            figures.calls.iter().map(move |call| {
                let (service, method) = split(&call.method);
                let labels = [
                    ("service", service),
                    ("method", method),
                    ("code", call.code),
                    ("protocol", call.protocol),
                    ("graph", graph.as_str()),
                ];
                (labels, call.count)
            })
        });
        page.counters("okra_rpc_requests", "Ended calls by method and status", ended)?;
        let latencies = stats.graphs.iter().map(|(graph, figures)| {
            ([("graph", graph.as_str())], distribution(&figures.latency.histogram, figures.latency.mean_us))
        });
        page.distributions("okra_rpc_duration", "From the arrival of a call to the end of its run", latencies)
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}

/// The service and the method of `/package.Service/Method`; `_OTHER` is both.
fn split(method: &str) -> (&str, &str) {
    method.trim_start_matches('/').split_once('/').unwrap_or((method, method))
}

fn distribution(histogram: &Histogram<u64>, mean_us: f64) -> Distribution {
    let mut below = 0;
    let buckets = BUCKETS_US.into_iter().map(|bound| {
        let until = histogram.count_between(0, bound);
        let count = until - below;
        below = until;
        (bound as f64 / 1e6, count)
    });
    let mut buckets: Vec<_> = buckets.collect();
    buckets.push((f64::INFINITY, histogram.len() - below));
    Distribution { sum: mean_us * histogram.len() as f64 / 1e6, count: histogram.len(), buckets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_lies_in_one_bucket() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 2).unwrap();
        for value in [1, 25, 26, 999, 59_000_000, 3_000_000_000] {
            histogram.record(value).unwrap();
        }
        let distribution = distribution(&histogram, histogram.mean());
        assert_eq!(distribution.buckets.iter().map(|(_, count)| count).sum::<u64>(), 6);
        assert_eq!(distribution.buckets.last().unwrap().1, 1);
        assert_eq!(distribution.count, 6);
    }

    #[test]
    fn methods_are_split_into_their_labels() {
        assert_eq!(split("/a.B/C"), ("a.B", "C"));
        assert_eq!(split("_OTHER"), ("_OTHER", "_OTHER"));
    }
}
