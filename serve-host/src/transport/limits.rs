//! The limits of the service port, with the defaults that ship.

use std::time::Duration;

use crate::grpc::compression::ResponseCompression;

/// Everything that bounds what a stranger may ask of the service port.
#[derive(Clone, Debug, Default)]
pub struct TransportLimits {
    /// How large messages may be.
    pub messages: MessageLimits,
    /// What a connection may do.
    pub connections: ConnectionLimits,
    /// Limits of HTTP/1.1.
    pub http1: Http1Limits,
    /// Limits of HTTP/2.
    pub http2: Http2Limits,
}

/// How large messages may be, in bytes.
#[derive(Clone, Debug)]
pub struct MessageLimits {
    /// The largest request message, counted after decompression. Default 4 MiB.
    pub max_receive: usize,
    /// The largest response message, counted before compression. Default 16 MiB.
    pub max_send: usize,
    /// The bytes of messages held at one time, over all connections. Default 256 MiB.
    pub in_flight: usize,
    /// The longest request target. Default 8 KiB.
    pub max_uri: usize,
    /// When responses are compressed. Default: as the request was.
    pub compression: ResponseCompression,
}

/// What a connection may do.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections at one time; fewer if the process may not open that many files. Default 10,000.
    pub max: usize,
    /// Connections at one time from one address: an IPv4 address, or a /64 of IPv6. Default 256.
    pub max_per_ip: usize,
    /// Files kept free for everything that is not a connection. Default 256.
    pub reserved_files: usize,
    /// From the first byte to a full HTTP/1 header or HTTP/2 preface. Default 10 s.
    pub handshake_timeout: Duration,
    /// A whole request message must arrive in this time, or by its deadline. Default 30 s.
    pub body_timeout: Duration,
    /// A request body that makes no progress for this long is given up. Default 10 s.
    pub body_idle_timeout: Duration,
    /// A connection without a call is closed after this time. Default 300 s.
    pub idle_timeout: Duration,
    /// How often a quiet HTTP/2 connection is asked whether its peer is still there. Default 60 s.
    pub keepalive_interval: Duration,
    /// How long the peer may take to say so. Default 20 s.
    pub keepalive_timeout: Duration,
    /// A client that takes no byte, or less than a piece of 64 KiB of a response, in this time does not
    /// get the rest. Default 60 s.
    pub write_timeout: Duration,
    /// A connection older than this is asked to go. Default: never.
    pub max_age: Option<Duration>,
    /// How long a connection that was asked to go may finish its calls. Default 30 s.
    pub max_age_grace: Duration,
}

/// Limits of HTTP/1.1.
#[derive(Clone, Debug)]
pub struct Http1Limits {
    /// Header lines of one request. Default 100.
    pub max_headers: usize,
    /// The bytes of one request's head. Default 64 KiB, at least 8 KiB.
    pub max_head: usize,
}

/// Limits of HTTP/2.
#[derive(Clone, Debug)]
pub struct Http2Limits {
    /// Calls at one time on one connection. Default 200.
    pub max_streams: u32,
    /// The size of one request's header list, in bytes. Default 16 KiB.
    pub max_header_list: u32,
    /// The size of the table that compresses request headers, in bytes. Default 4 KiB.
    pub header_table: u32,
    /// Bytes of one call that a client may send ahead. Default 1 MiB.
    pub stream_window: u32,
    /// Bytes of all calls of a connection that a client may send ahead. Default 1 MiB.
    pub connection_window: u32,
    /// Response bytes of one call that may wait for the client. Default 400 KiB.
    pub send_buffer: usize,
    /// Calls that a client may take back at once, before they were looked at (CVE-2023-44487). Default 20.
    pub max_pending_resets: usize,
    /// Resets that a client may provoke on one connection (CVE-2025-8671). Default 1,024.
    pub max_local_resets: usize,
    /// Frames that carry nothing, such as PING and SETTINGS, that a client may send at once; a tenth as many
    /// come back each second. Default 10,000.
    pub max_control_frames: u32,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            max_receive: 4 << 20,
            max_send: 16 << 20,
            in_flight: 256 << 20,
            max_uri: 8 << 10,
            compression: ResponseCompression::default(),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: 10_000,
            max_per_ip: 256,
            reserved_files: 256,
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(60),
            max_age: None,
            max_age_grace: Duration::from_secs(30),
        }
    }
}

impl Default for Http1Limits {
    fn default() -> Self {
        Self { max_headers: 100, max_head: 64 << 10 }
    }
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            max_streams: 200,
            max_header_list: 16 << 10,
            header_table: 4 << 10,
            stream_window: 1 << 20,
            connection_window: 1 << 20,
            send_buffer: 400 << 10,
            max_pending_resets: 20,
            max_local_resets: 1024,
            max_control_frames: 10_000,
        }
    }
}
