//! The admin port: an accept loop of its own, in which everything a stranger may hold has a bound.
//!
//! Connections, the time to send a head, the life of a connection: each has a limit, and a failure to
//! accept is followed by a pause that grows. On the way down, open connections finish the request they
//! are at and are then closed.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::access::Peer;
use crate::config;

/// The admin port, bound and not yet served.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

/// The pause after a failure to accept: it doubles from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// After this time a connection may finish its request and must go, so that nobody keeps a place.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);

/// Header lines of one request.
const MAX_HEADERS: usize = 64;

/// The bytes of one request's head.
const MAX_HEAD: usize = 16 << 10;

impl AdminServer {
    /// Binds the port.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets open connections finish the request they are at.
    pub async fn serve(self, routes: Router, limits: config::Admin, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(limits.max_connections.get()));
        let mut connections = JoinSet::new();
        let mut back_off = BACK_OFF.0;
        loop {
            // A place is taken before a connection is: whoever finds none waits in the backlog.
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = places.clone().acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    back_off = BACK_OFF.0;
                    let driving = drive(stream, peer, routes.clone(), limits.clone(), stop.clone());
                    connections.spawn(async move {
                        driving.await;
                        drop(place);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    tokio::time::sleep(back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF.1);
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Serves one connection until it ends, is too old, or everything stops.
async fn drive(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    limits: config::Admin,
    stop: CancellationToken,
) {
    // Small answers should not wait for more; a socket that cannot do that still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = Request::from(request.map(axum::body::Body::new));
        request.extensions_mut().insert(Peer(peer));
        routes.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // What a peer does wrong on its own connection is its own business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.request_timeout, connection).await;
}

/// Whether only the connection that was to be accepted is lost.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    async fn start(limits: config::Admin) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let server = AdminServer::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let slow = get(|| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            "slow"
        });
        let routes = Router::new().route("/", get(|| async { "here" })).route("/slow", slow);
        (address, stop.clone(), tokio::spawn(server.serve(routes, limits, stop)))
    }

    async fn send(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let reading = stream.read_to_string(&mut text);
        tokio::time::timeout(Duration::from_secs(5), reading).await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn half_a_head_and_an_idle_connection_are_closed_in_time() {
        let limits = config::Admin { header_timeout: Duration::from_millis(100), ..Default::default() };
        let (address, _stop, _serving) = start(limits).await;
        for sent in ["GET / HTTP/1.1\r\nhost: x\r\n", ""] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            send(&mut stream, sent).await;
            assert!(!read(&mut stream).await.contains("here"), "{sent:?}");
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(read(&mut stream).await.ends_with("here"), "kept alive after an answer, but not for ever");
    }

    #[tokio::test]
    async fn whoever_finds_no_place_waits_for_one() {
        let limits = config::Admin { max_connections: NonZeroUsize::MIN, ..Default::default() };
        let (address, _stop, _serving) = start(limits).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        send(&mut second, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut byte = [0];
        let waiting = tokio::time::timeout(Duration::from_millis(100), second.peek(&mut byte)).await;
        assert!(waiting.is_err(), "answered beyond the limit");
        drop(first);
        assert!(read(&mut second).await.ends_with("here"));
    }

    #[tokio::test]
    async fn stopping_lets_a_request_finish_and_closes_the_idle() {
        let (address, stop, serving) = start(config::Admin::default()).await;
        let idle = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        send(&mut busy, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
        assert!(read(&mut busy).await.ends_with("slow"));
        tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
        drop(idle);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
