//! Calls without an HTTP library: for a transport that has a whole message in its hands.
//!
//! Only what is commonest goes this way: a call that nothing can be said against, whose message is not
//! compressed. Whoever is told `None` by [`GrpcService::terms`] makes an HTTP request of the call and
//! takes the same way as hyper's. Answers that are more than OK and one small message are rendered by the
//! same code as there.

use std::time::Duration;

use bytes::Bytes;
use exec_plan::Code;
use http::Response;
use kernels::Answer;

use super::GrpcService;
use super::body::{FIRST_FRAME, UnaryBody};
use super::call::{GRPC_TIMEOUT, guarded, response_type};
use super::reply::Reply;
use crate::grpc::compression::{Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, ResponseCompression};
use crate::grpc::content_type::{self, ContentType};
use crate::grpc::{Refusal, framing, timeout};
use crate::host::batch::Batch;
use crate::transport::budget::Charge;
use crate::transport::{Arrival, Begun};

/// What the head of a direct call says. Belongs to no single call, so it may be kept with the head.
#[derive(Debug)]
pub(crate) struct Terms {
    reply: Reply,
    timeout: Option<Duration>,
}

/// What became of a direct call at once.
pub(crate) enum Direct {
    /// It is answered.
    Done(Result<Answer, Refusal>),
    /// It will be; its message is charged until then.
    Pending(crate::transport::PendingAnswer, Charge),
}

/// How an answer is sent.
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once; a box would cost each answer")]
pub(crate) enum Rendered {
    /// OK with this message and nothing else.
    Plain(Bytes),
    /// Anything else.
    Response(Response<UnaryBody>),
}

// === impl GrpcService ===

impl GrpcService {
    /// The terms of a POST to `path` with these fields, if it is a call that can be taken directly.
    pub(crate) fn terms<'a>(
        &self,
        path: &str,
        field: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> Option<Terms> {
        let limits = &self.limits().messages;
        let content_type = field("content-type");
        let ContentType::Grpc { codec, bare } = content_type::parse(content_type) else { return None };
        let response_type = response_type(codec, bare);
        // A type with parameters is not answered with the same.
        let echoed = content_type == Some(response_type.as_bytes());
        let compresses =
            limits.compression == ResponseCompression::Accepted && field(GRPC_ACCEPT_ENCODING).is_some();
        let plain_path = path.len() <= limits.max_uri && !path.contains(['?', '#']);
        if !self.shared.takes(codec) || !echoed || compresses || !plain_path {
            return None;
        }
        let None = Encoding::named(field(GRPC_ENCODING)).ok()? else { return None };
        let timeout = field(GRPC_TIMEOUT).map(timeout::parse).transpose().ok()?;
        let reply = Reply { content_type: response_type, encoding: None, max_send: limits.max_send };
        Some(Terms { reply, timeout })
    }

    /// The message that is the whole of this body, if it is not compressed and not too large.
    ///
    /// # Errors
    /// The body, if it is not that.
    pub(crate) fn message(&self, body: Bytes) -> Result<Bytes, Bytes> {
        framing::only_message(body, self.limits().messages.max_receive)
    }

    /// Gives a message to the host; if it is not answered at once, `held` bytes are charged for it.
    pub(crate) fn begin(
        &self,
        batch: &mut Batch,
        terms: &Terms,
        mut arrival: Arrival<'_>,
        held: usize,
    ) -> Direct {
        arrival.deadline = terms.timeout.and_then(|timeout| arrival.at.checked_add(timeout));
        let begun = self
            .shared
            .budget
            .check(held)
            .and_then(|()| guarded(|| self.shared.host.begin_in(batch, arrival)));
        match begun {
            Ok(Begun::Done(answer)) => Direct::Done(Ok(answer)),
            Ok(Begun::Pending(answer)) => Direct::Pending(answer, Charge::forced(&self.shared.budget, held)),
            Err(refusal) => Direct::Done(Err(refusal)),
        }
    }

    /// Says how an answer is sent.
    pub(crate) fn render(&self, terms: &Terms, answer: Result<Answer, Refusal>) -> Rendered {
        match answer {
            Ok(answer)
                if is_plain(&answer) && answer.payload.len() <= terms.reply.max_send.min(FIRST_FRAME) =>
            {
                Rendered::Plain(answer.payload)
            }
            answer => Rendered::Response(self.shared.respond(&terms.reply, answer)),
        }
    }

    /// Counts a message that its client gave up in the middle.
    pub(crate) fn note_broken_off(&self) {
        self.shared.note(&Refusal::BrokenOff);
    }
}

fn is_plain(answer: &Answer) -> bool {
    answer.code == Code::Ok
        && answer.message.is_empty()
        && answer.details.is_none()
        && answer.headers.is_none()
        && answer.trailers.is_none()
}

/// Polls an answer of the host; its panic is the refusal of this call.
pub(crate) fn poll_guarded(
    answer: &mut crate::transport::PendingAnswer,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Result<Answer, Refusal>> {
    match guarded(|| std::pin::Pin::new(answer).poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(refusal) => std::task::Poll::Ready(Err(refusal)),
    }
}
