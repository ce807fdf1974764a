//! One line per call: who asked for what, which plan answered, how it ended and how long it took.
//!
//! A line is an event under [`ACCESS_TARGET`], at `INFO` for calls that succeeded and at `WARN` for
//! those that did not. Which of them are wanted is a matter of levels, so that what nobody wants costs
//! one look at a cached flag; [`Sample`] then thins out success.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use exec_plan::{Code, TraceParent};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::AccessLogging;
use crate::protocol::Protocol;

/// The target of access lines.
pub const ACCESS_TARGET: &str = "okra::access";

/// What is said about one call.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The full method.
    pub method: &'a str,
    /// The protocol it came over.
    pub protocol: Protocol,
    /// The client's address.
    pub peer: &'a str,
    /// The plan that was chosen, `name@version#hash`.
    pub plan: &'a str,
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// How it ended.
    pub code: Code,
    /// From its arrival to the end of its run.
    pub elapsed: Duration,
    /// The size of the request message.
    pub request_bytes: usize,
}

/// Lets one in so many lines of successful calls through.
#[derive(Debug)]
pub(super) struct Sample {
    one_in: NonZeroU32,
    seen: AtomicU32,
}

// === impl AccessLine ===

impl AccessLine<'_> {
    /// Whether the line of a call that ended like this may be wanted. Ask before gathering what it says.
    #[inline]
    pub fn is_wanted(code: Code) -> bool {
        if code == Code::Ok {
            tracing::enabled!(target: ACCESS_TARGET, Level::INFO)
        } else {
            tracing::enabled!(target: ACCESS_TARGET, Level::WARN)
        }
    }

    /// Writes the line.
    pub fn write(&self) {
        let trace_id = self.trace.map(|trace| format!("{:032x}", trace.trace_id));
        // A level is part of an event's static description, hence one macro call for each.
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: ACCESS_TARGET,
                    method = self.method,
                    protocol = self.protocol.name(),
                    code = self.code.name(),
                    plan = self.plan,
                    request_id = self.request_id,
                    trace_id = trace_id.as_deref(),
                    peer = self.peer,
                    elapsed_us = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
                    request_bytes = self.request_bytes,
                )
            };
        }
        if self.code == Code::Ok { event!(info) } else { event!(warn) }
    }
}

// === impl AccessLogging ===

impl AccessLogging {
    /// The level from which lines are wanted.
    pub(super) fn level(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Failures => "warn",
            Self::All => "info",
        }
    }
}

// === impl Sample ===

impl Sample {
    pub(super) fn new(one_in: NonZeroU32) -> Self {
        Self { one_in, seen: AtomicU32::new(0) }
    }
}

impl<S: Subscriber> Layer<S> for Sample {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        metadata.target() != ACCESS_TARGET
            || *metadata.level() != Level::INFO
            || self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in.get())
    }
}
