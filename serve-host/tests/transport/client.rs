//! Clients for tests of the transport: one that speaks HTTP/2 properly but says what it is told, and one
//! that writes frames by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A message behind its prefix.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(message.len().try_into().unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// A whole response.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    /// The gRPC status, wherever it stands.
    pub(crate) fn code(&self) -> u8 {
        self.last("grpc-status").expect("a gRPC status").parse().unwrap()
    }

    /// The gRPC status message.
    pub(crate) fn message(&self) -> &str {
        self.last("grpc-message").unwrap_or_default()
    }

    /// The message of the response.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.body[5..]
    }

    pub(crate) fn last(&self, name: &str) -> Option<&str> {
        let map = self.trailers.as_ref().filter(|map| map.contains_key(name)).unwrap_or(&self.headers);
        map.get(name).map(|value| value.to_str().unwrap())
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A connection that speaks HTTP/2 properly.
#[derive(Clone)]
pub(crate) struct Client {
    sender: SendRequest<Body>,
    /// Turns true when the connection has ended.
    ended: Arc<AtomicBool>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// A client of whoever is at the other end of `stream`.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        tokio::spawn(async move {
            let _ = connection.await;
            flag.store(true, Ordering::SeqCst);
        });
        Self { sender, ended }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A gRPC call of `/t.T/{method}` with one message.
    pub(crate) async fn call(&self, method: &str, message: impl AsRef<[u8]>) -> Reply {
        self.send(method, &[], &[framed(0, message.as_ref())]).await
    }

    /// A gRPC call with these extra headers and pieces of body.
    pub(crate) async fn send(&self, method: &str, headers: &[(&str, &str)], body: &[Bytes]) -> Reply {
        self.try_send(method, headers, body).await.unwrap()
    }

    /// A gRPC call that may fail with its connection.
    pub(crate) async fn try_call(&self, method: &str, message: &str) -> hyper::Result<Reply> {
        self.try_send(method, &[], &[framed(0, message.as_bytes())]).await
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: &[Bytes],
    ) -> hyper::Result<Reply> {
        let pieces: Vec<_> = body.iter().cloned().map(|piece| Ok(Frame::data(piece))).collect();
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        self.request(grpc(&format!("/t.T/{method}"), headers).body(body).unwrap()).await
    }

    /// A gRPC call whose body goes on as long as the sender lives.
    pub(crate) fn open(
        &self,
        method: &str,
        headers: &[(&str, &str)],
    ) -> (mpsc::UnboundedSender<Bytes>, impl Future<Output = hyper::Result<Reply>> + use<>) {
        self.open_at(&format!("/t.T/{method}"), headers)
    }

    /// The same, of any path.
    pub(crate) fn open_at(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (mpsc::UnboundedSender<Bytes>, impl Future<Output = hyper::Result<Reply>> + use<>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let pieces =
            stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|piece| piece.map(|p| Ok(Frame::data(p)))));
        let request = grpc(path, headers).body(StreamBody::new(pieces).boxed_unsync()).unwrap();
        let client = self.clone();
        (sender, async move { client.request(request).await })
    }

    /// Any request.
    pub(crate) async fn request(&self, request: Request<Body>) -> hyper::Result<Reply> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            trailers: body.trailers().cloned(),
            body: body.to_bytes(),
        })
    }
}

fn grpc(path: &str, headers: &[(&str, &str)]) -> http::request::Builder {
    let mut request = Request::post(format!("http://test{path}")).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

/// A connection on which everything is written by hand.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

/// One HTTP/2 frame.
#[derive(Debug)]
pub(crate) struct RawFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// A connection that has said hello, with these settings of its own.
    pub(crate) async fn hello(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address).await;
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        raw.write(PREFACE).await;
        raw.frame(SETTINGS, 0, 0, &payload).await;
        raw
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await;
    }

    /// Opens a gRPC call without ending it.
    pub(crate) async fn open_call(&mut self, stream: u32, method: &str) {
        self.frame(HEADERS, END_HEADERS, stream, &call_headers(method)).await;
    }

    /// A whole gRPC call.
    pub(crate) async fn call(&mut self, stream: u32, method: &str, message: &[u8]) {
        self.open_call(stream, method).await;
        self.frame(DATA, END_STREAM, stream, &framed(0, message)).await;
    }

    /// The next frame; `None` if the peer closes.
    pub(crate) async fn next(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(RawFrame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads frames until one is what is looked for.
    pub(crate) async fn find(&mut self, what: &str, is: impl Fn(&RawFrame) -> bool) -> RawFrame {
        let found = timeout(Duration::from_secs(5), async {
            loop {
                match self.next().await {
                    Some(frame) if is(&frame) => return frame,
                    Some(_) => {}
                    None => panic!("closed before {what}"),
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {what} within five seconds"))
    }

    /// Reads until the peer closes, and returns what came.
    pub(crate) async fn until_closed(&mut self, within: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        let closed = timeout(within, self.stream.read_to_end(&mut all)).await;
        assert!(closed.is_ok(), "still open after {within:?}");
        all
    }
}

/// A frame as it stands on the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The headers of a gRPC call, without any compression.
pub(crate) fn call_headers(method: &str) -> Vec<u8> {
    let path = format!("/t.T/{method}");
    // Indexed: POST, http. Literal without indexing: path, authority, content-type.
    let mut block = vec![0x83, 0x86, 0x04, path.len().try_into().unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 4]);
    block.extend(b"test");
    block.extend([0x0f, 0x10, 16]);
    block.extend(b"application/grpc");
    block
}
