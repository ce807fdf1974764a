//! The documented graphs that call something, other servers or other graphs, compiled and run as a host
//! would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{Code, ExecPlan, Executor, GraphResolver, GraphSource, HeldPlan, Metadata, RequestContext};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernels::{Answer, RequestEnvelope, RpcServerCall, builtin, serve_env};
use tokio::net::TcpListener;

/// The server that the documented graphs name.
const DOCUMENTED: &str = "127.0.0.1:50051";

/// A documented graph that calls `upstream`.
fn compile(file: &str, upstream: SocketAddr) -> Arc<ExecPlan> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../graphs").join(file);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let text = text.replace(DOCUMENTED, &upstream.to_string());
    let source = GraphSource { origin: file.into(), stem: None, text: text.into() };
    Arc::new(ExecPlan::compile(&source, &builtin(), &serve_env()).unwrap_or_else(|errors| panic!("{errors}")))
}

/// Finds the one graph that others run.
struct LineTotal(Arc<ExecPlan>);

impl GraphResolver for LineTotal {
    fn plan(&self, name: &str) -> Option<HeldPlan> {
        (name == "line_total").then(|| HeldPlan::Owned(self.0.clone()))
    }
}

/// What the caller of a documented graph gets for a payload: `CODE: text`.
async fn ask(file: &str, upstream: SocketAddr, payload: &'static str) -> String {
    let mut metadata = Metadata::new();
    for (name, value) in [("user", "ann"), ("secret", "s")] {
        assert_eq!(metadata.append(name, value), Ok(()));
    }
    let call = Arc::new(RpcServerCall::new(RequestEnvelope {
        method: "/s/M".into(),
        payload: Bytes::from_static(payload.as_bytes()),
        metadata: Arc::new(metadata),
        peer: "127.0.0.1:9".into(),
        deadline: None,
    }));
    let graphs = LineTotal(compile("line_total.json", upstream));
    let cx = Arc::new(RequestContext::new(call.clone()).with_graphs(Arc::new(graphs)));
    let answer = match Executor::drive(&compile(file, upstream), &cx, cx.offload()).await {
        Ok(_) => call.take_answer().expect("a graph that ended well has answered"),
        Err(error) => Answer::from(&error.fault),
    };
    let text = if answer.code == Code::Ok {
        String::from_utf8_lossy(&answer.payload).into_owned()
    } else {
        answer.message
    };
    format!("{}: {text}", answer.code)
}

type AnyBody = BoxBody<Bytes, Infallible>;

/// A stock server: it knows tea, and whom it speaks to.
async fn stock(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    assert_eq!(request.uri().path(), "/shop.Stock/Get");
    assert!(!request.headers().contains_key("secret"), "metadata that is not listed was passed on");
    let user = request.headers().get("user").map_or(&b"nobody"[..], HeaderValue::as_bytes).to_vec();
    let asked = request.into_body().collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    let known = asked.ends_with(b"tea");
    let message = if known { [&b"three for "[..], &user].concat() } else { Vec::new() };
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(u8::MAX)];
    framed.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(if known { 0 } else { 5 }));
    trailers.insert("grpc-message", HeaderValue::from_static("no such item"));
    let body = Full::new(Bytes::from(framed)).with_trailers(async move { Some(Ok(trailers)) });
    Ok(Response::builder()
        .header("content-type", "application/grpc")
        .body(body.boxed())
        .expect("it is valid"))
}

/// A server of exchange rates: it says what it was asked.
async fn rates(request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let asked = Bytes::from(request.uri().to_string());
    let status = if asked.ends_with(b"EUR") { 200 } else { 503 };
    Ok(Response::builder().status(status).body(Full::new(asked).boxed()).expect("it is valid"))
}

/// Serves HTTP/2 with `stock`, or HTTP/1.1 with `rates`, until the test ends.
async fn upstream(http2: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let io = TokioIo::new(stream);
            tokio::spawn(async move {
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(io, service_fn(stock)).await);
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    drop(server.serve_connection(io, service_fn(rates)).await);
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn other_grpc_servers_are_called() {
    let upstream = upstream(true).await;
    let graph = "kernels/rpc_unary_call.json";
    assert_eq!(ask(graph, upstream, "tea").await, "OK: three for ann");
    assert_eq!(ask(graph, upstream, "gin").await, "NOT_FOUND: no such item");
    let results = ask("kernels/rpc_unary_call_batch.json", upstream, r#"{"items":["tea","gin"]}"#).await;
    let expected = r#"OK: [{"code":"OK","message":""},{"code":"NOT_FOUND","message":"no such item"}]"#;
    assert_eq!(results, expected);
}

#[tokio::test]
async fn other_http_servers_are_called() {
    let upstream = upstream(false).await;
    let graph = "kernels/http_call.json";
    assert_eq!(ask(graph, upstream, r#"{"currency":"EUR"}"#).await, "OK: /rates/EUR");
    let failed = ask(graph, upstream, r#"{"currency":"x"}"#).await;
    assert_eq!(failed, "UNAVAILABLE: the upstream answered HTTP 503");
}

#[tokio::test]
async fn other_graphs_are_run() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let line = r#"{"price":20,"count":3}"#;
    assert_eq!(ask("kernels/graph_call.json", nobody, line).await, "OK: 60");
    let order = r#"{"lines":[{"price":20,"count":3},{"price":5,"count":1}]}"#;
    assert_eq!(ask("kernels/scatter.json", nobody, order).await, "OK: [60,5]");
    let broken = r#"{"lines":[{"price":20,"count":3},{}]}"#;
    let said = ask("kernels/scatter.json", nobody, broken).await;
    assert!(said.contains(": item 1: "), "{said}");
}
