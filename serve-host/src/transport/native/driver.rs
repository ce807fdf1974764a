//! Moves the bytes of one connection: one read, what it asked, one write.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use futures_util::future::Abortable;
use futures_util::stream::FuturesUnordered;
use http2_core::{Answer, Connection, Cutoff, ErrorCode, Reply, StreamId, Tick};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::desk::{Desk, cut};
use super::exchange::{Exchange, Outcome, Part, Piece};
use super::head::{response_head, trailers};
use super::{Buffers, Native, SCRATCH, UNSENT, settings};
use crate::accept::connection::{Connection as Accepted, End};
use crate::accept::leash::Leash;
use crate::accept::mailbox::Letterbox;
use crate::accept::socket::Socket;
use crate::accept::stats::Cut;

/// A connection and everything that is under way on it. Done when the connection has ended and all that
/// was to be said is written; whoever drives it lingers then.
pub(super) struct Driver {
    thread: Rc<Native>,
    socket: Socket,
    leash: Rc<Leash>,
    connection: Connection,
    desk: Desk,
    exchanges: FuturesUnordered<Abortable<Exchange>>,
    /// Where other threads leave word for the exchanges.
    letterbox: Letterbox,
    /// What the socket has not taken.
    unsent: BytesMut,
    timer: Option<Timer>,
    leaving: bool,
}

/// When the core wants to be asked next.
struct Timer {
    due: Tick,
    sleep: Pin<Box<Sleep>>,
}

/// What a write came to.
enum Flush {
    /// All is written.
    Done,
    /// The socket takes no more for now.
    Blocked,
    /// The peer is gone.
    Gone,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(thread: Rc<Native>, accepted: Accepted) -> Self {
        let Accepted { socket, port, leash, letterbox } = accepted;
        let connection = Connection::new(&settings(port.limits()), thread.now());
        Self {
            letterbox,
            thread,
            socket,
            connection,
            desk: Desk::new(port, leash.clone()),
            leash,
            exchanges: FuturesUnordered::new(),
            unsent: BytesMut::new(),
            timer: None,
            leaving: false,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<End> {
        let now = self.thread.now();
        self.desk.signal.attend(self.letterbox.waker());
        self.letterbox.attend(cx.waker());
        if !self.leaving && self.leash.must_leave() {
            self.leaving = true;
            self.connection.drain(now, &mut buffers.out);
        }
        self.run_timer(cx, now, &mut buffers.out);
        for round in 0.. {
            if let Flush::Gone = self.work(cx, now, &mut buffers.out) {
                self.connection.disconnected(&mut self.desk);
                return Poll::Ready(self.end());
            }
            if self.connection.is_closed() {
                return if self.unsent.is_empty() { Poll::Ready(self.end()) } else { Poll::Pending };
            }
            if self.unsent.len() > UNSENT {
                break;
            }
            if round == ROUNDS {
                cx.waker().wake_by_ref();
                break;
            }
            if !self.read(cx, now, buffers) {
                break;
            }
        }
        self.arm_timer(cx);
        Poll::Pending
    }

    /// Reads once. `false` if nothing has come.
    fn read(&mut self, cx: &mut Context<'_>, now: Tick, buffers: &mut Buffers) -> bool {
        let Buffers { scratch, out } = buffers;
        scratch.resize(SCRATCH, 0);
        let mut read = ReadBuf::new(scratch);
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut read);
        let length = read.filled().len();
        match polled {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if length > 0 => {
                let lent = std::mem::take(scratch).freeze();
                self.connection.input_lent(&lent.slice(..length), now, out, &mut self.desk);
                if self.desk.is_flooded() {
                    self.connection.cut_off(Cutoff::ResetFlood, out, &mut self.desk);
                }
                self.desk.end_read();
                // Whoever kept a message keeps all of the read; as a rule nobody has.
                *scratch = lent.try_into_mut().unwrap_or_default();
            }
            Poll::Ready(_) => self.connection.disconnected(&mut self.desk),
        }
        true
    }

    /// Does all that can be done without reading, and writes what comes of it.
    fn work(&mut self, cx: &mut Context<'_>, now: Tick, out: &mut Vec<u8>) -> Flush {
        loop {
            if self.unsent.len() <= UNSENT {
                self.settle(out);
            }
            match self.flush(cx, out) {
                Flush::Done => {}
                stuck @ (Flush::Blocked | Flush::Gone) => return stuck,
            }
            self.connection.pump(now, out);
            let moved = self.unpark();
            if out.is_empty() && !moved {
                return Flush::Done;
            }
        }
    }

    /// Hands over what is answered, begins what is not, and sends what has come of it.
    fn settle(&mut self, out: &mut Vec<u8>) {
        let waker = self.letterbox.waker().clone();
        let mut cx = Context::from_waker(&waker);
        loop {
            let todo = &mut self.desk.todo;
            for (stream, length) in todo.used.drain(..).chain(self.desk.signal.take()) {
                self.connection.consumed(stream, length, out);
            }
            for (stream, code) in todo.aborts.drain(..) {
                let _ = self.connection.abort(stream, code, out);
            }
            self.exchanges.extend(todo.exchanges.drain(..));
            if self.exchanges.is_empty() {
                return;
            }
            match self.exchanges.poll_next_unpin(&mut cx) {
                Poll::Ready(Some(Ok(part))) => self.send(part, out),
                // Its client has gone.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) => return,
                Poll::Pending => {
                    if !self.unpark() {
                        return;
                    }
                }
            }
        }
    }

    fn send(&mut self, part: Part, out: &mut Vec<u8>) {
        let Part { stream, outcome } = part;
        match outcome {
            _ if !self.desk.knows(stream) => {}
            Outcome::Answered { answer, held } => {
                let answer = self.desk.render(answer, &held.head, held.call, stream);
                // An error means that the client has gone: nobody waits for the answer.
                let _ = match answer {
                    None | Some(Answer::Later) => Ok(()),
                    Some(Answer::Ok(message)) => self.connection.respond(stream, Reply::ok(message), out),
                    Some(Answer::Head(head)) => self.connection.send_head(stream, &head, true, out),
                    Some(Answer::Reply(reply)) => self.connection.respond(stream, *reply, out),
                };
            }
            Outcome::Piece(piece) => {
                if self.send_piece(stream, piece, out).is_none() {
                    self.give_up(stream, out);
                }
            }
            Outcome::Failed { panicked } => {
                if panicked {
                    self.desk.note_panic();
                }
                self.give_up(stream, out);
            }
        }
    }

    /// Sends a piece of a response. `None` if it cannot be sent.
    fn send_piece(&mut self, stream: StreamId, piece: Piece, out: &mut Vec<u8>) -> Option<()> {
        let Piece { head, length, frames, rest } = piece;
        let mut left = frames.len();
        if let Some(head) = head {
            let head = response_head(&head, length).ok()?;
            self.connection.send_head(stream, &head, left == 0 && rest.is_none(), out).ok()?;
        } else if left == 0 && rest.is_none() {
            self.connection.send_data(stream, bytes::Bytes::new(), true, out).ok()?;
        }
        for frame in frames {
            left -= 1;
            let last = left == 0 && rest.is_none();
            match frame.into_data() {
                Ok(data) => self.connection.send_data(stream, data, last, out).ok()?,
                Err(frame) => {
                    let fields = frame.into_trailers().ok()?;
                    self.connection.send_trailers(stream, trailers(&fields), out).ok()?;
                    self.desk.forget(stream);
                    return Some(());
                }
            }
        }
        match rest {
            Some(body) => self.desk.go_on(stream, body, self.connection.room(stream)),
            None => self.desk.forget(stream),
        }
        Some(())
    }

    fn give_up(&mut self, stream: StreamId, out: &mut Vec<u8>) {
        self.desk.forget(stream);
        let _ = self.connection.abort(stream, ErrorCode::INTERNAL_ERROR, out);
    }

    /// Goes on with responses for which there is room again. Whether there was any.
    fn unpark(&mut self) -> bool {
        let mut any = false;
        while let Some(stream) = self.connection.next_writable() {
            let room = self.connection.room(stream);
            self.desk.unpark(stream, room);
            any = true;
        }
        any
    }

    /// Writes; what the socket does not take is kept.
    fn flush(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Flush {
        let mut written = 0;
        while !self.unsent.is_empty() || written < out.len() {
            let bytes = if self.unsent.is_empty() { &out[written..] } else { &self.unsent[..] };
            match Pin::new(&mut self.socket).poll_write(cx, bytes) {
                Poll::Ready(Ok(0) | Err(_)) => return Flush::Gone,
                Poll::Ready(Ok(length)) if self.unsent.is_empty() => written += length,
                Poll::Ready(Ok(length)) => self.unsent.advance(length),
                Poll::Pending => {
                    self.unsent.extend_from_slice(&out[written..]);
                    out.clear();
                    return Flush::Blocked;
                }
            }
        }
        out.clear();
        // An idle connection needs no buffer.
        self.unsent = BytesMut::new();
        Flush::Done
    }

    fn run_timer(&mut self, cx: &mut Context<'_>, now: Tick, out: &mut Vec<u8>) {
        let fired = self.timer.as_mut().is_some_and(|timer| timer.sleep.as_mut().poll(cx).is_ready());
        if fired {
            self.timer = None;
            self.connection.timer(now, out, &mut self.desk);
        }
    }

    /// Sees to it that the task is woken when the core is due. A timer that is early does no harm.
    fn arm_timer(&mut self, cx: &mut Context<'_>) {
        let Some(due) = self.connection.due() else { return };
        if self.timer.as_ref().is_some_and(|timer| timer.due <= due) {
            return;
        }
        let wait = due.as_millis().saturating_sub(self.thread.now().as_millis());
        let until = Instant::now() + Duration::from_millis(wait).min(LONGEST_WAIT);
        let timer = match self.timer.take() {
            Some(mut timer) => {
                timer.sleep.as_mut().reset(until);
                Timer { due, ..timer }
            }
            None => Timer { due, sleep: Box::pin(sleep_until(until)) },
        };
        let timer = self.timer.insert(timer);
        if timer.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// What the end of the connection says about its peer.
    fn end(&self) -> End {
        match self.connection.end() {
            Some(http2_core::End::Violation(_)) => End::Cut(Cut::Protocol),
            Some(http2_core::End::Cutoff(cutoff)) => End::Cut(cut(cutoff)),
            _ => End::Closed,
        }
    }
}

impl Future for Driver {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let thread = self.thread.clone();
        let mut buffers = thread.borrow_buffers();
        let polled = self.drive(cx, &mut buffers);
        thread.give_back(buffers);
        polled
    }
}

/// Reads in a row before other connections have their turn.
const ROUNDS: u32 = 8;

/// The longest a timer runs; it is set again then.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
