//! The response of a gRPC-Web call: a message in its envelope, then the trailers in one of their own.
//!
//! Trailers always stand in the body, also those of a failure: a browser hides headers that nobody
//! exposed, and bodies it does not.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use exec_plan::Code;
use http::{HeaderMap, HeaderValue, Response, header};
use kernels::Answer;

use super::text;
use crate::grpc::compression::{Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
use crate::grpc::{Refusal, framing, metadata, status};
use crate::transport::budget::ByteBudget;
use crate::transport::tonic::UnaryBody;
use crate::transport::tonic::body::{FIRST_FRAME, Trailers};

/// How a client wants its response.
#[derive(Debug)]
pub(crate) struct WebReply {
    /// The content type.
    pub(crate) content_type: &'static str,
    /// Whether it is base64.
    pub(crate) text: bool,
    /// How the message is compressed, if it is worth it.
    pub(crate) encoding: Option<Encoding>,
    /// The largest message, in bytes before compression.
    pub(crate) max_send: usize,
}

// === impl WebReply ===

impl WebReply {
    /// The response that carries `answer`.
    ///
    /// # Errors
    /// [`Refusal`] if the answer cannot be sent as it is.
    pub(crate) fn render(
        &self,
        answer: &Answer,
        budget: &Arc<ByteBudget>,
    ) -> Result<Response<UnaryBody>, Refusal> {
        let mut trailers = HeaderMap::new();
        status::write(answer, &mut trailers).map_err(Refusal::Metadata)?;
        let mut headers = HeaderMap::new();
        if let Some(leading) = &answer.headers {
            metadata::append(leading, &mut headers).map_err(Refusal::Metadata)?;
        }
        let (first, rest) = if answer.code == Code::Ok {
            let length = answer.payload.len();
            if length > self.max_send {
                return Err(Refusal::AnswerTooLarge { length, limit: self.max_send });
            }
            let (encoding, payload) = Encoding::applied(self.encoding, &answer.payload);
            if let Some(encoding) = encoding {
                headers.insert(GRPC_ENCODING, HeaderValue::from_static(encoding.name()));
            }
            framing::frame(encoding.is_some(), payload, FIRST_FRAME)
        } else {
            (Bytes::new(), Bytes::new())
        };
        Ok(self.response(headers, first, rest, &trailers, budget))
    }

    /// The response to a call that is refused.
    pub(crate) fn refuse(&self, refusal: &Refusal, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
        let mut response = self.bare(refusal.code(), &refusal.to_string(), budget);
        if let Refusal::UnknownEncoding { .. } = refusal {
            let accepted = HeaderValue::from_static(Encoding::ACCEPTED);
            response.headers_mut().insert(GRPC_ACCEPT_ENCODING, accepted);
        }
        response
    }

    /// A response of code and message alone: it can always be sent.
    pub(crate) fn bare(&self, code: Code, message: &str, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
        let mut trailers = HeaderMap::new();
        let written = status::write(&Answer::failed(code, message), &mut trailers);
        debug_assert!(written.is_ok(), "there is no metadata that could not be sent");
        self.response(HeaderMap::new(), Bytes::new(), Bytes::new(), &trailers, budget)
    }

    fn response(
        &self,
        headers: HeaderMap,
        first: Bytes,
        rest: Bytes,
        trailers: &HeaderMap,
        budget: &Arc<ByteBudget>,
    ) -> Response<UnaryBody> {
        let trailers = block(trailers);
        let body = if self.text {
            let encoded = text::encode(&[first, rest, trailers].concat());
            UnaryBody::whole(encoded.into(), budget)
        } else {
            UnaryBody::message(first, rest, budget, Trailers::Piece(trailers))
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

/// Trailers in their envelope.
fn block(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    let mut block = BytesMut::with_capacity(lines.len() + 5);
    block.put_u8(TRAILERS);
    // What trailers may hold is bounded far below.
    block.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    block.extend_from_slice(&lines);
    block.freeze()
}

/// The flag of an envelope that holds trailers.
const TRAILERS: u8 = 0x80;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn sent(text: bool, answer: &Answer) -> Bytes {
        let reply = WebReply { content_type: "application/grpc-web", text, encoding: None, max_send: 100 };
        let response = reply.render(answer, &ByteBudget::new(1_000)).unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc-web");
        assert!(response.headers().get("grpc-status").is_none());
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn trailers_follow_the_message_in_the_body() {
        let ok = b"\0\0\0\0\x02hi\x80\0\0\0\x10grpc-status: 0\r\n";
        assert_eq!(sent(false, &Answer::ok("hi".into())).await, &ok[..]);
        assert_eq!(sent(true, &Answer::ok("hi".into())).await, text::encode(ok));
    }

    #[tokio::test]
    async fn a_failure_is_trailers_alone() {
        let body = sent(false, &Answer::failed(Code::NotFound, "grüß")).await;
        assert_eq!(&body[5..], b"grpc-status: 5\r\ngrpc-message: gr%C3%BC%C3%9F\r\n");
        assert_eq!(body[0], TRAILERS);
    }
}
