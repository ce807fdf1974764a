//! The spellings of a call besides plain gRPC: Connect, gRPC-Web, and gRPC whose messages are JSON.
//!
//! One tower service for HTTP/1.1 and HTTP/2, mounted as the port's [`Fallback`](crate::Fallback). A request
//! passes [`cors`], [`route`], [`media`], the head of its protocol, [`intake`] and [`call`]; the answer
//! leaves through the reply of its protocol. Every call goes through the same host as over gRPC, and every
//! body is charged to the same budget.
//!
//! Not here: streams, TLS, redirects. Invariants: nothing but a POST, or a GET of a method without side
//! effects, runs anything; whatever a client says about itself is honoured or refused, never ignored.

pub(crate) mod call;
pub(crate) mod codec;
pub(crate) mod connect;
pub(crate) mod cors;
pub(crate) mod intake;
pub(crate) mod media;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod text;
pub(crate) mod unserved;
pub(crate) mod web;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use kernels::RequestEnvelope;
use tower_service::Service;

use self::call::{Call, Ended, Found};
use self::connect::head::{Head, HeadError, Query, is_wire};
pub use self::cors::CorsConfig;
use self::intake::Intake;
use self::media::{Media, Spelling};
use self::reply::Reply;
use self::text::Decoder;
use self::unserved::Unserved;
use crate::accept::port::Caller;
use crate::grpc::compression::{Encoding, GRPC_ACCEPT_ENCODING};
use crate::grpc::metadata::HeaderSource;
use crate::grpc::{Refusal, timeout};
use crate::host::ServeHost;
use crate::protocol::Protocol;
use crate::schemas::Schemas;
use crate::transport::budget::Charge;
use crate::transport::paced::PacedBody;
use crate::transport::tonic::call::GRPC_TIMEOUT;
use crate::transport::tonic::{GrpcService, UnaryBody};

/// A tower service for every spelling of a call besides plain gRPC. Clones share everything.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all calls of a gateway share.
struct Shared {
    host: ServeHost,
    /// The same service, in gRPC: its limits, its budget and its figures hold here, too.
    grpc: GrpcService,
    schemas: Schemas,
    cors: CorsConfig,
}

// === impl Gateway ===

impl Gateway {
    /// A gateway to `host`, under the limits of `grpc`, which serves the same host.
    pub fn new(host: ServeHost, grpc: GrpcService, schemas: Schemas, cors: CorsConfig) -> Self {
        Self { shared: Arc::new(Shared { host, grpc, schemas, cors }) }
    }
}

impl<B> Service<Request<PacedBody<B>>> for Gateway
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    type Response = Response<UnaryBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<UnaryBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<PacedBody<B>>) -> Self::Future {
        let shared = self.shared.clone();
        async move { Ok(shared.answer(request).await) }.boxed()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("cors", &self.shared.cors).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn answer<B>(&self, request: Request<PacedBody<B>>) -> Response<UnaryBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, mut body) = request.into_parts();
        if let Some(response) = self.cors.preflight(&head) {
            return response;
        }
        let allowed = self.cors.allow(&head.headers);
        let (is_head, is_http1) = (head.method == Method::HEAD, head.version < Version::HTTP_2);
        let mut response = match self.serve(head, &mut body).await {
            Ok(response) => response,
            Err(unserved) => unserved.response(),
        };
        // What is left of the body ends an HTTP/1 connection; a client that is not told would use it again.
        if is_http1 && !pass_over(&mut body).await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(allowed) = allowed {
            allowed.expose(response.headers_mut());
        }
        if is_head {
            *response.body_mut() = UnaryBody::default();
        }
        response
    }

    async fn serve<B>(&self, head: Parts, body: &mut PacedBody<B>) -> Result<Response<UnaryBody>, Unserved>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let method = route::method(head.uri.path()).ok_or(Unserved::Path)?;
        let peer = peer(&head);
        let envelope = |headers| RequestEnvelope {
            method,
            payload: Bytes::new(),
            metadata: Arc::new(HeaderSource(metadata(headers))),
            peer,
            deadline: None,
        };
        if head.method == Method::GET {
            let envelope = envelope(head.headers.clone());
            return self.get(&head, envelope).await;
        }
        if head.method != Method::POST {
            return Err(self.not_called(&envelope(head.headers)));
        }
        let media = media::parse(head.headers.get(header::CONTENT_TYPE)).ok_or(Unserved::MediaType)?;
        if media.spelling == Spelling::Grpc && head.version < Version::HTTP_2 {
            return Err(Unserved::Grpc1);
        }
        let mut reply = self.reply(media);
        let ended = match self.read_head(&mut reply, &head.headers) {
            Ok((encoding, timeout)) => {
                let mut envelope = envelope(head.headers);
                envelope.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                self.post(media, encoding, envelope, body).await
            }
            Err(refusal) => Ended::refused(refusal),
        };
        Ok(reply.respond(&ended, &self.grpc))
    }

    /// Why a request is no call that is neither a POST nor a GET.
    fn not_called(&self, envelope: &RequestEnvelope) -> Unserved {
        match Found::find(&self.host, &self.schemas, envelope) {
            Ok(found) => Unserved::Method { get: found.is_safe(&envelope.method) },
            Err(_) => Unserved::Path,
        }
    }

    /// A call of a method without side effects, whose message is in the query.
    async fn get(
        &self,
        head: &Parts,
        mut envelope: RequestEnvelope,
    ) -> Result<Response<UnaryBody>, Unserved> {
        let refused = |ended: &Ended| Ok(self.reply(media::GET).respond(ended, &self.grpc));
        let found = match Found::find(&self.host, &self.schemas, &envelope) {
            Ok(found) => found,
            Err(rejection) => return refused(&Ended::rejected(&self.host, &rejection)),
        };
        if !found.is_safe(&envelope.method) {
            return Err(Unserved::Method { get: false });
        }
        let query = match Query::read(head.uri.query().unwrap_or_default()) {
            Ok(query) => query,
            Err(error) => return refused(&Ended::refused(error.into())),
        };
        let media = query.codec.map(media::of_get).ok_or(Unserved::MediaType)?;
        let (mut reply, mut intake) = (self.reply(media), self.intake());
        let policy = self.grpc.limits().messages.compression;
        let read = Encoding::named(query.compression.as_deref().map(str::as_bytes)).and_then(|encoding| {
            let head = Head::with_encoding(&head.headers, policy, encoding)?;
            envelope.deadline = head.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            envelope.payload = intake.given(query.message, encoding)?;
            Ok(head.reply_encoding)
        });
        let ended = match read {
            Ok(reply_encoding) => {
                reply.compress(reply_encoding);
                self.call(media, envelope, intake).run(&self.host, found).await
            }
            Err(refusal) => Ended::refused(refusal),
        };
        let mut response = reply.respond(&ended, &self.grpc);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        Ok(response)
    }

    async fn post<B>(
        &self,
        media: Media,
        encoding: Option<Encoding>,
        mut envelope: RequestEnvelope,
        body: &mut PacedBody<B>,
    ) -> Ended
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut intake = self.intake();
        let read = async {
            body.must_end_by(envelope.deadline);
            envelope.payload = match media.spelling {
                Spelling::Connect => intake.bare(body, encoding).await?,
                Spelling::ConnectStream => bare_only(intake.bare(body, encoding).await?)?,
                Spelling::GrpcWeb | Spelling::Grpc => intake.framed(body, encoding, None).await?,
                Spelling::GrpcWebText => intake.framed(body, encoding, Some(Decoder::default())).await?,
            };
            Ok(())
        };
        if let Err(refusal) = read.await {
            return Ended::refused(refusal);
        }
        match Found::find(&self.host, &self.schemas, &envelope) {
            Ok(found) => self.call(media, envelope, intake).run(&self.host, found).await,
            Err(rejection) => Ended::rejected(&self.host, &rejection),
        }
    }

    fn call(&self, media: Media, envelope: RequestEnvelope, intake: Intake) -> Call {
        let max_send = self.grpc.limits().messages.max_send;
        Call { envelope, codec: media.codec, protocol: protocol(media.spelling), intake, max_send }
    }

    fn reply(&self, media: Media) -> Reply {
        Reply::new(media, self.grpc.limits().messages.max_send)
    }

    /// What the head says about the message, its deadline and its answer.
    fn read_head(
        &self,
        reply: &mut Reply,
        headers: &HeaderMap,
    ) -> Result<(Option<Encoding>, Option<Duration>), Refusal> {
        let policy = self.grpc.limits().messages.compression;
        let Head { encoding, reply_encoding, timeout } = match reply {
            Reply::Connect(_) => Head::read(headers, policy)?,
            Reply::Web(_) | Reply::Grpc(_) => {
                let encoding = Encoding::of_request(headers)?;
                let timeout = headers.get(GRPC_TIMEOUT).map(|value| timeout::parse(value.as_bytes()));
                let reply_encoding = Encoding::of_response(policy, encoding, headers, GRPC_ACCEPT_ENCODING);
                Head { encoding, reply_encoding, timeout: timeout.transpose()? }
            }
        };
        reply.compress(reply_encoding);
        Ok((encoding, timeout))
    }

    fn intake(&self) -> Intake {
        Intake { limit: self.grpc.limits().messages.max_receive, charge: Charge::new(self.grpc.budget()) }
    }
}

/// The headers of a request without those that only its protocol means.
fn metadata(mut headers: HeaderMap) -> HeaderMap {
    let wire: Vec<_> = headers.keys().filter(|name| is_wire(name.as_str())).cloned().collect();
    for name in wire {
        headers.remove(name);
    }
    headers
}

/// A message whose content type is a stream's, if it is not in an envelope.
fn bare_only(message: Bytes) -> Result<Bytes, Refusal> {
    // No message begins with the flags of an envelope, in JSON or in protobuf.
    match message.first() {
        Some(0..=2) => Err(HeadError::Envelope.into()),
        _ => Ok(message),
    }
}

fn peer(head: &Parts) -> Arc<str> {
    if let Some(Caller(peer)) = head.extensions.get() {
        return peer.clone();
    }
    let address = head.extensions.get::<ConnectInfo<SocketAddr>>();
    address.map_or_else(|| "unknown".into(), |info| info.0.to_string().into())
}

fn protocol(spelling: Spelling) -> Protocol {
    match spelling {
        Spelling::Connect | Spelling::ConnectStream => Protocol::Connect,
        Spelling::GrpcWeb | Spelling::GrpcWebText => Protocol::GrpcWeb,
        Spelling::Grpc => Protocol::Grpc,
    }
}

/// Reads the rest of a body that nobody wants, if it is short; says whether that was all of it.
async fn pass_over<B: Body<Data = Bytes> + Unpin>(body: &mut PacedBody<B>) -> bool {
    let mut left = PASSED_OVER;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// The most bytes of an unwanted body that are read to keep its connection.
const PASSED_OVER: usize = 64 << 10;

#[cfg(test)]
mod tests;
