//! The body of a request on the service port, whichever transport reads it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::native::intake::Intake;

/// The body of a request on the service port.
#[derive(Debug)]
pub struct RequestBody(Source);

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// What hyper says.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// The client reset its stream, or the connection ended.
    #[error("the stream ended before its request")]
    Reset,
}

#[derive(Debug)]
enum Source {
    Hyper(Incoming),
    Native(Intake),
}

// === impl RequestBody ===

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self(Source::Hyper(body))
    }
}

impl From<Intake> for RequestBody {
    fn from(body: Intake) -> Self {
        Self(Source::Native(body))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match &mut self.0 {
            Source::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(RequestBodyError::Hyper),
            Source::Native(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Hyper(body) => body.is_end_stream(),
            Source::Native(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Hyper(body) => body.size_hint(),
            Source::Native(body) => body.size_hint(),
        }
    }
}
