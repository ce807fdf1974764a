//! Why a call of a guest failed.
//!
//! A [`GuestFault`] says what happened, in words that a caller of the service may read; which status it
//! becomes is decided by whoever answers the call. Stack traces and the inner text of traps stay in logs.

use std::time::Duration;

use bytes::Bytes;

use crate::abi::envelope::Field;

/// Why a call of a guest failed. Exhaustive, so that whoever picks statuses picks one for each.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GuestFault {
    /// All instances were busy for as long as the call might wait, or too many calls waited already.
    #[error("all instances of the service are busy")]
    Busy,
    /// The deadline of the call, or the longest time that a guest may run, has passed.
    #[error("the service did not answer in time")]
    Deadline,
    /// The guest ended itself.
    #[error("the service exited with code {0}")]
    Exited(i32),
    /// The guest's own error, in its own words.
    #[error("{0}")]
    Guest(String),
    /// The guest's own error with a status of its own choosing: envelope guests alone have it.
    #[error("{}", .0.message)]
    GuestStatus(Box<GuestStatus>),
    /// The guest failed without a word: it returned null.
    #[error("handle_request returned null")]
    GuestSilent,
    /// The guest called the host more often than one call may.
    #[error("the service made more than {limit} calls to its host")]
    HostCalls {
        /// How many it may make.
        limit: u32,
    },
    /// The request does not fit the guest's memory.
    #[error("the service has no memory for the request")]
    InputRefused,
    /// The guest asked for more linear memory than its limit, and then failed.
    #[error("the service ran out of memory (limit {limit} bytes)")]
    MemoryLimit {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The guest gave a pointer or a result that makes no sense.
    #[error("the service gave {0}")]
    Malformed(&'static str),
    /// Waiting needs a tokio runtime, and this thread has none.
    #[error("calls of guests need a tokio runtime")]
    NoRuntime,
    /// The result is over the limit.
    #[error("the service's result is larger than {limit} bytes")]
    ResultTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The guest used up its stack.
    #[error("the service overflowed its stack")]
    StackOverflow,
    /// No instance could be started of late; the next attempt is due in `retry_in`.
    #[error("the service does not start: {why}")]
    Starting {
        /// Why the last attempt failed.
        why: String,
        /// How long no attempt is made.
        retry_in: Duration,
    },
    /// The guest asked for more table elements than its limit, and then failed.
    #[error("the service ran out of table space (limit {limit} elements)")]
    TableLimit {
        /// The limit, in elements per table.
        limit: usize,
    },
    /// The guest trapped: `what` names the kind of trap.
    #[error("the service trapped: {what}")]
    Trapped {
        /// What kind of trap, without any address or trace.
        what: String,
    },
    /// The guest does not know the method.
    #[error("unknown method: {0}")]
    UnknownMethod(String),
}

/// The status that an envelope guest answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuestStatus {
    /// The code's number as the guest gave it, not zero.
    pub code: i32,
    /// The message.
    pub message: String,
    /// A serialized `google.rpc.Status`; empty if there is none.
    pub details: Bytes,
    /// What goes before the message.
    pub metadata: Vec<Field>,
    /// What goes after it.
    pub trailers: Vec<Field>,
}

// === impl GuestFault ===

impl GuestFault {
    /// Whether the guest answered in an orderly way: then its instance is as good as before.
    pub(crate) fn is_orderly(&self) -> bool {
        match self {
            Self::Guest(_) | Self::GuestStatus(_) | Self::GuestSilent | Self::UnknownMethod(_) => true,
            Self::Busy
            | Self::Deadline
            | Self::Exited(_)
            | Self::HostCalls { .. }
            | Self::InputRefused
            | Self::MemoryLimit { .. }
            | Self::Malformed(_)
            | Self::NoRuntime
            | Self::ResultTooLarge { .. }
            | Self::StackOverflow
            | Self::Starting { .. }
            | Self::TableLimit { .. }
            | Self::Trapped { .. } => false,
        }
    }
}
