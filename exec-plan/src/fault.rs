//! Faults: how a node, and with it a run, fails.
//!
//! A [`Fault`] carries a canonical [`Code`] rather than the status of any protocol. The seventeen
//! codes are the canonical error space that RPC systems share; how each is spelled on a wire is
//! decided once, by whoever owns that wire.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::metadata::Metadata;

/// The canonical code of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Nothing more is known.
    Unknown = 2,
    /// The request itself is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// Time ran out.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be created exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A quota, a queue or a limit is exhausted.
    ResourceExhausted = 8,
    /// The system is not in the state the request needs.
    FailedPrecondition = 9,
    /// A concurrent change won.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// Not implemented here.
    Unimplemented = 12,
    /// An invariant broke.
    Internal = 13,
    /// Not reachable now; trying again may help.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

/// Why a node failed. One word wide, so that the happy path moves no more than a pointer.
pub struct Fault(Box<Body>);

struct Body {
    code: Code,
    message: String,
    details: Option<Bytes>,
    metadata: Option<Arc<Metadata>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    verbatim: bool,
}

/// A place that a fault came through.
#[derive(Debug, thiserror::Error)]
#[error("{place}")]
struct Through {
    place: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// A code's name was not one of the seventeen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status code")]
pub struct UnknownCode(pub String);

// === impl Code ===

impl Code {
    /// Every code, in numeric order.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The name in documents and logs, `INVALID_ARGUMENT` for example.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The code's number, 0 to 16.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The code with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.name() == name).ok_or_else(|| UnknownCode(name.to_owned()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Fault ===

impl Fault {
    /// A fault with this code and public message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Body {
            code,
            message: message.into(),
            details: None,
            metadata: None,
            source: None,
            verbatim: false,
        }))
    }

    /// Adds the serialized `google.rpc.Status` that explains the fault to programs.
    #[must_use]
    pub fn with_details(mut self, details: Bytes) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Adds metadata for whoever asked.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Arc<Metadata>) -> Self {
        self.0.metadata = Some(metadata);
        self
    }

    /// Adds the cause, for logs; callers of the service never see it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts another public message in place of this one; all else stays.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a place that the fault came through to its causes, for logs.
    #[must_use]
    pub fn through(mut self, place: impl Into<String>) -> Self {
        let source = self.0.source.take();
        self.with_source(Through { place: place.into(), source })
    }

    /// Marks the message as the graph's own words to its caller, to be passed on without any addition.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.0.verbatim = true;
        self
    }

    /// Whether the message is the graph's own words to its caller.
    pub fn is_verbatim(&self) -> bool {
        self.0.verbatim
    }

    /// The canonical code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The public message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The serialized `google.rpc.Status`, if any.
    pub fn details(&self) -> Option<&Bytes> {
        self.0.details.as_ref()
    }

    /// The metadata for whoever asked, if any.
    pub fn metadata(&self) -> Option<&Arc<Metadata>> {
        self.0.metadata.as_ref()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_again_by_its_name_and_by_its_number() {
        for code in Code::ALL {
            assert_eq!(code.name().parse(), Ok(code));
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(17), None);
        assert!("NO_SUCH".parse::<Code>().is_err());
    }

    #[test]
    fn a_fault_keeps_its_cause_on_its_way_out() {
        let fault = Fault::new(Code::NotFound, "no such thing").with_source("why").verbatim();
        let fault = fault.through("node a").with_message("item 1: no such thing").through("graph b");
        assert_eq!(fault.to_string(), "NOT_FOUND: item 1: no such thing");
        assert!(fault.is_verbatim());
        let mut chain = Vec::new();
        let mut next = fault.source();
        while let Some(cause) = next {
            chain.push(cause.to_string());
            next = cause.source();
        }
        assert_eq!(chain, ["graph b", "node a", "why"]);
    }

    #[test]
    fn a_fault_is_one_word_wide() {
        assert_eq!(size_of::<Result<(), Fault>>(), size_of::<usize>());
    }
}
