//! One line per call: who asked for what, which plan answered, how it ended and how long it took.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use exec_plan::{Code, TraceParent};

use crate::config::AccessLogging;

/// Decides which calls get a line, and writes it.
#[derive(Debug)]
pub struct AccessLog {
    logging: AccessLogging,
    sample: NonZeroU32,
    succeeded: AtomicU32,
}

/// What is said about one call.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The full method.
    pub method: &'a str,
    /// The client's address.
    pub peer: &'a str,
    /// The plan that was chosen, `name@version#hash`.
    pub plan: Option<&'a str>,
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// How it ended.
    pub code: Code,
    /// The status message of a call that failed.
    pub message: &'a str,
    /// How long it waited for its turn.
    pub waited: Duration,
    /// How long it took in all.
    pub elapsed: Duration,
    /// The size of the request message.
    pub request_bytes: usize,
    /// The size of the response message.
    pub response_bytes: usize,
}

impl AccessLog {
    /// A log of these calls, and of one in `sample` of those that succeed.
    pub fn new(logging: AccessLogging, sample: NonZeroU32) -> Self {
        Self { logging, sample, succeeded: AtomicU32::new(0) }
    }

    /// Whether a call that ended like this gets its line. Ask before gathering what the line says, and
    /// once per call: the question counts for the sample.
    #[inline]
    pub fn wants(&self, code: Code) -> bool {
        match (self.logging, code) {
            (AccessLogging::Off, _) | (AccessLogging::Failures, Code::Ok) => false,
            (AccessLogging::All, Code::Ok) => {
                self.succeeded.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample.get())
                    && tracing::enabled!(target: "okra::access", tracing::Level::INFO)
            }
            (AccessLogging::Failures | AccessLogging::All, _) => {
                tracing::enabled!(target: "okra::access", tracing::Level::WARN)
            }
        }
    }

    /// Writes the line, if this call gets one.
    pub fn write(&self, line: &AccessLine<'_>) {
        if self.wants(line.code) {
            line.emit();
        }
    }
}

impl AccessLine<'_> {
    /// Writes the line whatever the log wants.
    pub fn emit(&self) {
        let trace_id = self.trace.map(|trace| format!("{:032x}", trace.trace_id));
        // A level is part of an event's static description, hence one macro call for each.
        macro_rules! event {
            ($level:ident, $($extra:tt)*) => {
                tracing::$level!(
                    target: "okra::access",
                    method = self.method,
                    code = self.code.name(),
                    plan = self.plan,
                    request_id = self.request_id,
                    trace_id = trace_id.as_deref(),
                    peer = self.peer,
                    elapsed_us = micros(self.elapsed),
                    waited_us = micros(self.waited),
                    request_bytes = self.request_bytes,
                    response_bytes = self.response_bytes,
                    $($extra)*
                )
            };
        }
        if self.code == Code::Ok {
            event!(info, "call");
        } else {
            event!(warn, error = self.message, "call");
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
