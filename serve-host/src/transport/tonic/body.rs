//! A response on its way out: at most one message, then trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use exec_plan::Code;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::grpc::status::{self, GRPC_STATUS};
use crate::transport::budget::{ByteBudget, Charge};

/// The body of a unary response.
///
/// A small message leaves as one frame. Of a large one only the first frame is copied; the rest is passed
/// on in slices, so that little of it waits in buffers nobody counts.
#[derive(Debug, Default)]
pub struct UnaryBody {
    first: Bytes,
    rest: Bytes,
    trailers: Option<Trailers>,
}

/// What follows the message.
#[derive(Debug)]
pub(crate) enum Trailers {
    /// `grpc-status: 0` and nothing else.
    Ok,
    /// These.
    Map(HeaderMap),
    /// None of HTTP's: a last piece of the body says what they would.
    Piece(Bytes),
}

/// Bytes that hold their charge for as long as anyone holds them.
struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

// === impl UnaryBody ===

impl UnaryBody {
    /// A framed message, of which `rest` follows `first`, and its trailers.
    pub(crate) fn message(first: Bytes, rest: Bytes, budget: &Arc<ByteBudget>, trailers: Trailers) -> Self {
        Self { first, rest: charged(rest, budget), trailers: Some(trailers) }
    }

    /// Bytes without framing and trailers.
    pub(crate) fn whole(mut bytes: Bytes, budget: &Arc<ByteBudget>) -> Self {
        let rest = bytes.split_off(bytes.len().min(FIRST_FRAME));
        Self { first: bytes, rest: charged(rest, budget), trailers: None }
    }

    /// No message, only trailers behind the headers.
    pub(super) fn trailers(trailers: HeaderMap) -> Self {
        Self { trailers: Some(Trailers::Map(trailers)), ..Self::default() }
    }

    /// Plain text, for what cannot be answered as gRPC.
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self { first: text.into(), ..Self::default() }
    }
}

impl Body for UnaryBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = if !self.first.is_empty() {
            Some(Frame::data(std::mem::take(&mut self.first)))
        } else if !self.rest.is_empty() {
            let slice = self.rest.len().min(SLICE);
            Some(Frame::data(self.rest.split_to(slice)))
        } else {
            // A slice keeps its owner alive, even an empty one.
            self.rest = Bytes::new();
            self.trailers.take().map(Frame::from)
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // A length is of use only where no trailers say that the message is whole.
        let length = self.first.len() + self.rest.len();
        match &self.trailers {
            Some(Trailers::Ok | Trailers::Map(_)) => SizeHint::default(),
            Some(Trailers::Piece(piece)) => SizeHint::with_exact((length + piece.len()) as u64),
            None => SizeHint::with_exact(length as u64),
        }
    }
}

impl From<Trailers> for Frame<Bytes> {
    fn from(trailers: Trailers) -> Self {
        match trailers {
            Trailers::Map(map) => Self::trailers(map),
            Trailers::Piece(piece) => Self::data(piece),
            Trailers::Ok => {
                let mut map = HeaderMap::with_capacity(1);
                map.insert(GRPC_STATUS, status::status_value(Code::Ok));
                Self::trailers(map)
            }
        }
    }
}

/// What is large of a message is charged for as long as a piece of it lives.
fn charged(rest: Bytes, budget: &Arc<ByteBudget>) -> Bytes {
    if rest.is_empty() {
        return Bytes::new();
    }
    Bytes::from_owner(Charged { _charge: Charge::forced(budget, rest.len()), bytes: rest })
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The length of a message's first frame: HTTP/2's own default for a frame.
pub(crate) const FIRST_FRAME: usize = 16 << 10;

/// The length of the others. What has been handed to the connection waits there uncounted.
const SLICE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::grpc::framing;

    #[tokio::test]
    async fn a_large_message_leaves_in_slices_and_is_charged_until_the_last_is_gone() {
        let budget = ByteBudget::new(10);
        let payload = Bytes::from(vec![7; 200 << 10]);
        let (first, rest) = framing::frame(false, payload.clone(), FIRST_FRAME);
        let mut body = UnaryBody::message(first, rest, &budget, Trailers::Ok);
        let mut slices = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => slices.push(data),
                Err(trailers) => assert_eq!(trailers.into_trailers().unwrap()[GRPC_STATUS], "0"),
            }
        }
        let lengths: Vec<usize> = slices.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [FIRST_FRAME, SLICE, SLICE, (200 << 10) + 5 - FIRST_FRAME - 2 * SLICE]);
        assert_eq!(slices.concat()[5..], payload);
        assert!(body.is_end_stream());
        assert!(budget.held() > 0);
        drop(slices);
        assert_eq!(budget.held(), 0);
    }
}
