//! Answers as handlers give them: at once, later, or in parts.

use bytes::Bytes;

use super::{Connection, TableNotice};
use crate::body::{PREFIX_LEN, prefix};
use crate::error::ErrorCode;
use crate::frame::{self, MAX_PAYLOAD};
use crate::handler::StreamId;
use crate::hpack::encoder::{Fields, ResponseHead};
use crate::outgoing::{Ending, Outgoing};
use crate::respond::{self, Message, OK_OVERHEAD, Reply, SendError};
use crate::stream::table::Slot;
use crate::stream::{Progress, Stream};

// === impl Connection: whole answers ===

impl Connection {
    /// Answers a unary call that the handler left for later.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the call was cancelled or answered before, [`SendError::OutOfOrder`] if a head
    /// has been sent for it.
    pub fn respond(&mut self, stream: StreamId, reply: Reply, out: &mut Vec<u8>) -> Result<(), SendError> {
        let slot = self.streams.find(stream.0).ok_or(SendError::Gone)?;
        match self.streams[slot].answer {
            Progress::Due => match reply.message {
                Some(Message { bytes, compressed: false }) if reply.is_plain() => {
                    self.reply_ok(slot, bytes, out)
                }
                _ => self.reply(slot, reply, out),
            },
            Progress::Open => return Err(SendError::OutOfOrder),
            Progress::Closing => return Err(SendError::Gone),
        }
        Ok(())
    }

    /// Answers a unary call. The stream may be gone afterwards.
    pub(super) fn reply(&mut self, slot: Slot, mut reply: Reply, out: &mut Vec<u8>) {
        if let Some(message) = &reply.message
            && !fits_prefix(&message.bytes)
        {
            reply = Reply::to_large_answer();
        }
        let stream = &mut self.streams[slot];
        stream.visible = false;
        stream.answer = Progress::Closing;
        let id = stream.id;
        let head = reply.head(stream.head.grpc_type());
        let ending = reply.ending();
        let Some(Message { bytes, compressed }) = reply.message else {
            self.put_block(id, head.as_block(), true, out);
            return self.finish(slot, out);
        };
        let len = u32::try_from(bytes.len()).expect("larger messages were replaced above");
        let outgoing = stream.outgoing(self.clock.now);
        outgoing.push(Bytes::copy_from_slice(&prefix(compressed, len)));
        outgoing.push(bytes);
        outgoing.ending = Some(Ending::Trailers(ending));
        self.put_block(id, head.as_block(), false, out);
        self.advance(slot, out);
    }

    /// Answers with a head and nothing behind it. The stream is gone afterwards.
    pub(super) fn reply_head(&mut self, slot: Slot, head: &ResponseHead, out: &mut Vec<u8>) {
        self.put_block(self.streams[slot].id, head.as_block(), true, out);
        self.finish(slot, out);
    }

    /// Answers OK with `message`: at once from constant bytes if nothing stands against it.
    pub(super) fn reply_ok(&mut self, slot: Slot, message: Bytes, out: &mut Vec<u8>) {
        let stream = &mut self.streams[slot];
        let len = message.len().saturating_add(PREFIX_LEN);
        let at_once = len <= stream.send.room().min(self.send.room()).min(self.peer.max_frame)
            && len.saturating_add(out.len() + OK_OVERHEAD) <= self.settings.output_bytes
            && self.ready.is_empty()
            && self.notice != TableNotice::Due
            && matches!(stream.head.grpc_type(), None | Some(b"application/grpc"));
        if !at_once {
            // What waits must not keep the input alive of which it may be a part.
            let message = if len <= MAX_PAYLOAD { Bytes::copy_from_slice(&message) } else { message };
            return self.reply(slot, Reply::ok(message), out);
        }
        stream.visible = false;
        stream.send.sent(len);
        self.send.sent(len);
        respond::put_ok(out, stream.id, &message);
        self.finish(slot, out);
    }
}

// === impl Connection: answers in parts ===

impl Connection {
    /// Sends the head of an answer, or of an interim one; with `end` it is all of it.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the stream has ended, [`SendError::OutOfOrder`] if a head has been sent.
    pub fn send_head(
        &mut self,
        stream: StreamId,
        head: &ResponseHead,
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let slot = self.streams.find(stream.0).ok_or(SendError::Gone)?;
        let live = &mut self.streams[slot];
        match live.answer {
            Progress::Due if head.is_interim() => self.put_block(stream.0, head.as_block(), false, out),
            Progress::Due if end => self.reply_head(slot, head, out),
            Progress::Due => {
                live.answer = Progress::Open;
                self.put_block(stream.0, head.as_block(), false, out);
            }
            Progress::Open => return Err(SendError::OutOfOrder),
            Progress::Closing => return Err(SendError::Gone),
        }
        Ok(())
    }

    /// Sends a part of an answer's body; with `end` it is the last.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the stream or its answer has ended, [`SendError::OutOfOrder`] before the head,
    /// [`SendError::Full`] while there is no room; then the chunk is not taken.
    pub fn send_data(
        &mut self,
        stream: StreamId,
        chunk: Bytes,
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let slot = self.open_answer(stream)?;
        let room = self.room(stream);
        if room == 0 && !chunk.is_empty() {
            return Err(SendError::Full);
        }
        let now = self.clock.now;
        let live = &mut self.streams[slot];
        let outgoing = live.outgoing(now);
        outgoing.awaited = !end && chunk.len() >= room;
        outgoing.push(chunk);
        if end {
            outgoing.ending = Some(Ending::Data);
            live.answer = Progress::Closing;
            live.visible = false;
        }
        self.advance(slot, out);
        Ok(())
    }

    /// Sends the trailers of an answer, behind all of its data.
    ///
    /// # Errors
    /// As for [`Connection::send_data`], but there is always room.
    pub fn send_trailers(
        &mut self,
        stream: StreamId,
        trailers: Fields,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let slot = self.open_answer(stream)?;
        let now = self.clock.now;
        let live = &mut self.streams[slot];
        live.answer = Progress::Closing;
        live.visible = false;
        live.outgoing(now).ending = Some(Ending::Trailers(trailers));
        self.advance(slot, out);
        Ok(())
    }

    /// Gives a stream up: RST_STREAM with this code. Its handler is not told again.
    ///
    /// # Errors
    /// [`SendError::Gone`] if the stream has ended.
    pub fn abort(&mut self, stream: StreamId, code: ErrorCode, out: &mut Vec<u8>) -> Result<(), SendError> {
        let slot = self.streams.find(stream.0).ok_or(SendError::Gone)?;
        self.remove(slot, out);
        self.closed.add_reset(stream.0);
        frame::put_reset(out, stream.0, code);
        Ok(())
    }

    /// Bytes of this stream's answer that are taken now; a chunk may exceed them once. Zero if it has ended.
    pub fn room(&self, stream: StreamId) -> usize {
        let Some(slot) = self.streams.find(stream.0) else { return 0 };
        let live = &self.streams[slot];
        match live.answer {
            Progress::Due | Progress::Open => self.settings.send_buffer.saturating_sub(live.waiting()),
            Progress::Closing => 0,
        }
    }

    /// A stream whose room was used up and has come back. Each is named once; ask until there is none.
    pub fn next_writable(&mut self) -> Option<StreamId> {
        self.writable.pop_front()
    }

    /// The handler has used `len` bytes of a plain request's body, so the client may send as many more.
    pub fn consumed(&mut self, stream: StreamId, len: usize, out: &mut Vec<u8>) {
        let Some(slot) = self.streams.find(stream.0) else { return };
        let live = &mut self.streams[slot];
        let len = live.unconsumed.min(u32::try_from(len).unwrap_or(u32::MAX));
        live.unconsumed -= len;
        if !live.has_ended_request()
            && let Some(increment) = live.receive.release(len)
        {
            frame::put_window_update(out, stream.0, increment);
        }
        self.refund(len, out);
    }

    fn open_answer(&self, stream: StreamId) -> Result<Slot, SendError> {
        let slot = self.streams.find(stream.0).ok_or(SendError::Gone)?;
        match self.streams[slot].answer {
            Progress::Due => Err(SendError::OutOfOrder),
            Progress::Open => Ok(slot),
            Progress::Closing => Err(SendError::Gone),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// The stream's outgoing data, to which something is about to be added.
    fn outgoing(&mut self, now: crate::tick::Tick) -> &mut Outgoing {
        if self.waiting() == 0 {
            // Nothing waited until now, so nothing has stalled until now.
            self.moved = now;
        }
        self.outgoing.get_or_insert_default()
    }
}

fn fits_prefix(message: &[u8]) -> bool {
    u32::try_from(message.len()).is_ok()
}
