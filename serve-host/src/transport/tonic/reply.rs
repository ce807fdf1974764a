//! From an answer to the response that carries it.

use std::sync::Arc;

use exec_plan::Code;
use http::{HeaderMap, HeaderValue, Response, header};
use kernels::Answer;

use super::body::{FIRST_FRAME, Trailers, UnaryBody};
use crate::grpc::compression::{Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
use crate::grpc::metadata::{self, Unsendable};
use crate::grpc::{Refusal, framing, status};
use crate::transport::budget::ByteBudget;

/// How a client wants its response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) content_type: HeaderValue,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) max_send: usize,
}

impl Reply {
    /// The response that carries `answer`; what is large of its message is charged until it is sent.
    ///
    /// An answer that cannot be sent as it is becomes the refusal that says why.
    pub(crate) fn render(
        &self,
        answer: &Answer,
        budget: &Arc<ByteBudget>,
    ) -> Result<Response<UnaryBody>, Refusal> {
        if answer.code == Code::Ok {
            self.success(answer, budget)
        } else {
            self.failure(answer).map_err(Refusal::Metadata)
        }
    }

    /// The response to a call that is refused.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> Response<UnaryBody> {
        let mut response = self.bare(refusal.code(), &refusal.to_string());
        if let Refusal::UnknownEncoding { .. } = refusal {
            let accepted = HeaderValue::from_static(Encoding::ACCEPTED);
            response.headers_mut().insert(GRPC_ACCEPT_ENCODING, accepted);
        }
        response
    }

    /// A response of code and message alone: it can always be sent.
    pub(crate) fn bare(&self, code: Code, message: &str) -> Response<UnaryBody> {
        let mut response = self.head(UnaryBody::default());
        let written = status::write(&Answer::failed(code, message), response.headers_mut());
        debug_assert!(written.is_ok(), "there is no metadata that could not be sent");
        response
    }

    fn success(&self, answer: &Answer, budget: &Arc<ByteBudget>) -> Result<Response<UnaryBody>, Refusal> {
        let length = answer.payload.len();
        if length > self.max_send {
            return Err(Refusal::AnswerTooLarge { length, limit: self.max_send });
        }
        let trailers = if answer.trailers.is_none() && answer.message.is_empty() && answer.details.is_none() {
            Trailers::Ok
        } else {
            let mut map = HeaderMap::new();
            status::write(answer, &mut map).map_err(Refusal::Metadata)?;
            Trailers::Map(map)
        };
        let (encoding, payload) = Encoding::applied(self.encoding, &answer.payload);
        let (first, rest) = framing::frame(encoding.is_some(), payload, FIRST_FRAME);
        let mut response = self.head(UnaryBody::message(first, rest, budget, trailers));
        if let Some(encoding) = encoding {
            response.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        if let Some(leading) = &answer.headers {
            metadata::append(leading, response.headers_mut()).map_err(Refusal::Metadata)?;
        }
        Ok(response)
    }

    /// Without leading metadata all of it fits the headers; with it the status must come behind them.
    fn failure(&self, answer: &Answer) -> Result<Response<UnaryBody>, Unsendable> {
        let Some(leading) = &answer.headers else {
            let mut response = self.head(UnaryBody::default());
            status::write(answer, response.headers_mut())?;
            return Ok(response);
        };
        let mut trailers = HeaderMap::new();
        status::write(answer, &mut trailers)?;
        let mut response = self.head(UnaryBody::trailers(trailers));
        metadata::append(leading, response.headers_mut())?;
        Ok(response)
    }

    fn head(&self, body: UnaryBody) -> Response<UnaryBody> {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
        response
    }
}
