//! Opening TCP connections to an upstream.
//!
//! An attempt has a time-out. For a moment after a failed attempt, further ones fail with the same
//! error instead of being made: calls that queued behind the attempt share its outcome, and an upstream
//! that is down is not flooded with attempts.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

/// Opens connections to one target.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    http: HttpConnector,
    timeout: Duration,
    last_failure: Arc<Mutex<Option<ConnectFailed>>>,
}

/// No connection came about.
#[derive(Clone)]
pub(crate) struct ConnectFailed {
    /// When the attempt began: a call may be told of one that is older than itself.
    pub(crate) begun: Instant,
    ended: Instant,
    source: Arc<dyn Error + Send + Sync>,
}

/// How long after a failed attempt further ones fail at once.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How long a connection may be silent before the kernel asks whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// How long sent bytes may stay unacknowledged before the connection counts as broken.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not connected within {} ms", .0.as_millis())]
struct TimedOut(Duration);

// === impl Connector ===

impl Connector {
    /// A connector whose attempts last no longer than `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        Self { http, timeout, last_failure: Arc::default() }
    }

    fn recent_failure(&self) -> Option<ConnectFailed> {
        self.last_failure.lock().clone().filter(|failed| failed.ended.elapsed() < RECONNECT_PAUSE)
    }

    async fn attempt(mut self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectFailed> {
        if let Some(failed) = self.recent_failure() {
            return Err(failed);
        }
        let begun = Instant::now();
        let connect = async {
            poll_fn(|cx| self.http.poll_ready(cx)).await?;
            self.http.call(uri).await
        };
        let (ended, source): (_, Arc<dyn Error + Send + Sync>) =
            match tokio::time::timeout(self.timeout, connect).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => (Instant::now(), Arc::new(error)),
                // An abandoned attempt is looked at late; it ended when its time was up.
                Err(_) => (begun + self.timeout, Arc::new(TimedOut(self.timeout))),
            };
        let failed = ConnectFailed { begun, ended, source };
        *self.last_failure.lock() = Some(failed.clone());
        Err(failed)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectFailed;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().attempt(uri))
    }
}

// === impl ConnectFailed ===

impl fmt::Debug for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectFailed").field(&self.source).finish()
    }
}

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

impl Error for ConnectFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
