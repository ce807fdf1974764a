//! Any request to the gateway gets exactly one answer that its protocol allows, and leaves nothing held.
//!
//! The input's first line is the method and the target, then lines of `name: value` up to a NUL, then the
//! body; its first byte says in how large pieces the body arrives. Behind the gateway is a real host whose
//! graph gives back what it gets, so that every step to the plan and back is run.

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use exec_plan::{GraphSource, PlanStore, StoreOptions};
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proto_json::Schema;
use serve_host::schemas::Schemas;
use serve_host::{CorsConfig, Gateway, GrpcService, HostConfig, PacedBody, ServeHost, TransportLimits};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

struct Setting {
    runtime: Runtime,
    gateway: Gateway,
    grpc: GrpcService,
}

static SETTING: LazyLock<Option<Setting>> = LazyLock::new(|| Setting::new().ok());

pub(crate) fn check(input: &[u8]) {
    let Some(Setting { runtime, gateway, grpc }) = &*SETTING else { panic!("the host does not start") };
    let (head, rest) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(input.len()));
    let (pieces_of, body) = match rest {
        [_, pieces_of, body @ ..] => (usize::from(*pieces_of).max(1), body),
        _ => (1, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut first = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut request = Request::builder().method(method).uri(target).version(Version::HTTP_2);
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    let pieces: Vec<_> = body.chunks(pieces_of).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let body = PacedBody::new(StreamBody::new(stream::iter(frames)), None);
    let Ok(request) = request.body(body) else { return };
    let head_only = request.method() == http::Method::HEAD;

    let (head, bytes, trailers) = runtime.block_on(async {
        let Ok(response) = gateway.clone().call(request).await;
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        let trailers = body.trailers().cloned();
        (head, body.to_bytes(), trailers.unwrap_or_default())
    });
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
    match content_type {
        None => assert_eq!(head.status, StatusCode::NO_CONTENT, "only a preflight has no type"),
        Some(_) if head_only => assert!(bytes.is_empty(), "a body after HEAD"),
        Some("application/json") if head.status != StatusCode::OK => {
            assert!(bytes.starts_with(b"{\"code\":\"") && bytes.ends_with(b"}"), "{bytes:?}");
        }
        Some(web) if web.starts_with("application/grpc-web-text") => assert_eq!(bytes.len() % 4, 0),
        Some(web) if web.starts_with("application/grpc-web") => {
            assert!(bytes.windows(12).any(|text| text == b"grpc-status:"), "{bytes:?}");
        }
        Some(grpc) if grpc.starts_with("application/grpc") => {
            let statuses =
                [&head.headers, &trailers].map(|block| block.get_all("grpc-status").iter().count());
            assert_eq!(statuses.iter().sum::<usize>(), 1, "one status");
        }
        Some(_) => {}
    }
    assert_eq!(grpc.bytes_in_flight(), 0, "something is held");
}

// === impl Setting ===

impl Setting {
    fn new() -> Result<Self, Box<dyn Error>> {
        let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
        let (store, _) = PlanStore::open(options)?;
        let graph = GraphSource { origin: "mirror.json".into(), stem: None, text: GRAPH.into() };
        let staged = store.stage(&graph, false)?;
        store.publish(&staged.graph, &staged.release.version)?;
        let host = ServeHost::new(Arc::new(store), HostConfig::default())?;
        let mut limits = TransportLimits::default();
        // Small, so that a fuzzer meets it.
        limits.messages.max_receive = 4096;
        let grpc = GrpcService::new(Arc::new(host.clone()), limits);
        let schemas = Schemas::default();
        schemas.insert_service("a.S", Schema::parse(DESCRIPTORS)?);
        let cors = CorsConfig { allowed_origins: vec!["*".to_owned()], ..CorsConfig::default() };
        let gateway = Gateway::new(host, grpc.clone(), schemas, cors);
        Ok(Self { runtime: Builder::new_current_thread().enable_time().build()?, gateway, grpc })
    }
}

/// Gives back what it gets; `b.Plain` has no schema.
const GRAPH: &str = r#"{
  "version": "1.0.0", "name": "mirror", "serves": ["a.S", "b.Plain"],
  "nodes": [
    { "id": "in", "kernel": "rpc_server_input", "inputs": ["call"], "outputs": ["payload", "meta"] },
    { "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload", "trailers"], "outputs": [] }
  ],
  "bindings": [
    { "to": "in.call", "from": "$req.rpc.call" },
    { "to": "out.call", "from": "$req.rpc.call" },
    { "to": "out.payload", "from": "in.payload" },
    { "to": "out.trailers", "from": "in.meta" }
  ]
}"#;

/// A descriptor set of one proto3 file:
/// `package a; message M { string s = 1; int64 n = 2; repeated M m = 3; }
/// service S { rpc Do(M) returns (M); rpc Look(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; } }`.
const DESCRIPTORS: &[u8] =
    b"\x0aj\x0a\x01f\x12\x01a\x22*\x0a\x01M\x12\x09\x0a\x01s\x18\x01 \x01(\x09\x12\x09\x0a\x01n\
    \x18\x02 \x01(\x03\x12\x0f\x0a\x01m\x18\x03 \x03(\x0b2\x04.a.M2.\x0a\x01S\x12\x10\x0a\x02D\
    o\x12\x04.a.M\x1a\x04.a.M\x12\x17\x0a\x04Look\x12\x04.a.M\x1a\x04.a.M\x22\x03\x90\x02\x01b\
    \x06proto3";
