//! A failure as Connect writes it: an HTTP status, and a JSON body with code, message and details.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use exec_plan::Code;
use http::StatusCode;
use kernels::Answer;
use prost::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::grpc::Refusal;
use crate::grpc::compression::InflateError;
use crate::grpc::framing::FrameError;

/// The body of a failure.
#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

/// One thing that programs are told about a failure.
#[derive(Serialize)]
struct Detail {
    #[serde(rename = "type")]
    name: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Box<RawValue>>,
}

/// What counts here of a `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The JSON of a failure. `render` writes the message of a type as JSON, if it knows the type.
pub(crate) fn body(answer: &Answer, render: impl Fn(&str, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    // Details that are no status explain nothing.
    let status = answer.details.as_deref().and_then(|details| Status::decode(details).ok());
    let details = status.unwrap_or_default().details.into_iter().map(|any| {
        let name = any.type_url.rsplit('/').next().unwrap_or_default().to_owned();
        let debug = render(&name, &any.value).and_then(|json| String::from_utf8(json).ok());
        let debug = debug.and_then(|json| RawValue::from_string(json).ok());
        Detail { name, value: STANDARD_NO_PAD.encode(&any.value), debug }
    });
    let body = Body { code: name(answer.code), message: &answer.message, details: details.collect() };
    serde_json::to_vec(&body)
        .unwrap_or_else(|_| format!("{{\"code\":\"{}\"}}", name(answer.code)).into_bytes())
}

/// The HTTP status of a refusal: that of its code, but where HTTP has a better word.
pub(crate) fn refusal_status(refusal: &Refusal) -> StatusCode {
    if matches!(
        refusal,
        Refusal::Frame(FrameError::TooLarge { .. }) | Refusal::Inflate(InflateError::TooLarge { .. })
    ) {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if matches!(refusal, Refusal::NoSchema { .. }) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        status(refusal.code())
    }
}

/// The HTTP status of each code, as the protocol has it.
pub(crate) fn status(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The name of each code, as the protocol has it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer, render: impl Fn(&str, &[u8]) -> Option<Vec<u8>>) -> String {
        String::from_utf8(body(answer, render)).unwrap()
    }

    #[test]
    fn every_code_has_the_protocol_s_name_and_status() {
        let expected = "\
OK ok 200, CANCELLED canceled 499, UNKNOWN unknown 500, INVALID_ARGUMENT invalid_argument 400, \
DEADLINE_EXCEEDED deadline_exceeded 504, NOT_FOUND not_found 404, ALREADY_EXISTS already_exists 409, \
PERMISSION_DENIED permission_denied 403, RESOURCE_EXHAUSTED resource_exhausted 429, \
FAILED_PRECONDITION failed_precondition 400, ABORTED aborted 409, OUT_OF_RANGE out_of_range 400, \
UNIMPLEMENTED unimplemented 501, INTERNAL internal 500, UNAVAILABLE unavailable 503, \
DATA_LOSS data_loss 500, UNAUTHENTICATED unauthenticated 401";
        let all = Code::ALL.map(|code| format!("{} {} {}", code.name(), name(code), status(code).as_u16()));
        assert_eq!(all.join(", "), expected);
    }

    #[test]
    fn details_are_told_with_and_without_their_meaning() {
        let any = |name: &str, value: &[u8]| prost_types::Any {
            type_url: format!("type.googleapis.com/{name}"),
            value: value.to_vec(),
        };
        let status = Status { details: vec![any("a.Known", b"\x08\x01"), any("a.Other", b"\xff\xfe")] };
        let answer = Answer {
            details: Some(status.encode_to_vec().into()),
            ..Answer::failed(Code::NotFound, "no \"such\" thing ☺")
        };
        let render = |name: &str, _: &[u8]| (name == "a.Known").then(|| b"{\"n\":1}".to_vec());
        assert_eq!(
            written(&answer, render),
            r#"{"code":"not_found","message":"no \"such\" thing ☺","details":[{"type":"a.Known","value":"CAE","debug":{"n":1}},{"type":"a.Other","value":"//4"}]}"#
        );
        let answer = Answer { details: Some("no status".into()), ..Answer::failed(Code::Aborted, "") };
        assert_eq!(written(&answer, |_, _| None), r#"{"code":"aborted"}"#);
    }
}
