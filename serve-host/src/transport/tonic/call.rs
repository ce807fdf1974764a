//! One call: read the message, let the host answer it, send the answer.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use exec_plan::Code;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use kernels::{Answer, RequestEnvelope};

use super::Shared;
use super::body::UnaryBody;
use super::reply::Reply;
use crate::grpc::compression::{Encoding, GRPC_ACCEPT_ENCODING};
use crate::grpc::content_type::{self, ContentType, GRPC};
use crate::grpc::framing::MessageReader;
use crate::grpc::metadata::HeaderSource;
use crate::grpc::{Refusal, timeout};
use crate::transport::budget::Charge;
use crate::transport::paced::{BodyError, Pace, PacedBody};
use crate::transport::{Begun, PendingAnswer};

/// The response to one call, on its way. Dropping it cancels the call.
pub struct UnaryCall<B> {
    shared: Arc<Shared>,
    step: Step<B>,
}

/// How far a call has come.
enum Step<B> {
    /// Its message is arriving.
    Reading(Reading<B>),
    /// The host is at work on it.
    Waiting { answer: PendingAnswer, reply: Reply, _charge: Charge },
    /// It is answered; the response is taken once.
    Answered(Option<Response<UnaryBody>>),
}

/// A request whose message is not whole yet.
struct Reading<B> {
    envelope: RequestEnvelope,
    encoding: Option<Encoding>,
    reply: Reply,
    body: PacedBody<B>,
    message: MessageReader,
    charge: Charge,
}

/// Why a request is answered with an HTTP status instead of a gRPC one.
#[derive(Clone, Copy, Debug)]
enum NotGrpc {
    Method,
    ContentType,
    TargetTooLong,
}

// === impl UnaryCall ===

impl<B: Body<Data = Bytes> + Unpin> UnaryCall<B> {
    pub(super) fn new(shared: Arc<Shared>, request: Request<B>, peer: Arc<str>) -> Self {
        let step = match shared.open(request, peer) {
            Ok(reading) => Step::Reading(reading),
            Err(response) => Step::Answered(Some(response)),
        };
        Self { shared, step }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Future for UnaryCall<B> {
    type Output = Result<Response<UnaryBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::Reading(reading) = &mut this.step {
            let read = ready!(reading.poll(cx));
            let Step::Reading(reading) = std::mem::replace(&mut this.step, Step::Answered(None)) else {
                return Poll::Pending;
            };
            this.step = this.shared.begin(reading, read);
        }
        if let Step::Waiting { answer, reply, .. } = &mut this.step {
            let answer = match guarded(|| Pin::new(answer).poll(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(answer)) => Ok(answer),
                Err(refusal) => Err(refusal),
            };
            let response = this.shared.respond(reply, answer);
            this.step = Step::Answered(Some(response));
        }
        match &mut this.step {
            Step::Answered(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Step::Reading(_) | Step::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<B> fmt::Debug for UnaryCall<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Reading(_) => "UnaryCall::Reading",
            Step::Waiting { .. } => "UnaryCall::Waiting",
            Step::Answered(_) => "UnaryCall::Answered",
        })
    }
}

// === impl Reading ===

impl<B: Body<Data = Bytes> + Unpin> Reading<B> {
    /// Reads until the body has ended, or it is clear that it must be refused.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        while !self.body.is_end_stream() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => break,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                // Request trailers mean nothing to gRPC.
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.charge.grow(piece.len())?;
                        self.message.push(piece)?;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Puts the message, inflated, into the envelope.
    fn unpack(&mut self, limit: usize) -> Result<(), Refusal> {
        let message = self.message.finish()?;
        self.envelope.payload = match (message.compressed, self.encoding) {
            (false, _) => message.payload,
            (true, None) => return Err(Refusal::NoEncoding),
            (true, Some(encoding)) => {
                let inflated = encoding.inflate(&message.payload, limit)?;
                self.charge.grow(inflated.len())?;
                inflated
            }
        };
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// Reads the head of a request, or answers at once.
    #[expect(clippy::result_large_err, reason = "both sides become a step of the call, which holds either")]
    fn open<B>(&self, request: Request<B>, peer: Arc<str>) -> Result<Reading<B>, Response<UnaryBody>> {
        let (parts, body) = request.into_parts();
        let content_type = self.admit(&parts).map_err(NotGrpc::response)?;
        let mut reply = Reply { content_type, encoding: None, max_send: self.limits.messages.max_send };
        let (encoding, deadline) = match Encoding::of_request(&parts.headers).and_then(|encoding| {
            let timeout = parts.headers.get(GRPC_TIMEOUT).map(|value| timeout::parse(value.as_bytes()));
            Ok((encoding, timeout.transpose()?))
        }) {
            Ok((encoding, timeout)) => {
                (encoding, timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
            }
            Err(refusal) => return Err(self.refuse(&reply, &refusal)),
        };
        let policy = self.limits.messages.compression;
        reply.encoding = Encoding::of_response(policy, encoding, &parts.headers, GRPC_ACCEPT_ENCODING);
        let pace = Pace {
            whole: self.limits.connections.body_timeout,
            idle: self.limits.connections.body_idle_timeout,
            deadline,
        };
        Ok(Reading {
            envelope: RequestEnvelope {
                method: parts.uri.path().into(),
                payload: Bytes::new(),
                metadata: Arc::new(HeaderSource(parts.headers)),
                peer,
                deadline,
            },
            encoding,
            reply,
            body: PacedBody::new(body, Some(pace)),
            message: MessageReader::new(self.limits.messages.max_receive),
            charge: Charge::new(&self.budget),
        })
    }

    /// The content type of the response, if the request is gRPC.
    fn admit(&self, parts: &Parts) -> Result<HeaderValue, NotGrpc> {
        if parts.method != Method::POST {
            return Err(NotGrpc::Method);
        }
        if parts.uri.path().len() > self.limits.messages.max_uri {
            return Err(NotGrpc::TargetTooLong);
        }
        match content_type::parse(parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes)) {
            ContentType::Grpc { codec, bare } if self.takes(codec) => Ok(response_type(codec, bare)),
            ContentType::Grpc { .. } | ContentType::Other => Err(NotGrpc::ContentType),
        }
    }

    /// Gives a message that has arrived to the host.
    fn begin<B: Body<Data = Bytes> + Unpin>(
        &self,
        mut reading: Reading<B>,
        read: Result<(), Refusal>,
    ) -> Step<B> {
        let ready = read.and_then(|()| reading.unpack(self.limits.messages.max_receive));
        let Reading { envelope, reply, charge, .. } = reading;
        let answer = match ready.and_then(|()| guarded(|| self.host.begin(envelope))) {
            Ok(Begun::Pending(answer)) => return Step::Waiting { answer, reply, _charge: charge },
            Ok(Begun::Done(answer)) => Ok(answer),
            Err(refusal) => Err(refusal),
        };
        Step::Answered(Some(self.respond(&reply, answer)))
    }

    pub(super) fn respond(&self, reply: &Reply, answer: Result<Answer, Refusal>) -> Response<UnaryBody> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => return self.refuse(reply, &refusal),
        };
        reply.render(&answer, &self.budget).unwrap_or_else(|refusal| {
            let instead = self.refuse(reply, &refusal);
            // A failure keeps its status; only what could not be sent is left out.
            if answer.code == Code::Ok { instead } else { reply.bare(answer.code, &answer.message) }
        })
    }

    fn refuse(&self, reply: &Reply, refusal: &Refusal) -> Response<UnaryBody> {
        self.note(refusal);
        reply.refuse(refusal)
    }
}

// === impl NotGrpc ===

impl NotGrpc {
    fn response(self) -> Response<UnaryBody> {
        let (status, text) = match self {
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "gRPC calls are POST requests\n"),
            Self::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this service takes gRPC: content-type application/grpc or application/grpc+proto\n",
            ),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "the request target is too long\n"),
        };
        let mut response = Response::new(UnaryBody::text(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Self::Method = self {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

// === impl Refusal ===

impl<E> From<BodyError<E>> for Refusal {
    fn from(error: BodyError<E>) -> Self {
        match error {
            BodyError::Deadline => Self::LateByDeadline,
            BodyError::TooSlow(limit) => Self::LateByLimit { limit },
            BodyError::Stalled(limit) => Self::Stalled { limit },
            BodyError::Broken(_) => Self::BrokenOff,
        }
    }
}

/// The content type of the response to a request of this codec.
pub(crate) fn response_type(codec: &str, bare: bool) -> HeaderValue {
    match (bare, codec) {
        (true, _) => HeaderValue::from_static(GRPC),
        (false, content_type::PROTO) => HeaderValue::from_static(GRPC_PROTO),
        (false, codec) => {
            HeaderValue::from_str(&format!("{GRPC}+{codec}")).unwrap_or(HeaderValue::from_static(GRPC))
        }
    }
}

/// Calls into the host. Its panic fails this call and no other.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, Refusal> {
    // Nothing that the closure touches is used after a panic: the call is answered and gone.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Refusal::Panicked)
}

/// The header that brings the deadline.
pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The content type with the default codec spelled out.
const GRPC_PROTO: &str = "application/grpc+proto";
