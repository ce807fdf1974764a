//! The host's own functions, as `run_host_api` offers them.
//!
//! | api | method | parameters | data |
//! |---|---|---|---|
//! | `okra.log` | `write` | `level`, `message`, `context`? | `{}` |
//! | `okra.time` | `now` | | `timestamp` (ms), `timezone`, `iso8601` |
//! | `okra.time` | `sleep` | `milliseconds`, 1 to 86,400,000, never past the deadline | `{}` |
//! | `okra.call` | `call` | as `call_service` | the answer |
//!
//! A request is `{"api", "method", "parameters"?, "metadata"?}`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::MaybeHost;
use super::json::{ServiceCall, bad, good, make, refused};
use crate::fault::GuestFault;
use crate::wasi::Stdio;

#[derive(Deserialize)]
struct Request<'a> {
    api: String,
    method: String,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Write {
    level: String,
    message: String,
    #[serde(default)]
    context: Map<String, Json>,
}

#[derive(Deserialize)]
struct Sleep {
    milliseconds: u64,
}

/// The longest message of a log entry, in bytes.
const LOG_MESSAGE_BYTES: usize = 1 << 20;

/// The most keys of a log entry's context.
const LOG_CONTEXT_KEYS: usize = 100;

/// The longest sleep, in milliseconds.
const LONGEST_SLEEP_MS: u64 = 86_400_000;

/// Runs a function; gives its reply. `None` if `request` is no request.
///
/// # Errors
/// The time of the call is up.
pub(super) async fn run(
    request: &[u8],
    host: MaybeHost,
    stdio: &mut Stdio,
    until: Instant,
) -> Result<Option<String>, GuestFault> {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(request) else { return Ok(None) };
    let parameters = request.parameters.map_or("{}", RawValue::get);
    let reply = match (&*request.api, &*request.method) {
        ("okra.log", "write") => with(parameters, |write| write_log(write, stdio)),
        ("okra.time", "now") => good(&now(SystemTime::now()).to_string()),
        ("okra.time", "sleep") => match serde_json::from_str(parameters) {
            Ok(Sleep { milliseconds: ms @ 1..=LONGEST_SLEEP_MS }) => {
                sleep(Duration::from_millis(ms), until).await?;
                good("{}")
            }
            Ok(_) => bad("INVALID_PARAMETERS", "milliseconds must be 1 to 86400000"),
            Err(error) => bad("INVALID_PARAMETERS", &error.to_string()),
        },
        ("okra.call", "call") => match serde_json::from_str::<ServiceCall>(parameters) {
            Ok(call) => match make(call, host).await {
                Ok(data) => good(&data),
                Err(error) => refused(&error),
            },
            Err(error) => bad("INVALID_PARAMETERS", &error.to_string()),
        },
        ("okra.log" | "okra.time" | "okra.call", method) => {
            bad("METHOD_NOT_FOUND", &format!("host API {} has no method {method}", request.api))
        }
        (api, _) => bad("API_NOT_FOUND", &format!("host API {api} not found")),
    };
    Ok(Some(reply))
}

/// Sleeps, but not past the end of the call.
///
/// # Errors
/// The time of the call is up, or there is no clock to sleep by.
pub(crate) async fn sleep(time: Duration, until: Instant) -> Result<(), GuestFault> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(GuestFault::NoRuntime);
    }
    let wake = Instant::now().checked_add(time).unwrap_or(until).min(until);
    tokio::time::sleep_until(wake.into()).await;
    if wake >= until { Err(GuestFault::Deadline) } else { Ok(()) }
}

fn with<'a, T: Deserialize<'a>>(parameters: &'a str, run: impl FnOnce(T) -> String) -> String {
    match serde_json::from_str(parameters) {
        Ok(parameters) => run(parameters),
        Err(error) => bad("INVALID_PARAMETERS", &error.to_string()),
    }
}

fn write_log(write: Write, stdio: &mut Stdio) -> String {
    if write.message.len() > LOG_MESSAGE_BYTES {
        return bad("MESSAGE_TOO_LARGE", "a message has at most 1048576 bytes");
    }
    if write.context.len() > LOG_CONTEXT_KEYS {
        return bad("CONTEXT_TOO_LARGE", "a context has at most 100 keys");
    }
    let level = match &*write.level {
        "debug" => tracing::Level::DEBUG,
        "info" => tracing::Level::INFO,
        "warn" => tracing::Level::WARN,
        "error" => tracing::Level::ERROR,
        _ => return bad("INVALID_LEVEL", "level must be debug, info, warn or error"),
    };
    let context = (!write.context.is_empty()).then(|| Json::Object(write.context).to_string());
    stdio.log(level, &write.message, context.as_deref());
    good("{}")
}

fn now(now: SystemTime) -> Json {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "timestamp": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        "timezone": "UTC",
        "iso8601": iso8601(since),
    })
}

/// The date and time, in UTC, of a moment after 1970.
fn iso8601(since: Duration) -> String {
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years begin in March here, so that the day that comes and goes is the last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let ms = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(request: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        let mut stdio = Stdio::new(&"guest".into(), 2);
        run(request.as_bytes(), None, &mut stdio, until).await.unwrap().unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_not_offered_is_named() {
        for (request, expected) in [
            (r#"{"api":"okra.state","method":"get"}"#, "host API okra.state not found"),
            (r#"{"api":"okra.log","method":"read"}"#, "METHOD_NOT_FOUND"),
            (r#"{"api":"okra.log","method":"write"}"#, "INVALID_PARAMETERS"),
            (
                r#"{"api":"okra.log","method":"write","parameters":{"level":"loud","message":""}}"#,
                "INVALID_LEVEL",
            ),
            (r#"{"api":"okra.time","method":"sleep","parameters":{"milliseconds":0}}"#, "INVALID_PARAMETERS"),
            (
                r#"{"api":"okra.call","method":"call","parameters":{"service":"s","method":"m"}}"#,
                "SERVICE_NOT_FOUND",
            ),
            ("{}", ""),
        ] {
            let reply = ask(request).await;
            assert!(reply.contains(expected) && !reply.contains("true"), "{request}: {reply}");
        }
    }

    #[tokio::test]
    async fn time_is_real() {
        let reply: Json = serde_json::from_str(&ask(r#"{"api":"okra.time","method":"now"}"#).await).unwrap();
        let ms = u128::from(reply["data"]["timestamp"].as_u64().unwrap());
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(real - ms < 10_000, "{ms} {real}");
        let write = r#"{"api":"okra.log","method":"write","parameters":{"level":"info","message":"m"}}"#;
        assert_eq!(ask(write).await, r#"{"success":true,"data":{}}"#);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso8601(Duration::from_secs(seconds)), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_ends_with_the_call() {
        let until = Instant::now() + Duration::from_secs(1);
        assert_eq!(sleep(Duration::from_secs(60), until).await, Err(GuestFault::Deadline));
        let until = Instant::now() + Duration::from_secs(10);
        assert_eq!(sleep(Duration::from_millis(5), until).await, Ok(()));
    }
}
