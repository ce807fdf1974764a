//! What a node type is: a factory that binds one node, and the body that then runs for every request.
//!
//! [`KernelFactory::bind`] runs once per node when a graph is compiled: it parses the parameters,
//! fixes the [`Signature`] and returns the [`Body`]. Everything that can be refused is refused there;
//! a body trusts the types its signature declares, because the compiler proved them or the executor
//! checks them.
//!
//! There are three kinds of body. An inline kernel neither waits nor works for long; a blocking
//! kernel may occupy its thread; an async kernel waits without a thread. A plan made of inline
//! kernels alone runs to its end on the thread that read the request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::context::RequestContext;
use crate::fault::{Code, Fault};
use crate::ports::{Inputs, Outputs, Ports, ReadInputs, Target, run_owned};
use crate::value::{Type, TypeSet};

/// A node type: binds the nodes that name it in a graph document.
pub trait KernelFactory: Send + Sync + 'static {
    /// The name in the document's `kernel` key.
    fn name(&self) -> &str;

    /// Checks one node's parameters and port names, and returns what will run for it.
    ///
    /// # Errors
    /// Every problem found, each at its place in the node.
    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>>;
}

/// A body that runs on the calling thread.
pub trait Kernel: Send + Sync + 'static {
    /// Does one node's work: reads inputs, sets outputs.
    ///
    /// # Errors
    /// A [`Fault`] ends the run, unless the node's retry or fallback says otherwise.
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault>;
}

/// A body that waits without a thread.
pub trait AsyncKernel: Send + Sync + 'static {
    /// Does one node's work; dropping the future abandons it.
    ///
    /// # Errors
    /// As for [`Kernel::run`].
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>>;

    /// Begins one node's work, in place on the slots of its run. For kernels that often need not wait: those do
    /// better than to make a future which is ready at once.
    fn begin<'a>(&'a self, ports: &mut Ports<'_>, cx: &'a RequestContext) -> Begun<'a> {
        Begun::Waits(self.run(ports.take_all(), cx))
    }
}

/// The work of a kernel that waits, once it has begun.
pub enum Begun<'a> {
    /// It has ended already, and set its outputs if it did so well.
    Ended(Result<(), Fault>),
    /// It has to wait, and has set no outputs.
    Waits(BoxFuture<'a, Result<Outputs, Fault>>),
}

/// One node of a document, as its factory sees it.
#[derive(Clone, Copy, Debug)]
pub struct NodeSpec<'a> {
    /// The node's `id`.
    pub id: &'a str,
    /// The node's `params`.
    pub params: Params<'a>,
    /// The node's `inputs`; `None` if the document leaves them to the kernel.
    pub inputs: Option<&'a [&'a str]>,
    /// The node's `outputs`; `None` if the document leaves them to the kernel.
    pub outputs: Option<&'a [&'a str]>,
}

/// A node's `params` as written: an object, or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    text: Option<&'a str>,
}

/// A bound node: what it declares and what runs.
#[derive(Debug)]
pub struct BoundKernel {
    /// Ports and firing rules.
    pub signature: Signature,
    /// The work.
    pub body: Body,
}

/// The work of a bound node.
#[non_exhaustive]
pub enum Body {
    /// Neither waits nor works for long.
    Inline(Box<dyn Kernel>),
    /// May occupy its thread: computes for long or makes blocking calls.
    Blocking(Box<dyn Kernel>),
    /// Waits without a thread.
    Async(Box<dyn AsyncKernel>),
}

/// What a bound node declares.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Inputs; a body addresses them by index.
    pub inputs: Vec<InputPort>,
    /// Outputs; a body addresses them by index.
    pub outputs: Vec<OutputPort>,
    /// When the node runs.
    pub fires: Fires,
    /// Which outputs a run sets.
    pub emits: Emits,
    /// Whether a run answers the call.
    pub answers: bool,
    /// Whether a run always fails: the end of a branch that ends the run of the graph.
    pub fails: bool,
    /// A rough cost of one run, for the choice between running inline and pooled.
    pub cost: Duration,
}

/// One input.
#[derive(Clone, Debug)]
pub struct InputPort {
    /// The name in documents.
    pub name: Cow<'static, str>,
    /// The types it accepts.
    pub accepts: TypeSet,
    /// Whether a document must bind it.
    pub required: bool,
}

/// One output.
#[derive(Clone, Debug)]
pub struct OutputPort {
    /// The name in documents.
    pub name: Cow<'static, str>,
    /// The types it gives.
    pub gives: Gives,
}

/// The type of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// One of these.
    Types(TypeSet),
    /// Whatever the input of this index carries.
    SameAsInput(usize),
    /// Whatever any of the inputs carries.
    AnyInput,
}

/// When a node runs. An input counts as fired when it is a constant or an environment value, or when
/// the node behind it ran and set that output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fires {
    /// When every bound input fired; otherwise the node is skipped, and so is what hangs on it.
    All,
    /// When any bound input fired: the end of a branch.
    Any,
}

/// Which outputs a run sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emits {
    /// All of them.
    All,
    /// Exactly one of them: the start of a branch.
    One,
}

/// Something wrong with one node, found by its factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError {
    /// Where in the node.
    pub site: Site,
    /// What is wrong, as a fragment: `expected a positive number`.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// A place within one node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The node as a whole.
    Node,
    /// The byte at this offset of the text of `params`.
    ParamsOffset(usize),
    /// The value that this JSON pointer names within `params`.
    Param(String),
    /// The entry of `inputs` with this name.
    Input(String),
    /// The entry of `outputs` with this name.
    Output(String),
}

/// The kernels a graph may name.
#[derive(Clone, Default)]
pub struct KernelRegistry {
    factories: HashMap<String, Arc<dyn KernelFactory>>,
}

/// A kernel of this name is registered already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kernel named {0:?} is registered already")]
pub struct DuplicateKernel(pub String);

// === impl Params ===

impl<'a> Params<'a> {
    /// Parameters from the text of a JSON object.
    pub fn new(text: &'a str) -> Self {
        Self { text: Some(text) }
    }

    /// The text as written, or `{}`.
    pub fn text(&self) -> &'a str {
        self.text.unwrap_or("{}")
    }

    /// Reads the parameters as `T`, whose `deny_unknown_fields` makes a misspelt key an error.
    ///
    /// # Errors
    /// One [`BindError`] at the offending byte.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<BindError>> {
        serde_json::from_str(self.text()).map_err(|error| vec![self.locate(&error)])
    }

    fn locate(&self, error: &serde_json::Error) -> BindError {
        let text = self.text();
        let line_start: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
        let full = error.to_string();
        let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message);
        BindError { site: Site::ParamsOffset(offset), message: message.to_owned(), help: None }
    }
}

// === impl BoundKernel ===

impl BoundKernel {
    /// Runs this node alone, outside any plan, as if something read each of its outputs: how a
    /// kernel's own tests drive it. The node's policy and the catching of panics belong to plans.
    ///
    /// # Errors
    /// What the body fails with, or INTERNAL if `inputs` are not what the signature declares: the
    /// compiler would have refused such a node.
    pub fn run_once<'a>(
        &'a self,
        inputs: Inputs,
        cx: &'a RequestContext,
    ) -> BoxFuture<'a, Result<Outputs, Fault>> {
        if let Err(fault) = self.signature.admit(&inputs) {
            return Box::pin(std::future::ready(Err(fault)));
        }
        match &self.body {
            Body::Inline(kernel) | Body::Blocking(kernel) => {
                let all_wanted = vec![Target(Some(0)); self.signature.outputs.len()];
                Box::pin(async move { run_owned(&**kernel, inputs, &all_wanted, cx) })
            }
            Body::Async(kernel) => kernel.run(inputs, cx),
        }
    }
}

// === impl Signature ===

impl Signature {
    /// A node that runs when all its inputs fired and sets all its outputs, at negligible cost.
    pub fn new(
        inputs: impl IntoIterator<Item = InputPort>,
        outputs: impl IntoIterator<Item = OutputPort>,
    ) -> Self {
        Self {
            inputs: inputs.into_iter().collect(),
            outputs: outputs.into_iter().collect(),
            fires: Fires::All,
            emits: Emits::All,
            answers: false,
            fails: false,
            cost: Duration::from_nanos(50),
        }
    }

    fn admit(&self, inputs: &Inputs) -> Result<(), Fault> {
        let refuse = |message| Err(Fault::new(Code::Internal, message));
        if inputs.len() > self.inputs.len() {
            return refuse(format!("{} inputs for {} ports", inputs.len(), self.inputs.len()));
        }
        for (i, port) in self.inputs.iter().enumerate() {
            match inputs.get(i) {
                None if port.required && self.fires == Fires::All => {
                    return refuse(format!("input {:?} is unbound", port.name));
                }
                Some(value) if !port.accepts.contains(value.kind()) => {
                    let (name, accepts, kind) = (&port.name, port.accepts, value.kind());
                    return refuse(format!("input {name:?} accepts {accepts}, not {kind}"));
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }
}

impl InputPort {
    /// An input that must be bound.
    pub fn required(name: impl Into<Cow<'static, str>>, accepts: impl Into<TypeSet>) -> Self {
        Self { name: name.into(), accepts: accepts.into(), required: true }
    }

    /// An input that may stay unbound.
    pub fn optional(name: impl Into<Cow<'static, str>>, accepts: impl Into<TypeSet>) -> Self {
        Self { name: name.into(), accepts: accepts.into(), required: false }
    }
}

impl OutputPort {
    /// An output of one type, or of one of several.
    pub fn new(name: impl Into<Cow<'static, str>>, gives: impl Into<Gives>) -> Self {
        Self { name: name.into(), gives: gives.into() }
    }
}

impl From<Type> for Gives {
    fn from(kind: Type) -> Self {
        Self::Types(kind.into())
    }
}

impl From<TypeSet> for Gives {
    fn from(types: TypeSet) -> Self {
        Self::Types(types)
    }
}

// === impl BindError ===

impl BindError {
    /// A problem at `site`.
    pub fn new(site: Site, message: impl Into<String>) -> Self {
        Self { site, message: message.into(), help: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

// === impl KernelRegistry ===

impl KernelRegistry {
    /// A registry without kernels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kernel under its own name.
    ///
    /// # Errors
    /// [`DuplicateKernel`] if the name is taken; the registry is unchanged.
    pub fn register(&mut self, factory: impl KernelFactory) -> Result<(), DuplicateKernel> {
        match self.factories.entry(factory.name().to_owned()) {
            std::collections::hash_map::Entry::Occupied(taken) => Err(DuplicateKernel(taken.key().clone())),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(Arc::new(factory));
                Ok(())
            }
        }
    }

    /// The kernel of this name.
    pub fn get(&self, name: &str) -> Option<&dyn KernelFactory> {
        self.factories.get(name).map(|factory| &**factory)
    }

    /// The registered names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.factories.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl fmt::Debug for KernelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl fmt::Debug for Begun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(result) => f.debug_tuple("Ended").field(result).finish(),
            Self::Waits(_) => f.write_str("Waits"),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline(_) => "Inline",
            Self::Blocking(_) => "Blocking",
            Self::Async(_) => "Async",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EnvKey, Environment};
    use crate::value::Value;

    struct Nothing;

    impl Environment for Nothing {
        fn value(self: Arc<Self>, _key: &EnvKey) -> Value {
            Value::Null
        }
    }

    struct Swap;

    impl Kernel for Swap {
        fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
            let first = ports.take(0);
            if let Some(second) = ports.take(1) {
                assert!(ports.wants(0));
                ports.set(0, second);
            }
            if let Some(first) = first {
                ports.set(1, first);
            }
            Ok(())
        }
    }

    impl AsyncKernel for Swap {
        fn run<'a>(
            &'a self,
            mut inputs: Inputs,
            _cx: &'a RequestContext,
        ) -> BoxFuture<'a, Result<Outputs, Fault>> {
            Box::pin(
                async move { Ok(Outputs::one(inputs.take(1).unwrap()).with(1, inputs.take(0).unwrap())) },
            )
        }
    }

    fn swap(body: Body) -> BoundKernel {
        let inputs = [InputPort::required("a", Type::I64), InputPort::optional("b", Type::String)];
        let outputs = [OutputPort::new("b", Type::String), OutputPort::new("a", Type::I64)];
        BoundKernel { signature: Signature::new(inputs, outputs), body }
    }

    async fn run(kernel: &BoundKernel, inputs: Vec<Option<Value>>) -> Result<String, String> {
        let cx = RequestContext::new(Arc::new(Nothing));
        let outputs = kernel.run_once(inputs.into_iter().collect(), &cx).await;
        outputs.map(|out| format!("{:?} {:?}", out.get(0), out.get(1))).map_err(|fault| fault.to_string())
    }

    #[tokio::test]
    async fn a_node_runs_outside_a_plan_whatever_its_body() {
        for body in
            [Body::Inline(Box::new(Swap)), Body::Blocking(Box::new(Swap)), Body::Async(Box::new(Swap))]
        {
            let inputs = vec![Some(Value::I64(1)), Some(Value::Str("x".into()))];
            assert_eq!(run(&swap(body), inputs).await.unwrap(), r#"Some("x") Some(1)"#);
        }
        let inputs = vec![Some(Value::I64(1))];
        assert_eq!(run(&swap(Body::Inline(Box::new(Swap))), inputs).await.unwrap(), "None Some(1)");
    }

    #[tokio::test]
    async fn inputs_the_signature_does_not_declare_are_refused() {
        let kernel = swap(Body::Inline(Box::new(Swap)));
        for (inputs, expected) in [
            (vec![], r#"INTERNAL: input "a" is unbound"#),
            (vec![Some(Value::Null)], r#"INTERNAL: input "a" accepts i64, not null"#),
            (vec![None, None, None], "INTERNAL: 3 inputs for 2 ports"),
        ] {
            assert_eq!(run(&kernel, inputs).await.unwrap_err(), expected);
        }
    }
}
