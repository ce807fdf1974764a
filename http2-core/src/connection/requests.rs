//! Requests: header blocks and data, from the first frame of a stream to the end of its request.

use std::sync::Arc;

use bytes::Bytes;

use super::input::BlockStart;
use super::{Connection, Outside};
use crate::body::{BodyFault, Collector, Whole};
use crate::error::{Cutoff, End, ErrorCode, Violation};
use crate::field::Field;
use crate::frame::{self, FrameHead, MAX_31};
use crate::handler::{Answer, Handler, Route, StreamId, UnaryCall, WholeRequest};
use crate::head::{Head, HeadBuilder, Parsed, TrailersBuilder};
use crate::hpack::decoder::{Discard, Sink, TableUse};
use crate::hpack::encoder::ResponseHead;
use crate::respond::Reply;
use crate::stream::table::Slot;
use crate::stream::{Progress, Request, Stream};
use crate::window::{ReceiveWindow, SendWindow};

// === impl Connection: header blocks ===

impl Connection {
    /// Takes a whole header block. Whatever comes of its stream, it is decoded, for the table's sake.
    pub(super) fn on_header_block<H: Handler>(
        &mut self,
        start: BlockStart,
        block: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        if start.stream > self.last_id {
            return self.open(start, block, outside);
        }
        let Some(slot) = self.streams.find(start.stream) else {
            return self.on_late_block(start.stream, block);
        };
        if self.streams[slot].has_ended_request() {
            self.decode(block, &mut Discard)?;
            return self.reset_for(slot, Violation::ClosedStream, outside);
        }
        let mut builder = TrailersBuilder::new(self.settings.limits.header_list_bytes as usize);
        self.decode(block, &mut builder)?;
        let violation = match builder.finish() {
            _ if !start.end_stream => Violation::TrailersWithoutEnd,
            _ if start.self_dependent => Violation::SelfDependency,
            None => Violation::MalformedTrailers,
            Some(_) if !self.streams[slot].may_end() => Violation::ContentLength,
            Some(trailers) => {
                self.end_by_trailers(slot, trailers, outside);
                return Ok(());
            }
        };
        self.reset_for(slot, violation, outside)
    }

    /// A header block for a stream that is not there any more.
    fn on_late_block(&mut self, id: u32, block: &[u8]) -> Result<(), End> {
        if !self.closed.was_reset(id) {
            let closed = self.closed.has_ended(id);
            return Err(if closed { Violation::ClosedStream } else { Violation::SkippedStream }.into());
        }
        self.decode(block, &mut Discard)?;
        self.spend_control(cost_of_waste(block))
    }

    fn open<H: Handler>(
        &mut self,
        start: BlockStart,
        block: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        let BlockStart { stream: id, end_stream, self_dependent } = start;
        self.last_id = id;
        if self.takes_no_more() {
            // Behind our last GOAWAY: not processed, as the client knows or will know.
            self.decode(block, &mut Discard)?;
            self.closed.add_reset(id);
            return self.spend_control(cost_of_waste(block));
        }
        let head = match self.request_head(block)? {
            Parsed::Head(head) => head,
            Parsed::Malformed => return self.refuse(id, Violation::MalformedHead.code(), outside.out),
            Parsed::TooLarge { grpc } => {
                self.spend_control(cost_of_waste(block))?;
                self.refuse_large_head(id, end_stream, grpc, outside);
                return Ok(());
            }
        };
        if self_dependent || (end_stream && head.content_length().is_some_and(|length| length > 0)) {
            return self.refuse(id, ErrorCode::PROTOCOL_ERROR, outside.out);
        }
        if self.streams.len() >= self.settings.max_streams as usize {
            outside.handler.cutoff(Cutoff::StreamLimit, Some(StreamId(id)));
            return self.refuse(id, Cutoff::StreamLimit.code(), outside.out);
        }
        let route = outside.handler.route(&head);
        let slot = self.insert(id, head, route, end_stream);
        match route {
            Route::Unary if end_stream => self.refuse_body(slot, BodyFault::Missing, outside),
            Route::Unary => {}
            Route::Whole if !end_stream => {}
            Route::Whole | Route::Plain => {
                let stream = &mut self.streams[slot];
                stream.visible = true;
                outside.handler.open(StreamId(id), &stream.head, end_stream);
            }
        }
        Ok(())
    }

    /// Tells the handler of a stream whose body does not come whole.
    pub(super) fn announce<H: Handler>(&mut self, slot: Slot, outside: &mut Outside<'_, H>) {
        let stream = &mut self.streams[slot];
        if let Request::Unopened = stream.request {
            self.unopened -= 1;
            stream.request = Request::Passing;
            stream.visible = true;
            outside.handler.open(StreamId(stream.id), &stream.head, false);
        }
    }

    fn insert(&mut self, id: u32, head: Arc<Head>, route: Route, end_stream: bool) -> Slot {
        if self.streams.is_empty() {
            self.clock.swept = self.clock.now;
        }
        self.unopened += u32::from(route == Route::Whole && !end_stream);
        self.streams.insert(Stream {
            id,
            body_left: head.content_length(),
            head,
            request: match route {
                _ if end_stream => Request::Ended,
                Route::Unary => Request::Collecting(Collector::default()),
                Route::Plain => Request::Passing,
                Route::Whole => Request::Unopened,
            },
            answer: Progress::Due,
            visible: false,
            receive: ReceiveWindow::new(self.settings.stream_window),
            send: SendWindow::new(self.peer.initial_window),
            unconsumed: 0,
            outgoing: None,
            opened: self.clock.now,
            moved: self.clock.now,
        })
    }

    /// What a new stream's header block says.
    fn request_head(&mut self, block: &[u8]) -> Result<Parsed, End> {
        let memo = self.settings.header_memo && !self.decoder.awaits_update();
        if memo && let Some(head) = self.memo.get(block, self.decoder.generation()) {
            return Ok(Parsed::Head(head.clone()));
        }
        let mut builder = HeadBuilder::new(self.settings.limits.header_list_bytes as usize);
        let used = self.decode(block, &mut builder)?;
        let parsed = builder.finish();
        if memo && let Parsed::Head(head) = &parsed {
            self.memo.keep(block, used, self.decoder.generation(), head);
        }
        Ok(parsed)
    }

    fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<TableUse, Violation> {
        self.decoder.decode(block, sink).map_err(|_| Violation::Compression)
    }

    /// Refuses a stream that never was.
    fn refuse(&mut self, id: u32, code: ErrorCode, out: &mut Vec<u8>) -> Result<(), End> {
        self.spend_reset()?;
        frame::put_reset(out, id, code);
        self.closed.add_reset(id);
        Ok(())
    }

    fn refuse_large_head<H: Handler>(
        &mut self,
        id: u32,
        end_stream: bool,
        grpc: bool,
        outside: &mut Outside<'_, H>,
    ) {
        outside.handler.cutoff(Cutoff::HeaderListSize, Some(StreamId(id)));
        let head = if grpc {
            Reply::to_large_head(self.settings.limits.header_list_bytes).head(None)
        } else {
            ResponseHead::of(431)
        };
        self.put_block(id, head.as_block(), true, outside.out);
        if end_stream {
            self.closed.add_ended(id);
        } else {
            frame::put_reset(outside.out, id, ErrorCode::NO_ERROR);
            self.closed.add_reset(id);
        }
    }
}

// === impl Connection: bodies ===

impl Connection {
    pub(super) fn on_data<H: Handler>(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        outside: &mut Outside<'_, H>,
    ) -> Result<(), End> {
        let id = head.stream;
        if id == 0 {
            return Err(Violation::StreamId.into());
        }
        let data = head.unpadded(payload)?;
        // Padding counts for the windows, but not for the body.
        let flow = length(payload);
        if !self.receive.take(flow) {
            return Err(Violation::WindowOverrun.into());
        }
        let Some(slot) = self.streams.find(id) else { return self.on_late_data(id, flow, outside.out) };
        let end = head.flags.end_stream();
        if data.len() < SMALL_DATA && !end {
            self.spend_control(1)?;
        }
        let now = self.clock.now;
        let stream = &mut self.streams[slot];
        if stream.waiting() == 0 {
            // A client that sends on does not thereby take its answer.
            stream.moved = now;
        }
        let violation = if stream.has_ended_request() {
            Some(Violation::ClosedStream)
        } else if !stream.receive.take(flow) {
            Some(Violation::WindowOverrun)
        } else if !stream.count_body(data.len()) || (end && !stream.may_end()) {
            Some(Violation::ContentLength)
        } else {
            None
        };
        if let Some(violation) = violation {
            self.refund(flow, outside.out);
            return self.reset_for(slot, violation, outside);
        }
        match stream.request {
            Request::Unopened if end => self.try_whole(slot, data, flow, outside),
            Request::Unopened | Request::Passing => self.pass(slot, data, flow, end, outside),
            Request::Collecting(_) | Request::Ended => {
                self.refund(flow, outside.out);
                self.collect(slot, data, end, outside);
            }
        }
        Ok(())
    }

    /// Hands a request over whole, or in parts if the handler would rather have it so.
    fn try_whole<H: Handler>(&mut self, slot: Slot, data: &[u8], flow: u32, outside: &mut Outside<'_, H>) {
        let body = outside.share(data);
        let stream = &self.streams[slot];
        let request = WholeRequest { stream: StreamId(stream.id), head: &stream.head, body };
        match outside.handler.whole(request) {
            Some(answer) => {
                self.refund(flow, outside.out);
                self.unopened -= 1;
                self.streams[slot].request = Request::Ended;
                self.answer(slot, answer, outside.out);
            }
            None => self.pass(slot, data, flow, true, outside),
        }
    }

    /// DATA for a stream that is not there any more. It still counts for the connection's window.
    fn on_late_data(&mut self, id: u32, flow: u32, out: &mut Vec<u8>) -> Result<(), End> {
        if id > self.last_id || id.is_multiple_of(2) {
            return Err(Violation::IdleStream.into());
        }
        if !self.closed.was_reset(id) {
            return Err(Violation::ClosedStream.into());
        }
        self.refund(flow, out);
        self.spend_control(1)
    }

    /// Takes a part of a unary call's body.
    fn collect<H: Handler>(&mut self, slot: Slot, data: &[u8], end: bool, outside: &mut Outside<'_, H>) {
        let limits = &self.settings.limits;
        let stream = &mut self.streams[slot];
        let Request::Collecting(collector) = &mut stream.request else { return };
        if end && collector.is_empty() {
            let whole = Collector::whole(data, limits.message_bytes);
            stream.request = Request::Ended;
            return self.deliver(slot, whole, outside);
        }
        let before = collector.len();
        let fed = collector.feed(data, limits.message_bytes);
        self.unfinished += collector.len() - before;
        if let Err(fault) = fed {
            if end {
                self.take_collector(slot);
            }
            return self.refuse_body(slot, fault, outside);
        }
        if end {
            let whole = self.take_collector(slot).finish();
            return self.deliver(slot, whole, outside);
        }
        if self.unfinished > limits.unfinished_bytes {
            let id = StreamId(stream.id);
            outside.handler.cutoff(Cutoff::BodyBudget, Some(id));
            return self.reply(slot, Reply::to_body_budget(), outside.out);
        }
        let missing = u32::try_from(collector.missing()).unwrap_or(MAX_31).min(MAX_31);
        if let Some(increment) = stream.receive.widen_to(missing) {
            frame::put_window_update(outside.out, stream.id, increment);
        }
    }

    /// Ends a unary call's request; answers what has been collected.
    fn take_collector(&mut self, slot: Slot) -> Collector {
        match std::mem::replace(&mut self.streams[slot].request, Request::Ended) {
            Request::Collecting(collector) => {
                self.unfinished -= collector.len();
                collector
            }
            Request::Unopened | Request::Passing | Request::Ended => Collector::default(),
        }
    }

    /// Hands a unary call over, now that its request has ended.
    fn deliver<H: Handler>(
        &mut self,
        slot: Slot,
        whole: Result<Whole, BodyFault>,
        outside: &mut Outside<'_, H>,
    ) {
        let Whole { message, compressed } = match whole {
            Ok(whole) => whole,
            Err(fault) => return self.refuse_body(slot, fault, outside),
        };
        let stream = &mut self.streams[slot];
        let call = UnaryCall { stream: StreamId(stream.id), head: &stream.head, message, compressed };
        let answer = outside.handler.unary(call);
        self.answer(slot, answer, outside.out);
    }

    /// Sends what the handler answers at once.
    fn answer(&mut self, slot: Slot, answer: Answer, out: &mut Vec<u8>) {
        match answer {
            Answer::Ok(message) => self.reply_ok(slot, message, out),
            Answer::Head(head) => self.reply_head(slot, &head, out),
            Answer::Reply(reply) => self.reply(slot, *reply, out),
            Answer::Later => self.streams[slot].visible = true,
        }
    }

    /// Answers a unary call whose body is not one whole message.
    fn refuse_body<H: Handler>(&mut self, slot: Slot, fault: BodyFault, outside: &mut Outside<'_, H>) {
        if let BodyFault::TooLarge { .. } = fault {
            let id = StreamId(self.streams[slot].id);
            outside.handler.cutoff(Cutoff::MessageSize, Some(id));
        }
        self.reply(slot, Reply::to_bad_body(fault, self.settings.limits.message_bytes), outside.out);
    }

    /// Passes a part of a plain request's body on. Its windows come back when the handler has used it.
    fn pass<H: Handler>(
        &mut self,
        slot: Slot,
        data: &[u8],
        flow: u32,
        end: bool,
        outside: &mut Outside<'_, H>,
    ) {
        self.announce(slot, outside);
        let kept = length(data);
        self.refund(flow - kept, outside.out);
        let stream = &mut self.streams[slot];
        stream.unconsumed += kept;
        if end {
            stream.request = Request::Ended;
        } else if let Some(increment) = stream.receive.release(flow - kept) {
            frame::put_window_update(outside.out, stream.id, increment);
        }
        if end || !data.is_empty() {
            outside.handler.data(StreamId(stream.id), Bytes::copy_from_slice(data), end);
        }
    }

    fn end_by_trailers<H: Handler>(
        &mut self,
        slot: Slot,
        trailers: Vec<Field>,
        outside: &mut Outside<'_, H>,
    ) {
        self.announce(slot, outside);
        let stream = &mut self.streams[slot];
        if matches!(stream.request, Request::Passing) {
            stream.request = Request::Ended;
            outside.handler.trailers(StreamId(stream.id), trailers);
        } else {
            // gRPC has no use for a client's trailers.
            let whole = self.take_collector(slot).finish();
            self.deliver(slot, whole, outside);
        }
    }
}

/// A length within one frame.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a frame is at most 16,384 bytes")
}

/// What a header block costs that was decoded for nothing.
fn cost_of_waste(block: &[u8]) -> u32 {
    20 + u32::try_from(block.len() / 128).unwrap_or(u32::MAX - 20)
}

/// Bytes of DATA below which a frame counts as one that carries nothing, unless it ends its stream.
const SMALL_DATA: usize = 32;
