//! How the kernels' tests bind and run a single node.

pub(crate) mod shop;

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{
    BindError, BoundKernel, Cancel, EnvKey, Environment, Fault, InputPort, KernelFactory, Metadata, NodeSpec,
    Params, RequestContext, Value,
};
use serde_json::Value as Json;

pub(crate) use self::shop::{DIGEST, services};
use crate::{RequestEnvelope, RpcServerCall};

struct Nothing;

impl Environment for Nothing {
    fn value(self: Arc<Self>, _key: &EnvKey) -> Value {
        Value::Null
    }
}

/// Binds a node given as in a document: `params`, `inputs` and `outputs`, each of which may be missing.
pub(crate) fn bind(factory: &dyn KernelFactory, node: &Json) -> Result<BoundKernel, Vec<BindError>> {
    let params = node.get("params").map(|params| params.to_string());
    let list = |key: &str| -> Option<Vec<&str>> {
        Some(node.get(key)?.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
    };
    let (inputs, outputs) = (list("inputs"), list("outputs"));
    factory.bind(&NodeSpec {
        id: "node",
        params: params.as_deref().map(Params::new).unwrap_or_default(),
        inputs: inputs.as_deref(),
        outputs: outputs.as_deref(),
    })
}

/// The problems of a node that must not bind: `pointer: message`, one a line.
pub(crate) fn problems(factory: &dyn KernelFactory, node: &Json) -> String {
    let errors = bind(factory, node).expect_err("the node must not bind");
    let lines: Vec<_> = errors
        .iter()
        .map(|error| match &error.site {
            exec_plan::Site::Param(pointer) => format!("{pointer}: {}", error.message),
            _ => error.message.clone(),
        })
        .collect();
    lines.join("\n")
}

/// Runs a node on inputs given by port name, and prints its outputs: `name=value name=value`.
pub(crate) async fn run_with(
    kernel: &BoundKernel,
    inputs: impl IntoIterator<Item = (&str, Value)>,
    cx: &RequestContext,
) -> Result<String, Fault> {
    let ports = &kernel.signature.inputs;
    let mut values = vec![None; ports.len()];
    for (name, value) in inputs {
        let index = ports.iter().position(|port: &InputPort| port.name == name);
        values[index.unwrap_or_else(|| panic!("no input {name}"))] = Some(value);
    }
    let outputs = kernel.run_once(values.into_iter().collect(), cx).await?;
    let named = kernel.signature.outputs.iter().enumerate();
    let set = named.filter_map(|(i, port)| outputs.get(i).map(|value| format!("{}={value:?}", port.name)));
    Ok(set.collect::<Vec<_>>().join(" "))
}

/// Runs a node that does not wait.
pub(crate) fn run<'i>(
    kernel: &BoundKernel,
    inputs: impl IntoIterator<Item = (&'i str, Value)>,
) -> Result<String, Fault> {
    use futures_util::FutureExt as _;
    let cx = cx();
    run_with(kernel, inputs, &cx).now_or_never().expect("the kernel must not wait")
}

/// Binds and runs; a failure prints as `CODE: message`.
pub(crate) fn outcome<'i>(
    factory: &dyn KernelFactory,
    node: &Json,
    inputs: impl IntoIterator<Item = (&'i str, Value)>,
) -> String {
    let kernel = bind(factory, node).unwrap_or_else(|errors| panic!("{errors:?}"));
    run(&kernel, inputs).unwrap_or_else(|fault| fault.to_string())
}

pub(crate) fn cx() -> RequestContext {
    RequestContext::new(Arc::new(Nothing))
}

pub(crate) fn cx_with(cancel: &Cancel) -> RequestContext {
    cx().with_cancel(cancel.clone())
}

/// A call to `/shop.Orders/Get` with the payload `hi`.
pub(crate) fn call() -> Arc<RpcServerCall> {
    let mut metadata = Metadata::new();
    metadata.append("x-user", "ann").unwrap();
    Arc::new(RpcServerCall::new(RequestEnvelope {
        method: "/shop.Orders/Get".into(),
        payload: Bytes::from_static(b"hi"),
        metadata: Arc::new(metadata),
        peer: "127.0.0.1:9".into(),
        deadline: None,
    }))
}

pub(crate) fn text(text: &str) -> Value {
    Value::Str(text.into())
}

pub(crate) fn json(json: Json) -> Value {
    Value::Json(json.into())
}
