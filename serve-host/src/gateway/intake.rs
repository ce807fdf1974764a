//! The one message of a request, from its body: bare, in an envelope, or in an envelope in base64.
//!
//! Invariants: no more is held than the limit allows, before and after inflating; what is held is charged
//! as it arrives; a body that came in one piece is not copied.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use super::text::Decoder;
use crate::grpc::Refusal;
use crate::grpc::compression::Encoding;
use crate::grpc::framing::{FrameError, MessageReader};
use crate::transport::budget::Charge;
use crate::transport::paced::PacedBody;

/// How much of a message is taken, and at whose expense.
#[derive(Debug)]
pub(crate) struct Intake {
    /// The largest message, in bytes after inflating.
    pub(crate) limit: usize,
    /// What holds for it.
    pub(crate) charge: Charge,
}

// === impl Intake ===

impl Intake {
    /// The body as the message, inflated. An empty body is an empty message, whatever its encoding.
    ///
    /// # Errors
    /// [`Refusal`] as soon as it is known that the message cannot be taken.
    pub(crate) async fn bare<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut PacedBody<B>,
        encoding: Option<Encoding>,
    ) -> Result<Bytes, Refusal> {
        // What cannot be compressed grows a little.
        let limit = encoding.map_or(self.limit, |_| self.limit + self.limit / 256 + 1024);
        let too_large = |length: usize| FrameError::TooLarge { length, limit: self.limit };
        if body.size_hint().lower() > limit as u64 {
            let length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
            return Err(too_large(length).into());
        }
        let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            self.charge.grow(piece.len())?;
            let length = first.len() + joined.len() + piece.len();
            if length > limit {
                return Err(too_large(length).into());
            }
            if first.is_empty() && joined.is_empty() {
                first = piece;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut first));
                joined.extend_from_slice(&piece);
            }
        }
        let message = if joined.is_empty() { first } else { joined.freeze() };
        self.inflated(message, encoding)
    }

    /// The one message in the envelopes of a body, inflated.
    ///
    /// # Errors
    /// As for [`bare`](Self::bare); also if the body is not exactly one message.
    pub(crate) async fn framed<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut PacedBody<B>,
        encoding: Option<Encoding>,
        mut text: Option<Decoder>,
    ) -> Result<Bytes, Refusal> {
        let mut reader = MessageReader::new(self.limit);
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            let piece = match &mut text {
                Some(text) => text.decode(&piece)?,
                None => piece,
            };
            self.charge.grow(piece.len())?;
            reader.push(piece)?;
        }
        if let Some(text) = text {
            text.finish()?;
        }
        let message = reader.finish()?;
        match (message.compressed, encoding) {
            (false, _) => Ok(message.payload),
            (true, None) => Err(Refusal::NoEncoding),
            (true, encoding) => self.inflated(message.payload, encoding),
        }
    }

    /// A message that came otherwise than in a body.
    ///
    /// # Errors
    /// As for [`bare`](Self::bare).
    pub(crate) fn given(&mut self, message: Bytes, encoding: Option<Encoding>) -> Result<Bytes, Refusal> {
        self.charge.grow(message.len())?;
        if encoding.is_none() && message.len() > self.limit {
            return Err(FrameError::TooLarge { length: message.len(), limit: self.limit }.into());
        }
        self.inflated(message, encoding)
    }

    fn inflated(&mut self, message: Bytes, encoding: Option<Encoding>) -> Result<Bytes, Refusal> {
        let Some(encoding) = encoding else { return Ok(message) };
        let inflated = encoding.inflate(&message, self.limit)?;
        self.charge.grow(inflated.len())?;
        Ok(inflated)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::grpc::compression::InflateError;
    use crate::transport::budget::ByteBudget;

    fn intake(limit: usize) -> Intake {
        Intake { limit, charge: Charge::new(&ByteBudget::new(10_000)) }
    }

    fn body(pieces: &[&'static [u8]]) -> PacedBody<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
        let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
        PacedBody::new(StreamBody::new(stream::iter(frames)), None)
    }

    async fn bare(pieces: &[&'static [u8]], limit: usize) -> Result<Bytes, Refusal> {
        intake(limit).bare(&mut body(pieces), None).await
    }

    #[tokio::test]
    async fn a_bare_body_is_the_message_in_however_many_pieces() {
        for pieces in [&[&b"abcd"[..]][..], &[b"a", b"", b"bc", b"d"], &[b"", b"abcd"]] {
            assert_eq!(bare(pieces, 4).await.unwrap(), "abcd");
            let refused = bare(pieces, 3).await;
            assert!(matches!(refused, Err(Refusal::Frame(FrameError::TooLarge { limit: 3, .. }))));
        }
        assert_eq!(bare(&[], 4).await.unwrap(), "");
    }

    #[tokio::test]
    async fn the_limit_counts_inflated_bytes() {
        let message = vec![b'a'; 2_000];
        let gzip = Encoding::Gzip.deflate(&message).unwrap();
        let read = async |limit| {
            let piece = Frame::data(gzip.clone());
            let body = StreamBody::new(stream::iter([Ok::<_, Infallible>(piece)]));
            intake(limit).bare(&mut PacedBody::new(body, None), Some(Encoding::Gzip)).await
        };
        assert_eq!(read(2_000).await.unwrap(), message);
        assert!(matches!(read(1_999).await, Err(Refusal::Inflate(InflateError::TooLarge { .. }))));
        let empty = intake(10).bare(&mut body(&[]), Some(Encoding::Gzip)).await;
        assert_eq!(empty.unwrap(), "", "an empty message need not be compressed");
    }

    #[tokio::test]
    async fn envelopes_hold_one_message() {
        let read = async |pieces: &[&'static [u8]]| intake(10).framed(&mut body(pieces), None, None).await;
        assert_eq!(read(&[b"\0\0\0\0\x02", b"hi"]).await.unwrap(), "hi");
        let none = read(&[]).await;
        assert!(matches!(none, Err(Refusal::Frame(FrameError::Missing))));
        let flagged = read(&[b"\x01\0\0\0\x02hi"]).await;
        assert!(matches!(flagged, Err(Refusal::NoEncoding)));
        let text =
            intake(10).framed(&mut body(&[b"AAAAAAJ", b"oaQ=="]), None, Some(Decoder::default())).await;
        assert_eq!(text.unwrap(), "hi");
    }

    #[tokio::test]
    async fn what_is_held_is_charged() {
        let budget = ByteBudget::new(5);
        let mut intake = Intake { limit: 100, charge: Charge::new(&budget) };
        let refused = intake.bare(&mut body(&[b"abc", b"def"]), None).await;
        assert!(matches!(refused, Err(Refusal::OverBudget { limit: 5 })));
        drop(intake);
        assert_eq!(budget.held(), 0);
    }
}
