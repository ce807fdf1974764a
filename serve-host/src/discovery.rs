//! What a client may ask about the port itself: which services there are, and whether they serve.
//!
//! gRPC server reflection (v1 and v1alpha) and `grpc.health.v1` stand before whatever else answers the
//! requests that are not calls of graphs. Both read what serves at the moment they are asked, so they
//! follow a publish, a deploy and a drain at once: a client that was told of a change sees it here.

mod health;
mod index;
mod reflection;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use exec_plan::PlanStore;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflectionServer;
use tonic_reflection::pb::v1alpha::server_reflection_server::ServerReflectionServer as AlphaServer;

use self::health::Health;
use self::reflection::{Alpha, Reflection};
use crate::accept::port::{BoxError, FallbackBody, FallbackRequestBody, erased};
use crate::admin::Readiness;
use crate::schemas::Schemas;

/// A service, and the descriptors it is described by.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its full name, `package.Service`.
    pub service: Arc<str>,
    /// A `google.protobuf.FileDescriptorSet` that has it, and every file that needs.
    pub descriptors: Bytes,
}

/// Gives the services that serve now and have descriptors.
pub type DescribedServices = Arc<dyn Fn() -> Vec<Described> + Send + Sync>;

/// The services that the store serves and these schemas describe.
pub fn described_services(store: Arc<PlanStore>, schemas: Schemas) -> DescribedServices {
    Arc::new(move || {
        let served = store.services().into_iter();
        let described = served.filter_map(|(service, label)| {
            let descriptors = schemas.find(&label, &service)?.schema().descriptor_set().clone();
            Some(Described { service, descriptors })
        });
        described.collect()
    })
}

/// Where the answers come from.
pub struct DiscoverySources {
    /// What serves.
    pub store: Arc<PlanStore>,
    /// How it is described.
    pub described: DescribedServices,
    /// Whether the host takes calls.
    pub readiness: Readiness,
    /// Ends what would otherwise go on for ever, a watch for example.
    pub stop: CancellationToken,
}

/// Answers reflection and health, and leaves everything else to `rest`.
#[derive(Clone)]
pub struct Discovery<S> {
    health: HealthServer<Health>,
    reflection: ServerReflectionServer<Reflection>,
    alpha: AlphaServer<Alpha>,
    rest: S,
}

/// What the paths of these services begin with: for [`Fallback::claiming`](crate::Fallback::claiming).
pub const DISCOVERY_PATHS: [&str; 3] = [HEALTH_PATH, REFLECTION_PATH, ALPHA_PATH];

const HEALTH_PATH: &str = "/grpc.health.v1.Health/";
const REFLECTION_PATH: &str = "/grpc.reflection.v1.ServerReflection/";
const ALPHA_PATH: &str = "/grpc.reflection.v1alpha.ServerReflection/";

/// The largest question, in bytes: a name and little else.
const MAX_QUESTION: usize = 64 << 10;

impl<S> Discovery<S> {
    /// Stands before `rest`.
    pub fn new(sources: DiscoverySources, rest: S) -> Self {
        let DiscoverySources { store, described, readiness, stop } = sources;
        let reflection = Reflection::new(described, store.flips(), stop.clone());
        let health = Health::new(store, &readiness, stop);
        Self {
            health: HealthServer::new(health).max_decoding_message_size(MAX_QUESTION),
            alpha: AlphaServer::new(Alpha::from(reflection.clone())).max_decoding_message_size(MAX_QUESTION),
            reflection: ServerReflectionServer::new(reflection).max_decoding_message_size(MAX_QUESTION),
            rest,
        }
    }
}

impl<S, B> tower::Service<Request<FallbackRequestBody>> for Discovery<S>
where
    S: tower::Service<Request<FallbackRequestBody>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FallbackBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The services of discovery are always ready.
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: Request<FallbackRequestBody>) -> Self::Future {
        let path = request.uri().path();
        let is_grpc = request.version() == Version::HTTP_2 && is_grpc(&request);
        if is_grpc && path.starts_with(HEALTH_PATH) {
            boxed(tower::Service::call(&mut self.health, request))
        } else if is_grpc && path.starts_with(REFLECTION_PATH) {
            boxed(tower::Service::call(&mut self.reflection, request))
        } else if is_grpc && path.starts_with(ALPHA_PATH) {
            boxed(tower::Service::call(&mut self.alpha, request))
        } else {
            boxed(self.rest.call(request))
        }
    }
}

impl<S> fmt::Debug for Discovery<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

impl fmt::Debug for DiscoverySources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverySources").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Whether it is gRPC itself, and not one of its other spellings.
fn is_grpc(request: &Request<FallbackRequestBody>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn boxed<F, B>(
    answering: F,
) -> Pin<Box<dyn Future<Output = Result<Response<FallbackBody>, Infallible>> + Send>>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::pin(async move { Ok(answering.await?.map(erased)) })
}

#[cfg(test)]
mod tests;
