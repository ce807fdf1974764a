//! The response of a Connect call.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use exec_plan::Code;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use kernels::Answer;

use super::error;
use super::head::is_wire;
use crate::grpc::Refusal;
use crate::grpc::compression::Encoding;
use crate::grpc::metadata::{self, Unsendable};
use crate::transport::budget::ByteBudget;
use crate::transport::tonic::UnaryBody;

/// How a client wants its response.
#[derive(Debug)]
pub(crate) struct ConnectReply {
    /// The content type of a message.
    pub(crate) content_type: &'static str,
    /// How it is compressed, if it is worth it.
    pub(crate) encoding: Option<Encoding>,
    /// The largest message, in bytes before compression.
    pub(crate) max_send: usize,
}

// === impl ConnectReply ===

impl ConnectReply {
    /// The response that carries `answer`; `render` writes details as JSON.
    ///
    /// # Errors
    /// [`Refusal`] if the answer cannot be sent as it is.
    pub(crate) fn render(
        &self,
        answer: &Answer,
        budget: &Arc<ByteBudget>,
        render: impl Fn(&str, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<Response<UnaryBody>, Refusal> {
        let mut response = if answer.code == Code::Ok {
            self.success(answer, budget)?
        } else {
            failure(error::status(answer.code), error::body(answer, render), budget)
        };
        append_metadata(answer, response.headers_mut()).map_err(Refusal::Metadata)?;
        Ok(response)
    }

    /// The response to a call that is refused.
    pub(crate) fn refuse(&self, refusal: &Refusal, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
        let answer = Answer::failed(refusal.code(), refusal.to_string());
        let status = error::refusal_status(refusal);
        let mut response = failure(status, error::body(&answer, |_, _| None), budget);
        if let Refusal::UnknownEncoding { .. } = refusal {
            let accepted = HeaderValue::from_static(Encoding::ACCEPTED);
            response.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
        }
        response
    }

    /// A response of code and message alone: it can always be sent.
    pub(crate) fn bare(&self, code: Code, message: &str, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
        let answer = Answer::failed(code, message);
        failure(error::status(code), error::body(&answer, |_, _| None), budget)
    }

    fn success(&self, answer: &Answer, budget: &Arc<ByteBudget>) -> Result<Response<UnaryBody>, Refusal> {
        let length = answer.payload.len();
        if length > self.max_send {
            return Err(Refusal::AnswerTooLarge { length, limit: self.max_send });
        }
        let (encoding, payload) = Encoding::applied(self.encoding, &answer.payload);
        let mut response = Response::new(UnaryBody::whole(payload, budget));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        Ok(response)
    }
}

fn failure(status: StatusCode, body: Vec<u8>, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
    let mut response = Response::new(UnaryBody::whole(Bytes::from(body), budget));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// Leading metadata as headers, trailing metadata as headers that say so.
fn append_metadata(answer: &Answer, headers: &mut HeaderMap) -> Result<(), Unsendable> {
    if let Some(leading) = answer.headers.as_deref() {
        metadata::append_as(leading, headers, |name| {
            (!is_wire(name) && !name.starts_with(TRAILER)).then_some(Cow::Borrowed(name))
        })?;
    }
    if let Some(trailing) = answer.trailers.as_deref() {
        metadata::append_as(trailing, headers, |name| Some(Cow::Owned(format!("{TRAILER}{name}"))))?;
    }
    Ok(())
}

/// What the names of trailing metadata begin with.
const TRAILER: &str = "trailer-";

/// The content type of every failure.
const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use exec_plan::Metadata;
    use http_body_util::BodyExt;

    use super::*;

    const REPLY: ConnectReply =
        ConnectReply { content_type: "application/proto", encoding: Some(Encoding::Gzip), max_send: 5_000 };

    fn metadata(pairs: &[(&'static str, &'static str)]) -> Option<Arc<Metadata>> {
        let mut metadata = Metadata::new();
        for (name, value) in pairs {
            metadata.append(*name, *value).unwrap();
        }
        Some(Arc::new(metadata))
    }

    fn head(response: &Response<UnaryBody>) -> String {
        let mut lines: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        format!("{} {}", response.status().as_u16(), lines.join(", "))
    }

    #[tokio::test]
    async fn metadata_travels_in_headers_and_the_wire_s_names_do_not() {
        let answer = Answer {
            headers: metadata(&[("x-a", "1"), ("x-a", "2"), ("content-encoding", "br"), ("trailer-x", "0")]),
            trailers: metadata(&[("x-t", "3"), ("x-bin", "hi")]),
            ..Answer::ok("short".into())
        };
        let response = REPLY.render(&answer, &ByteBudget::new(1_000), |_, _| None).unwrap();
        assert_eq!(
            head(&response),
            "200 content-type: application/proto, trailer-x-bin: aGk, trailer-x-t: 3, x-a: 1, x-a: 2"
        );
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "short");
    }

    #[tokio::test]
    async fn a_large_message_is_compressed_and_one_too_large_is_refused() {
        let budget = ByteBudget::new(1_000);
        let response = REPLY.render(&Answer::ok(vec![7; 5_000].into()), &budget, |_, _| None).unwrap();
        assert_eq!(head(&response), "200 content-encoding: gzip, content-type: application/proto");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(Encoding::Gzip.inflate(&body, 5_000).unwrap(), vec![7; 5_000]);
        let refused = REPLY.render(&Answer::ok(vec![7; 5_001].into()), &budget, |_, _| None);
        assert!(matches!(refused, Err(Refusal::AnswerTooLarge { length: 5_001, limit: 5_000 })));
    }

    #[tokio::test]
    async fn a_failure_is_json_whatever_the_codec() {
        let answer = Answer { headers: metadata(&[("x-a", "1")]), ..Answer::failed(Code::Aborted, "no") };
        let response = REPLY.render(&answer, &ByteBudget::new(1_000), |_, _| None).unwrap();
        assert_eq!(head(&response), "409 content-type: application/json, x-a: 1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"code":"aborted","message":"no"}"#);
    }
}
