//! Servers on loopback for the tests of what calls them: one that is right, by tonic, and ones that
//! fail in every way a server can.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use exec_plan::{EnvKey, Environment, RequestContext, TraceParent, Value};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::{Code, Status};
use tower_service::Service;

/// A server that stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// What the tonic server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) headers: Mutex<Vec<HeaderMap>>,
    pub(crate) peers: Mutex<HashSet<SocketAddr>>,
    pub(crate) running: AtomicUsize,
    pub(crate) most: AtomicUsize,
    /// Calls that began and were dropped before they ended.
    pub(crate) abandoned: AtomicUsize,
}

/// A body that any test can make.
pub(crate) type AnyBody = BoxBody<Bytes, Infallible>;

/// The trace of [`context`].
pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The method of the tonic server that gives its message back.
pub(crate) const ECHO: &str = "/t.T/Echo";
/// The method that waits as many milliseconds as its message says, then gives it back.
pub(crate) const SLEEP: &str = "/t.T/Sleep";
/// The method that fails with the code its message says, unless that is 0.
pub(crate) const FAIL: &str = "/t.T/Fail";

struct Traced(Option<TraceParent>);

impl Environment for Traced {
    fn value(self: Arc<Self>, _key: &EnvKey) -> Value {
        Value::Null
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        self.0
    }
}

/// A request that belongs to [`TRACE`] and has this much time.
pub(crate) fn context(left: Option<Duration>) -> RequestContext {
    let deadline = left.map(|left| (tokio::time::Instant::now() + left).into_std());
    RequestContext::new(Arc::new(Traced(TRACE.parse().ok()))).with_deadline(deadline)
}

/// A request without a trace.
pub(crate) fn untraced() -> RequestContext {
    RequestContext::new(Arc::new(Traced(None)))
}

// === impl Server ===

impl Server {
    async fn listen<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), task: tokio::spawn(serve(listener)) }
    }

    /// Serves every connection with `serve`.
    pub(crate) async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(|listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        })
        .await
    }

    /// Serves HTTP/2 with whatever `answer` gives.
    pub(crate) async fn http2<F>(
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        Self::raw(move |stream| {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            async move {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                drop(serving.await);
            }
        })
        .await
    }

    /// Serves HTTP/1.1 with whatever `answer` gives.
    pub(crate) async fn http1<F>(
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        Self::raw(move |stream| {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            async move {
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                drop(serving.await);
            }
        })
        .await
    }

    /// Serves `t.T` by tonic.
    pub(crate) async fn grpc(seen: Arc<Seen>) -> Self {
        Self::listen(|listener| serve_grpc(listener, seen)).await
    }

    /// The same at an address where a server was before; to be called within the runtime that serves.
    pub(crate) fn grpc_at(address: SocketAddr, seen: Arc<Seen>) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(16).unwrap();
        Self { address, task: tokio::spawn(serve_grpc(listener, seen)) }
    }

    /// `http://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).boxed()
}

/// A body of these bytes and trailers.
pub(crate) fn with_trailers(bytes: impl Into<Bytes>, trailers: &[(&'static str, &str)]) -> AnyBody {
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Full::new(bytes.into()).with_trailers(async move { Some(Ok(trailers)) }).boxed()
}

async fn serve_grpc(listener: TcpListener, seen: Arc<Seen>) {
    let served = tonic::transport::Server::builder()
        .add_service(TestService(seen))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await;
    drop(served);
}

#[derive(Clone)]
struct TestService(Arc<Seen>);

/// One call of [`TestService`], by method.
struct TestMethod {
    seen: Arc<Seen>,
    name: String,
}

/// Counts a call while it runs, and notes if it is dropped before it ended.
struct Running {
    seen: Arc<Seen>,
    ended: bool,
}

struct RawCodec;

// === impl TestService ===

impl NamedService for TestService {
    const NAME: &'static str = "t.T";
}

impl Service<Request<tonic::body::Body>> for TestService {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let method = TestMethod { seen: self.0.clone(), name: request.uri().path().to_owned() };
        method.seen.headers.lock().push(request.headers().clone());
        if let Some(info) = request.extensions().get::<TcpConnectInfo>() {
            method.seen.peers.lock().extend(info.remote_addr());
        }
        Box::pin(async move { Ok(Grpc::new(RawCodec).unary(method, request).await) })
    }
}

impl Service<tonic::Request<Bytes>> for TestMethod {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let running = Running::begin(&self.seen);
        let name = self.name.clone();
        Box::pin(async move {
            let payload = request.into_inner();
            let number: u16 =
                std::str::from_utf8(&payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            let mut metadata = MetadataMap::new();
            metadata.append("x-reply", MetadataValue::from_static("said"));
            metadata.append_bin("x-reply-bin", MetadataValue::from_bytes(b"\0\xff"));
            let result = match &*name {
                FAIL if number != 0 => Err(Status::with_details_and_metadata(
                    Code::from(i32::from(number)),
                    "no \u{1f952}\nat all",
                    Bytes::from_static(b"why"),
                    metadata,
                )),
                SLEEP | ECHO | FAIL => {
                    tokio::time::sleep(Duration::from_millis(number.into())).await;
                    let mut response = tonic::Response::new(payload);
                    *response.metadata_mut() = metadata;
                    Ok(response)
                }
                _ => Err(Status::unimplemented("no such method")),
            };
            running.end();
            result
        })
    }
}

// === impl Running ===

impl Running {
    fn begin(seen: &Arc<Seen>) -> Self {
        let running = seen.running.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(running, Ordering::SeqCst);
        Self { seen: seen.clone(), ended: false }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.seen.running.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.seen.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

// === impl RawCodec ===

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
