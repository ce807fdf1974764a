//! gRPC on the wire: what every transport shares, whatever moves its bytes.
//!
//! Framing, deadlines, compression, metadata and statuses are pure functions here; no socket, no clock,
//! no HTTP library beyond its types. [`Refusal`] lists every way a request can fail before the host sees
//! it; which status each one gets is decided in one match.

pub(crate) mod compression;
pub(crate) mod content_type;
pub(crate) mod framing;
pub(crate) mod metadata;
pub(crate) mod status;
pub(crate) mod timeout;

use exec_plan::Code;

use self::compression::{Encoding, InflateError};
use self::framing::FrameError;
use self::timeout::MalformedTimeout;
use crate::gateway::connect::head::HeadError;

/// Why a request was answered without the host, or an answer could not be sent as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The body is not one message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The `grpc-timeout` makes no sense.
    #[error(transparent)]
    Timeout(#[from] MalformedTimeout),
    /// The message is flagged as compressed, and no header says how.
    #[error("the message is compressed, but grpc-encoding names no compression")]
    NoEncoding,
    /// The request is compressed in a way that is not known here.
    #[error("the encoding {name:?} is not supported; supported: {}", Encoding::ACCEPTED)]
    UnknownEncoding {
        /// The encoding's name.
        name: String,
    },
    /// The compressed message could not be inflated.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// A Connect request says something about itself that makes no sense.
    #[error(transparent)]
    Connect(#[from] HeadError),
    /// The request is not the JSON of its message.
    #[error("the request is not {message}: {error}")]
    NotJson {
        /// The message's full name.
        message: String,
        /// What is wrong, and where.
        error: String,
    },
    /// There is nothing to translate JSON with.
    #[error(
        "JSON cannot be translated: {service} has no schema here; send protobuf, deploy the service with its \
         descriptors, or name them in services.descriptors"
    )]
    NoSchema {
        /// The service's full name.
        service: String,
    },
    /// The answer is not the message that the schema says it is.
    #[error("the response is not {message}: {error}")]
    NotTheMessage {
        /// The message's full name.
        message: String,
        /// What is wrong with it.
        error: String,
    },
    /// The deadline passed before the whole message had arrived.
    #[error("the deadline passed before the whole request message had arrived")]
    LateByDeadline,
    /// The message took too long, whatever the deadline.
    #[error("the request message did not arrive within {limit:?} (connections.body_timeout)")]
    LateByLimit {
        /// The limit.
        limit: std::time::Duration,
    },
    /// Nothing arrived for too long.
    #[error("no byte of the request message arrived for {limit:?} (connections.body_idle_timeout)")]
    Stalled {
        /// The limit.
        limit: std::time::Duration,
    },
    /// All requests together hold as many bytes as they may.
    #[error("request messages in flight hold {limit} bytes already (messages.in_flight)")]
    OverBudget {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client or the connection gave the body up.
    #[error("the request body broke off")]
    BrokenOff,
    /// The host panicked.
    #[error("the call failed inside the server")]
    Panicked,
    /// The answer's message is larger than allowed.
    #[error(
        "response message of {length} bytes is larger than the limit of {limit} bytes (messages.max_send)"
    )]
    AnswerTooLarge {
        /// The message's length.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer's metadata cannot be sent.
    #[error("response metadata cannot be sent: {0}")]
    Metadata(metadata::Unsendable),
}

// === impl Refusal ===

impl Refusal {
    /// The status of each refusal: the only place where one is chosen.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Frame(FrameError::Missing | FrameError::Several) | Self::UnknownEncoding { .. } => {
                Code::Unimplemented
            }
            Self::NoSchema { .. } => Code::Unimplemented,
            Self::Frame(FrameError::TooLarge { .. })
            | Self::Inflate(InflateError::TooLarge { .. })
            | Self::OverBudget { .. }
            | Self::AnswerTooLarge { .. } => Code::ResourceExhausted,
            Self::Frame(FrameError::Truncated { .. } | FrameError::Flag { .. } | FrameError::Text)
            | Self::NoEncoding
            | Self::Inflate(InflateError::Corrupt { .. })
            | Self::Panicked
            | Self::NotTheMessage { .. }
            | Self::Metadata(_) => Code::Internal,
            Self::Timeout(_) | Self::Connect(_) | Self::NotJson { .. } => Code::InvalidArgument,
            Self::LateByDeadline => Code::DeadlineExceeded,
            Self::LateByLimit { .. } | Self::Stalled { .. } | Self::BrokenOff => Code::Cancelled,
        }
    }

    /// The name under which refusals are counted.
    pub(crate) fn reason(&self) -> RefusalReason {
        match self {
            Self::Frame(FrameError::TooLarge { .. }) | Self::Inflate(InflateError::TooLarge { .. }) => {
                RefusalReason::TooLarge
            }
            Self::Frame(_) => RefusalReason::Framing,
            Self::Timeout(_) => RefusalReason::MalformedTimeout,
            Self::NoEncoding | Self::UnknownEncoding { .. } | Self::Inflate(_) => RefusalReason::Compression,
            Self::Connect(HeadError::Timeout { .. }) => RefusalReason::MalformedTimeout,
            Self::Connect(_) => RefusalReason::MalformedHead,
            Self::NotJson { .. } | Self::NoSchema { .. } => RefusalReason::Codec,
            Self::LateByDeadline => RefusalReason::Deadline,
            Self::LateByLimit { .. } => RefusalReason::SlowBody,
            Self::Stalled { .. } => RefusalReason::StalledBody,
            Self::OverBudget { .. } => RefusalReason::OverBudget,
            Self::BrokenOff => RefusalReason::BrokenOff,
            Self::Panicked => RefusalReason::Panicked,
            Self::AnswerTooLarge { .. } | Self::NotTheMessage { .. } | Self::Metadata(_) => {
                RefusalReason::UnsendableAnswer
            }
        }
    }
}

/// Under which name a refusal is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The message is larger than the limit, before or after inflating.
    TooLarge,
    /// The body is not exactly one well-formed message.
    Framing,
    /// `grpc-timeout` or `connect-timeout-ms` is malformed.
    MalformedTimeout,
    /// The head, or the query, of a Connect request makes no sense.
    MalformedHead,
    /// The request is JSON that cannot be translated.
    Codec,
    /// Unknown, missing or corrupt compression.
    Compression,
    /// The deadline passed while the message was arriving.
    Deadline,
    /// The message took too long to arrive.
    SlowBody,
    /// The message stopped arriving.
    StalledBody,
    /// The budget of bytes in flight was used up.
    OverBudget,
    /// The client went away in the middle of its message.
    BrokenOff,
    /// The host panicked.
    Panicked,
    /// The answer was too large, or its metadata unsendable.
    UnsendableAnswer,
}

impl RefusalReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::TooLarge,
        Self::Framing,
        Self::MalformedTimeout,
        Self::MalformedHead,
        Self::Codec,
        Self::Compression,
        Self::Deadline,
        Self::SlowBody,
        Self::StalledBody,
        Self::OverBudget,
        Self::BrokenOff,
        Self::Panicked,
        Self::UnsendableAnswer,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Framing => "framing",
            Self::MalformedTimeout => "malformed_timeout",
            Self::MalformedHead => "malformed_head",
            Self::Codec => "codec",
            Self::Compression => "compression",
            Self::Deadline => "deadline",
            Self::SlowBody => "slow_body",
            Self::StalledBody => "stalled_body",
            Self::OverBudget => "over_budget",
            Self::BrokenOff => "broken_off",
            Self::Panicked => "panicked",
            Self::UnsendableAnswer => "unsendable_answer",
        }
    }
}
