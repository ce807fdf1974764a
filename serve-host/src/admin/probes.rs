//! Whether the host lives, whether it is ready, and what it counts.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::Parameters;
use super::problem::{Problem, ProblemDocument};
use super::readiness::Phase;
use super::{Shared, SharedState};
use crate::metrics::Metrics;
use crate::stats::StatsSnapshot;

/// How readiness is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadyQuery {
    /// List the checks, too: `?verbose`, or `?verbose=true`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    verbose: Option<String>,
}

/// Whether the host takes calls.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(super) struct ReadyView {
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What was looked at, if asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<CheckView>>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Check)]
pub(super) struct CheckView {
    name: &'static str,
    ok: bool,
    /// Whether the host is ready without it.
    optional: bool,
    detail: String,
}

/// That the host lives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthView {
    #[schema(example = "healthy")]
    status: &'static str,
    /// The time of the host, as RFC 3339.
    #[schema(example = "2026-01-31T12:00:00Z")]
    time: String,
}

/// What the host counts.
#[derive(Debug, Serialize)]
struct StatsView {
    #[serde(flatten)]
    stats: StatsSnapshot,
    /// Plans in memory: kept, or still running somewhere.
    live_plans: usize,
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "probes", operation_id = "alive",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain"))
)]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the process lives, as clients of the first okra ask.
#[utoipa::path(
    get, path = "/api/v1/health", tag = "probes", operation_id = "health",
    responses((status = 200, description = "It does.", body = HealthView))
)]
pub(super) async fn health() -> Json<HealthView> {
    Json(HealthView { status: "healthy", time: rfc3339(SystemTime::now()) })
}

/// Whether the host takes calls.
#[utoipa::path(
    get, path = "/readyz", tag = "probes", operation_id = "ready",
    params(ReadyQuery),
    responses(
        (status = 200, description = "It does.", body = ReadyView),
        (status = 400, description = "The query is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "It does not, for this reason.", body = ReadyView),
    )
)]
pub(super) async fn ready(
    State(state): State<Shared>,
    Parameters(query): Parameters<ReadyQuery>,
) -> (StatusCode, Json<ReadyView>) {
    let verbose = query.verbose.is_some_and(|text| text != "false" && text != "0");
    let checks = checks(&state);
    let missing = checks.iter().find(|check| !check.ok && !check.optional).map(|check| check.name);
    let reason = missing.map(|name| match (name, state.readiness.phase()) {
        ("listening", Phase::Draining) => "draining",
        ("listening", _) => "starting",
        _ => "no graph serves",
    });
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyView { ready: reason.is_none(), reason, checks: verbose.then_some(checks) }))
}

fn checks(state: &SharedState) -> Vec<CheckView> {
    let phase = state.readiness.phase();
    let serving = state.store.list().iter().filter(|graph| graph.serving.is_some()).count();
    let read_only = state.store.read_only();
    vec![
        CheckView {
            name: "listening",
            ok: phase == Phase::Serving,
            optional: false,
            detail: format!("{phase:?}").to_lowercase(),
        },
        CheckView { name: "graphs", ok: serving > 0, optional: false, detail: format!("{serving} serving") },
        CheckView {
            name: "storage",
            ok: read_only.is_none(),
            optional: true,
            detail: read_only.map_or_else(|| "changes are accepted".to_owned(), |reason| reason.to_string()),
        },
    ]
}

/// What the host counted.
#[utoipa::path(
    get, path = "/api/v1/stats", tag = "figures", operation_id = "stats",
    responses((status = 200, description = "Counters, gauges and latencies, whole and per graph.", body = serde_json::Value))
)]
pub(super) async fn stats(State(state): State<Shared>) -> Response {
    Json(StatsView { stats: (state.stats)(), live_plans: state.store.live_plans() }).into_response()
}

/// The same for Prometheus, as OpenMetrics text.
#[utoipa::path(
    get, path = "/metrics", tag = "figures", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(state): State<Shared>) -> Result<Response, Problem> {
    let text = state.metrics.render().map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response())
}

/// A time to the second, in UTC.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date so many days after the epoch: years counted from March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01, in eras of 400 years, each of 146,097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
