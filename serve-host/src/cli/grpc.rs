//! A small gRPC client: one connection, one message out, messages back, over HTTP/2 without TLS.
//!
//! It speaks bytes; what they mean is [`message`](super::message)'s business. It offers no compression
//! and keeps leading and trailing metadata apart, so that `okra call -v` can show both as they came.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use exec_plan::Code;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) status: Status,
    pub(crate) trailers: HeaderMap,
}

/// How the server says the call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// Why there is no answer of the server to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrpcError {
    #[error("cannot connect to {authority}")]
    Connect { authority: String, source: std::io::Error },
    #[error("{authority} did not accept the connection within {timeout:?}")]
    ConnectTimeout { authority: String, timeout: Duration },
    #[error("{authority} does not speak HTTP/2 without TLS")]
    Handshake { authority: String, source: hyper::Error },
    #[error("the connection broke before the answer was complete")]
    Broken(#[source] hyper::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Protocol(String),
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("{0:?} cannot be asked for")]
    Path(String),
}

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Channel {
    /// Connects to `host:port`.
    pub(crate) async fn connect(authority: &str) -> Result<Self, GrpcError> {
        let authority = authority.to_owned();
        let connecting = TcpStream::connect(&authority);
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => return Err(GrpcError::Connect { authority, source }),
            Err(_) => return Err(GrpcError::ConnectTimeout { authority, timeout: CONNECT_TIMEOUT }),
        };
        match handshake(TokioExecutor::new(), TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                // Ends with the channel: it has nothing to do once no sender is left.
                tokio::spawn(connection);
                Ok(Self { sender, authority })
            }
            Err(source) => Err(GrpcError::Handshake { authority, source }),
        }
    }

    /// Sends one message to `/package.Service/Method` and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        path: &str,
        metadata: &[(HeaderName, HeaderValue)],
        message: &[u8],
        timeout: Duration,
    ) -> Result<Reply, GrpcError> {
        let request = self.request(path, metadata, message, timeout)?;
        match tokio::time::timeout(timeout, self.answer(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(GrpcError::Timeout(timeout)),
        }
    }

    fn request(
        &self,
        path: &str,
        metadata: &[(HeaderName, HeaderValue)],
        message: &[u8],
        timeout: Duration,
    ) -> Result<Request<Full<Bytes>>, GrpcError> {
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            // At most eight digits may stand there: 99,999,999 ms are more than a day.
            .header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)))
            .header("user-agent", concat!("okra/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(frame(message)))
            .map_err(|_| GrpcError::Path(path.to_owned()))?;
        for (name, value) in metadata {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    async fn answer(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, GrpcError> {
        let response = self.sender.send_request(request).await.map_err(GrpcError::Broken)?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK && !head.headers.contains_key("grpc-status") {
            let text = format!("the server answered with HTTP {}, which is not gRPC", head.status);
            return Err(GrpcError::Protocol(text));
        }
        let (data, trailers) = collect(body).await?;
        // An answer without messages may carry its status in the headers.
        let status = Status::read(&trailers).or_else(|| Status::read(&head.headers));
        let status = status.ok_or_else(|| GrpcError::Protocol("the answer has no grpc-status".to_owned()))?;
        Ok(Reply { headers: head.headers, messages: split(data)?, status, trailers })
    }
}

impl Status {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let number: u8 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        let message = headers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
        let message = String::from_utf8_lossy(message);
        Some(Self {
            code: Code::from_number(number).unwrap_or(Code::Unknown),
            message: percent_decode_str(&message).decode_utf8_lossy().into_owned(),
        })
    }
}

async fn collect(mut body: Incoming) -> Result<(Bytes, HeaderMap), GrpcError> {
    let mut data = BytesMut::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(GrpcError::Broken)?.into_data() {
            Ok(part) if data.len() + part.len() > MAX_ANSWER => return Err(GrpcError::TooLarge),
            Ok(part) => data.put(part),
            Err(other) => trailers = other.into_trailers().unwrap_or_default(),
        }
    }
    Ok((data.freeze(), trailers))
}

/// The five bytes before a message, and the message.
fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The messages of an answer.
fn split(mut data: Bytes) -> Result<Vec<Bytes>, GrpcError> {
    let broken = |what: &str| GrpcError::Protocol(format!("the answer is broken: {what}"));
    let mut messages = Vec::new();
    while !data.is_empty() {
        if data.len() < 5 {
            return Err(broken("it ends within the head of a message"));
        }
        if data.get_u8() != 0 {
            return Err(broken("a message is compressed, although that was not offered"));
        }
        let length = data.get_u32() as usize;
        if data.len() < length {
            return Err(broken("it ends within a message"));
        }
        messages.push(data.split_to(length));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_found_again() {
        let two = [frame(b"one"), frame(b"")].concat();
        assert_eq!(split(two.into()).unwrap(), [Bytes::from_static(b"one"), Bytes::new()]);
    }

    #[test]
    fn a_broken_answer_is_an_error() {
        for broken in [&b"\0\0"[..], b"\0\0\0\0\x05abc", b"\x01\0\0\0\0"] {
            assert!(split(Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_status_is_decoded() {
        let mut headers = HeaderMap::new();
        assert_eq!(Status::read(&headers), None);
        headers.insert("grpc-status", HeaderValue::from_static("5"));
        headers.insert("grpc-message", HeaderValue::from_static("not%20found%3A%20%E2%82%AC"));
        let status = Status { code: Code::NotFound, message: "not found: €".to_owned() };
        assert_eq!(Status::read(&headers), Some(status));
    }
}
