//! gRPC over `http2-core`: the same answers as over hyper, at a fraction of the work.
//!
//! A call whose message comes soon and in one frame, and which nothing can be said against, is begun as it is
//! read, on the bytes as they lie there; its answer leaves with the next write, together with all others of
//! that read. Every other request, gRPC or not, becomes an HTTP request and goes through the same
//! [`Port`](crate::accept::port::Port) as over hyper: one way to refuse, one way to wait for a body.
//!
//! The parts: [`driver`] moves the bytes of a connection, [`desk`] is told what was asked, [`exchange`] is
//! what is not answered at once, [`intake`] the body of a request, [`head`] speaks to the HTTP types, and
//! other threads leave word in the [`mailbox`](crate::accept::mailbox).
//!
//! Invariants: a connection with more than [`UNSENT`] bytes unsent is neither read nor given new answers;
//! dropping the future of a connection cancels all its calls.

mod desk;
mod driver;
mod exchange;
mod head;
pub(crate) mod intake;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http2_core::{Allowance, Limits, Settings, Tick};

use self::driver::Driver;
use super::Transport;
use super::limits::TransportLimits;
use crate::accept::connection::{Connection, End};

/// The transport over `http2-core`, with the buffers that the connections of a thread share.
pub(crate) struct Native {
    begun: Instant,
    buffers: RefCell<Buffers>,
}

/// Used by one connection at a time, while it is polled.
#[derive(Default)]
struct Buffers {
    /// Where reads go. Messages that are answered at once are read where they lie.
    scratch: BytesMut,
    /// What is to be written.
    out: Vec<u8>,
}

// === impl Native ===

impl Native {
    /// The transport of the calling thread.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), buffers: RefCell::default() }
    }

    fn now(&self) -> Tick {
        Tick::from_millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes the buffers; whoever would nest gets empty ones.
    fn borrow_buffers(&self) -> Buffers {
        self.buffers.take()
    }

    fn give_back(&self, mut buffers: Buffers) {
        buffers.out.clear();
        buffers.out.shrink_to(KEPT_OUT);
        *self.buffers.borrow_mut() = buffers;
    }
}

impl Transport for Native {
    fn drive(self: Rc<Self>, connection: Connection) -> LocalBoxFuture<'static, End> {
        Driver::new(self, connection).boxed_local()
    }
}

/// What the limits of the port mean to the core. Idle connections and slow bodies are watched elsewhere,
/// by the leash and by the pace of every body.
fn settings(limits: &TransportLimits) -> Settings {
    let (http2, connections) = (&limits.http2, &limits.connections);
    let defaults = Limits::default();
    let resets = u32::try_from(http2.max_local_resets).unwrap_or(u32::MAX);
    Settings {
        max_streams: http2.max_streams,
        stream_window: http2.stream_window,
        connection_window: http2.connection_window,
        header_table: http2.header_table,
        send_buffer: http2.send_buffer.max(1),
        limits: Limits {
            header_list_bytes: http2.max_header_list,
            reset_budget: Allowance { burst: resets, ..defaults.reset_budget },
            control_budget: Allowance {
                burst: http2.max_control_frames,
                per_second: http2.max_control_frames / 10,
            },
            preface_timeout: connections.handshake_timeout,
            settings_timeout: connections.handshake_timeout,
            header_timeout: connections.handshake_timeout,
            stream_idle: NEVER,
            answer_stall: connections.write_timeout,
            idle_timeout: NEVER,
            keepalive_interval: connections.keepalive_interval,
            keepalive_timeout: connections.keepalive_timeout,
            // Whoever ignores GOAWAY is closed by the leash.
            drain_ping_timeout: NEVER,
            ..defaults
        },
        ..Settings::default()
    }
}

/// The bytes of one read.
const SCRATCH: usize = 64 << 10;

/// The bytes that the output keeps from one connection to the next.
const KEPT_OUT: usize = 512 << 10;

/// Unsent bytes of a connection beyond which it is neither read nor given new answers.
const UNSENT: usize = 64 << 10;

/// Longer than any process runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
