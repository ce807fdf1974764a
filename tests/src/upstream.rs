//! A gRPC server for graphs to call: what it answers is a closure, and it counts what becomes of each call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Code;

use crate::wire::{frame, unframe};

/// A running upstream; dropping it stops it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    acceptor: AbortHandle,
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Ledger {
    started: AtomicU64,
    finished: AtomicU64,
    abandoned: Mutex<Vec<Instant>>,
}

/// One call as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The position of this call among all, from 0.
    pub number: u64,
    /// `/package.Service/Method`.
    pub method: String,
    /// The message.
    pub payload: Bytes,
    /// The metadata, with `grpc-timeout` if there was one.
    pub metadata: HeaderMap,
}

/// One answer to give.
#[derive(Clone, Debug)]
pub struct Told {
    code: Code,
    message: &'static str,
    payload: Bytes,
}

/// Holds calls until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

type Handler = dyn Fn(Asked) -> BoxFuture<'static, Told> + Send + Sync;

// === impl Upstream ===

impl Upstream {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start<F, A>(answer: F) -> anyhow::Result<Self>
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Told> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::default());
        let handler: Arc<Handler> = Arc::new(move |asked| Box::pin(answer(asked)));
        let acceptor = tokio::spawn(accept(listener, ledger.clone(), handler)).abort_handle();
        Ok(Self { address, ledger, acceptor })
    }

    /// One that gives back what it gets, once `gate` is open.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn behind(gate: &Gate) -> anyhow::Result<Self> {
        let gate = gate.clone();
        Self::start(move |asked| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Told::ok(asked.payload)
            }
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many calls arrived.
    pub fn started(&self) -> u64 {
        self.ledger.started.load(SeqCst)
    }

    /// How many calls were answered.
    pub fn finished(&self) -> u64 {
        self.ledger.finished.load(SeqCst)
    }

    /// When each abandoned call was given up: its stream was reset or its connection closed.
    pub fn abandoned(&self) -> Vec<Instant> {
        self.ledger.abandoned.lock().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

// === impl Asked ===

impl Asked {
    /// The deadline its caller gave, as the wire says it.
    pub fn timeout(&self) -> Option<Duration> {
        let text = self.metadata.get("grpc-timeout")?.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let amount = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(3600 * amount),
            "M" => Duration::from_secs(60 * amount),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            "n" => Duration::from_nanos(amount),
            _ => return None,
        })
    }
}

// === impl Told ===

impl Told {
    /// A success.
    pub fn ok(payload: impl Into<Bytes>) -> Self {
        Self { code: Code::Ok, message: "", payload: payload.into() }
    }

    /// A failure.
    pub fn failed(code: Code, message: &'static str) -> Self {
        Self { code, message, payload: Bytes::new() }
    }
}

// === impl Gate ===

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everyone through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // The sender lives as long as `self`, so waiting ends only by opening.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Notes a call that is dropped before its answer.
struct Abandonment(Option<Arc<Ledger>>);

impl Drop for Abandonment {
    fn drop(&mut self) {
        if let Some(ledger) = self.0.take() {
            ledger.abandoned.lock().push(Instant::now());
        }
    }
}

async fn accept(listener: TcpListener, ledger: Arc<Ledger>, handler: Arc<Handler>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (ledger, handler) = (ledger.clone(), handler.clone());
        let service = service_fn(move |request| answer(request, ledger.clone(), handler.clone()));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    ledger: Arc<Ledger>,
    handler: Arc<Handler>,
) -> anyhow::Result<Response<BoxBody<Bytes, std::convert::Infallible>>> {
    let number = ledger.started.fetch_add(1, SeqCst);
    let mut abandonment = Abandonment(Some(ledger.clone()));
    let (head, body) = request.into_parts();
    let payload = unframe(body.collect().await?.to_bytes())?.unwrap_or_default();
    let told =
        handler(Asked { number, method: head.uri.path().to_owned(), payload, metadata: head.headers }).await;
    abandonment.0 = None;
    ledger.finished.fetch_add(1, SeqCst);

    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(i32::from(told.code)));
    trailers.insert("grpc-message", HeaderValue::from_static(told.message));
    let message = (told.code == Code::Ok).then(|| Frame::data(frame(&told.payload)));
    let frames = message.into_iter().chain([Frame::trailers(trailers)]).map(Ok);
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    Ok(Response::builder().header("content-type", "application/grpc").body(body)?)
}

/// Calls at a time on one connection: more than any test holds open.
const MAX_STREAMS: u32 = 4096;
