//! HTTP requests as they stand, over HTTP/1.1 or HTTP/2 with prior knowledge: nothing is followed, retried
//! or decompressed.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub struct Http {
    sender: Sender,
    authority: SocketAddr,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct HttpReply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What followed it.
    pub trailers: HeaderMap,
}

// === impl Http ===

impl Http {
    /// Connects, for HTTP/1.1.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn one(authority: SocketAddr) -> anyhow::Result<Self> {
        let stream = connected(authority).await?;
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender), authority })
    }

    /// Connects, for HTTP/2.
    ///
    /// # Errors
    /// As for [`one`](Self::one).
    pub async fn two(authority: SocketAddr) -> anyhow::Result<Self> {
        let stream = connected(authority).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http2(sender), authority })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<HttpReply> {
        let uri = match self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("http://{}{path}", self.authority),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if let Sender::Http1(_) = self.sender {
            request = request.header(header::HOST, self.authority.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => sender.send_request(request).await?,
        };
        let (parts, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(HttpReply { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers })
    }
}

/// A connection that sends each write at once: a head and its body, written apart, don't wait for each other.
async fn connected(authority: SocketAddr) -> anyhow::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

// === impl HttpReply ===

impl HttpReply {
    /// The value of a header, if there is one of text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}
