use std::convert::Infallible;

use exec_plan::{GraphSource, PlanStore, StoreOptions};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use proto_json::Schema;

use super::*;
use crate::host::HostConfig;
use crate::transport::limits::TransportLimits;

/// A gateway to a host whose one graph gives back what it gets; `a.S` is described, `b.Plain` is not.
fn gateway() -> (Gateway, GrpcService) {
    let options = StoreOptions::in_memory(kernels::builtin(), kernels::serve_env());
    let (store, _) = PlanStore::open(options).unwrap();
    let text = r#"{
        "name": "echo", "version": "1.0.0", "serves": ["a.S", "b.Plain"],
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
    let source = GraphSource { origin: "test".into(), stem: None, text: text.into() };
    let staged = store.stage(&source, false).unwrap();
    store.publish(&staged.graph, &staged.release.version).unwrap();
    let host = ServeHost::new(Arc::new(store), HostConfig::default()).unwrap();
    let mut limits = TransportLimits::default();
    limits.messages.max_receive = 512;
    let grpc = GrpcService::new(Arc::new(host.clone()), limits);
    let schemas = Schemas::default();
    schemas.insert_service("a.S", schema());
    let cors = CorsConfig { allowed_origins: vec!["https://a.example".to_owned()], ..CorsConfig::default() };
    (Gateway::new(host, grpc.clone(), schemas, cors), grpc)
}

fn schema() -> Schema {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.proto");
    let proto = "syntax = \"proto3\"; package a; message M { string s = 1; int64 n = 2; repeated M m = 3; } \
                 service S { rpc Do(M) returns (M); \
                 rpc Look(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; } }";
    std::fs::write(&path, proto).unwrap();
    Schema::parse(prost::Message::encode_to_vec(&protox::compile([path], [folder.path()]).unwrap())).unwrap()
}

type Sent =
    Request<PacedBody<StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>>;

fn sent(head: http::request::Builder, body: &[u8], piece: usize) -> Option<Sent> {
    let pieces = body.chunks(piece.max(1)).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    let pieces: Vec<_> = pieces.collect();
    head.body(PacedBody::new(StreamBody::new(stream::iter(pieces)), None)).ok()
}

async fn answered(gateway: &Gateway, request: Sent) -> (u16, Option<String>, Bytes) {
    let Ok(response) = gateway.clone().call(request).await;
    let (head, body) = response.into_parts();
    let content_type = head.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (head.status.as_u16(), content_type, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_call_passes_the_host_and_is_counted_under_its_protocol() {
    let (gateway, _) = gateway();
    let post = |content_type| Request::post("/connect/a.S/Do").header("content-type", content_type);
    let request = sent(post("application/json"), br#"{"n":"7"}"#, 2).unwrap();
    assert_eq!(
        answered(&gateway, request).await,
        (200, Some("application/json".into()), r#"{"n":"7"}"#.into())
    );
    let request = sent(post("application/grpc-web"), b"\0\0\0\0\0", 5).unwrap();
    assert_eq!(answered(&gateway, request).await.0, 200);
    let stats = gateway.shared.host.stats();
    let calls =
        stats.graphs["echo"].calls.iter().map(|call| (call.method.as_str(), call.protocol, call.count));
    assert_eq!(calls.collect::<Vec<_>>(), [("/a.S/Do", "grpc_web", 1), ("/a.S/Do", "connect", 1)]);
}

#[tokio::test]
async fn a_closed_host_is_unavailable_in_every_spelling() {
    let (gateway, _) = gateway();
    gateway.shared.host.close();
    let request =
        sent(Request::post("/a.S/Do").header("content-type", "application/json"), b"{}", 9).unwrap();
    let (status, _, body) = answered(&gateway, request).await;
    assert_eq!(status, 503);
    assert!(body.starts_with(b"{\"code\":\"unavailable\""));
    let request = sent(Request::get("/a.S/Look?encoding=json&message=%7B%7D"), b"", 9).unwrap();
    assert_eq!(answered(&gateway, request).await.0, 503);
}

#[tokio::test]
async fn a_release_is_translated_by_its_own_schema() {
    let (gateway, _) = gateway();
    let label = gateway.shared.host.store().resolve_service("b.Plain").unwrap().label().to_string();
    let request = || {
        let head = Request::post("/a.S/Do").header("content-type", "application/json");
        sent(head, br#"{"renamed":"x"}"#, 99).unwrap()
    };
    assert_eq!(answered(&gateway, request()).await.0, 400, "the service has no such field");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.proto");
    let proto = "syntax = \"proto3\"; package a; message M { string renamed = 1; } \
                 service S { rpc Do(M) returns (M); }";
    std::fs::write(&path, proto).unwrap();
    let set = prost::Message::encode_to_vec(&protox::compile([path], [folder.path()]).unwrap());
    gateway.shared.schemas.insert_release(&label, Schema::parse(set).unwrap());
    assert_eq!(answered(&gateway, request()).await.2, r#"{"renamed":"x"}"#);
    gateway.shared.schemas.remove_release(&label);
    assert_eq!(answered(&gateway, request()).await.0, 400);
}

/// Parts of requests that are near enough to right ones to come far.
fn head() -> impl Strategy<Value = (String, String, Vec<(String, String)>)> {
    let method = prop::sample::select(vec!["POST", "POST", "POST", "GET", "OPTIONS", "HEAD", "DELETE"]);
    let path = prop::sample::select(vec![
        "/a.S/Do",
        "/a.S/Look",
        "/connect/a.S/Do",
        "/a.S/Look?connect=v1&encoding=json&message=%7B%7D",
        "/a.S/Look?encoding=proto&base64=1&message=CgNBZGE&compression=gzip",
        "/a.S/None",
        "/b.Plain/Do",
        "/c.None/Do",
        "/",
    ]);
    let name = prop::sample::select(vec![
        "content-type",
        "content-encoding",
        "accept-encoding",
        "connect-protocol-version",
        "connect-timeout-ms",
        "grpc-encoding",
        "grpc-timeout",
        "origin",
        "access-control-request-method",
        "okra-graph-version",
        "x-bin",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "application/json",
            "application/proto",
            "application/connect+json",
            "application/grpc-web+json",
            "application/grpc-web-text",
            "application/grpc+json",
            "gzip",
            "zstd",
            "identity",
            "1",
            "100m",
            "https://a.example",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ];
    let headers = prop::collection::vec((name.prop_map(str::to_owned), value), 0..6);
    (method.prop_map(str::to_owned), path.prop_map(str::to_owned), headers)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            &b"{}"[..],
            b"{\"s\":\"x\",\"m\":[{}]}",
            b"\x0a\x01x",
            b"\0\0\0\0\x02{}",
            b"AAAAAAJ7fQ==",
            b"",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..700),
    ]
}

proptest! {
    // Each case starts a host and sends it twenty requests.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_request_gets_one_answer_and_leaves_nothing_behind(
        heads in prop::collection::vec((head(), body(), 1_usize..40), 20)
    ) {
        let (gateway, grpc) = gateway();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for ((method, path, headers), body, piece) in heads {
            let mut request = Request::builder().method(&*method).uri(&*path).version(Version::HTTP_2);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let Some(request) = sent(request, &body, piece) else { continue };
            let (status, content_type, body) = runtime.block_on(answered(&gateway, request));
            match content_type.as_deref() {
                Some("application/json") if status != 200 && method != "HEAD" => {
                    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    prop_assert!(body["code"].is_string());
                }
                Some(web) if web.starts_with("application/grpc-web-text") => prop_assert_eq!(body.len() % 4, 0),
                Some(web) if web.starts_with("application/grpc-web") => prop_assert!(body.len() > 5),
                Some(_) => {}
                None => prop_assert_eq!(status, 204),
            }
            prop_assert_eq!(grpc.bytes_in_flight(), 0);
        }
        prop_assert!(gateway.shared.host.stats().identity_holds());
    }
}
