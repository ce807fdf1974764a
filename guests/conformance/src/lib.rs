//! The service that the Connect conformance suite calls, as a guest: the request says what to answer, and
//! the answer tells what arrived.
//!
//! It takes whole calls, for it has metadata to read and a status to choose. The suite's `Unimplemented`
//! is left out on purpose: that it is missing is for the host, and this guest, to say.

mod messages;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use okra_guest::envelope::{Entry, Request, Response};
use prost::Message;

use crate::messages::{
    Any, Failure, Header, Outcome, Payload, RequestInfo, ResponseDefinition, Status, UnaryRequest,
    UnaryResponse,
};

okra_guest::export_unary!(answer);

fn answer(call: Request) -> Response {
    let method = call.method.rsplit('/').next().unwrap_or_default();
    let type_name = match method {
        "Unary" => "UnaryRequest",
        "IdempotentUnary" => "IdempotentUnaryRequest",
        other => return Response::failed(UNIMPLEMENTED, format!("{other} is not implemented")),
    };
    match UnaryRequest::decode(&*call.payload) {
        Ok(request) => respond(&call, request, type_name),
        Err(error) => Response::failed(INVALID_ARGUMENT, error.to_string()),
    }
}

/// Does what the definition says. Without one, the answer only tells what arrived.
fn respond(call: &Request, request: UnaryRequest, type_name: &str) -> Response {
    let info = observed(call, type_name);
    let definition = request.response_definition.unwrap_or_default();
    std::thread::sleep(Duration::from_millis(definition.response_delay_ms.into()));
    let ResponseDefinition { response_headers, outcome, response_trailers, .. } = definition;
    let answer = match outcome {
        Some(Outcome::Error(error)) => fail(error, &info),
        Some(Outcome::Data(data)) => succeed(data, info),
        None => succeed(Vec::new(), info),
    };
    Response { metadata: entries(response_headers), trailers: entries(response_trailers), ..answer }
}

fn succeed(data: Vec<u8>, info: RequestInfo) -> Response {
    let payload = Payload { data, request_info: Some(info) };
    Response::ok(UnaryResponse { payload: Some(payload) }.encode_to_vec())
}

/// The failure that was asked for; its last detail tells what arrived.
fn fail(error: Failure, info: &RequestInfo) -> Response {
    let Failure { code, message, mut details } = error;
    details.push(Any {
        type_url: format!("type.googleapis.com/{PACKAGE}.ConformancePayload.RequestInfo"),
        value: info.encode_to_vec(),
    });
    let message = message.unwrap_or_default();
    let status = Status { code, message: message.clone(), details };
    Response { details: status.encode_to_vec(), ..Response::failed(code, message) }
}

fn observed(call: &Request, type_name: &str) -> RequestInfo {
    let mut headers: Vec<Header> = Vec::new();
    for Entry { name, value } in &call.metadata {
        let text = if name.ends_with(BINARY) {
            STANDARD_NO_PAD.encode(value)
        } else {
            String::from_utf8_lossy(value).into_owned()
        };
        match headers.iter_mut().find(|header| header.name == *name) {
            Some(header) => header.value.push(text),
            None => headers.push(Header { name: name.clone(), value: vec![text] }),
        }
    }
    RequestInfo {
        request_headers: headers,
        timeout_ms: (call.deadline_ms >= 0).then_some(call.deadline_ms),
        requests: vec![Any {
            type_url: format!("type.googleapis.com/{PACKAGE}.{type_name}"),
            value: call.payload.clone(),
        }],
    }
}

fn entries(headers: Vec<Header>) -> Vec<Entry> {
    let entry = |name: &str, text: String| {
        let decoded = || STANDARD_NO_PAD.decode(&text).or_else(|_| STANDARD.decode(&text)).ok();
        let value = name.ends_with(BINARY).then(decoded).flatten();
        Entry { name: name.to_owned(), value: value.unwrap_or_else(|| text.into_bytes()) }
    };
    let all = headers.into_iter().flat_map(|Header { name, value }| {
        value.into_iter().map(|text| entry(&name, text)).collect::<Vec<_>>()
    });
    all.collect()
}

const PACKAGE: &str = "connectrpc.conformance.v1";
const BINARY: &str = "-bin";
const INVALID_ARGUMENT: i32 = 3;
const UNIMPLEMENTED: i32 = 12;
