//! `http_call`: makes one HTTP/1.1 request to another server.
//!
//! | port | type | |
//! |---|---|---|
//! | input `body` | bytes, string or JSON | optional; JSON is sent as text, with its content type |
//! | input `headers` | JSON object or metadata | optional; of metadata, the names listed in `metadata` are passed on |
//! | input `path` | string | optional; appended to the path of `url`, as text: it is percent-encoded here |
//! | input `query` | string or JSON object | optional; a string is a query as it stands in a URL, an object gives names and values |
//! | output `status` | i64 | the status |
//! | output `body` | bytes | the body |
//! | output `headers` | metadata | the headers, without those of the connection |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `url` | | `http://host:port/path`; may have a query |
//! | `method` | `"GET"` | GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS |
//! | `headers` | `{}` | names and values to send |
//! | `metadata` | `[]` | names to pass on from metadata |
//! | `fail_on_status` | true | whether a status that is not 2xx is a failure |
//! | `max_body_bytes` | 4,194,304 | the largest body in either direction, up to 67,108,864 |
//! | `timeout_ms`, `max_in_flight`, `max_waiting`, `max_wait_ms`, `connect_timeout_ms` | | as in `rpc_unary_call` |
//!
//! Redirects are not followed. `https` is refused: TLS is not in this release. A `path` cannot leave the
//! path of `url`: segments `.` and `..` are refused. The trace of the request is carried on in
//! `traceparent`.
//!
//! Waits without a thread. A request is sent once: trying again is for the node's `retry`. Fails with a
//! code of the table in [`upstream`](crate::upstream), which with `fail_on_status` includes the status;
//! with INVALID_ARGUMENT for inputs that cannot be sent.
//!
//! ```json
//! { "id": "rates", "kernel": "http_call",
//!   "params": { "url": "http://127.0.0.1:8000/rates", "headers": { "accept": "application/json" } },
//!   "inputs": ["path"], "outputs": ["body"] }
//! ```

mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Fault, InputPort, Inputs, KernelFactory, NodeSpec, OutputPort,
    Outputs, ReadInputs, RequestContext, Signature, Site, Type, TypeSet, Value,
};
use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;

use crate::upstream::headers::{self, PassedOn, Spelling, header_name, header_value};
use crate::upstream::{self, Failure, Settings, Target, Upstreams, bounded_by, deadline, params};

/// The `http_call` kernel.
#[derive(Debug, Default)]
pub(crate) struct HttpCall {
    upstreams: Upstreams,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpParams {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    metadata: Vec<String>,
    fail_on_status: Option<bool>,
    max_body_bytes: Option<u32>,
    timeout_ms: Option<u32>,
    max_in_flight: Option<u32>,
    max_waiting: Option<u32>,
    max_wait_ms: Option<u32>,
    connect_timeout_ms: Option<u32>,
}

#[derive(Debug)]
struct Node {
    target: Arc<Target>,
    url: Uri,
    method: Method,
    headers: HeaderMap,
    passed_on: PassedOn,
    fail_on_status: bool,
    max_body: usize,
    timeout: Option<Duration>,
    max_wait: Duration,
}

/// The methods a node may use.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

const BODY: usize = 0;
const HEADERS: usize = 1;
const PATH: usize = 2;
const QUERY: usize = 3;

const OUT_STATUS: usize = 0;
const OUT_BODY: usize = 1;
const OUT_HEADERS: usize = 2;

// === impl HttpCall ===

impl HttpCall {
    /// A factory whose nodes connect through `upstreams`.
    pub(crate) fn new(upstreams: Upstreams) -> Self {
        Self { upstreams }
    }
}

impl KernelFactory for HttpCall {
    fn name(&self) -> &str {
        "http_call"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let params: HttpParams = node.params.parse()?;
        let mut errors = Vec::new();
        let bound = Node::bind(&params, &self.upstreams, &mut errors).ok_or(errors)?;
        let inputs = [
            InputPort::optional("body", TypeSet::JSON_LIKE.union(Type::Bytes.into())),
            InputPort::optional("headers", TypeSet::of(&[Type::Json, Type::Metadata])),
            InputPort::optional("path", Type::String),
            InputPort::optional("query", TypeSet::of(&[Type::String, Type::Json])),
        ];
        let outputs = [
            OutputPort::new("status", Type::I64),
            OutputPort::new("body", Type::Bytes),
            OutputPort::new("headers", Type::Metadata),
        ];
        Ok(BoundKernel { signature: Signature::new(inputs, outputs), body: Body::Async(Box::new(bound)) })
    }
}

// === impl Node ===

impl Node {
    fn bind(params: &HttpParams, upstreams: &Upstreams, errors: &mut Vec<BindError>) -> Option<Self> {
        let url = params::http_uri("url", &params.url).map_err(|error| errors.push(error)).ok();
        let method = method(params.method.as_deref()).map_err(|error| errors.push(error)).ok();
        let headers = fixed_headers(&params.headers, errors);
        let passed_on = params::passed_on(&params.metadata, Spelling::Plain, errors);
        let timeout = params::TIMEOUT_MS.read_ms(params.timeout_ms, errors);
        let max_wait = params::MAX_WAIT_MS.read_ms(params.max_wait_ms, errors);
        let max_body = params::MAX_BODY_BYTES.read(params.max_body_bytes, errors) as usize;
        let max_in_flight = params::MAX_IN_FLIGHT.read(params.max_in_flight, errors);
        let max_waiting = params::MAX_WAITING.read(params.max_waiting, errors);
        let connect_timeout = params::CONNECT_TIMEOUT_MS.read_ms(params.connect_timeout_ms, errors);
        let (url, method) = (url?, method?);
        let settings = Settings { uri: params::origin(&url), max_in_flight, max_waiting, connect_timeout };
        errors.is_empty().then(|| Self {
            target: upstreams.target(settings),
            url,
            method,
            headers,
            passed_on,
            fail_on_status: params.fail_on_status.unwrap_or(true),
            max_body,
            timeout: params.timeout_ms.map(|_| timeout),
            max_wait,
        })
    }

    async fn call(&self, inputs: Inputs, cx: &RequestContext) -> Result<Outputs, Fault> {
        let deadline = deadline(cx, self.timeout);
        let mut request = self.request(&inputs)?;
        headers::set_trace(request.headers_mut(), cx);
        let exchange = async {
            let _slot = self.target.gate().enter(self.max_wait).await?;
            let sent = self.target.client().request(request).await;
            let (parts, body) = sent.map_err(|error| Failure::from_transport(error.into()))?.into_parts();
            if self.fail_on_status && !parts.status.is_success() {
                return Err(Failure::Http(parts.status));
            }
            Ok((parts, read(body, self.max_body).await?))
        };
        let (parts, body) = bounded_by(deadline, exchange).await?;
        Ok(Outputs::new()
            .with(OUT_STATUS, Value::I64(parts.status.as_u16().into()))
            .with(OUT_BODY, Value::Bytes(body))
            .with(OUT_HEADERS, Value::Metadata(headers::to_metadata(&parts.headers, Spelling::Plain))))
    }

    fn request(&self, inputs: &Inputs) -> Result<Request<Full<Bytes>>, Fault> {
        let mut headers = self.headers.clone();
        let (body, content_type) = request::body(inputs.get(BODY))?;
        if body.len() > self.max_body {
            return Err(Failure::MessageTooLarge(self.max_body).into());
        }
        if let Some(content_type) = content_type {
            headers.entry(http::header::CONTENT_TYPE).or_insert(content_type);
        }
        request::add_headers(&mut headers, inputs.get(HEADERS), &self.passed_on)?;
        let path = inputs.get(PATH).map(|_| inputs.str(PATH)).transpose()?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = request::uri(&self.url, path.map(|path| &**path), inputs.get(QUERY))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(self.call(inputs, cx))
    }
}

fn method(name: Option<&str>) -> Result<Method, BindError> {
    let Some(name) = name else { return Ok(Method::GET) };
    METHODS.into_iter().find(|method| method.as_str() == name).ok_or_else(|| {
        let names = METHODS.each_ref().map(Method::as_str).join(", ");
        BindError::new(Site::Param("/method".to_owned()), format!("expected one of {names}, found {name:?}"))
    })
}

fn fixed_headers(given: &BTreeMap<String, String>, errors: &mut Vec<BindError>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(upstream::USER_AGENT));
    for (name, value) in given {
        let header = header_name(name, Spelling::Plain)
            .and_then(|name| Ok((header_value(name.as_str(), value.as_bytes(), Spelling::Plain)?, name)));
        match header {
            Ok((value, name)) => drop(headers.insert(name, value)),
            Err(error) => errors.push(BindError::new(Site::Param(pointer(name)), error.to_string())),
        }
    }
    headers
}

/// The JSON pointer of an entry of `headers`.
fn pointer(name: &str) -> String {
    format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Reads a body of at most `limit` bytes.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Failure::BodyTooLarge(limit));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::from_transport(error.into()))?;
        // Trailers say nothing that anyone here asks for.
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + rest.len() + piece.len() > limit {
            return Err(Failure::BodyTooLarge(limit));
        }
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            if rest.is_empty() {
                rest = BytesMut::from(std::mem::take(&mut first));
            }
            rest.extend_from_slice(&piece);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests;
