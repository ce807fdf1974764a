//! The response of a call, in the spelling of its request.

use std::sync::Arc;

use exec_plan::Code;
use http::{HeaderValue, Response, StatusCode};
use kernels::Answer;

use super::call::Ended;
use super::connect::reply::ConnectReply;
use super::media::{Media, Spelling};
use super::web::WebReply;
use crate::grpc::Refusal;
use crate::grpc::compression::Encoding;
use crate::transport::budget::ByteBudget;
use crate::transport::tonic::reply::Reply as GrpcReply;
use crate::transport::tonic::{GrpcService, UnaryBody};

/// How an answer is written.
#[derive(Debug)]
pub(crate) enum Reply {
    /// As Connect.
    Connect(ConnectReply),
    /// As gRPC-Web.
    Web(WebReply),
    /// As gRPC.
    Grpc(GrpcReply),
}

// === impl Reply ===

impl Reply {
    /// The reply to a request of this type, not compressed.
    pub(crate) fn new(media: Media, max_send: usize) -> Self {
        let content_type = media.reply;
        let web = |text| Self::Web(WebReply { content_type, text, encoding: None, max_send });
        match media.spelling {
            Spelling::Connect | Spelling::ConnectStream => {
                Self::Connect(ConnectReply { content_type, encoding: None, max_send })
            }
            Spelling::GrpcWeb => web(false),
            Spelling::GrpcWebText => web(true),
            Spelling::Grpc => {
                let content_type = HeaderValue::from_static(content_type);
                Self::Grpc(GrpcReply { content_type, encoding: None, max_send })
            }
        }
    }

    /// Compresses a message like this, if it is worth it.
    pub(crate) fn compress(&mut self, with: Option<Encoding>) {
        match self {
            Self::Connect(reply) => reply.encoding = with,
            Self::Web(reply) => reply.encoding = with,
            Self::Grpc(reply) => reply.encoding = with,
        }
    }

    /// The response to a call that ended like this; what is refused is noted with `service`.
    pub(crate) fn respond(&self, ended: &Ended, service: &GrpcService) -> Response<UnaryBody> {
        let budget = service.budget();
        let answer = match &ended.answer {
            Ok(answer) => answer,
            Err(refusal) => return self.refuse(refusal, service),
        };
        let mut response = self.render(answer, ended, budget).unwrap_or_else(|refusal| {
            let instead = self.refuse(&refusal, service);
            // A failure keeps its status; only what could not be sent is left out.
            if answer.code == Code::Ok { instead } else { self.bare(answer, budget) }
        });
        if let (Self::Connect(_), false) = (self, ended.found) {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    }

    fn render(
        &self,
        answer: &Answer,
        ended: &Ended,
        budget: &Arc<ByteBudget>,
    ) -> Result<Response<UnaryBody>, Refusal> {
        match self {
            Self::Connect(reply) => reply.render(answer, budget, |name, value| ended.explain(name, value)),
            Self::Web(reply) => reply.render(answer, budget),
            Self::Grpc(reply) => reply.render(answer, budget),
        }
    }

    fn refuse(&self, refusal: &Refusal, service: &GrpcService) -> Response<UnaryBody> {
        service.note(refusal);
        match self {
            Self::Connect(reply) => reply.refuse(refusal, service.budget()),
            Self::Web(reply) => reply.refuse(refusal, service.budget()),
            Self::Grpc(reply) => reply.refuse(refusal),
        }
    }

    fn bare(&self, answer: &Answer, budget: &Arc<ByteBudget>) -> Response<UnaryBody> {
        match self {
            Self::Connect(reply) => reply.bare(answer.code, &answer.message, budget),
            Self::Web(reply) => reply.bare(answer.code, &answer.message, budget),
            Self::Grpc(reply) => reply.bare(answer.code, &answer.message),
        }
    }
}
