//! The body of one request, from the connection that reads it to whoever uses it.
//!
//! What waits here is bounded by the stream's window: the client may send more only after a piece was
//! taken out, which the [`Signal`] of the connection is told. Either side may be gone first.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http2_core::StreamId;
use parking_lot::Mutex;

use crate::transport::request_body::RequestBodyError;

/// Tells a connection which bytes have been used. Bodies may be read on other threads.
#[derive(Debug, Default)]
pub(super) struct Signal {
    waker: AtomicWaker,
    used: Mutex<Vec<(StreamId, usize)>>,
}

/// The connection's end of a body. Dropping it breaks the body off, unless it was ended.
pub(super) struct Inlet(Arc<Shared>);

/// The reader's end.
pub(crate) struct Intake(Arc<Shared>);

struct Shared {
    stream: StreamId,
    signal: Arc<Signal>,
    pipe: Mutex<Pipe>,
}

#[derive(Default)]
struct Pipe {
    pieces: VecDeque<Frame<Bytes>>,
    /// What `content-length` says is still to be read.
    left: Option<u64>,
    end: Option<Ending>,
    reader: Option<Waker>,
    /// Whether the reader is gone.
    abandoned: bool,
}

/// How no more comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Broken,
}

/// The two ends of a body of `length` bytes, if that is known.
pub(super) fn intake(stream: StreamId, signal: Arc<Signal>, length: Option<u64>) -> (Inlet, Intake) {
    let pipe = Mutex::new(Pipe { left: length, ..Pipe::default() });
    let shared = Arc::new(Shared { stream, signal, pipe });
    (Inlet(shared.clone()), Intake(shared))
}

// === impl Signal ===

impl Signal {
    /// Remembers whom to wake.
    pub(super) fn attend(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// What was used since this was last called.
    pub(super) fn take(&self) -> Vec<(StreamId, usize)> {
        std::mem::take(&mut *self.used.lock())
    }

    fn note(&self, stream: StreamId, bytes: usize) {
        let mut used = self.used.lock();
        let first = used.is_empty();
        match used.last_mut() {
            Some((last, sum)) if *last == stream => *sum += bytes,
            _ => used.push((stream, bytes)),
        }
        drop(used);
        if first {
            self.waker.wake();
        }
    }
}

// === impl Inlet ===

impl Inlet {
    /// Passes a piece on.
    pub(super) fn data(&self, bytes: Bytes) {
        let mut pipe = self.0.pipe.lock();
        if pipe.abandoned {
            drop(pipe);
            return self.0.signal.note(self.0.stream, bytes.len());
        }
        pipe.pieces.push_back(Frame::data(bytes));
        pipe.wake();
    }

    /// Passes trailers on.
    pub(super) fn trailers(&self, trailers: HeaderMap) {
        let mut pipe = self.0.pipe.lock();
        pipe.pieces.push_back(Frame::trailers(trailers));
        pipe.wake();
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        let mut pipe = self.0.pipe.lock();
        pipe.end = Some(Ending::Whole);
        pipe.wake();
    }

    /// Whether the client has sent all of it.
    pub(super) fn has_ended(&self) -> bool {
        self.0.pipe.lock().end.is_some()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut pipe = self.0.pipe.lock();
        if pipe.end.is_none() {
            pipe.end = Some(Ending::Broken);
            pipe.wake();
        }
    }
}

// === impl Intake ===

impl Body for Intake {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut pipe = self.0.pipe.lock();
        if let Some(piece) = pipe.pieces.pop_front() {
            let length = piece.data_ref().map_or(0, Bytes::len);
            pipe.left = pipe.left.map(|left| left.saturating_sub(length as u64));
            drop(pipe);
            if length > 0 {
                self.0.signal.note(self.0.stream, length);
            }
            return Poll::Ready(Some(Ok(piece)));
        }
        match pipe.end {
            Some(Ending::Whole) => Poll::Ready(None),
            Some(Ending::Broken) => Poll::Ready(Some(Err(RequestBodyError::Reset))),
            None => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let pipe = self.0.pipe.lock();
        pipe.pieces.is_empty() && pipe.end == Some(Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.pipe.lock().left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let mut pipe = self.0.pipe.lock();
        pipe.abandoned = true;
        let left: usize = pipe.pieces.drain(..).filter_map(|piece| Some(piece.data_ref()?.len())).sum();
        drop(pipe);
        if left > 0 {
            self.0.signal.note(self.0.stream, left);
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intake").field(&self.0.stream).finish()
    }
}

// === impl Pipe ===

impl Pipe {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
