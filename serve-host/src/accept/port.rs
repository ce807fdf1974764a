//! What the service port answers, by path and content type, on HTTP/1.1 and HTTP/2 alike.
//!
//! gRPC goes to the [`GrpcService`], `/healthz` is answered here, and everything else goes to the
//! [`Fallback`], if there is one: the seam for other spellings of an RPC and for services that are not
//! graphs. What nobody takes is told in plain text what this port speaks.

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{self, Future};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, LocalBoxFuture};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tower::ServiceExt;

use super::leash::{Call, Leash};
use crate::grpc::content_type::{self, ContentType};
use crate::transport::limits::TransportLimits;
use crate::transport::paced::{Pace, PacedBody};
use crate::transport::request_body::RequestBody;
use crate::transport::tonic::{GrpcService, UnaryBody, UnaryCall};

/// The body of a request that goes to a [`Fallback`].
pub type FallbackRequestBody = PacedBody<RequestBody>;

/// The body of a [`Fallback`]'s response.
pub type FallbackBody = UnsyncBoxBody<Bytes, BoxError>;

/// Whatever went wrong in a body.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A service for the requests that are not unary gRPC calls of graphs. It finds the client's address as
/// axum's `ConnectInfo<SocketAddr>` among the request's extensions.
#[derive(Clone)]
pub struct Fallback {
    service: Arc<dyn Template>,
    claims: Arc<[String]>,
}

/// A service of any type, of which every thread has a copy.
trait Template: Send + Sync {
    fn copy(&self) -> Box<dyn Answers>;
}

/// A thread's own copy of it, which answers all of the thread's requests: none is copied for a request.
trait Answers {
    /// A panic, in the service or in its future, costs the request and nothing else.
    fn answer(
        &mut self,
        request: Request<FallbackRequestBody>,
    ) -> LocalBoxFuture<'static, Response<FallbackBody>>;
}

/// The client's address as text, among the extensions of a request that goes to a [`Fallback`].
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<str>);

/// Who answers, for all connections of a thread.
pub(crate) struct Routes {
    grpc: GrpcService,
    fallback: Option<Answering>,
}

/// A [`Fallback`] as one thread has it.
struct Answering {
    service: RefCell<Box<dyn Answers>>,
    claims: Arc<[String]>,
}

/// The service port as one connection sees it.
#[derive(Clone)]
pub(crate) struct Port {
    routes: Rc<Routes>,
    peer: Arc<str>,
    leash: Rc<Leash>,
}

/// The answer to one request of the port.
pub(crate) struct Routed {
    /// Taken by the response, which ends the call when it is sent.
    call: Option<Call>,
    route: Route,
}

#[expect(clippy::large_enum_variant, reason = "nearly every route is the large one")]
enum Route {
    Grpc(UnaryCall<RequestBody>),
    Health(Health),
    Text(Text),
    Fallback(LocalBoxFuture<'static, Response<FallbackBody>>),
}

/// `/healthz`: answered once the whole request is read, as a client that sends a body expects.
struct Health {
    body: PacedBody<RequestBody>,
    head_only: bool,
    read: usize,
}

/// What those are told whom nobody here understands.
#[derive(Clone, Copy)]
enum Text {
    Grpc1,
    NotFound,
    Unsupported,
    HealthMethod,
    TooLarge,
    Slow,
    TargetTooLong,
}

/// The body of any response of the port.
pub(crate) struct Outgoing {
    body: OutgoingBody,
    call: Option<Call>,
}

enum OutgoingBody {
    Unary(UnaryBody),
    Fallback(FallbackBody),
}

// === impl Fallback ===

impl Fallback {
    /// A fallback that answers with `service`.
    pub fn new<S, B>(service: S) -> Self
    where
        S: tower::Service<Request<FallbackRequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + 'static,
    {
        Self { service: Arc::new(service), claims: Arc::default() }
    }

    /// Also gives the service every gRPC request whose path begins with one of these, streaming ones
    /// included: `/grpc.health.v1.Health/` for example. Their bodies may take as long as they like.
    #[must_use]
    pub fn claiming(self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { claims: prefixes.into_iter().map(Into::into).collect(), ..self }
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl<S, B> Template for S
where
    S: tower::Service<Request<FallbackRequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + 'static,
{
    fn copy(&self) -> Box<dyn Answers> {
        Box::new(self.clone())
    }
}

impl<S, B> Answers for S
where
    S: tower::Service<Request<FallbackRequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + 'static,
    S::Future: 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + 'static,
{
    fn answer(
        &mut self,
        request: Request<FallbackRequestBody>,
    ) -> LocalBoxFuture<'static, Response<FallbackBody>> {
        // Even making the future may panic.
        let made = catch_unwind(AssertUnwindSafe(|| {
            match self.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(_) => Either::Left(self.call(request)),
                // Whoever waits for it waits with a copy, and holds up nobody.
                Poll::Pending => Either::Right(self.clone().oneshot(request)),
            }
        }));
        let Ok(answering) = made else { return future::ready(broken()).boxed_local() };
        AssertUnwindSafe(answering)
            .catch_unwind()
            .map(|answered| match answered {
                Ok(Ok(response)) => response.map(erased),
                Ok(Err(never)) => match never {},
                Err(_) => broken(),
            })
            .boxed_local()
    }
}

/// The body behind its trait, unless it was put there already.
pub(crate) fn erased<B>(body: B) -> FallbackBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(body);
    let erased = (&mut body as &mut dyn Any).downcast_mut::<Option<FallbackBody>>();
    match (erased.and_then(Option::take), body) {
        (Some(erased), _) => erased,
        (None, Some(body)) => body.map_err(Into::into).boxed_unsync(),
        (None, None) => FallbackBody::default(),
    }
}

/// The response to a request whose service panicked.
fn broken() -> Response<FallbackBody> {
    let mut response = Response::new(FallbackBody::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

// === impl Routes ===

impl Routes {
    /// What one thread answers with.
    pub(crate) fn new(grpc: GrpcService, fallback: Option<Fallback>) -> Self {
        let answering = |Fallback { service, claims }| Answering { service: service.copy().into(), claims };
        Self { grpc, fallback: fallback.map(answering) }
    }
}

impl Answering {
    fn claims(&self, path: &str) -> bool {
        self.claims.iter().any(|prefix| path.starts_with(prefix.as_str()))
    }
}

// === impl Port ===

impl Port {
    pub(crate) fn new(routes: Rc<Routes>, leash: Rc<Leash>) -> Self {
        Self { routes, peer: leash.peer().to_string().into(), leash }
    }

    /// Answers one request, whichever transport read it.
    pub(crate) fn serve(&self, request: Request<RequestBody>) -> Routed {
        let call = Call::begin(&self.leash);
        Routed { call: Some(call), route: self.route(request) }
    }

    /// The service that answers gRPC calls to this path, unless the fallback has claimed them.
    pub(crate) fn grpc(&self, path: &str) -> Option<&GrpcService> {
        let claimed = self.routes.fallback.as_ref().is_some_and(|fallback| fallback.claims(path));
        (!claimed).then_some(&self.routes.grpc)
    }

    /// The client's address, as calls are told it.
    pub(crate) fn peer(&self) -> &Arc<str> {
        &self.peer
    }

    pub(crate) fn limits(&self) -> &TransportLimits {
        self.routes.grpc.limits()
    }

    fn route(&self, request: Request<RequestBody>) -> Route {
        let path = request.uri().path();
        let content_type =
            content_type::parse(request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes));
        let grpc = content_type != ContentType::Other;
        let service = self.grpc(path);
        if let Some(service) = service.filter(|service| service.takes(content_type)) {
            return match request.version() {
                Version::HTTP_2 => Route::Grpc(service.serve(request, self.peer.clone())),
                _ => Route::Text(Text::Grpc1),
            };
        }
        let claimed = service.is_none();
        if request.uri().path_and_query().map_or(0, |target| target.as_str().len())
            > self.limits().messages.max_uri
        {
            return Route::Text(Text::TargetTooLong);
        }
        if path == HEALTH {
            return self.health(request);
        }
        match &self.routes.fallback {
            Some(fallback) => self.fall_back(fallback, request, grpc && claimed),
            None if *request.method() == Method::POST => Route::Text(Text::Unsupported),
            None => Route::Text(Text::NotFound),
        }
    }

    fn health(&self, request: Request<RequestBody>) -> Route {
        match *request.method() {
            Method::GET | Method::POST | Method::HEAD => Route::Health(Health {
                head_only: *request.method() == Method::HEAD,
                body: PacedBody::new(request.into_body(), Some(self.pace())),
                read: 0,
            }),
            _ => Route::Text(Text::HealthMethod),
        }
    }

    fn fall_back(&self, fallback: &Answering, request: Request<RequestBody>, streaming: bool) -> Route {
        let pace = (!streaming).then(|| self.pace());
        let mut request = request.map(|body| PacedBody::new(body, pace));
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.leash.peer()));
        extensions.insert(Caller(self.peer.clone()));
        Route::Fallback(fallback.service.borrow_mut().answer(request))
    }

    fn pace(&self) -> Pace {
        let limits = &self.limits().connections;
        Pace { whole: limits.body_timeout, idle: limits.body_idle_timeout, deadline: None }
    }
}

impl hyper::service::Service<Request<Incoming>> for Port {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Routed;

    fn call(&self, request: Request<Incoming>) -> Routed {
        self.serve(request.map(RequestBody::from))
    }
}

// === impl Routed ===

impl Future for Routed {
    type Output = Result<Response<Outgoing>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let response = match &mut this.route {
            Route::Grpc(call) => ready!(Pin::new(call).poll(cx))?.map(OutgoingBody::Unary),
            Route::Health(health) => ready!(health.poll(cx)).map(OutgoingBody::Unary),
            Route::Text(text) => text.response().map(OutgoingBody::Unary),
            Route::Fallback(answer) => ready!(answer.as_mut().poll(cx)).map(OutgoingBody::Fallback),
        };
        let call = this.call.take();
        Poll::Ready(Ok(response.map(|body| Outgoing { body, call })))
    }
}

// === impl Health ===

impl Health {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<UnaryBody>> {
        while !self.body.is_end_stream() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => break,
                Some(Err(_)) => return Poll::Ready(Text::Slow.response()),
                Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::len),
            }
            if self.read > MAX_HEALTH_BODY {
                return Poll::Ready(Text::TooLarge.response());
            }
        }
        let body = if self.head_only { UnaryBody::default() } else { UnaryBody::text(ALIVE) };
        let mut response = plain(StatusCode::OK, body);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(ALIVE.len()));
        Poll::Ready(response)
    }
}

// === impl Text ===

impl Text {
    fn response(self) -> Response<UnaryBody> {
        let (status, text) = match self {
            Self::Grpc1 => (
                StatusCode::UPGRADE_REQUIRED,
                "gRPC needs HTTP/2: connect with prior knowledge (h2c), HTTP/1.1 cannot carry it\n",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "nothing here: this port serves RPCs by POST, gRPC over HTTP/2 among them; GET /healthz says that it is up\n",
            ),
            Self::Unsupported => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "no RPC protocol with this content type is served here; gRPC is: application/grpc, over HTTP/2\n",
            ),
            Self::HealthMethod => (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD or POST\n"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large\n"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive\n"),
            Self::TargetTooLong => {
                (StatusCode::URI_TOO_LONG, "the request target is too long (messages.max_uri)\n")
            }
        };
        let mut response = plain(status, UnaryBody::text(text));
        match self {
            Self::Grpc1 => {
                let headers = response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Self::HealthMethod => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            Self::NotFound | Self::Unsupported | Self::TooLarge | Self::Slow | Self::TargetTooLong => {}
        }
        response
    }
}

fn plain(status: StatusCode, body: UnaryBody) -> Response<UnaryBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

// === impl Outgoing ===

impl Outgoing {
    /// The body of a response to a gRPC call, which lasts until it is sent.
    pub(crate) fn unary(body: UnaryBody, call: Call) -> Self {
        Self { body: OutgoingBody::Unary(body), call: Some(call) }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(call) = &self.call {
            call.leash().note_piece();
        }
        match &mut self.body {
            OutgoingBody::Unary(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            OutgoingBody::Fallback(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            OutgoingBody::Unary(body) => body.is_end_stream(),
            OutgoingBody::Fallback(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            OutgoingBody::Unary(body) => body.size_hint(),
            OutgoingBody::Fallback(body) => body.size_hint(),
        }
    }
}

/// The path that says that the process is up.
const HEALTH: &str = "/healthz";

/// What it says.
const ALIVE: &str = "alive\n";

/// The largest body that a health check may bring.
const MAX_HEALTH_BODY: usize = 1 << 20;
