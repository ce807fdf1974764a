//! Writes waiting answers: in turn, one DATA frame each, as far as windows and the output allow.

use super::Connection;
use crate::frame::{self, Flags, Kind, MAX_PAYLOAD};
use crate::handler::StreamId;
use crate::outgoing::Ending;
use crate::stream::table::Slot;
use crate::tick::Tick;

// === impl Connection ===

impl Connection {
    /// Writes more of the waiting answers; to be called when output has been sent.
    pub fn pump(&mut self, now: Tick, out: &mut Vec<u8>) {
        self.clock.now = now;
        self.pump_ready(out);
    }

    /// Whether answers wait for the output alone: [`Connection::pump`] would write something.
    pub fn wants_pump(&self) -> bool {
        !self.ready.is_empty() && self.send.room() > 0
    }

    /// Goes on with a stream's answer after something was added to it. The stream may be gone afterwards.
    pub(super) fn advance(&mut self, slot: Slot, out: &mut Vec<u8>) {
        if self.streams[slot].waiting() == 0 {
            return self.end_data(slot, false, out);
        }
        self.enqueue(slot);
        self.pump_ready(out);
    }

    /// Puts a stream into the queue, if it has data to send and a window for it.
    pub(super) fn enqueue(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        if let Some(outgoing) = &mut stream.outgoing
            && outgoing.len() > 0
            && stream.send.room() > 0
            && !outgoing.queued
        {
            outgoing.queued = true;
            self.ready.push_back(stream.id);
        }
    }

    /// The same for all streams.
    pub(super) fn enqueue_all(&mut self) {
        let ids: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        for slot in ids.into_iter().filter_map(|id| self.streams.find(id)).collect::<Vec<_>>() {
            self.enqueue(slot);
        }
    }

    /// Lets the streams of the queue write in turn.
    pub(super) fn pump_ready(&mut self, out: &mut Vec<u8>) {
        while out.len() < self.settings.output_bytes
            && self.send.room() > 0
            && let Some(id) = self.ready.pop_front()
        {
            let Some(slot) = self.streams.find(id) else {
                debug_assert!(false, "streams leave the queue when they end");
                continue;
            };
            let stream = &mut self.streams[slot];
            let Some(outgoing) = &mut stream.outgoing else { continue };
            let room = stream.send.room().min(self.send.room());
            let len = outgoing.len().min(room).min(self.peer.max_frame).min(MAX_PAYLOAD);
            if len == 0 {
                // Its window has been closed meanwhile; a WINDOW_UPDATE brings it back.
                outgoing.queued = false;
                continue;
            }
            let all = len == outgoing.len();
            let ends = all && matches!(outgoing.ending, Some(Ending::Data));
            let flags = if ends { Flags::END_STREAM } else { Flags::NONE };
            out.extend_from_slice(&frame::head(len, Kind::Data, flags, id));
            outgoing.write(len, out);
            stream.send.sent(len);
            self.send.sent(len);
            stream.moved = self.clock.now;
            self.control.earn(CONTROL_EARNED_BY_DATA);
            if all {
                outgoing.queued = false;
                self.end_data(slot, ends, out);
            } else {
                self.ready.push_back(id);
                self.notify_if_roomy(slot);
            }
        }
    }

    /// No data of the stream waits any more: ends the answer, or asks for more of it.
    fn end_data(&mut self, slot: Slot, end_is_sent: bool, out: &mut Vec<u8>) {
        let stream = &mut self.streams[slot];
        let id = stream.id;
        let Some(outgoing) = &mut stream.outgoing else { return };
        match outgoing.ending.take() {
            None => return self.notify_if_roomy(slot),
            Some(Ending::Data) if end_is_sent => {}
            Some(Ending::Data) => out.extend_from_slice(&frame::head(0, Kind::Data, Flags::END_STREAM, id)),
            Some(Ending::Trailers(trailers)) => self.put_block(id, trailers.as_block(), true, out),
        }
        self.finish(slot, out);
    }

    /// Names the stream to the handler if that waits, once half of the buffer is free.
    fn notify_if_roomy(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        if let Some(outgoing) = &mut stream.outgoing
            && outgoing.awaited
            && outgoing.len() <= self.settings.send_buffer / 2
        {
            outgoing.awaited = false;
            self.writable.push_back(StreamId(stream.id));
        }
    }
}

const CONTROL_EARNED_BY_DATA: u32 = 2;
