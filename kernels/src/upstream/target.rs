//! One upstream server: the gate before it and the connections to it.
//!
//! gRPC runs over a tonic channel, which connects when first used and again after it broke. A channel
//! belongs to the runtime that drives its socket, so each runtime has its own: a call never waits for
//! another thread's event loop, and no channel outlives its driver. HTTP/1.1 keeps a pool of idle
//! connections.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tonic::transport::{Channel, Endpoint};

use crate::upstream::connect::Connector;
use crate::upstream::limit::Gate;
use crate::upstream::{Failure, USER_AGENT};

/// What two nodes must agree on to share a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    /// `http://host:port`, without a path.
    pub(crate) uri: Uri,
    /// Calls at a time.
    pub(crate) max_in_flight: u32,
    /// Calls that wait for their turn.
    pub(crate) max_waiting: u32,
    /// How long one attempt to connect may take.
    pub(crate) connect_timeout: Duration,
}

/// One upstream server.
pub(crate) struct Target {
    settings: Settings,
    gate: Gate,
    connector: Connector,
    channels: Mutex<Vec<(runtime::Id, Channel)>>,
    client: OnceLock<HttpClient>,
}

/// Speaks HTTP/1.1 to one target.
pub(crate) type HttpClient = Client<Connector, Full<Bytes>>;

/// The largest header list an upstream may send, in bytes.
pub(crate) const MAX_HEADER_LIST: u32 = 16 * 1024;

/// The most headers an HTTP/1.1 upstream may send.
const MAX_HEADERS: usize = 100;

/// The read buffer of an HTTP/1.1 connection, in bytes. A head that does not fit twice this is refused:
/// it may be complete with the read that overflows the buffer.
const HTTP1_BUFFER: usize = 32 * 1024;

/// How many bytes an upstream may send ahead of their reader, per call and per connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How many runtimes may have a channel of their own; beyond, the oldest channel goes.
const MAX_CHANNELS: usize = 64;

/// How long, and how many, idle HTTP/1.1 connections are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IDLE: usize = 32;

// === impl Target ===

impl Target {
    /// A target nobody has called yet; connects nowhere.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            gate: Gate::new(settings.max_in_flight, settings.max_waiting),
            connector: Connector::new(settings.connect_timeout),
            settings,
            channels: Mutex::default(),
            client: OnceLock::new(),
        }
    }

    /// `http://host:port`.
    pub(crate) fn uri(&self) -> &Uri {
        &self.settings.uri
    }

    /// The gate that every call passes.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The HTTP/2 channel of the current runtime.
    pub(crate) fn channel(&self) -> Result<Channel, Failure> {
        let runtime = Handle::try_current().map_err(|_| Failure::NoRuntime)?.id();
        let mut channels = self.channels.lock();
        if let Some((_, channel)) = channels.iter().find(|(id, _)| *id == runtime) {
            return Ok(channel.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.remove(0);
        }
        let channel = self.open()?;
        channels.push((runtime, channel.clone()));
        Ok(channel)
    }

    /// The HTTP/1.1 client.
    pub(crate) fn client(&self) -> &HttpClient {
        self.client.get_or_init(|| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(MAX_IDLE)
                .http1_max_buf_size(HTTP1_BUFFER)
                .http1_max_headers(MAX_HEADERS)
                .build(self.connector.clone())
        })
    }

    fn open(&self) -> Result<Channel, Failure> {
        let endpoint = Endpoint::from(self.settings.uri.clone())
            .user_agent(USER_AGENT)
            .map_err(|error| Failure::Unsendable(error.into()))?
            .buffer_size(self.settings.max_in_flight as usize)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            // The answer to a call that was given up may be under way. It is no fault of the upstream, and the
            // connection that carries the other calls must not end for it.
            .http2_max_concurrent_reset_streams(self.settings.max_in_flight as usize)
            .http2_max_local_error_reset_streams(None);
        Ok(endpoint.connect_with_connector_lazy(self.connector.clone()))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("settings", &self.settings).finish_non_exhaustive()
    }
}
