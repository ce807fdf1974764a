//! What the host and the transports say to each other.
//!
//! A transport turns bytes into a [`RequestEnvelope`], gives it to a [`UnaryHost`] and turns the
//! [`Answer`] into bytes. [`UnaryHost::begin`] runs what is cheap at once and on the calling thread, so
//! that a transport may run every request of one read before it writes all their answers. Anything else
//! comes back as a [`PendingAnswer`]: a future whose waker is the transport's to choose, a task's or an
//! entry in the mailbox of its thread.
//!
//! [`Transport`] is how the accept loop hands a connection over once it knows that the client speaks
//! HTTP/2. [`native`], the one over `http2-core`, is the default; [`tonic`], the one over hyper, is what others
//! can mount, and what the default is tested against.

pub(crate) mod budget;
pub(crate) mod limits;
pub(crate) mod native;
pub(crate) mod paced;
pub(crate) mod request_body;
pub(crate) mod tonic;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use kernels::{Answer, MetadataSource, RequestEnvelope};

use crate::accept::connection::{Connection, End};
use crate::host::batch::Batch;

/// Who speaks HTTP/2 on the service port. Both answer every request alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// The state machine of `http2-core`.
    #[default]
    Native,
    /// hyper, with the gRPC service that can also be mounted in a tonic server.
    Tonic,
}

/// Whoever answers unary requests.
pub trait UnaryHost: Send + Sync + 'static {
    /// Begins a request. Must not block; a plan that might is answered later.
    ///
    /// The host enforces the deadline, and gives exactly one answer to every request.
    fn begin(&self, envelope: RequestEnvelope) -> Begun;

    /// The same for one of the requests that a transport reads at once and answers at once. It must end the
    /// batch before it writes their answers.
    fn begin_in(&self, batch: &mut Batch, arrival: Arrival<'_>) -> Begun {
        let _ = batch;
        self.begin(arrival.into_envelope())
    }
}

/// A request in parts, of which it may share all but the message with others.
pub struct Arrival<'a> {
    /// See [`RequestEnvelope::method`].
    pub method: &'a Arc<str>,
    /// See [`RequestEnvelope::metadata`].
    pub metadata: &'a Arc<dyn MetadataSource>,
    /// See [`RequestEnvelope::peer`].
    pub peer: &'a Arc<str>,
    /// See [`RequestEnvelope::payload`].
    pub payload: Bytes,
    /// See [`RequestEnvelope::deadline`].
    pub deadline: Option<Instant>,
    /// When it arrived: many requests of a read may do so at the same moment, which spares asking the clock.
    pub at: Instant,
}

/// What became of a request by the time [`UnaryHost::begin`] returned.
#[derive(Debug)]
pub enum Begun {
    /// It is answered.
    Done(Answer),
    /// It will be.
    Pending(PendingAnswer),
}

/// An answer that will come. Dropping it cancels the call.
pub struct PendingAnswer(Pin<Box<dyn Future<Output = Answer> + Send>>);

/// One way to speak HTTP/2. Each I/O thread has its own.
pub(crate) trait Transport {
    /// Drives one connection until it ends. The client's preface has been seen and is still to be read.
    ///
    /// The connection's leash says when to send GOAWAY; whoever dropped the future has cut it off.
    fn drive(self: Rc<Self>, connection: Connection) -> LocalBoxFuture<'static, End>;
}

// === impl UnaryHost ===

impl<H: UnaryHost + ?Sized> UnaryHost for Arc<H> {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        (**self).begin(envelope)
    }

    fn begin_in(&self, batch: &mut Batch, arrival: Arrival<'_>) -> Begun {
        (**self).begin_in(batch, arrival)
    }
}

// === impl Arrival ===

impl Arrival<'_> {
    /// The same as an envelope of its own.
    pub fn into_envelope(self) -> RequestEnvelope {
        let Self { method, metadata, peer, payload, deadline, at: _ } = self;
        let (method, metadata, peer) = (method.clone(), metadata.clone(), peer.clone());
        RequestEnvelope { method, payload, metadata, peer, deadline }
    }
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("method", &self.method)
            .field("payload", &self.payload.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

// === impl PendingAnswer ===

impl PendingAnswer {
    /// The answer that `future` gives. Dropping the future must cancel the call.
    pub fn new(future: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for PendingAnswer {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for PendingAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingAnswer")
    }
}
