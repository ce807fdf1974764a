//! The service in somebody else's server, and somebody else's service in ours.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serve_host::{Fallback, FallbackRequestBody, GrpcService, TransportLimits};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;

use super::server_with;
use crate::client::{Client, framed};
use crate::example::Plain;
use crate::host::TestHost;

/// Ends a server with the test that started it.
struct Running(SocketAddr, JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.1.abort();
    }
}

/// The example's server, over the tests' host.
async fn tonic_server() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = crate::example::routes(Arc::new(TestHost::default()));
    let serving = tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming(TcpIncoming::from(listener));
    Running(address, tokio::spawn(async move { serving.await.unwrap() }))
}

/// A call by tonic's own client.
async fn call(
    address: SocketAddr,
    path: &'static str,
    message: &'static str,
) -> Result<Bytes, tonic::Status> {
    let channel =
        tonic::transport::Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let response =
        client.unary(tonic::Request::new(Bytes::from_static(message.as_bytes())), path, Plain).await?;
    Ok(response.into_inner())
}

#[tokio::test]
async fn graphs_and_own_services_share_a_tonic_server() {
    let server = tonic_server().await;
    assert_eq!(call(server.0, "/hello.Greeter/Greet", "you").await.unwrap(), "hello, you");
    assert_eq!(call(server.0, "/t.T/Echo", "an echo").await.unwrap(), "an echo");
    assert!(call(server.0, "/t.T/Peer", "").await.unwrap().starts_with(b"127.0.0.1:"));
    let status = call(server.0, "/t.T/Fail", "what for").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, "what for"));
    assert_eq!(status.metadata().get("x-why").unwrap(), "because");
    assert_eq!(status.details(), b"\x08\x05");
    assert_eq!(call(server.0, "/t.T/Panic", "").await.unwrap_err().code(), tonic::Code::Internal);
    assert_eq!(
        call(server.0, "/other.Service/Call", "").await.unwrap_err().code(),
        tonic::Code::Unimplemented
    );
}

#[tokio::test]
async fn mounted_in_tonic_it_keeps_its_own_statuses_and_sizes() {
    let server = tonic_server().await;
    let client = Client::connect(server.0).await;
    assert_eq!(client.send("Echo", &[], &[]).await.code(), 12);
    assert_eq!(client.send("Echo", &[], &[framed(0, b"1"), framed(0, b"2")]).await.code(), 12);
    assert_eq!(client.call("Echo", vec![0; (4 << 20) + 1]).await.code(), 8);
    assert_eq!(client.call("Size", "9000000").await.payload().len(), 9_000_000);
    assert_eq!(client.call("Later", "20").await.payload(), b"20");
}

#[tokio::test]
async fn graphs_and_own_routes_share_an_axum_server() {
    let graphs = GrpcService::new(Arc::new(TestHost::default()), TransportLimits::default());
    let router = Router::new().route("/hello", get(|| async { "hello" })).fallback_service(graphs);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = Running(address, tokio::spawn(async { axum::serve(listener, router).await.unwrap() }));
    let client = Client::connect(server.0).await;
    assert_eq!(client.call("Echo", "hi").await.payload(), b"hi");
    assert!(client.call("Peer", "").await.payload().starts_with(b"127.0.0.1:"));
    let hello = http::Request::get("http://test/hello").body(Default::default()).unwrap();
    assert_eq!(client.request(hello).await.unwrap().body, "hello");
}

/// A server of ours whose fallback is this router.
fn ours(router: Router, limits: TransportLimits) -> serve_host::Server {
    let fallback = Fallback::new(router).claiming(["/native."]);
    server_with(limits, Some(fallback)).0
}

/// A request over HTTP/1.1: status and body.
async fn http1(address: SocketAddr, request: http::Request<String>) -> (u16, String) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn what_is_not_for_graphs_goes_to_the_fallback() {
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route("/t.T/Echo", post(|body: String| async move { body }))
        .route("/native.Service/Call", post(|| async { "native" }));
    let server = ours(router, TransportLimits::default());
    let address = server.local_addr();
    let request = |request: http::request::Builder, body: &str| {
        request.header("host", "x").body(body.to_owned()).unwrap()
    };

    assert_eq!(http1(address, request(http::Request::get("/"), "")).await, (200, "127.0.0.1".to_owned()));
    let json = http::Request::post("/t.T/Echo").header("content-type", "application/json");
    assert_eq!(http1(address, request(json, "{}")).await, (200, "{}".to_owned()));
    assert_eq!(
        http1(address, request(http::Request::get("/healthz"), "")).await,
        (200, "alive\n".to_owned())
    );

    let client = Client::connect(address).await;
    assert_eq!(client.call("Echo", "a graph's").await.payload(), b"a graph's");
    let other_codec =
        client.send("Echo", &[("content-type", "application/grpc+json")], &["text".into()]).await;
    assert_eq!(other_codec.body, "text");
    let claimed = http::Request::post("http://test/native.Service/Call")
        .header("content-type", "application/grpc")
        .body(Default::default())
        .unwrap();
    assert_eq!(client.request(claimed).await.unwrap().body, "native");
}

#[tokio::test]
async fn a_fallback_that_panics_fails_its_own_request_and_no_other() {
    let panicking = || async {
        if true {
            panic!("as asked");
        }
    };
    let server = ours(Router::new().route("/", get(panicking)), TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    for _ in 0..2 {
        let get = http::Request::get("http://test/").body(Default::default()).unwrap();
        assert_eq!(client.request(get).await.unwrap().status, 500);
    }
    assert_eq!(client.call("Echo", "hi").await.payload(), b"hi");
}

/// Panics at `/panic` before there is a future, and is ready only when it is asked for the second time.
#[derive(Clone, Default)]
struct Moody {
    asked: bool,
}

impl tower::Service<http::Request<FallbackRequestBody>> for Moody {
    type Response = http::Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if std::mem::replace(&mut self.asked, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: http::Request<FallbackRequestBody>) -> Self::Future {
        assert!(self.asked, "not ready yet");
        assert!(request.uri().path() != "/panic", "as asked");
        self.asked = false;
        std::future::ready(Ok(http::Response::new("ready".to_owned())))
    }
}

#[tokio::test]
async fn a_fallback_may_panic_at_once_or_be_ready_later() {
    let (server, _) = server_with(TransportLimits::default(), Some(Fallback::new(Moody::default())));
    let client = Client::connect(server.local_addr()).await;
    for _ in 0..3 {
        for (path, status, body) in [("/", 200, "ready"), ("/panic", 500, "")] {
            let get = http::Request::get(format!("http://test{path}")).body(Default::default()).unwrap();
            let answer = client.request(get).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()));
        }
    }
}

#[tokio::test]
async fn a_body_for_the_fallback_must_arrive_in_time_unless_it_is_claimed() {
    let mut limits = TransportLimits::default();
    limits.connections.body_idle_timeout = Duration::from_millis(200);
    let read =
        |body: axum::body::Body| async { if body.collect().await.is_ok() { "whole" } else { "broken" } };
    let router = Router::new().route("/t.T/Echo", post(read)).route("/native.T/Echo", post(read));
    let server = ours(router, limits);
    let client = Client::connect(server.local_addr()).await;
    let (_held, reply) = client.open("Echo", &[("content-type", "application/json")]);
    assert_eq!(reply.await.unwrap().body, "broken");

    let (held, reply) = client.open_at("/native.T/Echo", &[]);
    let reply = tokio::spawn(reply);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!reply.is_finished());
    drop(held);
    assert_eq!(reply.await.unwrap().unwrap().body, "whole");
}
