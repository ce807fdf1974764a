//! A gRPC client on plain HTTP/2: it sees the wire as it is and enforces nothing itself.
//!
//! It sends `grpc-timeout` but never acts on it, so that a DEADLINE_EXCEEDED it reports was said by the
//! server. Dropping a call in flight resets its stream: that is how the tests cancel.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
pub use tonic::Code;

use crate::wire::{frame, unframe};

/// One HTTP/2 connection; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: SocketAddr,
}

/// Several connections, used in turn: one connection carries only as many calls as the server allows.
#[derive(Clone, Debug)]
pub struct Clients(Vec<Client>);

/// One call to make.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    payload: Bytes,
    timeout: Option<Duration>,
    metadata: HeaderMap,
}

/// What came back: always a status, and on success a message.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub code: Code,
    /// The status message, percent-decoded.
    pub message: String,
    /// The response message.
    pub payload: Option<Bytes>,
    /// Metadata before the message.
    pub headers: HeaderMap,
    /// Metadata after it; empty if the answer was a status alone.
    pub trailers: HeaderMap,
}

// === impl Client ===

impl Client {
    /// Connects with prior knowledge.
    ///
    /// # Errors
    /// If there is no HTTP/2 server.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("no server at {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // A client that gives calls up gets some of their answers all the same.
            .max_local_error_reset_streams(None)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Self { sender, authority: address })
    }

    /// Whether the connection still takes calls.
    pub async fn is_ready(&self) -> bool {
        self.sender.clone().ready().await.is_ok()
    }

    /// Makes one call and reads its answer to the end.
    ///
    /// # Errors
    /// If the answer is not a gRPC answer: a reset stream, a lost connection, no status.
    pub async fn call(&self, call: Call) -> anyhow::Result<Reply> {
        let mut request = Request::post(format!("http://{}{}", self.authority, call.method))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = call.timeout {
            request = request.header("grpc-timeout", format!("{}m", timeout.as_millis()));
        }
        let mut request = request.body(Full::new(frame(&call.payload)))?;
        request.headers_mut().extend(call.metadata);

        let mut sender = self.sender.clone();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status() == 200, "HTTP status {}", response.status());
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let payload = unframe(body.to_bytes())?;
        let status = if trailers.contains_key("grpc-status") { &trailers } else { &head.headers };
        let code = text(status, "grpc-status").context("no grpc-status")?;
        let message = text(status, "grpc-message").unwrap_or_default();
        let message = percent_encoding::percent_decode_str(message).decode_utf8()?.into_owned();
        Ok(Reply {
            code: Code::from(code.parse::<i32>()?),
            message,
            payload,
            headers: head.headers,
            trailers,
        })
    }
}

// === impl Clients ===

impl Clients {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub async fn connect(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Client::connect(address).await?);
        }
        Ok(Self(clients))
    }

    /// The connection of the `index`-th caller.
    pub fn pick(&self, index: usize) -> &Client {
        &self.0[index % self.0.len()]
    }
}

// === impl Call ===

impl Call {
    /// A call of `method`, as `/package.Service/Method`, without deadline.
    pub fn new(method: &'static str, payload: impl Into<Bytes>) -> Self {
        Self { method, payload: payload.into(), timeout: None, metadata: HeaderMap::new() }
    }

    /// Sets `grpc-timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds one entry of metadata.
    #[must_use]
    pub fn metadata(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("tests send printable metadata");
        self.metadata.append(HeaderName::from_static(name), value);
        self
    }
}

// === impl Reply ===

impl Reply {
    /// The message of a successful answer, as text.
    ///
    /// # Errors
    /// If the answer is a failure, or not text.
    pub fn text(&self) -> anyhow::Result<&str> {
        anyhow::ensure!(self.code == Code::Ok, "{:?}: {}", self.code, self.message);
        Ok(std::str::from_utf8(self.payload.as_deref().context("no message")?)?)
    }

    /// The message of a successful answer, as JSON.
    ///
    /// # Errors
    /// If the answer is a failure, or not JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(self.text()?)?)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
