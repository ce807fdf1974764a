//! One stream: how far its request and its answer have come.

pub(crate) mod closed;
pub(crate) mod table;

use std::sync::Arc;

use crate::body::Collector;
use crate::head::Head;
use crate::outgoing::Outgoing;
use crate::tick::Tick;
use crate::window::{ReceiveWindow, SendWindow};

/// A stream whose request or answer has not ended. One whose both have is forgotten.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) head: Arc<Head>,
    pub(crate) request: Request,
    pub(crate) answer: Progress,
    /// Whether the handler knows of the stream and waits to hear of its end.
    pub(crate) visible: bool,
    pub(crate) receive: ReceiveWindow,
    pub(crate) send: SendWindow,
    /// What `content-length` leaves of the body.
    pub(crate) body_left: Option<u64>,
    /// Bytes that the handler has and the windows have not got back.
    pub(crate) unconsumed: u32,
    pub(crate) outgoing: Option<Box<Outgoing>>,
    pub(crate) opened: Tick,
    /// When the request or the answer last made progress.
    pub(crate) moved: Tick,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) enum Request {
    /// The message of a unary call is being collected.
    Collecting(Collector),
    /// The handler has not heard of it: its body may come whole.
    Unopened,
    /// Data is handed over as it comes.
    Passing,
    /// The client has sent everything.
    Ended,
}

/// The sending half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No head has been sent.
    Due,
    /// A head has been sent; data may follow.
    Open,
    /// Everything has been handed over; some of it may wait.
    Closing,
}

// === impl Stream ===

impl Stream {
    pub(crate) fn has_ended_request(&self) -> bool {
        matches!(self.request, Request::Ended)
    }

    /// Bytes of the answer that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.len())
    }

    /// Counts body bytes against `content-length`; `false` if they are too many.
    #[must_use]
    pub(crate) fn count_body(&mut self, len: usize) -> bool {
        match self.body_left.map(|left| left.checked_sub(len as u64)) {
            None => true,
            Some(Some(left)) => {
                self.body_left = Some(left);
                true
            }
            Some(None) => false,
        }
    }

    /// Whether `content-length` allows the body to end here.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self.body_left, None | Some(0))
    }
}
