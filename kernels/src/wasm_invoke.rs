//! `wasm_invoke`: calls the guest of a deployed package.
//!
//! | port | type | |
//! |---|---|---|
//! | input `payload` | any with a JSON form | the request, in the form of the guest's ABI: bytes and text as they are, else compact JSON |
//! | input `method` | string | optional; `/package.Service/Method` or the method alone; the method of the served request, if there is neither this nor the parameter |
//! | input `meta` | metadata | optional; for guests with envelopes: the metadata they get |
//! | output `payload` | bytes | the result, in the form of the guest's ABI |
//! | output `headers` | metadata | what goes before the message; empty for guests without envelopes |
//! | output `trailers` | metadata | what goes after it; empty for guests without envelopes |
//!
//! | parameter | default | |
//! |---|---|---|
//! | `service` | | the id of the service: `namespace.Service.version` |
//! | `digest` | | the SHA-256 of one package; without it the node calls what is deployed under the id when it runs |
//! | `method` | | the method, instead of the input |
//! | `isolation` | `"warm"` | `"fresh"`: an instance of its own for every call |
//!
//! Waits without a thread; a guest that runs for longer than 10 ms shares the pool's threads with its
//! like, for which it may be called anew in another instance. The deadline of the call ends the guest wherever it is. A guest that calls other services does
//! so within this call: with its deadline and its trace, no more than 8 deep, and only those its package
//! names under `calls`.
//!
//! Fails with a status of the guest's own if it gave one. A guest without envelopes gives only a text:
//! that is UNKNOWN with this text, or UNIMPLEMENTED if it says that it does not know the method. A trap,
//! an exit or a result that makes no sense is INTERNAL; a limit of memory, tables, stack or host calls,
//! and no free instance in time, RESOURCE_EXHAUSTED; a guest that does not start UNAVAILABLE; a call
//! whose time is up DEADLINE_EXCEEDED; a service that is not deployed FAILED_PRECONDITION.
//!
//! ```json
//! { "id": "guest", "kernel": "wasm_invoke", "params": { "service": "shop.Cart.v1" },
//!   "inputs": ["method", "payload"], "outputs": ["payload"] }
//! ```

mod services;
mod status;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, Begun, BindError, Body, BoundKernel, Code, EnvKey, Fault, InputPort, Inputs, KernelFactory,
    Metadata, NodeSpec, OutputPort, Outputs, Ports, ReadInputs, RequestContext, Signature, Site, Type, Value,
};
use futures_util::future::BoxFuture;
use kernels_wasm::{
    Call, Field, GuestFault, Host, Isolation, MethodName, Reply, ReplyEnvelope, RequestEnvelope,
};
use serde::Deserialize;

use self::services::Connected;
use crate::call::serve_env;
use crate::json;
use crate::services::{Service, Services};

/// The `wasm_invoke` kernel.
#[derive(Debug, Default)]
pub(crate) struct WasmInvoke {
    services: Services,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvokeParams {
    service: String,
    digest: Option<String>,
    method: Option<String>,
    #[serde(default)]
    isolation: IsolationParam,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IsolationParam {
    #[default]
    Warm,
    Fresh,
}

struct Node {
    callee: Callee,
    services: Services,
    method: Option<Arc<str>>,
    isolation: Isolation,
    request: RequestKeys,
    /// What most guests give before and after the message, made once.
    no_metadata: Arc<Metadata>,
}

/// Which guest a node calls.
enum Callee {
    /// This one, whatever is deployed later.
    Bound(Arc<Service>),
    /// What is deployed under this id when the node runs.
    Current(String),
}

/// The keys of the served request that a node may read.
struct RequestKeys {
    method: EnvKey,
    peer: EnvKey,
    deadline_ms: EnvKey,
}

const PAYLOAD: usize = 0;
const METHOD: usize = 1;
const META: usize = 2;
const HEADERS: usize = 1;
const TRAILERS: usize = 2;

/// What a call of a small guest takes.
const COST: Duration = Duration::from_micros(5);

// === impl WasmInvoke ===

impl WasmInvoke {
    /// A factory whose nodes find their guests in `services`.
    pub(crate) fn new(services: Services) -> Self {
        Self { services }
    }
}

impl KernelFactory for WasmInvoke {
    fn name(&self) -> &str {
        "wasm_invoke"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let InvokeParams { service, digest, method, isolation } = node.params.parse()?;
        let callee = match digest {
            None => Callee::Current(service),
            Some(digest) => Callee::Bound(self.services.exact(&service, &digest).ok_or_else(|| {
                let message = format!("no package of {service} with this digest is loaded here");
                let help = "deploy the package, or leave `digest` out to call what is deployed then";
                vec![BindError::new(Site::Param("/digest".to_owned()), message).with_help(help)]
            })?),
        };
        let isolation = match isolation {
            IsolationParam::Warm => Isolation::Warm,
            IsolationParam::Fresh => Isolation::Fresh,
        };
        let mut signature = Signature::new(
            [
                InputPort::required("payload", json::DOCUMENT),
                InputPort::optional("method", Type::String),
                InputPort::optional("meta", Type::Metadata),
            ],
            [
                OutputPort::new("payload", Type::Bytes),
                OutputPort::new("headers", Type::Metadata),
                OutputPort::new("trailers", Type::Metadata),
            ],
        );
        signature.cost = COST;
        let services = self.services.clone();
        let method = method.map(Arc::from);
        let (request, no_metadata) = (RequestKeys::new(), Arc::default());
        let node = Node { callee, services, method, isolation, request, no_metadata };
        Ok(BoundKernel { signature, body: Body::Async(Box::new(node)) })
    }
}

// === impl Node ===

impl Node {
    /// Whom the node calls, now.
    fn callee(&self) -> Result<Cow<'_, Arc<Service>>, Fault> {
        match &self.callee {
            Callee::Bound(service) => Ok(Cow::Borrowed(service)),
            Callee::Current(id) => self.services.current(id).map(Cow::Owned).ok_or_else(|| {
                Fault::new(Code::FailedPrecondition, format!("service {id} is not deployed here"))
            }),
        }
    }

    /// What the guest is called with.
    fn call(
        &self,
        service: &Arc<Service>,
        inputs: &mut impl ReadInputs,
        cx: &RequestContext,
    ) -> Result<Call, Fault> {
        let path = match inputs.get(METHOD) {
            Some(_) => inputs.str(METHOD)?.clone(),
            None => self.method.clone().unwrap_or_else(|| self.request.method(cx)),
        };
        let payload = inputs.take(PAYLOAD).map_or(Ok(Bytes::new()), json::to_text)?;
        let guest = &service.guest;
        let envelope = guest.abi().envelope.then(|| self.envelope(path.clone(), inputs.get(META), cx));
        let host = guest.imports_host().then(|| -> Arc<dyn Host> {
            Arc::new(Connected::new(self.services.clone(), service.clone(), cx.clone()))
        });
        Ok(Call {
            method: MethodName::of_path(path),
            input: payload,
            envelope,
            deadline: cx.deadline(),
            isolation: self.isolation,
            nested: cx.is_nested(),
            host,
        })
    }

    /// Sets the outputs that anybody reads.
    fn deliver(&self, service: &Service, reply: Reply, ports: &mut Ports<'_>) -> Result<(), Fault> {
        ports.set(PAYLOAD, Value::Bytes(reply.payload));
        let ReplyEnvelope { metadata, trailers } = reply.envelope;
        for (output, fields) in [(HEADERS, metadata), (TRAILERS, trailers)] {
            // What is malformed is a fault whether anybody reads it or not.
            if ports.wants(output) || !fields.is_empty() {
                ports.set(output, Value::Metadata(self.metadata(service, fields)?));
            }
        }
        Ok(())
    }

    fn outputs(&self, service: &Service, result: Result<Reply, GuestFault>) -> Result<Outputs, Fault> {
        let reply = result.map_err(|fault| status::of(service, fault))?;
        let headers = self.metadata(service, reply.envelope.metadata)?;
        let trailers = self.metadata(service, reply.envelope.trailers)?;
        Ok(Outputs::new()
            .with(PAYLOAD, Value::Bytes(reply.payload))
            .with(HEADERS, Value::Metadata(headers))
            .with(TRAILERS, Value::Metadata(trailers)))
    }

    fn metadata(&self, service: &Service, fields: Vec<Field>) -> Result<Arc<Metadata>, Fault> {
        if fields.is_empty() { Ok(self.no_metadata.clone()) } else { status::metadata(service, fields) }
    }

    /// What surrounds the request of a guest with envelopes.
    fn envelope(&self, path: Arc<str>, meta: Option<&Value>, cx: &RequestContext) -> RequestEnvelope {
        let metadata = match meta {
            Some(Value::Metadata(metadata)) => fields(metadata),
            _ => Vec::new(),
        };
        let deadline_ms = self.request.deadline_ms(cx);
        RequestEnvelope { metadata, deadline_ms, peer: self.request.peer(cx), path }
    }
}

impl AsyncKernel for Node {
    fn run<'a>(
        &'a self,
        mut inputs: Inputs,
        cx: &'a RequestContext,
    ) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(async move {
            let service = self.callee()?;
            let call = self.call(&service, &mut inputs, cx)?;
            self.outputs(&service, service.guest.call(call).await)
        })
    }

    fn begin<'a>(&'a self, ports: &mut Ports<'_>, cx: &'a RequestContext) -> Begun<'a> {
        let begun = self.callee().and_then(|service| {
            let call = self.call(&service, ports, cx)?;
            let begun = service.guest.begin(call);
            Ok((service, begun))
        });
        match begun {
            Err(fault) => Begun::Ended(Err(fault)),
            Ok((service, kernels_wasm::Begun::Ended(Ok(reply)))) => {
                Begun::Ended(self.deliver(&service, reply, ports))
            }
            Ok((service, kernels_wasm::Begun::Ended(Err(fault)))) => {
                Begun::Ended(Err(status::of(&service, fault)))
            }
            Ok((service, kernels_wasm::Begun::Waits(rest))) => {
                Begun::Waits(Box::pin(async move { self.outputs(&service, rest.end().await) }))
            }
        }
    }
}

fn fields(metadata: &Metadata) -> Vec<Field> {
    metadata.iter().map(|(name, value)| Field { name: name.into(), value: value.clone() }).collect()
}

// === impl RequestKeys ===

impl RequestKeys {
    fn new() -> Self {
        let schema = serve_env();
        let key = |name: &str| EnvKey { name: name.into(), index: schema.get(name).map(|(index, _)| index) };
        Self { method: key("rpc.method"), peer: key("rpc.peer"), deadline_ms: key("rpc.deadline_ms") }
    }

    fn method(&self, cx: &RequestContext) -> Arc<str> {
        Self::text(&self.method, cx)
    }

    fn peer(&self, cx: &RequestContext) -> Arc<str> {
        Self::text(&self.peer, cx)
    }

    /// What the client's own deadline leaves; the host's is no business of the guest.
    fn deadline_ms(&self, cx: &RequestContext) -> Option<u64> {
        match cx.environment().clone().value(&self.deadline_ms) {
            Value::I64(left) => u64::try_from(left).ok(),
            _ => None,
        }
    }

    fn text(key: &EnvKey, cx: &RequestContext) -> Arc<str> {
        match cx.environment().clone().value(key) {
            Value::Str(text) => text,
            _ => Arc::from(""),
        }
    }
}

#[cfg(test)]
mod tests;
