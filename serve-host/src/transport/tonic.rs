//! gRPC over hyper: a generic unary service over raw bytes, and the HTTP/2 driver that carries it.
//!
//! [`GrpcService`] needs no generated code. This host's accept loop drives it; anyone can as well mount it
//! in a tonic or axum server of their own. It does its own framing and chooses its own statuses, because
//! tonic's codec answers several malformed calls with codes that the conformance suites do not accept.

pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod direct;
pub(crate) mod http2;
mod meter;
pub(crate) mod reply;
mod streams;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tonic::transport::server::TcpConnectInfo;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

pub use self::body::UnaryBody;
pub use self::call::UnaryCall;
use super::UnaryHost;
use super::budget::ByteBudget;
use super::limits::TransportLimits;
use crate::grpc::content_type::{ContentType, PROTO};
use crate::grpc::{Refusal, RefusalReason};
use crate::logs::paced::PacedCount;

/// A tower service that answers every unary gRPC call through a [`UnaryHost`]. Clones share everything.
///
/// Mounted outside this host's accept loop it needs a Tokio runtime with time enabled, for bodies that
/// are slow to arrive.
#[derive(Clone)]
pub struct GrpcService {
    shared: Arc<Shared>,
}

/// What all calls of a service share.
struct Shared {
    host: Arc<dyn UnaryHost>,
    limits: TransportLimits,
    codecs: Vec<String>,
    budget: Arc<ByteBudget>,
    refusals: [PacedCount; RefusalReason::ALL.len()],
}

// === impl GrpcService ===

impl GrpcService {
    /// A service that takes `application/grpc` and `application/grpc+proto`.
    pub fn new(host: Arc<dyn UnaryHost>, limits: TransportLimits) -> Self {
        Self::with_codecs(host, limits, [PROTO])
    }

    /// A service that takes these codecs, the suffixes of `application/grpc+…`. Messages are passed on as
    /// they are, whatever their codec.
    pub fn with_codecs<C: Into<String>>(
        host: Arc<dyn UnaryHost>,
        limits: TransportLimits,
        codecs: impl IntoIterator<Item = C>,
    ) -> Self {
        let shared = Shared {
            host,
            codecs: codecs.into_iter().map(Into::into).collect(),
            budget: ByteBudget::new(limits.messages.in_flight),
            limits,
            refusals: std::array::from_fn(|_| PacedCount::default()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether requests of this content type are for this service.
    pub(crate) fn takes(&self, content_type: ContentType<'_>) -> bool {
        match content_type {
            ContentType::Grpc { codec, .. } => self.shared.takes(codec),
            ContentType::Other => false,
        }
    }

    /// Answers one request that came from `peer`.
    pub fn serve<B: Body<Data = Bytes> + Unpin>(&self, request: Request<B>, peer: Arc<str>) -> UnaryCall<B> {
        UnaryCall::new(self.shared.clone(), request, peer)
    }

    /// The limits in force.
    pub fn limits(&self) -> &TransportLimits {
        &self.shared.limits
    }

    /// What the messages of all calls share.
    pub(crate) fn budget(&self) -> &Arc<ByteBudget> {
        &self.shared.budget
    }

    /// Counts and logs a refusal that another spelling of the same service answers.
    pub(crate) fn note(&self, refusal: &Refusal) {
        self.shared.note(refusal);
    }

    /// How often each reason made this service answer without the host, or changed the host's answer.
    pub fn refusals(&self) -> impl Iterator<Item = (RefusalReason, u64)> {
        RefusalReason::ALL.into_iter().zip(self.shared.refusals.iter().map(PacedCount::get))
    }

    /// The bytes of messages held now, over all connections.
    pub fn bytes_in_flight(&self) -> usize {
        self.shared.budget.held()
    }
}

impl<B> Service<Request<B>> for GrpcService
where
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<UnaryBody>;
    type Error = Infallible;
    type Future = UnaryCall<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> UnaryCall<B> {
        let peer = mounted_peer(&request);
        self.serve(request, peer)
    }
}

impl fmt::Debug for GrpcService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcService").field("codecs", &self.shared.codecs).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn takes(&self, codec: &str) -> bool {
        self.codecs.iter().any(|known| known == codec)
    }

    /// Counts a refusal, and logs it as often as a log can bear.
    fn note(&self, refusal: &Refusal) {
        let reason = refusal.reason();
        let Some(count) = self.refusals.get(reason as usize).and_then(PacedCount::note) else { return };
        if reason == RefusalReason::BrokenOff {
            // That clients leave is the course of the world.
            tracing::debug!(reason = reason.name(), count, "refused");
        } else {
            tracing::warn!(reason = reason.name(), count, %refusal, "refused");
        }
    }
}

/// The client's address, as tonic's or axum's server notes it.
fn mounted_peer<B>(request: &Request<B>) -> Arc<str> {
    let extensions = request.extensions();
    let tonic = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let address = tonic.or_else(|| extensions.get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0));
    address.map_or_else(|| "unknown".into(), |address| address.to_string().into())
}
