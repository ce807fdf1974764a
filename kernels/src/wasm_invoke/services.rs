//! Calls from one deployed service to another, within the call that the first one serves.
//!
//! The callee is what answers for its route: its graph, so that what its owner put around the guest is
//! not passed by. Deadline, cancellation and trace carry over; so does the depth, which is bounded. A
//! package calls only what its `calls` allow. No socket is involved.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{
    Code, EnvKey, Environment, Executor, HeldPlan, Metadata, RequestContext, TraceParent, Value,
};
use futures_util::future::BoxFuture;
use kernels_wasm::{Host, ServiceCall, ServiceError, ServiceErrorCode};
use proto_json::{FieldNames, Method, ReadOptions, WriteOptions, Zeros};
use serde_json::json;

use crate::call::{Answer, RequestEnvelope, RpcServerCall};
use crate::services::{Service, Services};

/// The services that a guest reaches while it serves a call.
pub(super) struct Connected {
    services: Services,
    caller: Arc<Service>,
    cx: RequestContext,
}

/// The call that a callee serves: a request of its own, in the trace of the caller's.
struct Inner {
    call: Arc<RpcServerCall>,
    outer: Arc<dyn Environment>,
}

/// Whom a guest calls.
struct Callee {
    plan: HeldPlan,
    /// `None` if no package describes what answers there.
    service: Option<Arc<Service>>,
    route: Arc<str>,
}

// === impl Connected ===

impl Connected {
    pub(super) fn new(services: Services, caller: Arc<Service>, cx: RequestContext) -> Self {
        Self { services, caller, cx }
    }

    async fn run(&self, asked: ServiceCall) -> Result<String, ServiceError> {
        let callee = self.find(&asked.service)?;
        let method = callee.method(&asked.method)?;
        let payload = encode(method.as_ref(), asked.payload.get())?;
        let envelope = RequestEnvelope {
            method: format!("/{}/{}", callee.route, asked.method).into(),
            payload,
            metadata: Arc::new(metadata(&asked)?),
            peer: format!("service:{}", self.caller.id).into(),
            deadline: self.cx.deadline(),
        };
        let answer = self.answer(&callee, envelope).await?;
        if answer.code != Code::Ok {
            return Err(failed(answer.code, answer.message));
        }
        decode(method.as_ref(), answer.payload)
    }

    /// Whoever answers for an id or a route, if the package may call it.
    fn find(&self, name: &str) -> Result<Callee, ServiceError> {
        let by_id = self.services.current(name);
        let route = by_id.as_ref().map_or_else(|| Arc::from(name), |service| service.route.clone());
        if !self.caller.may_call(name, &route) {
            let message = format!("{} may not call {name}: its package does not name it", self.caller.id);
            return Err(ServiceError::new(ServiceErrorCode::Unauthorized, message));
        }
        let missing =
            || ServiceError::new(ServiceErrorCode::ServiceNotFound, format!("no service {name} is here"));
        let graphs = self.cx.graphs().ok_or_else(missing)?;
        let plan = match by_id.as_ref().map(|service| service.version()) {
            None => graphs.plan(&route),
            Some(version) => version.and_then(|version| graphs.version(&route, &version)),
        };
        let plan = plan.filter(|held| held.plan().answers()).ok_or_else(missing)?;
        let service = by_id.or_else(|| {
            let serving = Some(plan.plan().version().clone());
            self.services.of_route(&route).into_iter().find(|service| service.version() == serving)
        });
        Ok(Callee { plan, service, route })
    }

    async fn answer(&self, callee: &Callee, envelope: RequestEnvelope) -> Result<Answer, ServiceError> {
        let call = Arc::new(RpcServerCall::new(envelope));
        let inner = Inner { call: call.clone(), outer: self.cx.environment().clone() };
        let Some(nested) = self.cx.nested(Arc::new(inner)) else {
            let message = format!("services call each other deeper than {}", RequestContext::MAX_DEPTH);
            return Err(ServiceError::new(ServiceErrorCode::InternalError, message));
        };
        let ran = Executor::drive(callee.plan.plan(), &Arc::new(nested), self.cx.offload()).await;
        match (call.take_answer(), ran) {
            (Some(answer), _) => Ok(answer),
            (None, Err(error)) => Ok(Answer::from(&error.fault)),
            (None, Ok(_)) => {
                let message = format!("{} gave no answer", callee.route);
                Err(ServiceError::new(ServiceErrorCode::InternalError, message))
            }
        }
    }
}

impl Host for Connected {
    fn call_service<'a>(&'a self, call: ServiceCall) -> BoxFuture<'a, Result<String, ServiceError>> {
        Box::pin(self.run(call))
    }
}

// === impl Callee ===

impl Callee {
    /// The method's messages, if a package describes them.
    fn method(&self, name: &str) -> Result<Option<Method>, ServiceError> {
        let Some(service) = &self.service else { return Ok(None) };
        let described = service.schema.service(&self.route).and_then(|service| service.method(name));
        let method = described.ok_or_else(|| {
            ServiceError::new(
                ServiceErrorCode::MethodNotFound,
                format!("{} has no method {name}", self.route),
            )
        })?;
        Ok(Some(method))
    }
}

// === impl Inner ===

impl Environment for Inner {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        match key.index {
            // The handle of the call is the call itself, which a kernel looks for in it.
            Some(_) => self.call.clone().value(key),
            None => Value::Null,
        }
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        self.call.trace_parent().or_else(|| self.outer.trace_parent())
    }

    fn request_id(&self) -> Option<Arc<str>> {
        self.outer.request_id()
    }
}

/// The request as the callee's graph gets it: protobuf, or the JSON itself where nothing describes it.
fn encode(method: Option<&Method>, payload: &str) -> Result<Bytes, ServiceError> {
    let Some(method) = method else { return Ok(Bytes::copy_from_slice(payload.as_bytes())) };
    let mut message = Vec::new();
    let options = ReadOptions { lenient: true, ..ReadOptions::default() };
    match method.input.json_to_proto(payload.as_bytes(), options, &mut message) {
        Ok(()) => Ok(message.into()),
        Err(error) => Err(ServiceError::new(ServiceErrorCode::InvalidRequest, error.to_string())),
    }
}

/// The answer as the calling guest gets it.
fn decode(method: Option<&Method>, payload: Bytes) -> Result<String, ServiceError> {
    let internal = |what: String| ServiceError::new(ServiceErrorCode::InternalError, what);
    let text = match method {
        None => payload.to_vec(),
        Some(method) => {
            // As guests find fields: by the names of the schema, and none left out.
            let options = WriteOptions {
                field_names: FieldNames::Original,
                zeros: Zeros::Scalars,
                ..WriteOptions::default()
            };
            let mut text = Vec::new();
            let written = method.output.proto_to_json(&payload, options, &mut text);
            written.map_err(|error| internal(error.to_string()))?;
            text
        }
    };
    String::from_utf8(text).map_err(|_| internal("the answer is not JSON".to_owned()))
}

/// The metadata that the guest gave. What belongs to a wire, and the deadline, are the host's to set.
fn metadata(asked: &ServiceCall) -> Result<Metadata, ServiceError> {
    let mut metadata = Metadata::new();
    for (name, value) in &asked.metadata {
        let name = name.to_ascii_lowercase();
        if name.starts_with("grpc-") || matches!(&*name, "te" | "content-type" | "deadline") {
            continue;
        }
        let added = metadata.append(&*name, value.clone().into_bytes());
        added.map_err(|error| ServiceError::new(ServiceErrorCode::InvalidRequest, error.to_string()))?;
    }
    Ok(metadata)
}

/// A failed answer, as the calling guest is told.
fn failed(code: Code, message: String) -> ServiceError {
    let kind = match code {
        Code::DeadlineExceeded => ServiceErrorCode::DeadlineExceeded,
        Code::InvalidArgument | Code::OutOfRange => ServiceErrorCode::InvalidRequest,
        Code::Unimplemented => ServiceErrorCode::MethodNotFound,
        Code::Unauthenticated | Code::PermissionDenied => ServiceErrorCode::Unauthorized,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => ServiceErrorCode::InternalError,
    };
    ServiceError { details: Some(json!({ "status": code.name() })), ..ServiceError::new(kind, message) }
}
