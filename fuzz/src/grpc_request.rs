//! Any request that says it is gRPC gets exactly one valid status, and leaves nothing held.
//!
//! The input is lines of `name: value` up to a NUL, then the body; its first byte says in how large pieces
//! the body arrives.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use exec_plan::Code;
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kernels::{Answer, RequestEnvelope};
use serve_host::{Begun, GrpcService, TransportLimits, UnaryHost};
use tokio::runtime::{Builder, Runtime};

/// Gives back what it gets, metadata and all.
struct Mirror;

impl UnaryHost for Mirror {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        let seen = envelope.metadata.to_metadata();
        Begun::Done(Answer {
            headers: Some(seen.clone()),
            trailers: Some(seen),
            ..Answer::ok(envelope.payload)
        })
    }
}

static RUNTIME: LazyLock<Option<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().ok());

pub(crate) fn check(input: &[u8]) {
    let Some(runtime) = &*RUNTIME else { return };
    let (head, rest) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(input.len()));
    let (pieces_of, body) = match rest {
        [_, pieces_of, body @ ..] => (usize::from(*pieces_of).max(1), body),
        _ => (1, &[][..]),
    };
    let mut request = http::Request::post("/t.T/Mirror");
    for line in head.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    let pieces: Vec<_> = body.chunks(pieces_of).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let Ok(request) = request.body(StreamBody::new(stream::iter(frames))) else { return };

    let mut limits = TransportLimits::default();
    // Small, so that a fuzzer meets it.
    limits.messages.max_receive = 4096;
    let service = GrpcService::new(Arc::new(Mirror), limits);
    let Ok(response) = runtime.block_on(service.serve(request, "fuzz".into()));
    if response.status() == http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // It did not say that it is gRPC.
        return;
    }
    let (head, body) = response.into_parts();
    let Ok(body) = runtime.block_on(body.collect());
    let blocks = [Some(&head.headers), body.trailers()];
    let statuses: Vec<_> =
        blocks.into_iter().flatten().flat_map(|block| block.get_all("grpc-status")).collect();
    assert_eq!(statuses.len(), 1, "one status");
    let code = statuses[0].to_str().ok().and_then(|text| text.parse().ok()).and_then(Code::from_number);
    assert!(code.is_some(), "{statuses:?} is no status");
    assert_eq!(service.bytes_in_flight(), 0, "something is held");
}
