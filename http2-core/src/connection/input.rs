//! Cuts what comes into preface, frames and header blocks.

use bytes::Bytes;

use super::{Connection, Outside, Phase};
use crate::error::{Cutoff, End, Violation};
use crate::frame::{self, FrameHead, HEAD_LEN, Kind, MAX_PAYLOAD, PREFACE};
use crate::handler::Handler;
use crate::tick::Tick;

/// What a HEADERS frame says besides its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockStart {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) self_dependent: bool,
}

/// A header block that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(super) struct HeaderBlock {
    start: BlockStart,
    bytes: Vec<u8>,
    continuations: u32,
    pub(super) since: Tick,
}

// === impl Connection ===

impl Connection {
    /// Takes what the client sent, in pieces of any size, and tells `handler` what it asks.
    pub fn input<H: Handler>(&mut self, bytes: &[u8], now: Tick, out: &mut Vec<u8>, handler: &mut H) {
        self.take_input(bytes, now, &mut Outside { out, handler, lent: None });
    }

    /// Takes what the client sent, as [`Connection::input`] does. Bodies that are handed over whole are parts of
    /// `bytes`, not copies; the connection itself keeps none of it.
    pub fn input_lent<H: Handler>(&mut self, bytes: &Bytes, now: Tick, out: &mut Vec<u8>, handler: &mut H) {
        self.take_input(bytes, now, &mut Outside { out, handler, lent: Some(bytes) });
    }

    fn take_input<H: Handler>(&mut self, bytes: &[u8], now: Tick, outside: &mut Outside<'_, H>) {
        if self.is_closed() || bytes.is_empty() {
            return;
        }
        self.clock.heard(now);
        self.read_before = self.last_id;
        if let Err(end) = self.read(bytes, outside) {
            self.fail(end, outside);
        }
    }

    fn read<H: Handler>(&mut self, bytes: &[u8], outside: &mut Outside<'_, H>) -> Result<(), End> {
        let mut rest = self.preface(bytes, outside.out)?;
        if !self.partial.is_empty() {
            rest = self.complete_partial(rest, outside)?;
        }
        while !self.is_closed()
            && let Some((bytes, tail)) = rest.split_first_chunk::<HEAD_LEN>()
        {
            let head = checked(FrameHead::parse(bytes))?;
            let Some((payload, tail)) = tail.split_at_checked(head.len) else { break };
            rest = tail;
            self.frame(head, payload, outside)?;
        }
        if !self.is_closed() {
            self.partial.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes the preface off; once it is whole, we introduce ourselves.
    fn preface<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Violation> {
        let Phase::Preface(seen) = self.phase else { return Ok(bytes) };
        let (part, rest) = bytes.split_at(bytes.len().min(PREFACE.len() - seen));
        if !PREFACE[seen..].starts_with(part) {
            return Err(Violation::Preface);
        }
        self.phase = Phase::Preface(seen + part.len());
        if seen + part.len() == PREFACE.len() {
            self.phase = Phase::FirstFrame;
            self.introduce(out);
        }
        Ok(rest)
    }

    /// Goes on with the frame whose beginning came earlier; answers what is behind it.
    fn complete_partial<'a, H: Handler>(
        &mut self,
        mut bytes: &'a [u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<&'a [u8], End> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut fill = |partial: &mut Vec<u8>, len: usize| {
            let (part, rest) = bytes.split_at(bytes.len().min(len.saturating_sub(partial.len())));
            partial.extend_from_slice(part);
            bytes = rest;
            partial.len() >= len
        };
        let mut complete = fill(&mut partial, HEAD_LEN);
        if let Some(head) = partial.first_chunk() {
            let head = checked(FrameHead::parse(head))?;
            complete = fill(&mut partial, HEAD_LEN + head.len);
            if complete {
                self.frame(head, &partial[HEAD_LEN..], outside)?;
            }
        }
        if complete {
            partial.clear();
        }
        // A small buffer is worth keeping; a large one would be memory of an idle connection.
        if !partial.is_empty() || partial.capacity() <= KEPT_PARTIAL {
            self.partial = partial;
        }
        Ok(bytes)
    }

    /// Takes one whole frame.
    fn frame<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        if let Some(block) = &self.block
            && (head.kind != Kind::Continuation || head.stream != block.start.stream)
        {
            return Err(Violation::HeaderBlockInterrupted.into());
        }
        if self.phase != Phase::Open {
            if head.kind != Kind::Settings || head.flags.ack() {
                return Err(Violation::FirstFrame.into());
            }
            self.phase = Phase::Open;
        }
        match head.kind {
            Kind::Data => self.on_data(head, payload, outside)?,
            Kind::Headers => self.on_headers(head, payload, outside)?,
            Kind::Continuation => self.on_continuation(head, payload, outside)?,
            Kind::Priority => self.on_priority(head, payload, outside)?,
            Kind::Reset => self.on_reset(head, payload, outside)?,
            Kind::Settings => self.on_settings(head, payload, outside.out)?,
            Kind::PushPromise => return Err(Violation::PushPromise.into()),
            Kind::Ping => self.on_ping(head, payload, outside.out)?,
            Kind::GoAway => self.on_goaway(head)?,
            Kind::WindowUpdate => self.on_window_update(head, payload, outside)?,
            Kind::Unknown => self.spend_control(1)?,
        }
        if !self.ready.is_empty() {
            self.pump_ready(outside.out);
        }
        Ok(())
    }

    fn on_headers<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        if head.stream == 0 {
            return Err(Violation::StreamId.into());
        }
        if head.stream.is_multiple_of(2) {
            return Err(Violation::EvenStream.into());
        }
        let mut bytes = head.unpadded(payload)?;
        let mut self_dependent = false;
        if head.flags.priority() {
            let (priority, rest) = bytes.split_first_chunk().ok_or(Violation::FrameLength)?;
            self_dependent = dependency(priority) == head.stream;
            bytes = rest;
        }
        let start = BlockStart { stream: head.stream, end_stream: head.flags.end_stream(), self_dependent };
        if head.flags.end_headers() {
            return self.on_header_block(start, bytes, outside);
        }
        self.block = Some(Box::new(HeaderBlock {
            start,
            bytes: bytes.to_vec(),
            continuations: 0,
            since: self.clock.now,
        }));
        Ok(())
    }

    fn on_continuation<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        let limits = &self.settings.limits;
        let block = self.block.as_mut().ok_or(Violation::UnexpectedContinuation)?;
        block.continuations += 1;
        if block.continuations > limits.continuations {
            return Err(Cutoff::ContinuationFlood.into());
        }
        if block.bytes.len() + payload.len() > limits.header_block_bytes {
            return Err(Cutoff::HeaderBlockSize.into());
        }
        block.bytes.extend_from_slice(payload);
        if head.flags.end_headers()
            && let Some(block) = self.block.take()
        {
            self.on_header_block(block.start, &block.bytes, outside)?;
        }
        Ok(())
    }

    /// Our SETTINGS, and the rest of the connection's window.
    pub(super) fn introduce(&mut self, out: &mut Vec<u8>) {
        frame::put_settings(out, &self.settings.announced());
        let widened = self.settings.connection_window - crate::settings::DEFAULT_WINDOW;
        if widened > 0 {
            frame::put_window_update(out, 0, widened);
        }
        self.clock.introduced = Some(self.clock.now);
    }
}

// === impl HeaderBlock ===

impl HeaderBlock {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The stream that a priority names.
pub(super) fn dependency(priority: &[u8; 5]) -> u32 {
    let [d0, d1, d2, d3, _weight] = *priority;
    u32::from_be_bytes([d0, d1, d2, d3]) & frame::MAX_31
}

/// A frame that is too long is refused by its head, before its payload has come.
fn checked(head: FrameHead) -> Result<FrameHead, Violation> {
    if head.len > MAX_PAYLOAD { Err(Violation::FrameTooLong) } else { Ok(head) }
}

/// Bytes that the buffer for partial frames keeps between two of them.
const KEPT_PARTIAL: usize = 1024;
