//! The frames that carry no requests: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY.
//!
//! Each costs a client little and us a little more, so each is paid from a budget.

use super::lifetime::{DRAIN_PING, Drain};
use super::{Connection, Outside, TableNotice, input};
use crate::error::{Cancelled, End, ErrorCode, Violation};
use crate::frame::{self, Flags, FrameHead};
use crate::handler::{Handler, StreamId};
use crate::stream::Request;

// === impl Connection ===

impl Connection {
    pub(super) fn on_settings(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        if head.stream != 0 {
            return Err(Violation::StreamId.into());
        }
        if head.flags.ack() {
            if !payload.is_empty() {
                return Err(Violation::FrameLength.into());
            }
            self.clock.acknowledged = true;
            self.decoder.hold_to(self.settings.header_table);
            return self.spend_control(1);
        }
        self.spend_control(COST_OF_SETTINGS)?;
        let before = self.peer;
        self.peer = before.updated(payload)?;
        if self.peer.lowered_table() && self.notice == TableNotice::NotNeeded {
            self.notice = TableNotice::Due;
        }
        for stream in self.streams.iter_mut() {
            if !stream.send.resize(before.initial_window, self.peer.initial_window) {
                return Err(Violation::WindowOverflow.into());
            }
        }
        if self.peer.initial_window > before.initial_window {
            self.enqueue_all();
        }
        frame::put_settings_ack(out);
        Ok(())
    }

    pub(super) fn on_ping(&mut self, head: FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), End> {
        if head.stream != 0 {
            return Err(Violation::StreamId.into());
        }
        let payload = payload.try_into().map_err(|_| Violation::FrameLength)?;
        self.spend_control(1)?;
        if !head.flags.ack() {
            frame::put_ping(out, Flags::ACK, payload);
        } else if payload == DRAIN_PING && matches!(self.drain, Drain::Noticed(_)) {
            self.last_call(out);
        }
        Ok(())
    }

    /// The client will open no more streams; those that are open go on, so there is nothing to do.
    pub(super) fn on_goaway(&mut self, head: FrameHead) -> Result<(), End> {
        if head.stream != 0 {
            return Err(Violation::StreamId.into());
        }
        if head.len < 8 {
            return Err(Violation::FrameLength.into());
        }
        self.spend_control(1)
    }

    pub(super) fn on_window_update<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        let payload = payload.try_into().map_err(|_| Violation::FrameLength)?;
        let increment = u32::from_be_bytes(payload) & frame::MAX_31;
        self.spend_control(1)?;
        if head.stream == 0 {
            if increment == 0 {
                return Err(Violation::ZeroIncrement.into());
            }
            if !self.send.widen(increment) {
                return Err(Violation::WindowOverflow.into());
            }
            return Ok(());
        }
        let Some(slot) = self.streams.find(head.stream) else { return self.check_not_idle(head.stream) };
        if increment == 0 {
            return self.reset_for(slot, Violation::ZeroIncrement, outside);
        }
        if !self.streams[slot].send.widen(increment) {
            return self.reset_for(slot, Violation::WindowOverflow, outside);
        }
        self.enqueue(slot);
        Ok(())
    }

    pub(super) fn on_reset<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        if head.stream == 0 {
            return Err(Violation::StreamId.into());
        }
        let code = ErrorCode(u32::from_be_bytes(payload.try_into().map_err(|_| Violation::FrameLength)?));
        let Some(slot) = self.streams.find(head.stream) else {
            self.spend_control(1)?;
            if head.stream > self.read_before && self.closed.has_ended(head.stream) {
                outside.handler.taken_back();
            }
            return self.check_not_idle(head.stream);
        };
        self.spend_reset()?;
        let stream = self.remove(slot, outside.out);
        self.closed.add_ended(stream.id);
        if stream.visible {
            outside.handler.cancelled(StreamId(stream.id), Cancelled::ByPeer(code));
        } else if let Request::Unopened = stream.request {
            outside.handler.taken_back();
        }
        Ok(())
    }

    /// We have no use for priorities, but for the rules that they keep.
    pub(super) fn on_priority<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        if head.stream == 0 {
            return Err(Violation::StreamId.into());
        }
        self.spend_control(1)?;
        let violation = match payload.try_into() {
            Err(_) => Violation::FrameLength,
            Ok(priority) if input::dependency(priority) == head.stream => Violation::SelfDependency,
            Ok(_) => return Ok(()),
        };
        match self.streams.find(head.stream) {
            Some(slot) => self.reset_for(slot, violation, outside),
            // RST_STREAM is not allowed on an idle stream, so there it ends the connection.
            None if self.is_idle(head.stream) => Err(violation.into()),
            None if !self.closed.has_ended(head.stream) && !self.closed.was_reset(head.stream) => Ok(()),
            None => {
                self.spend_reset()?;
                frame::put_reset(outside.out, head.stream, violation.code());
                Ok(())
            }
        }
    }

    fn is_idle(&self, id: u32) -> bool {
        id > self.last_id || id.is_multiple_of(2)
    }

    fn check_not_idle(&self, id: u32) -> Result<(), End> {
        if self.is_idle(id) { Err(Violation::IdleStream.into()) } else { Ok(()) }
    }
}

const COST_OF_SETTINGS: u32 = 10;
