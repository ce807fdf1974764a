//! One connection: what has come is read frame by frame, what is due is written as windows allow.
//!
//! The parts: `input` cuts bytes into frames; `requests` opens streams and ends their requests; `control` minds
//! the frames that carry no requests; `answers` takes what handlers answer, and `pump` writes it; `lifetime`
//! has the timers, drains and ends.

mod answers;
mod control;
mod input;
mod lifetime;
mod pump;
mod requests;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use crate::budget::Budget;
use crate::error::{Cancelled, Cutoff, End, ErrorCode, Violation};
use crate::frame;
use crate::handler::{Handler, StreamId};
use crate::hpack::decoder::Decoder;
use crate::hpack::memo::Memo;
use crate::settings::{DEFAULT_WINDOW, PeerSettings, Settings};
use crate::stream::closed::ClosedIds;
use crate::stream::table::{Slot, StreamTable};
use crate::stream::{Request, Stream};
use crate::tick::Tick;
use crate::window::{ReceiveWindow, SendWindow};

use input::HeaderBlock;
use lifetime::{Clock, Drain};

/// A server's side of one HTTP/2 connection.
///
/// All output is appended to the `out` of each call. After the end, [`Connection::end`] says why; then what is
/// in `out` should still be sent, and what the client still sends should be read and dropped for a moment, lest
/// the transport take back the reason.
pub struct Connection {
    settings: Settings,
    phase: Phase,
    /// The beginning of a frame that has not come whole.
    partial: Vec<u8>,
    /// A header block that has not come whole.
    block: Option<Box<HeaderBlock>>,
    decoder: Decoder,
    memo: Memo,
    streams: StreamTable,
    closed: ClosedIds,
    /// The highest id the client has used.
    last_id: u32,
    /// The highest id before the current input.
    read_before: u32,
    peer: PeerSettings,
    notice: TableNotice,
    receive: ReceiveWindow,
    send: SendWindow,
    /// Streams that have data to send and a window for it, in turn. Each is live and stands here once.
    ready: VecDeque<u32>,
    /// Streams whose handler waits for room and has some.
    writable: VecDeque<StreamId>,
    resets: Budget,
    control: Budget,
    /// Bytes of all messages that are being collected.
    unfinished: usize,
    /// Streams of which the handler has not heard.
    unopened: u32,
    drain: Drain,
    clock: Clock,
    end: Option<End>,
}

/// How far the client has introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// The first frame is due.
    FirstFrame,
    /// Anything may come.
    Open,
}

/// Whether the peer must be told that we use no table, as it lowered its limit (RFC 7541 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableNotice {
    NotNeeded,
    Due,
    Given,
}

/// What a step may use besides the connection: the output, and who is told.
struct Outside<'a, H> {
    out: &'a mut Vec<u8>,
    handler: &'a mut H,
    /// What is being read, if it may be kept.
    lent: Option<&'a Bytes>,
}

// === impl Outside ===

impl<H> Outside<'_, H> {
    /// These bytes of the input to keep: without a copy, if the input was lent and they are a part of it.
    fn share(&self, part: &[u8]) -> Bytes {
        let shared = self.lent.and_then(|lent| {
            let start = part.as_ptr().addr().checked_sub(lent.as_ptr().addr())?;
            let end = start.checked_add(part.len())?;
            (end <= lent.len()).then(|| lent.slice(start..end))
        });
        shared.unwrap_or_else(|| Bytes::copy_from_slice(part))
    }
}

// === impl Connection ===

impl Connection {
    /// A connection that begins at `now`, on which nothing has come yet.
    pub fn new(settings: &Settings, now: Tick) -> Self {
        let settings = settings.bounded();
        Self {
            settings,
            phase: Phase::Preface(0),
            partial: Vec::new(),
            block: None,
            decoder: Decoder::new(settings.header_table),
            memo: Memo::default(),
            streams: StreamTable::new(),
            closed: ClosedIds::default(),
            last_id: 0,
            read_before: 0,
            peer: PeerSettings::default(),
            notice: TableNotice::NotNeeded,
            receive: ReceiveWindow::new(settings.connection_window),
            send: SendWindow::new(DEFAULT_WINDOW),
            ready: VecDeque::new(),
            writable: VecDeque::new(),
            resets: Budget::new(settings.limits.reset_budget, now),
            control: Budget::new(settings.limits.control_budget, now),
            unfinished: 0,
            unopened: 0,
            drain: Drain::No,
            clock: Clock::new(now),
            end: None,
        }
    }

    /// Why the connection ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether the connection has ended: nothing is read or answered any more.
    pub fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    /// Streams that are open.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Bytes held for this connection that grow with what its client does: partial frames and header blocks,
    /// unfinished messages and waiting answers.
    pub fn buffered(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.len());
        let waiting: usize = self.streams.iter().map(Stream::waiting).sum();
        self.partial.len() + block + self.unfinished + waiting
    }

    /// Writes a header block, after the notice of our empty table if that is due.
    fn put_block(&mut self, id: u32, block: &[u8], end_stream: bool, out: &mut Vec<u8>) {
        let max_frame = self.peer.max_frame;
        if self.notice == TableNotice::Due {
            self.notice = TableNotice::Given;
            let noticed = [&[crate::hpack::encoder::EMPTY_TABLE], block].concat();
            frame::put_header_block(out, id, &noticed, end_stream, max_frame);
        } else {
            frame::put_header_block(out, id, block, end_stream, max_frame);
        }
    }

    /// Gives the client back `len` bytes of the connection's window.
    fn refund(&mut self, len: u32, out: &mut Vec<u8>) {
        if let Some(increment) = self.receive.release(len) {
            frame::put_window_update(out, 0, increment);
        }
    }

    fn spend_reset(&mut self) -> Result<(), End> {
        if self.resets.spend(1, self.clock.now) { Ok(()) } else { Err(Cutoff::ResetFlood.into()) }
    }

    fn spend_control(&mut self, cost: u32) -> Result<(), End> {
        if self.control.spend(cost, self.clock.now) { Ok(()) } else { Err(Cutoff::ControlFlood.into()) }
    }

    /// Ends a stream for what the peer did on it.
    fn reset_for<H: Handler>(
        &mut self,
        slot: Slot,
        violation: Violation,
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        self.spend_reset()?;
        self.reset(slot, violation.code(), Cancelled::Violation(violation), outside);
        Ok(())
    }

    /// Ends a stream by RST_STREAM, and tells its handler.
    fn reset<H: Handler>(
        &mut self,
        slot: Slot,
        code: ErrorCode,
        why: Cancelled,
        outside: &mut Outside<'_, H>,
    ) {
        let stream = self.remove(slot, outside.out);
        frame::put_reset(outside.out, stream.id, code);
        self.closed.add_reset(stream.id);
        if stream.visible {
            outside.handler.cancelled(StreamId(stream.id), why);
        }
    }

    /// Forgets a stream whose answer has been written to its end.
    fn finish(&mut self, slot: Slot, out: &mut Vec<u8>) {
        let stream = self.remove(slot, out);
        if stream.has_ended_request() {
            self.closed.add_ended(stream.id);
        } else {
            // The client need not send the rest (RFC 9113 §8.1).
            frame::put_reset(out, stream.id, ErrorCode::NO_ERROR);
            self.closed.add_reset(stream.id);
        }
        self.resets.earn(RESETS_EARNED_BY_ANSWER);
        self.control.earn(CONTROL_EARNED_BY_ANSWER);
    }

    /// Takes a stream out of all tables and queues, and gives its windows back.
    fn remove(&mut self, slot: Slot, out: &mut Vec<u8>) -> Stream {
        let stream = self.streams.remove(slot);
        match &stream.request {
            Request::Collecting(collector) => self.unfinished -= collector.len(),
            Request::Unopened => self.unopened -= 1,
            Request::Passing | Request::Ended => {}
        }
        if stream.unconsumed > 0 {
            self.refund(stream.unconsumed, out);
        }
        if let Some(outgoing) = &stream.outgoing {
            if outgoing.queued {
                self.ready.retain(|id| *id != stream.id);
            }
            self.writable.retain(|id| id.0 != stream.id);
        }
        if self.streams.is_empty() {
            self.clock.quiet_since = self.clock.now;
            if self.drain == Drain::Last {
                self.end = Some(End::Drained);
            }
        }
        stream
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase)
            .field("streams", &self.streams.len())
            .field("last_id", &self.last_id)
            .field("drain", &self.drain)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

const RESETS_EARNED_BY_ANSWER: u32 = 1;
const CONTROL_EARNED_BY_ANSWER: u32 = 8;
