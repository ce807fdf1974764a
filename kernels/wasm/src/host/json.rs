//! The JSON forms of `call_service` and `next`.
//!
//! A request is `{"service", "method", "payload", "metadata"?}`, a reply `{"success": true, "data": …}` or
//! `{"success": false, "error": {"code", "message", "details"?}}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, Value as Json};

use super::MaybeHost;
use crate::limits::OKRA_MESSAGE_BYTES;

/// A call that a guest makes of another service.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceCall {
    /// The service: an id, `ns.Service.v1`, or a route, `ns.Service`.
    pub service: String,
    /// The method's name.
    pub method: String,
    /// The request, JSON text.
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    /// Metadata for the service called.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whether the guest asks for a stream.
    #[serde(default)]
    pub streaming: bool,
}

/// Why a call of another service failed, as its caller is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceError {
    /// What kind of failure.
    pub code: ServiceErrorCode,
    /// What happened.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}

/// What kind of failure a call of another service ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ServiceErrorCode {
    /// The deadline of the calling call has passed.
    DeadlineExceeded,
    /// The service called failed.
    InternalError,
    /// The request is malformed.
    InvalidRequest,
    /// The service has no such method.
    MethodNotFound,
    /// There is no such service.
    ServiceNotFound,
    /// The package may not call this service.
    Unauthorized,
}

/// What every function of the module replies.
#[derive(Serialize)]
pub(super) struct Reply<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Refused<'a> {
    success: bool,
    error: &'a ServiceError,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Next {
    iterator_id: String,
}

/// Makes the call that `request` describes. `None` if it is not a request.
pub(super) async fn call_service(request: &[u8], host: MaybeHost) -> Option<String> {
    let call: ServiceCall = serde_json::from_slice(request).ok()?;
    let result = make(call, host).await;
    match result {
        Ok(data) => Some(good(&data)),
        Err(error) => serde_json::to_string(&Refused { success: false, error: &error }).ok(),
    }
}

/// Makes a call.
pub(super) async fn make(call: ServiceCall, host: MaybeHost) -> Result<String, ServiceError> {
    if call.streaming {
        let message = "streams between services are not supported";
        return Err(ServiceError::new(ServiceErrorCode::InvalidRequest, message));
    }
    match host {
        Some(host) => host.call_service(call).await,
        None => {
            let message = "this host connects no services";
            Err(ServiceError::new(ServiceErrorCode::ServiceNotFound, message))
        }
    }
}

/// Goes on with a stream, of which there are none.
pub(super) fn next(request: &[u8]) -> Option<String> {
    let Next { iterator_id } = serde_json::from_slice(request).ok()?;
    Some(bad("ITERATOR_NOT_FOUND", &format!("iterator {iterator_id} not found")))
}

/// A reply that carries JSON text.
pub(super) fn good(data: &str) -> String {
    match serde_json::from_str::<&RawValue>(data) {
        Ok(data) => reply(&Reply { success: true, data: Some(data), error: None }),
        Err(_) => bad("INTERNAL_ERROR", "the answer is not JSON"),
    }
}

/// A reply that says what went wrong.
pub(super) fn bad(code: &str, message: &str) -> String {
    reply(&Reply { success: false, data: None, error: Some(Failure { code, message }) })
}

/// A reply that tells of a failed call of a service, in the words of `run_host_api`.
pub(super) fn refused(error: &ServiceError) -> String {
    serde_json::to_string(&Refused { success: false, error }).unwrap_or_default()
}

/// The reply, or a word about its size.
pub(super) fn bounded(reply: String) -> String {
    if reply.len() <= OKRA_MESSAGE_BYTES {
        return reply;
    }
    bad("RESPONSE_TOO_LARGE", &format!("{} bytes are more than {OKRA_MESSAGE_BYTES}", reply.len()))
}

fn reply(reply: &Reply<'_>) -> String {
    serde_json::to_string(reply).unwrap_or_default()
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

// === impl ServiceError ===

impl ServiceError {
    /// A failure without details.
    pub fn new(code: ServiceErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::host::Host;

    struct Echo;

    impl Host for Echo {
        fn call_service<'a>(&'a self, call: ServiceCall) -> BoxFuture<'a, Result<String, ServiceError>> {
            let answer = match &*call.service {
                "a.Echo" => Ok(format!(r#"{{"{}":{}}}"#, call.method, call.payload.get())),
                _ => Err(ServiceError {
                    code: ServiceErrorCode::ServiceNotFound,
                    message: "who?".into(),
                    details: Some(Json::from(7)),
                }),
            };
            std::future::ready(answer).boxed()
        }
    }

    fn ask(request: &str) -> Option<String> {
        call_service(request.as_bytes(), Some(Arc::new(Echo))).now_or_never().unwrap()
    }

    #[test]
    fn a_call_and_its_answer_are_json() {
        let good = ask(r#"{"service":"a.Echo","method":"Say","payload":{"n": 1},"metadata":{"a":"b"}}"#);
        assert_eq!(good.unwrap(), r#"{"success":true,"data":{"Say":{"n": 1}}}"#);
        let none = ask(r#"{"service":"a.Echo","method":"Say"}"#);
        assert_eq!(none.unwrap(), r#"{"success":true,"data":{"Say":{}}}"#);
        let bad = ask(r#"{"service":"b","method":"m","payload":null}"#).unwrap();
        let expected =
            r#"{"success":false,"error":{"code":"SERVICE_NOT_FOUND","message":"who?","details":7}}"#;
        assert_eq!(bad, expected);
        let streaming = ask(r#"{"service":"a.Echo","method":"m","streaming":true}"#).unwrap();
        assert!(streaming.contains("INVALID_REQUEST"), "{streaming}");
        assert_eq!(ask("no"), None);
        assert_eq!(ask(r#"{"method":"m"}"#), None);
    }

    #[test]
    fn there_is_no_stream_to_go_on_with() {
        let reply = next(br#"{"iteratorId":"host:x:1"}"#).unwrap();
        assert!(reply.contains("ITERATOR_NOT_FOUND") && reply.contains("iterator host:x:1 not found"));
        assert_eq!(next(b"{}"), None);
    }

    #[test]
    fn a_reply_too_large_is_replaced() {
        let reply = bounded("x".repeat(OKRA_MESSAGE_BYTES + 1));
        assert!(reply.contains("RESPONSE_TOO_LARGE"), "{reply}");
        assert_eq!(bounded("x".to_owned()), "x");
    }
}
