//! Events of a run, for whoever watches it, and the W3C trace context it belongs to.
//!
//! A run without a sink pays nothing: the executor is compiled once with events and once without.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fault::Code;
use crate::plan::ExecPlan;

/// Receives the events of runs. Called on the hot path of traced runs: must not block.
pub trait TraceSink: Send + Sync {
    /// One event of a run of `plan`.
    fn event(&self, plan: &ExecPlan, event: TraceEvent<'_>);
}

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// The run began.
    RunStarted,
    /// A node is about to run.
    NodeStarted {
        /// The node's id.
        node: &'a str,
    },
    /// A node ended, or was skipped.
    NodeEnded {
        /// The node's id.
        node: &'a str,
        /// How it ended.
        end: NodeEnd,
        /// How long it ran; zero if it was skipped.
        elapsed: Duration,
    },
    /// The run ended.
    RunEnded {
        /// `Ok`, or the code of the fault that ended it.
        code: Code,
        /// How long it ran.
        elapsed: Duration,
    },
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEnd {
    /// It set its outputs.
    Ok,
    /// It did not run, because an input did not fire.
    Skipped,
    /// It failed, and its fallback took over.
    FellBack(Code),
    /// It failed.
    Failed(Code),
}

/// A W3C `traceparent`: which trace a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span that asks; never zero.
    pub parent_id: u64,
    /// The flags; bit 0 is "sampled".
    pub flags: u8,
}

/// The text is not a `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Reads `00-{32 hex}-{16 hex}-{2 hex}`; a later version may carry more after a further `-`.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let lower_hex = |part: &str, len: usize| {
            (part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(())
        };
        let mut parts = text.splitn(5, '-');
        let mut next = |len| {
            let part = parts.next()?;
            lower_hex(part, len).map(|()| part)
        };
        let (version, trace, parent, flags) =
            (|| Some((next(2)?, next(32)?, next(16)?, next(2)?)))().ok_or(InvalidTraceParent)?;
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(InvalidTraceParent);
        }
        let trace_id = u128::from_str_radix(trace, 16).map_err(|_| InvalidTraceParent)?;
        let parent_id = u64::from_str_radix(parent, 16).map_err(|_| InvalidTraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| InvalidTraceParent)?;
        if trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceParent);
        }
        Ok(Self { trace_id, parent_id, flags })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_a_round_trip() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(later.parse::<TraceParent>().is_ok());
    }
}
