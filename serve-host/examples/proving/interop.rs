//! `interop`: the unary methods of `grpc.testing.TestService`, as the public description of gRPC's interop
//! tests has them.
//!
//! | port | type | |
//! |---|---|---|
//! | input `method` | string | |
//! | input `payload` | bytes | `Empty` or `SimpleRequest` |
//! | input `meta` | metadata | the two echo headers of the description are given back |
//! | output `payload` | bytes | `Empty` or `SimpleResponse` |
//! | output `headers`, `trailers` | metadata | |
//! | output `status`, `message` | i64, string | the status that a request asks for, or OK |
//!
//! No parameters. Does not wait. Fails with UNIMPLEMENTED for methods that it does not have.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{
    BindError, Body, BoundKernel, Code, Fault, InputPort, Kernel, KernelFactory, Metadata, NodeSpec,
    OutputPort, Ports, ReadInputs, RequestContext, Signature, Type, Value,
};
use prost::Message;

/// The factory, and the body of every node.
pub(crate) struct Interop;

/// A block of data; its type plays no part.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct EchoStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct SimpleRequest {
    #[prost(int32, tag = "2")]
    response_size: i32,
    #[prost(message, tag = "3")]
    payload: Option<Payload>,
    #[prost(message, tag = "7")]
    response_status: Option<EchoStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct SimpleResponse {
    #[prost(message, tag = "1")]
    payload: Option<Payload>,
}

impl KernelFactory for Interop {
    fn name(&self) -> &str {
        "interop"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let inputs = [
            InputPort::required("method", Type::String),
            InputPort::required("payload", Type::Bytes),
            InputPort::required("meta", Type::Metadata),
        ];
        let outputs = [
            OutputPort::new("payload", Type::Bytes),
            OutputPort::new("headers", Type::Metadata),
            OutputPort::new("trailers", Type::Metadata),
            OutputPort::new("status", Type::I64),
            OutputPort::new("message", Type::String),
        ];
        Ok(BoundKernel { signature: Signature::new(inputs, outputs), body: Body::Inline(Box::new(Self)) })
    }
}

impl Kernel for Interop {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let (payload, status) = match &**ports.str(0)? {
            "/grpc.testing.TestService/EmptyCall" => (Bytes::new(), EchoStatus::default()),
            // A stream of one message each way is a unary call to this host.
            "/grpc.testing.TestService/UnaryCall" | "/grpc.testing.TestService/FullDuplexCall" => {
                answer(ports.bytes(1)?)?
            }
            other => return Err(Fault::new(Code::Unimplemented, format!("there is no {other}"))),
        };
        for (output, name) in [(1, "x-grpc-test-echo-initial"), (2, "x-grpc-test-echo-trailing-bin")] {
            let echoed = echo(ports.metadata(2)?, name)?;
            ports.set(output, Value::Metadata(Arc::new(echoed)));
        }
        ports.set(0, Value::Bytes(payload));
        ports.set(3, Value::I64(status.code.into()));
        ports.set(4, Value::Str(status.message.into()));
        Ok(())
    }
}

/// The response, and the status to send with it or instead of it.
fn answer(payload: &Bytes) -> Result<(Bytes, EchoStatus), Fault> {
    let request = SimpleRequest::decode(payload.clone())
        .map_err(|error| Fault::new(Code::InvalidArgument, error.to_string()))?;
    let size = usize::try_from(request.response_size)
        .ok()
        .filter(|size| *size <= MOST_BYTES)
        .ok_or_else(|| Fault::new(Code::InvalidArgument, "no such size"))?;
    let body = Bytes::from(vec![0; size]);
    let response = SimpleResponse { payload: Some(Payload { body }) };
    Ok((response.encode_to_vec().into(), request.response_status.unwrap_or_default()))
}

fn echo(meta: &Metadata, name: &'static str) -> Result<Metadata, Fault> {
    let mut echoed = Metadata::new();
    for value in meta.all(name) {
        echoed.append(name, value.clone()).map_err(|error| Fault::new(Code::Internal, error.to_string()))?;
    }
    Ok(echoed)
}

/// The largest response that may be asked for.
const MOST_BYTES: usize = 8 << 20;
