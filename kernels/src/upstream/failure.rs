//! Why a call to an upstream failed, and the one match that picks its code.
//!
//! The table in the head of the parent module is this file in prose. Callers of the service see the
//! text of a [`Failure`]; its source, which may name addresses, is for logs.

use std::error::Error;
use std::time::Duration;

use exec_plan::{Code, Fault};
use h2::Reason;
use http::StatusCode;
use tokio::time::Instant;

use crate::upstream::connect::ConnectFailed;
use crate::upstream::frame::FrameError;
use crate::upstream::limit::Busy;

/// Any error of the layers below.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The upstream answered with this status.
    #[error("{}", .0.message())]
    Answered(Fault),
    /// The body of an HTTP answer is over the limit, in bytes.
    #[error("the upstream's body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("{}", match .0 {
        Busy::Full => "too many calls wait for the upstream",
        Busy::Waited => "the upstream is busy: the call waited too long for its turn",
    })]
    Busy(Busy),
    #[error("cannot connect to the upstream")]
    Connect(#[source] ConnectFailed),
    #[error("the connection to the upstream broke")]
    Connection(#[source] BoxError),
    #[error("the upstream did not answer in time")]
    DeadlineExceeded,
    #[error("the upstream's answer is malformed: {0}")]
    Frame(FrameError),
    #[error("the upstream answered HTTP {}", .0.as_u16())]
    Http(StatusCode),
    /// The connection is sound, but this answer on it is not.
    #[error("the upstream's answer is malformed or its headers are too large")]
    Malformed,
    /// The request to be sent is over the limit, in bytes.
    #[error("the message is larger than {0} bytes")]
    MessageTooLarge(usize),
    #[error("calls to upstreams need a tokio runtime")]
    NoRuntime,
    #[error("the upstream ended the call without a status")]
    NoStatus,
    #[error("the upstream does not speak gRPC")]
    NotGrpc,
    #[error("the upstream reset the call")]
    Reset(Reason),
    #[error("the request cannot be sent")]
    Unsendable(#[source] BoxError),
}

/// Some servers end a call whose time is up with CANCELLED. So close to the deadline it is one.
const DEADLINE_TOLERANCE: Duration = Duration::from_millis(10);

// === impl Failure ===

impl Failure {
    /// What an error of the HTTP layers means for the call.
    pub(crate) fn from_transport(error: BoxError) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(link) = next {
            if let Some(known) = Self::known(link) {
                return known;
            }
            // A user error with a cause is about the connection that took the request.
            let user = |hyper: &hyper::Error| hyper.is_user() && hyper.source().is_none();
            if link.downcast_ref().is_some_and(user) {
                return Self::Unsendable(error);
            }
            next = link.source();
        }
        Self::Connection(error)
    }

    /// What one error says about the call by itself.
    fn known(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(failed) = error.downcast_ref::<ConnectFailed>() {
            return Some(Self::Connect(failed.clone()));
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            let reason = h2.reason().filter(|_| h2.is_reset())?;
            return Some(if h2.is_library() { Self::Malformed } else { Self::Reset(reason) });
        }
        if error.is::<tonic::TimeoutExpired>() {
            return Some(Self::DeadlineExceeded);
        }
        let too_large = error.downcast_ref().is_some_and(hyper::Error::is_parse_too_large);
        too_large.then_some(Self::Malformed)
    }

    /// The code of this failure.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Answered(fault) => fault.code(),
            Self::BodyTooLarge(_) | Self::Busy(_) | Self::MessageTooLarge(_) => Code::ResourceExhausted,
            Self::Connect(_) | Self::Connection(_) => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Frame(FrameError::TooLarge(_)) => Code::ResourceExhausted,
            Self::Frame(
                FrameError::BadFlag
                | FrameError::Compressed
                | FrameError::NoMessage
                | FrameError::Surplus
                | FrameError::Truncated,
            )
            | Self::Malformed
            | Self::NoRuntime
            | Self::NoStatus => Code::Internal,
            Self::Http(status) => code_of_http(*status),
            Self::NotGrpc => Code::Unknown,
            Self::Reset(reason) => code_of_reset(*reason),
            Self::Unsendable(_) => Code::InvalidArgument,
        }
    }
}

impl From<Busy> for Failure {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        if let Failure::Answered(fault) = failure {
            return fault;
        }
        Self::new(failure.code(), failure.to_string()).with_source(failure)
    }
}

/// Runs one exchange with an upstream, which must be over at `deadline`.
pub(crate) async fn bounded_by<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // A time-out looks at its future first; a call whose time is up must not even begin.
    if Instant::now() >= deadline {
        return Err(Failure::DeadlineExceeded);
    }
    match tokio::time::timeout_at(deadline, exchange).await {
        Ok(Err(failure))
            if failure.code() == Code::Cancelled && Instant::now() + DEADLINE_TOLERANCE >= deadline =>
        {
            Err(Failure::DeadlineExceeded)
        }
        Ok(result) => result,
        Err(_) => Err(Failure::DeadlineExceeded),
    }
}

/// The code of an HTTP status that came without a gRPC status.
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The code of a stream that was reset.
fn code_of_reset(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        Reason::NO_ERROR
        | Reason::PROTOCOL_ERROR
        | Reason::INTERNAL_ERROR
        | Reason::FLOW_CONTROL_ERROR
        | Reason::SETTINGS_TIMEOUT
        | Reason::STREAM_CLOSED
        | Reason::FRAME_SIZE_ERROR
        | Reason::COMPRESSION_ERROR
        | Reason::CONNECT_ERROR
        | Reason::HTTP_1_1_REQUIRED => Code::Internal,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_status_has_the_code_that_grpc_gives_it() {
        let table = [
            (200, Code::Unknown),
            (301, Code::Unknown),
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (408, Code::Unknown),
            (429, Code::Unavailable),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ];
        for (status, code) in table {
            let failure = Failure::Http(StatusCode::from_u16(status).unwrap());
            assert_eq!(failure.code(), code, "{status}");
        }
    }

    #[test]
    fn a_reset_has_the_code_that_grpc_gives_it() {
        let codes = [
            Code::Internal,
            Code::Internal,
            Code::Internal,
            Code::Internal,
            Code::Internal,
            Code::Internal,
            Code::Internal,
            Code::Unavailable,
            Code::Cancelled,
            Code::Internal,
            Code::Internal,
            Code::ResourceExhausted,
            Code::PermissionDenied,
            Code::Internal,
            Code::Unknown,
        ];
        for (reason, code) in (0_u32..).zip(codes) {
            assert_eq!(Failure::Reset(reason.into()).code(), code, "{reason}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_time_is_up_does_not_begin() {
        let begun = async { panic!("it began") };
        let result: Result<(), _> = bounded_by(Instant::now(), begun).await;
        assert!(matches!(result, Err(Failure::DeadlineExceeded)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancellation_at_the_deadline_is_the_deadline() {
        for (after, code) in [(50, Code::Cancelled), (95, Code::DeadlineExceeded)] {
            let deadline = Instant::now() + Duration::from_millis(100);
            let exchange = async {
                tokio::time::sleep(Duration::from_millis(after)).await;
                Err(Failure::Reset(Reason::CANCEL))
            };
            let result: Result<(), _> = bounded_by(deadline, exchange).await;
            assert_eq!(result.unwrap_err().code(), code, "after {after} ms");
        }
    }
}
