//! What was not answered at once: a call that the host is at work on, or a request that takes the way of
//! all HTTP, and the response of either while it is being sent.
//!
//! An exchange is a future that is done with each part of its response; the driver sends the part, and
//! begins the next when there is room for it. So no more of a response is produced than its client takes.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http_body::{Body, Frame};
use http2_core::{Head, StreamId};
use kernels::Answer;

use crate::accept::leash::Call;
use crate::accept::port::{Outgoing, Routed};
use crate::grpc::Refusal;
use crate::transport::PendingAnswer;
use crate::transport::budget::Charge;
use crate::transport::tonic::direct::poll_guarded;

/// A stream that is not answered in full.
pub(super) struct Exchange {
    stream: StreamId,
    /// Gone once it has come to something.
    work: Option<Work>,
    /// Bytes of body that may be asked for; the last piece may exceed them.
    room: usize,
}

/// What an exchange is about.
enum Work {
    /// The host is at work on a direct call.
    Call { answer: PendingAnswer, held: Held },
    /// The port is at work on a request.
    Request(Box<Routed>),
    /// A response is being sent; its head first, if that has not gone.
    Response { head: Option<Box<Parts>>, body: Outgoing },
}

/// What lives as long as a call waits.
pub(super) struct Held {
    pub(super) head: Arc<Head>,
    pub(super) call: Call,
    pub(super) _charge: Charge,
}

/// What an exchange comes to.
pub(super) struct Part {
    pub(super) stream: StreamId,
    pub(super) outcome: Outcome,
}

/// The next thing to be sent.
pub(super) enum Outcome {
    /// The answer to a direct call.
    Answered { answer: Result<Answer, Refusal>, held: Held },
    /// A piece of a response.
    Piece(Piece),
    /// Something panicked or the body failed: no more comes of it.
    Failed {
        /// Whether that is the host's own fault.
        panicked: bool,
    },
}

/// A piece of a response.
pub(super) struct Piece {
    pub(super) head: Option<Box<Parts>>,
    /// The length of the whole body, if it is known and the head has not gone.
    pub(super) length: Option<u64>,
    pub(super) frames: Vec<Frame<Bytes>>,
    /// What follows, if anything does.
    pub(super) rest: Option<Outgoing>,
}

// === impl Exchange ===

impl Exchange {
    pub(super) fn call(stream: StreamId, answer: PendingAnswer, held: Held) -> Self {
        Self { stream, work: Some(Work::Call { answer, held }), room: 0 }
    }

    pub(super) fn request(stream: StreamId, routed: Routed, room: usize) -> Self {
        Self { stream, work: Some(Work::Request(Box::new(routed))), room }
    }

    pub(super) fn response(stream: StreamId, head: Option<Box<Parts>>, body: Outgoing, room: usize) -> Self {
        Self { stream, work: Some(Work::Response { head, body }), room }
    }
}

impl Future for Exchange {
    type Output = Part;

    #[expect(clippy::result_large_err, reason = "the work goes back to where it came from, unboxed")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Part> {
        let Some(work) = self.work.take() else { return Poll::Pending };
        let room = self.room;
        // What panics takes its stream with it, not the connection; it is gone then.
        let outcome = match catch_unwind(AssertUnwindSafe(|| work.advance(cx, room))) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(work)) => {
                self.work = Some(work);
                return Poll::Pending;
            }
            Err(_) => Outcome::Failed { panicked: true },
        };
        Poll::Ready(Part { stream: self.stream, outcome })
    }
}

// === impl Work ===

#[expect(clippy::result_large_err, reason = "the work goes back to where it came from, unboxed")]
impl Work {
    /// What comes of it now, or the work again if it must wait.
    fn advance(self, cx: &mut Context<'_>, room: usize) -> Result<Outcome, Self> {
        match self {
            Self::Call { mut answer, held } => match poll_guarded(&mut answer, cx) {
                Poll::Ready(answer) => Ok(Outcome::Answered { answer, held }),
                Poll::Pending => Err(Self::Call { answer, held }),
            },
            Self::Request(mut routed) => match Pin::new(&mut *routed).poll(cx) {
                Poll::Ready(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    send(Some(Box::new(head)), body, cx, room)
                }
                Poll::Ready(Err(never)) => match never {},
                Poll::Pending => Err(Self::Request(routed)),
            },
            Self::Response { head, body } => send(head, body, cx, room),
        }
    }
}

#[expect(clippy::result_large_err, reason = "the work goes back to where it came from, unboxed")]
/// Takes as much of a body as there is and as there is room for. A head does not wait for it.
fn send(
    head: Option<Box<Parts>>,
    mut body: Outgoing,
    cx: &mut Context<'_>,
    room: usize,
) -> Result<Outcome, Work> {
    let length = body.size_hint().exact().filter(|length| head.is_some() && *length > 0);
    let mut frames = Vec::new();
    let mut taken = 0;
    let mut ended = body.is_end_stream();
    while !ended && taken < room {
        match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                taken += frame.data_ref().map_or(0, Bytes::len);
                frames.push(frame);
                ended = body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a response broke off");
                return Ok(Outcome::Failed { panicked: false });
            }
            Poll::Ready(None) => ended = true,
            Poll::Pending if head.is_none() && frames.is_empty() => {
                return Err(Work::Response { head, body });
            }
            Poll::Pending => break,
        }
    }
    let rest = (!ended).then_some(body);
    Ok(Outcome::Piece(Piece { head, length, frames, rest }))
}
