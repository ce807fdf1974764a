//! Small kernels with the ports of real ones, and bodies that do nothing.

use std::collections::BTreeMap;

use exec_plan::{
    BindError, Body, BoundKernel, Emits, EnvSchema, Fault, Fires, Gives, InputPort, Kernel, KernelFactory,
    KernelRegistry, NodeSpec, OutputPort, Ports, RequestContext, Signature, Site, Type, TypeSet,
};
use serde::Deserialize;

type Bind = fn(&NodeSpec<'_>) -> Result<Signature, Vec<BindError>>;

struct Fake {
    name: &'static str,
    bind: Bind,
}

struct Nothing;

/// The keys of a served graph.
pub(crate) fn schema() -> EnvSchema {
    EnvSchema::new([
        ("rpc.call", Type::Call),
        ("rpc.method", Type::String),
        ("rpc.payload", Type::Bytes),
        ("rpc.metadata", Type::Metadata),
        ("rpc.peer", Type::String),
        ("rpc.deadline_ms", Type::I64),
    ])
}

/// All the kernels of this file.
pub(crate) fn registry() -> KernelRegistry {
    let kernels: [(&'static str, Bind); 15] = [
        ("rpc_server_input", rpc_server_input),
        ("rpc_server_output", rpc_server_output),
        ("handle_rpc", handle_rpc),
        ("method_route", method_route),
        ("switch", switch),
        ("join", join),
        ("gather", gather),
        ("answer", answer),
        ("fail", fail),
        ("identity", identity),
        ("json_get", json_get),
        ("decode", decode),
        ("add", add),
        ("number", number),
        ("upstream", upstream),
    ];
    let mut registry = KernelRegistry::new();
    for (name, bind) in kernels {
        registry.register(Fake { name, bind }).unwrap();
    }
    registry
}

fn rpc_server_input(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    Ok(Signature::new(
        [InputPort::required("call", Type::Call)],
        [
            OutputPort::new("method", Type::String),
            OutputPort::new("payload", Type::Bytes),
            OutputPort::new("meta", Type::Metadata),
        ],
    ))
}

fn rpc_server_output(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [
        InputPort::required("call", Type::Call),
        InputPort::optional("payload", Type::Bytes),
        InputPort::optional("message", Type::String),
        InputPort::optional("code", TypeSet::of(&[Type::I64, Type::String])),
    ];
    Ok(Signature { answers: true, ..Signature::new(inputs, []) })
}

fn handle_rpc(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [
        InputPort::required("method", Type::String),
        InputPort::required("payload", Type::Bytes),
        InputPort::required("meta", Type::Metadata),
    ];
    Ok(Signature::new(inputs, [OutputPort::new("payload", Type::Bytes)]))
}

/// Chooses the output that `routes` names for the method; `default` for all others.
fn method_route(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Params {
        routes: BTreeMap<String, String>,
        default: Option<String>,
    }
    let Params { routes, default } = node.params.parse()?;
    let mut errors = Vec::new();
    for method in routes.keys().filter(|method| !method.starts_with('/')) {
        let site = Site::Param(format!("/routes/{}", method.replace('~', "~0").replace('/', "~1")));
        errors.push(BindError::new(site, "expected `/package.Service/Method`").with_help("add the `/`"));
    }
    let mut names: Vec<String> = routes.into_values().chain(default).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        errors.push(BindError::new(Site::Node, "there is nothing to choose from"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let outputs = names.into_iter().map(|name| OutputPort::new(name, Type::Bytes));
    let inputs = [InputPort::required("method", Type::String), InputPort::optional("payload", Type::Bytes)];
    Ok(Signature { emits: Emits::One, ..Signature::new(inputs, outputs) })
}

/// Chooses one of the outputs the node lists.
fn switch(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let Some(names) = node.outputs else {
        return Err(vec![BindError::new(Site::Node, "a `switch` lists its outputs")]);
    };
    if let Some(name) = names.iter().find(|name| name.starts_with('_')) {
        return Err(vec![BindError::new(Site::Output((*name).to_owned()), "a case does not begin with `_`")]);
    }
    let outputs = names.iter().map(|name| OutputPort::new((*name).to_owned(), Gives::SameAsInput(0)));
    let inputs = [InputPort::required("value", TypeSet::ANY)];
    Ok(Signature { emits: Emits::One, ..Signature::new(inputs, outputs) })
}

/// The first of the listed inputs that fired.
fn join(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let signature = gather(node)?;
    Ok(Signature { fires: Fires::Any, ..signature })
}

/// All of the listed inputs.
fn gather(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let names = node.inputs.unwrap_or_default();
    let inputs = names.iter().map(|name| InputPort::optional((*name).to_owned(), TypeSet::ANY));
    Ok(Signature::new(inputs, [OutputPort::new("value", Gives::AnyInput)]))
}

/// Answers when all of the listed inputs fired.
fn answer(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    Ok(Signature { answers: true, outputs: vec![], ..gather(node)? })
}

/// Fails when all of the listed inputs fired.
fn fail(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    Ok(Signature { fails: true, outputs: vec![], ..gather(node)? })
}

fn identity(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [InputPort::required("value", TypeSet::ANY)];
    Ok(Signature::new(inputs, [OutputPort::new("value", Gives::SameAsInput(0))]))
}

fn json_get(node: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Params {
        path: String,
    }
    let Params { path } = node.params.parse()?;
    if !path.starts_with('/') {
        return Err(vec![BindError::new(Site::Param("/path".into()), "a path begins with `/`")]);
    }
    Ok(Signature::new(
        [InputPort::required("json", Type::Json)],
        [OutputPort::new("value", TypeSet::JSON_LIKE)],
    ))
}

fn decode(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [InputPort::required("payload", Type::Bytes)];
    Ok(Signature::new(inputs, [OutputPort::new("json", Type::Json)]))
}

fn add(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [
        InputPort::required("a", TypeSet::of(&[Type::I64, Type::F64])),
        InputPort::required("b", TypeSet::of(&[Type::I64, Type::F64])),
        InputPort::optional("limit", Type::I64),
    ];
    Ok(Signature::new(inputs, [OutputPort::new("sum", TypeSet::of(&[Type::I64, Type::F64]))]))
}

fn number(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    Ok(Signature::new([], [OutputPort::new("value", Type::I64)]))
}

fn upstream(_: &NodeSpec<'_>) -> Result<Signature, Vec<BindError>> {
    let inputs = [InputPort::required("payload", Type::Bytes), InputPort::optional("note", Type::String)];
    Ok(Signature::new(
        inputs,
        [OutputPort::new("payload", Type::Bytes), OutputPort::new("status", Type::I64)],
    ))
}

impl KernelFactory for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        Ok(BoundKernel { signature: (self.bind)(node)?, body: Body::Inline(Box::new(Nothing)) })
    }
}

impl Kernel for Nothing {
    fn run(&self, _: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        Ok(())
    }
}
