//! How a connection ends: by time, by drain, by a fault of its client.

use std::time::Duration;

use super::{Connection, Outside, Phase};
use crate::error::{Cancelled, Cutoff, End, ErrorCode};
use crate::frame::{self, Flags, MAX_31};
use crate::handler::{Handler, StreamId};
use crate::stream::{Request, Stream};
use crate::tick::Tick;

/// What the connection knows of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The latest moment we were told.
    pub(super) now: Tick,
    begun: Tick,
    /// When bytes last came.
    heard: Tick,
    /// When our SETTINGS went out.
    pub(super) introduced: Option<Tick>,
    /// Whether they were acknowledged.
    pub(super) acknowledged: bool,
    /// When a PING went out to which nothing came back yet.
    pinged: Option<Tick>,
    /// When the last stream ended.
    pub(super) quiet_since: Tick,
    /// When the streams were last looked through.
    pub(super) swept: Tick,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    /// The client was told that we will take no more; streams that it opened before it knew are taken.
    Noticed(Tick),
    /// It was told which stream was the last.
    Last,
}

// === impl Connection ===

impl Connection {
    /// When [`Connection::timer`] wants to be called next. May move to earlier or later with every call.
    pub fn due(&self) -> Option<Tick> {
        if self.is_closed() {
            return None;
        }
        let sweep = (!self.streams.is_empty()).then(|| self.clock.swept.after(self.sweep_interval()));
        let drain = match self.drain {
            Drain::Noticed(since) => Some(since.after(self.settings.limits.drain_ping_timeout)),
            Drain::No | Drain::Last => None,
        };
        let keepalive = self.keepalive_due();
        self.deadlines()
            .into_iter()
            .flatten()
            .map(|(due, _)| due)
            .chain(sweep)
            .chain(drain)
            .chain(keepalive)
            .min()
    }

    /// Does what time demands.
    pub fn timer<H: Handler>(&mut self, now: Tick, out: &mut Vec<u8>, handler: &mut H) {
        if self.is_closed() {
            return;
        }
        self.clock.now = now;
        let mut outside = Outside { out, handler, lent: None };
        let overdue = self.deadlines().into_iter().flatten().find(|(due, _)| *due <= now);
        if let Some((_, cutoff)) = overdue {
            return self.fail(cutoff.into(), &mut outside);
        }
        if self.keepalive_due().is_some_and(|due| due <= now) {
            self.clock.pinged = Some(now);
            self.streams.release_memory();
            frame::put_ping(outside.out, Flags::NONE, KEEPALIVE_PING);
        }
        if let Drain::Noticed(since) = self.drain
            && since.after(self.settings.limits.drain_ping_timeout) <= now
        {
            self.last_call(outside.out);
        }
        if self.clock.swept.after(self.sweep_interval()) <= now {
            self.clock.swept = now;
            self.sweep(&mut outside);
        }
    }

    /// Begins to drain: GOAWAY that names no stream, and a PING; when that comes back or its time is over,
    /// GOAWAY that names the last stream; after the last answer the connection ends.
    pub fn drain(&mut self, now: Tick, out: &mut Vec<u8>) {
        if self.is_closed() || self.drain != Drain::No {
            return;
        }
        self.clock.now = now;
        if let Phase::Preface(_) = self.phase {
            self.introduce(out);
            return self.last_call(out);
        }
        frame::put_goaway(out, MAX_31, ErrorCode::NO_ERROR, "");
        frame::put_ping(out, Flags::NONE, DRAIN_PING);
        self.drain = Drain::Noticed(now);
    }

    /// The transport is gone: nothing can be read or sent any more.
    pub fn disconnected<H: Handler>(&mut self, handler: &mut H) {
        if !self.is_closed() {
            self.stop(End::Disconnected, handler);
        }
    }

    /// Cuts the connection off for a limit that the handler minds.
    pub fn cut_off<H: Handler>(&mut self, cutoff: Cutoff, out: &mut Vec<u8>, handler: &mut H) {
        if !self.is_closed() {
            self.fail(cutoff.into(), &mut Outside { out, handler, lent: None });
        }
    }

    /// Whether streams that are opened now are not processed.
    pub(super) fn takes_no_more(&self) -> bool {
        self.drain == Drain::Last
    }

    pub(super) fn last_call(&mut self, out: &mut Vec<u8>) {
        frame::put_goaway(out, self.last_id, ErrorCode::NO_ERROR, "");
        self.drain = Drain::Last;
        if self.streams.is_empty() {
            self.end = Some(End::Drained);
        }
    }

    /// Ends the connection and says why.
    pub(super) fn fail<H: Handler>(&mut self, end: End, outside: &mut Outside<'_, H>) {
        if let Phase::Preface(_) = self.phase {
            // SETTINGS must come first, also before bad news.
            self.introduce(outside.out);
        }
        frame::put_goaway(outside.out, self.last_id, end.code(), end.as_str());
        self.stop(end, outside.handler);
    }

    fn stop<H: Handler>(&mut self, end: End, handler: &mut H) {
        self.end = Some(end);
        self.partial = Vec::new();
        self.block = None;
        self.ready.clear();
        self.writable.clear();
        self.unfinished = 0;
        self.unopened = 0;
        for stream in self.streams.drain().filter(|stream| stream.visible) {
            handler.cancelled(StreamId(stream.id), Cancelled::ConnectionEnded);
        }
        if let End::Cutoff(cutoff) = end {
            handler.cutoff(cutoff, None);
        }
    }

    /// The moments at which the whole connection is cut off.
    fn deadlines(&self) -> [Option<(Tick, Cutoff)>; 5] {
        let (limits, clock) = (&self.settings.limits, &self.clock);
        let open = self.phase == Phase::Open;
        let unacknowledged = clock.introduced.filter(|_| !clock.acknowledged);
        [
            (!open).then(|| (clock.begun.after(limits.preface_timeout), Cutoff::PrefaceTimeout)),
            unacknowledged.map(|since| (since.after(limits.settings_timeout), Cutoff::SettingsTimeout)),
            self.block
                .as_ref()
                .map(|block| (block.since.after(limits.header_timeout), Cutoff::HeaderBlockTimeout)),
            clock.pinged.map(|since| (since.after(limits.keepalive_timeout), Cutoff::KeepaliveTimeout)),
            (open && self.streams.is_empty())
                .then(|| (clock.quiet_since.after(limits.idle_timeout), Cutoff::Idle)),
        ]
    }

    /// When a PING is to ask whether the client is there.
    fn keepalive_due(&self) -> Option<Tick> {
        let interval = self.settings.limits.keepalive_interval;
        let asks = self.phase == Phase::Open && self.clock.pinged.is_none() && !interval.is_zero();
        asks.then(|| self.clock.heard.after(interval))
    }

    /// How often the streams are looked through.
    fn sweep_interval(&self) -> Duration {
        if self.unopened > 0 { SOON } else { SWEEP }
    }

    /// Ends the streams that wait for too long, and tells the handler of those whose body does not come whole.
    fn sweep<H: Handler>(&mut self, outside: &mut Outside<'_, H>) {
        if self.unopened > 0 {
            for slot in self.streams.unopened() {
                self.announce(slot, outside);
            }
        }
        let overdue: Vec<(u32, Cutoff)> =
            self.streams.iter().filter_map(|stream| Some((stream.id, self.overdue(stream)?))).collect();
        for (id, cutoff) in overdue {
            if let Some(slot) = self.streams.find(id) {
                outside.handler.cutoff(cutoff, Some(StreamId(id)));
                self.reset(slot, cutoff.code(), Cancelled::Cutoff(cutoff), outside);
            }
        }
    }

    fn overdue(&self, stream: &Stream) -> Option<Cutoff> {
        let (limits, now) = (&self.settings.limits, self.clock.now);
        let passed = |since: Tick, limit: Duration| since.after(limit) <= now;
        if stream.waiting() > 0 && passed(stream.moved, limits.answer_stall) {
            return Some(Cutoff::AnswerStall);
        }
        match stream.request {
            Request::Collecting(_) if passed(stream.opened, limits.body_timeout) => Some(Cutoff::BodyTimeout),
            Request::Collecting(_) if passed(stream.moved, limits.body_stall) => Some(Cutoff::BodyStall),
            Request::Passing if passed(stream.moved, limits.stream_idle) => Some(Cutoff::StreamIdle),
            Request::Collecting(_) | Request::Unopened | Request::Passing | Request::Ended => None,
        }
    }
}

// === impl Clock ===

impl Clock {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            now,
            begun: now,
            heard: now,
            introduced: None,
            acknowledged: false,
            pinged: None,
            quiet_since: now,
            swept: now,
        }
    }

    /// Bytes came: whoever sends them is there.
    pub(super) fn heard(&mut self, now: Tick) {
        self.now = now;
        self.heard = now;
        self.pinged = None;
    }
}

/// How often the streams are looked through for those that wait too long.
const SWEEP: Duration = Duration::from_secs(1);
/// How long at most a body may take that is to come whole.
const SOON: Duration = Duration::from_millis(50);
const KEEPALIVE_PING: [u8; 8] = *b"are you?";
pub(super) const DRAIN_PING: [u8; 8] = *b"draining";
