//! The other side of a connection: who is told what clients ask.
//!
//! Handlers are called from within [`Connection::input`](crate::Connection::input) and
//! [`Connection::timer`](crate::Connection::timer); what they cannot answer at once, they answer later by the
//! connection's own methods.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Cancelled, Cutoff};
use crate::field::Field;
use crate::head::Head;
use crate::hpack::encoder::ResponseHead;
use crate::respond::Reply;

/// Receives the requests of one connection.
pub trait Handler {
    /// How a request is to be handed over. By default gRPC calls are unary and all else is plain.
    fn route(&mut self, head: &Arc<Head>) -> Route {
        if head.is_grpc() { Route::Unary } else { Route::Plain }
    }

    /// A unary gRPC call, with its whole message.
    fn unary(&mut self, call: UnaryCall<'_>) -> Answer;

    /// A request that came whole. `None` if the handler would rather have it in parts.
    fn whole(&mut self, request: WholeRequest<'_>) -> Option<Answer> {
        let _ = request;
        None
    }

    /// The client took a request back of which the handler has not heard, or one that came whole in the same
    /// input. The one event that depends on how the client's bytes are cut.
    fn taken_back(&mut self) {}

    /// A plain request; `ended` if it has no body. Its body comes by [`Handler::data`].
    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool);

    /// A part of a plain request's body; `ended` if it is the last. The client may send more only after
    /// [`Connection::consumed`](crate::Connection::consumed).
    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool);

    /// The trailers of a plain request, which end it.
    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>);

    /// A call or request ended before its answer was handed over in full. What is answered now is refused
    /// as [`Gone`](crate::SendError::Gone).
    fn cancelled(&mut self, stream: StreamId, why: Cancelled);

    /// A guard cut something off: the whole connection, or one stream.
    fn cutoff(&mut self, cutoff: Cutoff, stream: Option<StreamId>) {
        let _ = (cutoff, stream);
    }
}

/// How a request is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// As one message of gRPC, by [`Handler::unary`].
    Unary,
    /// As head and chunks, by [`Handler::open`] and [`Handler::data`].
    Plain,
    /// By [`Handler::whole`] if its body is one frame that comes soon, within 50 ms; else as if it were plain.
    Whole,
}

/// A stream of one connection. Never used twice on it, so an answer that comes too late finds nobody.
///
/// The default names no stream, and is less than any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u32);

/// A unary gRPC call.
#[derive(Debug)]
pub struct UnaryCall<'a> {
    /// Where the answer goes.
    pub stream: StreamId,
    /// The request's head.
    pub head: &'a Arc<Head>,
    /// The message, without its prefix.
    pub message: Bytes,
    /// Whether the message is compressed as the head's `grpc-encoding` says.
    pub compressed: bool,
}

/// A request that came whole: its head, and its body in one frame.
#[derive(Debug)]
pub struct WholeRequest<'a> {
    /// Where the answer goes.
    pub stream: StreamId,
    /// The request's head.
    pub head: &'a Arc<Head>,
    /// The body as it came: for gRPC a message with its prefix. Of input that was lent
    /// ([`Connection::input_lent`](crate::Connection::input_lent)) it is a part, and keeps all of that alive.
    pub body: Bytes,
}

/// What a handler answers to a unary call.
#[derive(Debug)]
pub enum Answer {
    /// OK with this message, not compressed, without metadata.
    Ok(Bytes),
    /// A head and nothing behind it.
    Head(ResponseHead),
    /// Anything else.
    Reply(Box<Reply>),
    /// [`Connection::respond`](crate::Connection::respond) or [`Connection::send_head`](crate::Connection::send_head)
    /// will be called.
    Later,
}

// === impl StreamId ===

impl StreamId {
    /// The id on the wire.
    pub const fn get(self) -> u32 {
        self.0
    }
}
