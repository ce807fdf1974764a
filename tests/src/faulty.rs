//! A server for graphs to call that fails in one way, whatever it is asked, until it is mended: from then on it
//! gives back what it gets, at the same address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::wire::frame;

/// A server that fails. Dropping it ends it.
#[derive(Debug)]
pub struct Faulty {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    fault: watch::Sender<Option<Fault>>,
    /// Bound, and not yet listened on.
    closed: Mutex<Option<TcpSocket>>,
}

/// What is wrong with a server.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It does not listen.
    Refuses,
    /// It closes every connection as soon as it is there.
    Closes,
    /// It resets every connection, by TCP, once a request is on its way.
    Resets,
    /// It takes connections and never says anything.
    IsSilent,
    /// It says this to every client, and nothing else.
    Says(&'static [u8]),
    /// It resets every call, by HTTP/2.
    ResetsCalls(Reason),
    /// It ends the connection in the middle of every call, by HTTP/2.
    GoesAway(Reason),
    /// It answers this.
    Answers(Told),
}

/// An answer in HTTP/2, as good or bad as a test likes it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The content type, if there is one.
    pub content_type: Option<&'static str>,
    /// What comes before the trailers.
    pub body: Bytes,
    /// The trailers; `None` if the answer never ends.
    pub trailers: Option<&'static [(&'static str, &'static str)]>,
}

type Body = BoxBody<Bytes, Infallible>;

// === impl Faulty ===

impl Faulty {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start(fault: Fault) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let refuses = matches!(fault, Fault::Refuses);
        let faulty = Self {
            address: socket.local_addr()?,
            connections: Arc::default(),
            fault: watch::Sender::new(Some(fault)),
            closed: Mutex::new(Some(socket)),
        };
        if !refuses {
            faulty.listen()?;
        }
        Ok(faulty)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it was offered.
    pub fn connections(&self) -> u64 {
        self.connections.load(SeqCst)
    }

    /// Is sound from now on. The connections it has end, as those of a process that was started anew.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn mend(&self) -> anyhow::Result<()> {
        self.fault.send_replace(None);
        if self.closed.lock().is_some() { self.listen() } else { Ok(()) }
    }

    fn listen(&self) -> anyhow::Result<()> {
        let socket = self.closed.lock().take().context("it listens already")?;
        let listener = socket.listen(BACKLOG)?;
        tokio::spawn(accept(listener, self.fault.subscribe(), self.connections.clone()));
        Ok(())
    }
}

// === impl Told ===

impl Told {
    /// A sound answer that gives back `message`.
    pub fn ok(message: &[u8]) -> Self {
        Self::framed(frame(message))
    }

    /// A sound head, these bytes, and status OK.
    pub fn framed(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type: Some("application/grpc"),
            body: body.into(),
            trailers: Some(&[("grpc-status", "0")]),
        }
    }

    fn response(self) -> Response<Body> {
        let end = match self.trailers {
            None => stream::pending().left_stream(),
            Some(trailers) => {
                let trailers: HeaderMap = trailers
                    .iter()
                    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                    .collect();
                stream::iter((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))).right_stream()
            }
        };
        let frames = stream::iter([Ok(Frame::data(self.body))]).chain(end);
        let mut response = Response::new(http_body_util::BodyExt::boxed(StreamBody::new(frames)));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("tests answer with real statuses");
        if let Some(content_type) = self.content_type {
            response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        }
        response
    }
}

/// Serves every connection by the fault there is when it comes, until the fault is another.
async fn accept(
    listener: TcpListener,
    mut fault: watch::Receiver<Option<Fault>>,
    connections: Arc<AtomicU64>,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => return,
            },
            // Its owner is gone.
            () = gone(fault.clone()) => return,
        };
        connections.fetch_add(1, SeqCst);
        let now = fault.borrow_and_update().clone();
        let mut changes = fault.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = fail(stream, now) => {}
                _ = changes.changed() => {}
            }
        });
    }
}

async fn gone(mut fault: watch::Receiver<Option<Fault>>) {
    while fault.changed().await.is_ok() {}
}

async fn fail(mut stream: TcpStream, fault: Option<Fault>) {
    let _ = stream.set_nodelay(true);
    match fault {
        Some(Fault::Refuses | Fault::Closes) => {}
        Some(Fault::Resets) => {
            // The preface and more: what is closed with bytes unread is reset.
            let _ = stream.write_all(NO_SETTINGS).await;
            let _ = stream.read_exact(&mut [0; PREFACE + 1]).await;
        }
        Some(Fault::IsSilent) => std::future::pending().await,
        Some(Fault::Says(bytes)) => {
            let _ = stream.write_all(bytes).await;
            let mut sink = [0; 1024];
            while matches!(stream.read(&mut sink).await, Ok(1..)) {}
        }
        Some(Fault::GoesAway(reason)) => {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok(_)) = connection.accept().await {
                connection.abrupt_shutdown(reason);
            }
        }
        Some(Fault::ResetsCalls(reason)) => {
            serve(stream, move |_| Err(reason.into())).await;
        }
        Some(Fault::Answers(told)) => serve(stream, move |_| Ok(told.clone().response())).await,
        None => serve(stream, |body| Ok(Told::framed(body).response())).await,
    }
}

/// Speaks HTTP/2, and answers what a body deserves.
async fn serve(
    stream: TcpStream,
    answer: impl Fn(Bytes) -> Result<Response<Body>, h2::Error> + Clone + Send + Sync + 'static,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer.clone();
        async move {
            // Who cannot be read gets no answer.
            let body = request.into_body().collect().await.map_err(|_| Reason::CANCEL)?;
            answer(body.to_bytes())
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
/// How long the HTTP/2 preface is.
const PREFACE: usize = 24;
/// An empty SETTINGS frame, so that the client begins its call.
const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
