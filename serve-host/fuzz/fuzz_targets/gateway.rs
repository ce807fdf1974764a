//! A request made of any bytes gets one answer, and leaves nothing behind.
//!
//! The input's lines become the request: the method and the target, then headers until an empty line, then
//! the body, in pieces as long as the first byte says. Behind the gateway stands a real host whose one graph
//! gives back what it gets, with a schema, so that every step up to the plan and back is run.

#![no_main]

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use proto_json::Schema;
use serve_host::schemas::Schemas;
use serve_host::{CorsConfig, Gateway, GrpcService, HostConfig, PacedBody, ServeHost, TransportLimits};
use tower_service::Service;

/// The gateway, and the gRPC service whose budget it shares.
static HOST: LazyLock<(Gateway, GrpcService)> = LazyLock::new(|| {
    let (store, _) =
        PlanStore::open(StoreOptions::in_memory(kernels::builtin(), kernels::serve_env())).expect("a store");
    let graph = GraphSource { origin: "a.json".into(), stem: Some("a".to_owned()), text: GRAPH.into() };
    let staged = store.stage(&graph, false).expect("the graph is sound");
    store.publish(&staged.graph, &staged.release.version).expect("it was staged");
    let host = ServeHost::new(Arc::new(store), HostConfig::default()).expect("threads");
    let mut limits = TransportLimits::default();
    limits.messages.max_receive = 2048;
    let grpc = GrpcService::new(Arc::new(host.clone()), limits);
    let schemas = Schemas::default();
    schemas.insert_service("a.S", Schema::parse(DESCRIPTORS).expect("a descriptor set"));
    let cors = CorsConfig { allowed_origins: vec!["*".to_owned()], ..CorsConfig::default() };
    (Gateway::new(host, grpc.clone(), schemas, cors), grpc)
});

/// A body in pieces, all of which have arrived.
struct Pieces {
    bytes: Bytes,
    piece: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.piece.min(self.bytes.len());
        let piece = self.bytes.split_to(piece);
        std::task::Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}

fn request(input: &[u8]) -> Option<Request<PacedBody<Pieces>>> {
    let (&piece, input) = input.split_first()?;
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let first = str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    let mut rest = lines.next().unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], &line[colon + 1..]);
    }
    let body = Pieces { bytes: Bytes::copy_from_slice(rest), piece: usize::from(piece).max(1) };
    request.version(http::Version::HTTP_2).body(PacedBody::new(body, None)).ok()
}

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (gateway, grpc) = &*HOST;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let Ok(response) = gateway.clone().call(request).await;
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        let bytes = body.to_bytes();
        let content_type = head.headers.get("content-type").map(|value| value.to_str().expect("text"));
        match content_type {
            Some("application/json") if head.status != 200 => {
                let text = str::from_utf8(&bytes).expect("JSON is text");
                assert!(text.starts_with("{\"code\":\"") && text.ends_with('}'), "{text}");
            }
            Some(kind) if kind.starts_with("application/grpc-web-text") => assert_eq!(bytes.len() % 4, 0),
            Some(kind) if kind.starts_with("application/grpc-web") => assert!(bytes.len() > 5),
            Some(kind) => assert!(kind.starts_with("application/"), "{kind}"),
            None => assert_eq!(head.status, 204, "only a preflight has no type"),
        }
    });
    assert_eq!(grpc.bytes_in_flight(), 0);
});

/// Gives back what it gets.
const GRAPH: &str = r#"{
  "version": "1.0.0", "name": "a", "serves": ["a.S", "b.Plain"],
  "nodes": [
    { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload"] },
    { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"], "outputs": [] }
  ],
  "bindings": [
    { "to": "in.call", "from": "$req.rpc.call" },
    { "to": "out.call", "from": "$req.rpc.call" },
    { "to": "out.payload", "from": "in.payload" }
  ]
}"#;

/// `package a; message M { string s = 1; int64 n = 2; repeated M m = 3; }` and
/// `service S { rpc Do(M) returns (M); rpc Look(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; } }`,
/// in proto3, as one file of a descriptor set.
const DESCRIPTORS: &[u8] = b"\x0aj\x0a\x01f\x12\x01a\x22*\x0a\x01M\x12\x09\x0a\x01s\x18\x01 \x01(\x09\x12\x09\x0a\x01n\
    \x18\x02 \x01(\x03\x12\x0f\x0a\x01m\x18\x03 \x03(\x0b2\x04.a.M2.\x0a\x01S\x12\x10\x0a\x02D\
    o\x12\x04.a.M\x1a\x04.a.M\x12\x17\x0a\x04Look\x12\x04.a.M\x1a\x04.a.M\x22\x03\x90\x02\x01b\
    \x06proto3";
