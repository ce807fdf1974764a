//! `answer_as_told`: answers a call of the conformance service as its message says.
//!
//! | port | type | |
//! |---|---|---|
//! | input `method` | string | `Unary` and `IdempotentUnary` answer; `Unimplemented` does not |
//! | input `payload` | bytes | the request |
//! | input `meta` | metadata | told back |
//! | input `deadline_ms` | i64 | told back, unless it is negative |
//! | output `payload` | bytes | the response |
//! | output `status` | i64 | the code of the error to answer with, or 0 |
//! | output `message` | string | of the error |
//! | output `details` | bytes | of the error; a serialized `google.rpc.Status` |
//! | output `headers`, `trailers` | metadata | |
//!
//! No parameters. Waits as long as the message says. Fails with UNIMPLEMENTED for other methods,
//! INVALID_ARGUMENT for a payload that is no request.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Fault, InputPort, Inputs, KernelFactory, Metadata,
    NodeSpec, OutputPort, Outputs, ReadInputs, RequestContext, Signature, Type, Value,
};
use futures_util::future::BoxFuture;
use prost::Message as _;

use crate::messages::{
    Any, Failure, Header, Outcome, Payload, RequestInfo, Status, UnaryRequest, UnaryResponse,
};

/// The factory, and the body of every node: there is nothing to configure.
pub(crate) struct AnswerAsTold;

impl KernelFactory for AnswerAsTold {
    fn name(&self) -> &str {
        "answer_as_told"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let inputs = [
            InputPort::required("method", Type::String),
            InputPort::required("payload", Type::Bytes),
            InputPort::required("meta", Type::Metadata),
            InputPort::required("deadline_ms", Type::I64),
        ];
        let outputs = [
            OutputPort::new("payload", Type::Bytes),
            OutputPort::new("status", Type::I64),
            OutputPort::new("message", Type::String),
            OutputPort::new("details", Type::Bytes),
            OutputPort::new("headers", Type::Metadata),
            OutputPort::new("trailers", Type::Metadata),
        ];
        Ok(BoundKernel { signature: Signature::new(inputs, outputs), body: Body::Async(Box::new(Self)) })
    }
}

impl AsyncKernel for AnswerAsTold {
    fn run<'a>(&'a self, mut inputs: Inputs, _: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(async move {
            let (
                Some(Value::Str(method)),
                Some(Value::Bytes(payload)),
                Some(Value::Metadata(meta)),
                Some(Value::I64(deadline_ms)),
            ) = (inputs.take(0), inputs.take(1), inputs.take(2), inputs.take(3))
            else {
                return Err(Fault::new(Code::Internal, "an input is missing"));
            };
            answer(&method, &payload, &meta, deadline_ms).await
        })
    }
}

async fn answer(method: &str, payload: &Bytes, meta: &Metadata, deadline_ms: i64) -> Result<Outputs, Fault> {
    let message = match method.rsplit('/').next() {
        Some("Unary") => "UnaryRequest",
        Some("IdempotentUnary") => "IdempotentUnaryRequest",
        _ => return Err(Fault::new(Code::Unimplemented, format!("there is no {method}")).verbatim()),
    };
    let request = UnaryRequest::decode(payload.clone())
        .map_err(|error| Fault::new(Code::InvalidArgument, format!("this is no {message}: {error}")))?;
    let info = RequestInfo {
        request_headers: told_back(meta),
        timeout_ms: (deadline_ms >= 0).then_some(deadline_ms),
        requests: vec![any(message, payload.to_vec())],
    };
    let Some(told) = request.response_definition else { return Ok(success(Vec::new(), info)) };
    let (headers, trailers) = (metadata(&told.response_headers)?, metadata(&told.response_trailers)?);
    tokio::time::sleep(Duration::from_millis(told.response_delay_ms.into())).await;
    let outputs = match told.outcome {
        Some(Outcome::Error(error)) => failure(error, info),
        Some(Outcome::Data(data)) => success(data, info),
        None => success(Vec::new(), info),
    };
    Ok(outputs.with(4, Value::Metadata(headers)).with(5, Value::Metadata(trailers)))
}

fn success(data: Vec<u8>, info: RequestInfo) -> Outputs {
    let payload = Payload { data, request_info: Some(info) };
    outputs(UnaryResponse { payload: Some(payload) }.encode_to_vec(), 0, "", Vec::new())
}

/// What arrived is told in the last detail of the error.
fn failure(error: Failure, info: RequestInfo) -> Outputs {
    let Failure { code, message, mut details } = error;
    let message = message.unwrap_or_default();
    details.push(any("ConformancePayload.RequestInfo", info.encode_to_vec()));
    let status = Status { code, message: message.clone(), details }.encode_to_vec();
    outputs(Vec::new(), code, &message, status)
}

fn outputs(payload: Vec<u8>, code: i32, message: &str, details: Vec<u8>) -> Outputs {
    Outputs::one(Value::Bytes(payload.into()))
        .with(1, Value::I64(code.into()))
        .with(2, Value::Str(message.into()))
        .with(3, Value::Bytes(details.into()))
        .with(4, Value::Metadata(Arc::default()))
        .with(5, Value::Metadata(Arc::default()))
}

fn any(message: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("type.googleapis.com/connectrpc.conformance.v1.{message}"), value }
}

/// Metadata as the suite writes it: binary values in base64.
fn told_back(meta: &Metadata) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in meta.iter() {
        let value = match name.ends_with("-bin") {
            true => STANDARD_NO_PAD.encode(value),
            false => String::from_utf8_lossy(value).into_owned(),
        };
        match headers.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value.push(value),
            None => headers.push(Header { name: name.to_owned(), value: vec![value] }),
        }
    }
    headers
}

fn metadata(headers: &[Header]) -> Result<Arc<Metadata>, Fault> {
    let invalid = |what: String| Fault::new(Code::InvalidArgument, what);
    let mut metadata = Metadata::new();
    for Header { name, value } in headers {
        let name = name.to_ascii_lowercase();
        for text in value {
            let value = if name.ends_with("-bin") {
                let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
                Bytes::from(decoded.map_err(|_| invalid(format!("{text:?} is not base64")))?)
            } else {
                Bytes::from(text.clone())
            };
            metadata.append(&*name, value).map_err(|error| invalid(error.to_string()))?;
        }
    }
    Ok(Arc::new(metadata))
}
