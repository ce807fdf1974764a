//! Why streams and connections end: error codes of the wire, what a peer did wrong, which guard cut it off.

use std::fmt;

/// An error code of RFC 9113 §7, also one that this crate has no name for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

/// A breach of the protocol by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// The header block does not decode.
    Compression,
    /// The body's length differs from `content-length`.
    ContentLength,
    /// A frame arrived for a stream that has ended.
    ClosedStream,
    /// A client opened a stream with an even id.
    EvenStream,
    /// The first frame is not SETTINGS.
    FirstFrame,
    /// A frame of fixed length has another length.
    FrameLength,
    /// A frame is longer than 16,384 bytes.
    FrameTooLong,
    /// A header block was interrupted by another frame.
    HeaderBlockInterrupted,
    /// A frame arrived for a stream that was never opened.
    IdleStream,
    /// The request's head breaks RFC 9113 §8.2 or §8.3.
    MalformedHead,
    /// The request's trailers have pseudo-header fields or bad fields.
    MalformedTrailers,
    /// The padding is longer than its frame.
    Padding,
    /// The connection did not begin with the client preface.
    Preface,
    /// A client sent PUSH_PROMISE.
    PushPromise,
    /// A setting has a value it must not have.
    SettingValue,
    /// A stream depends on itself.
    SelfDependency,
    /// A stream was opened with an id below an earlier one.
    SkippedStream,
    /// A frame that belongs to the connection names a stream, or the other way round.
    StreamId,
    /// Trailers without END_STREAM.
    TrailersWithoutEnd,
    /// CONTINUATION without a header block to continue.
    UnexpectedContinuation,
    /// More data than the window allowed.
    WindowOverrun,
    /// A window grew beyond 2^31 − 1.
    WindowOverflow,
    /// WINDOW_UPDATE by zero.
    ZeroIncrement,
}

/// A guard that ended a stream or a connection although the protocol was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cutoff {
    /// Stream: the client did not take the answer for [`Limits::answer_stall`](crate::Limits::answer_stall).
    AnswerStall,
    /// Stream: the connection holds [`Limits::unfinished_bytes`](crate::Limits::unfinished_bytes) of
    /// unfinished messages.
    BodyBudget,
    /// Stream: no part of the message came for [`Limits::body_stall`](crate::Limits::body_stall).
    BodyStall,
    /// Stream: the message was not whole after [`Limits::body_timeout`](crate::Limits::body_timeout).
    BodyTimeout,
    /// Connection: one header block in more than
    /// [`Limits::continuations`](crate::Limits::continuations) CONTINUATION frames.
    ContinuationFlood,
    /// Connection: [`Limits::control_budget`](crate::Limits::control_budget) is spent.
    ControlFlood,
    /// Connection: a header block longer than
    /// [`Limits::header_block_bytes`](crate::Limits::header_block_bytes).
    HeaderBlockSize,
    /// Connection: a header block not ended within
    /// [`Limits::header_timeout`](crate::Limits::header_timeout).
    HeaderBlockTimeout,
    /// Stream: a decoded head larger than [`Limits::header_list_bytes`](crate::Limits::header_list_bytes).
    HeaderListSize,
    /// Connection: no stream for [`Limits::idle_timeout`](crate::Limits::idle_timeout).
    Idle,
    /// Connection: a keepalive PING was not acknowledged.
    KeepaliveTimeout,
    /// Stream: the message's prefix declares more than
    /// [`Limits::message_bytes`](crate::Limits::message_bytes).
    MessageSize,
    /// Connection: no preface and SETTINGS within
    /// [`Limits::preface_timeout`](crate::Limits::preface_timeout).
    PrefaceTimeout,
    /// Connection: [`Limits::reset_budget`](crate::Limits::reset_budget) is spent.
    ResetFlood,
    /// Connection: our SETTINGS were not acknowledged in time.
    SettingsTimeout,
    /// Stream: nothing happened on a plain stream for
    /// [`Limits::stream_idle`](crate::Limits::stream_idle).
    StreamIdle,
    /// Stream: more concurrent streams than [`Settings::max_streams`](crate::Settings::max_streams).
    StreamLimit,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It was drained: every stream it accepted has been answered.
    Drained,
    /// The transport went away.
    Disconnected,
    /// The peer broke the protocol.
    Violation(Violation),
    /// A guard ended it.
    Cutoff(Cutoff),
}

/// Why a stream known to the handler ended before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// The peer sent RST_STREAM with this code.
    ByPeer(ErrorCode),
    /// The peer broke the protocol on this stream.
    Violation(Violation),
    /// A guard ended the stream.
    Cutoff(Cutoff),
    /// The whole connection ended.
    ConnectionEnded,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// No error: a graceful end.
    pub const NO_ERROR: Self = Self(0x0);
    /// A breach of the protocol with no code of its own.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// Something went wrong here.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// A window was overrun or grew too large.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame for a stream that has ended.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a wrong length.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The stream was not processed at all, so it may be tried again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is not wanted any more.
    pub const CANCEL: Self = Self(0x8);
    /// The header compression state is lost.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The connection of a CONNECT request failed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer causes too much work.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// The request needs HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            Self(code) => return write!(f, "ErrorCode({code:#x})"),
        };
        f.write_str(name)
    }
}

// === impl Violation ===

impl Violation {
    /// The code that tells the peer.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Compression => ErrorCode::COMPRESSION_ERROR,
            Self::ClosedStream => ErrorCode::STREAM_CLOSED,
            Self::FrameLength | Self::FrameTooLong => ErrorCode::FRAME_SIZE_ERROR,
            Self::WindowOverrun | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
            Self::ContentLength
            | Self::EvenStream
            | Self::FirstFrame
            | Self::HeaderBlockInterrupted
            | Self::IdleStream
            | Self::MalformedHead
            | Self::MalformedTrailers
            | Self::Padding
            | Self::Preface
            | Self::PushPromise
            | Self::SettingValue
            | Self::SelfDependency
            | Self::SkippedStream
            | Self::StreamId
            | Self::TrailersWithoutEnd
            | Self::UnexpectedContinuation
            | Self::ZeroIncrement => ErrorCode::PROTOCOL_ERROR,
        }
    }

    /// A name for logs and for the debug data of GOAWAY.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compression => "header block does not decode",
            Self::ContentLength => "body differs from content-length",
            Self::ClosedStream => "frame for a closed stream",
            Self::EvenStream => "even stream id",
            Self::FirstFrame => "first frame is not SETTINGS",
            Self::FrameLength => "wrong frame length",
            Self::FrameTooLong => "frame too long",
            Self::HeaderBlockInterrupted => "header block interrupted",
            Self::IdleStream => "frame for an idle stream",
            Self::MalformedHead => "malformed request head",
            Self::MalformedTrailers => "malformed trailers",
            Self::Padding => "padding exceeds its frame",
            Self::Preface => "no client preface",
            Self::PushPromise => "PUSH_PROMISE from a client",
            Self::SettingValue => "invalid setting",
            Self::SelfDependency => "stream depends on itself",
            Self::SkippedStream => "stream id goes backwards",
            Self::StreamId => "wrong stream id for this frame",
            Self::TrailersWithoutEnd => "trailers without END_STREAM",
            Self::UnexpectedContinuation => "CONTINUATION without a header block",
            Self::WindowOverrun => "flow-control window overrun",
            Self::WindowOverflow => "flow-control window overflow",
            Self::ZeroIncrement => "WINDOW_UPDATE by zero",
        }
    }
}

// === impl Cutoff ===

impl Cutoff {
    /// The code that tells the peer, in GOAWAY or RST_STREAM.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::ContinuationFlood
            | Self::ControlFlood
            | Self::HeaderBlockSize
            | Self::HeaderBlockTimeout
            | Self::ResetFlood => ErrorCode::ENHANCE_YOUR_CALM,
            Self::SettingsTimeout => ErrorCode::SETTINGS_TIMEOUT,
            Self::StreamLimit => ErrorCode::REFUSED_STREAM,
            Self::PrefaceTimeout => ErrorCode::PROTOCOL_ERROR,
            Self::Idle
            | Self::KeepaliveTimeout
            | Self::BodyBudget
            | Self::HeaderListSize
            | Self::MessageSize => ErrorCode::NO_ERROR,
            Self::AnswerStall | Self::BodyStall | Self::BodyTimeout | Self::StreamIdle => ErrorCode::CANCEL,
        }
    }

    /// A name for metrics, logs and the debug data of GOAWAY.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnswerStall => "answer_stall",
            Self::BodyBudget => "body_budget",
            Self::BodyStall => "body_stall",
            Self::BodyTimeout => "body_timeout",
            Self::ContinuationFlood => "continuation_flood",
            Self::ControlFlood => "control_flood",
            Self::HeaderBlockSize => "header_block_size",
            Self::HeaderBlockTimeout => "header_block_timeout",
            Self::HeaderListSize => "header_list_size",
            Self::Idle => "idle",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::MessageSize => "message_size",
            Self::PrefaceTimeout => "preface_timeout",
            Self::ResetFlood => "reset_flood",
            Self::SettingsTimeout => "settings_timeout",
            Self::StreamIdle => "stream_idle",
            Self::StreamLimit => "stream_limit",
        }
    }
}

// === impl End ===

impl End {
    /// The code that GOAWAY carries.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Drained | Self::Disconnected => ErrorCode::NO_ERROR,
            Self::Violation(violation) => violation.code(),
            Self::Cutoff(cutoff) => cutoff.code(),
        }
    }

    /// The reason in words, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Disconnected => "disconnected",
            Self::Violation(violation) => violation.as_str(),
            Self::Cutoff(cutoff) => cutoff.as_str(),
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Cutoff> for End {
    fn from(cutoff: Cutoff) -> Self {
        Self::Cutoff(cutoff)
    }
}
