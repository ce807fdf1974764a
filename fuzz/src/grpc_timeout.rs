//! A deadline is exactly what the public specification says, or the call is refused and never runs.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use kernels::{Answer, RequestEnvelope};
use serve_host::{Begun, GrpcService, TransportLimits, UnaryHost};
use tokio::runtime::{Builder, Runtime};

/// Answers with the time that is left, in nanoseconds.
struct Clock;

impl UnaryHost for Clock {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        let left = envelope.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map_or("none".to_owned(), |left| left.as_nanos().to_string());
        Begun::Done(Answer::ok(Bytes::from(left)))
    }
}

static RUNTIME: LazyLock<Option<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().ok());

pub(crate) fn check(input: &[u8]) {
    let Some(runtime) = &*RUNTIME else { return };
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let body = Full::new(Bytes::from_static(b"\0\0\0\0\0"));
    let request = http::Request::post("/t.T/Clock")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", &value)
        .body(body);
    let Ok(request) = request else { return };
    let service = GrpcService::new(Arc::new(Clock), TransportLimits::default());
    let Ok(response) = runtime.block_on(service.serve(request, "fuzz".into()));
    let (head, body) = response.into_parts();
    let Ok(body) = runtime.block_on(body.collect());
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or(head.headers.get("grpc-status")).cloned();
    let ok = status.is_some_and(|status| status == "0");
    let bytes = body.to_bytes();
    let left = bytes.get(5..).and_then(|left| std::str::from_utf8(left).ok());
    match meaning(value.as_bytes()) {
        None => assert!(!ok, "a malformed deadline was accepted: {value:?}"),
        Some(given) if ok => {
            let left = left.and_then(|left| left.parse().ok()).map(Duration::from_nanos_u128);
            assert!(left.is_some_and(|left| left <= given), "{value:?} became {left:?}");
            assert!(left.is_some_and(|left| left + SLACK >= given), "{value:?} became {left:?}");
        }
        // It ran out on the way.
        Some(given) => assert!(given < SLACK, "{value:?} was refused"),
    }
}

/// What a `grpc-timeout` says: one to eight digits and a unit.
fn meaning(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// What a call may lose of its time in a busy process.
const SLACK: Duration = Duration::from_secs(60);
