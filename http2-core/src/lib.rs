//! HTTP/2 for servers as a pure state machine: bytes in, bytes out.
//!
//! [`Connection`] takes what a client sent, tells a [`Handler`] what was asked, and appends what is to be sent
//! to a buffer. It has no socket, no clock and no task; whoever has them calls [`Connection::input`] when bytes
//! have come, [`Connection::pump`] when bytes have gone, and [`Connection::timer`] when [`Connection::due`]
//! has passed.
//!
//! It speaks HTTP/2 with prior knowledge (RFC 9113, RFC 7541), without server push, priorities and extended
//! CONNECT. It does not look into messages, does not compress, and does not enforce the deadlines of calls.
//!
//! ```
//! # use std::sync::Arc;
//! # use bytes::Bytes;
//! # use http2_core::{Answer, Cancelled, Connection, Field, Handler, Head, Settings, StreamId, Tick, UnaryCall};
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
//!         Answer::Ok(call.message)
//!     }
//!     // What is no gRPC call is left open here; a driver would answer it by `send_head` and `send_data`.
//!     fn open(&mut self, _stream: StreamId, _head: &Arc<Head>, _ended: bool) {}
//!     fn data(&mut self, _stream: StreamId, _chunk: Bytes, _ended: bool) {}
//!     fn trailers(&mut self, _stream: StreamId, _trailers: Vec<Field>) {}
//!     fn cancelled(&mut self, _stream: StreamId, _why: Cancelled) {}
//! }
//!
//! let mut connection = Connection::new(&Settings::default(), Tick::from_millis(0));
//! let mut out = Vec::new();
//! connection.input(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Tick::from_millis(1), &mut out, &mut Echo);
//! assert!(out.starts_with(&[0, 0, 18, 4]), "our SETTINGS");
//! assert_eq!(connection.end(), None);
//! ```
//!
//! Invariants: nothing a peer sends can make it panic, nor make it hold more than its [`Settings`] say; windows
//! are never overrun; a stream is answered at most once; the same bytes give the same events and the same
//! output however they are cut into pieces, as long as the output is not capped between the pieces; but what is
//! [`taken back`](Handler::taken_back) is counted piece by piece.

mod body;
mod budget;
mod connection;
mod error;
mod field;
mod frame;
mod handler;
mod head;
mod hpack;
mod outgoing;
mod respond;
mod settings;
mod stream;
mod tick;
mod window;

pub use connection::Connection;
pub use error::{Cancelled, Cutoff, End, ErrorCode, Violation};
pub use field::Field;
pub use handler::{Answer, Handler, Route, StreamId, UnaryCall, WholeRequest};
pub use head::{Head, InvalidTimeout};
pub use hpack::encoder::{Fields, InvalidField, ResponseHead};
pub use respond::{Message, Reply, SendError};
pub use settings::{Allowance, Limits, Settings};
pub use tick::Tick;
