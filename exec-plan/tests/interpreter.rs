//! Random graphs give the same result as an interpreter too simple to be wrong.
//!
//! A graph is drawn as a list of nodes that read earlier ones, written as a document, compiled, and run
//! in every way a plan can run. The interpreter walks the same list with a map from names to values.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Emits, EnvKey, EnvSchema, Environment, ExecPlan,
    Executor, Fault, Fires, GraphSource, InputPort, Inputs, Job, Kernel, KernelFactory, KernelRegistry,
    NoOffload, NodeEnd, NodeSpec, Offload, OutputPort, Outputs, Ports, ReadInputs, RequestContext, RunError,
    RunOutputs, Signature, TraceEvent, TraceSink, Type, Value,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use serde_json::json;

/// How many environment keys the graphs bind.
const KEYS: usize = 3;

/// One node of a random graph.
#[derive(Clone, Debug)]
struct Node {
    work: Work,
    /// Where its inputs come from; indices are reduced modulo what there is.
    from: Vec<From>,
    /// Whether a failure turns into a constant, or into an output, or ends the run.
    fallback: Fallback,
    policy: Policy,
}

/// What a node's document asks for beside a fallback. None of it changes what the node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Plain,
    Retry,
    Timeout,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// The sum of its inputs; fails if the sum is a multiple of seven.
    Sum(How),
    /// Fires `even` or `odd`.
    Route,
    /// The first input that fired.
    Join,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Inline,
    Blocking,
    Async,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fallback {
    Fail,
    Constant(i64),
    Output,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Node(usize, usize),
    Key(usize),
    Constant(i64),
}

// === the interpreter ===

/// What each port carries, or the node at which the run failed.
type Interpreted = Result<HashMap<String, i64>, usize>;

fn interpret(nodes: &[Node], env: [i64; KEYS]) -> Interpreted {
    interpret_in_order(nodes, 0..nodes.len(), env)
}

fn interpret_in_order(
    nodes: &[Node],
    order: impl IntoIterator<Item = usize>,
    env: [i64; KEYS],
) -> Interpreted {
    let mut values: HashMap<String, i64> = HashMap::new();
    for index in order {
        let node = &nodes[index];
        let inputs: Vec<Option<i64>> = node
            .from
            .iter()
            .map(|from| match resolve(nodes, index, *from) {
                Endpoint::Port(port) => values.get(&port).copied(),
                Endpoint::Key(key) => Some(env[key]),
                Endpoint::Constant(number) => Some(number),
            })
            .collect();
        match node.work {
            Work::Join => {
                if let Some(first) = inputs.iter().flatten().next() {
                    values.insert(format!("n{index}.value"), *first);
                }
            }
            _ if inputs.iter().any(Option::is_none) => {}
            Work::Route => {
                let value = inputs[0].unwrap();
                let port = if value % 2 == 0 { "even" } else { "odd" };
                values.insert(format!("n{index}.{port}"), value);
            }
            Work::Sum(_) => {
                let sum = inputs.iter().flatten().fold(0_i64, |sum, input| sum.wrapping_add(*input));
                if sum % 7 != 0 {
                    values.insert(format!("n{index}.value"), sum);
                } else {
                    match node.fallback {
                        Fallback::Fail => return Err(index),
                        Fallback::Constant(number) => drop(values.insert(format!("n{index}.value"), number)),
                        // The failure is JSON; a node that reads it counts it as one.
                        Fallback::Output => drop(values.insert(format!("n{index}.failed"), 1)),
                    }
                }
            }
        }
    }
    Ok(values)
}

enum Endpoint {
    Port(String),
    Key(usize),
    Constant(i64),
}

fn ports(node: &Node) -> Vec<&'static str> {
    match (node.work, node.fallback) {
        (Work::Route, _) => vec!["even", "odd"],
        (Work::Sum(_), Fallback::Output) => vec!["value", "failed"],
        (Work::Sum(_) | Work::Join, _) => vec!["value"],
    }
}

fn resolve(nodes: &[Node], reader: usize, from: From) -> Endpoint {
    match from {
        From::Node(node, port) if reader > 0 => {
            let node = node % reader;
            let ports = ports(&nodes[node]);
            Endpoint::Port(format!("n{node}.{}", ports[port % ports.len()]))
        }
        From::Node(key, _) | From::Key(key) => Endpoint::Key(key % KEYS),
        From::Constant(number) => Endpoint::Constant(number),
    }
}

// === the document ===

fn document(nodes: &[Node]) -> String {
    let (mut defs, mut bindings, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    for (index, node) in nodes.iter().enumerate() {
        let kernel = match node.work {
            Work::Sum(How::Inline) => "sum",
            Work::Sum(How::Blocking) => "sum_blocking",
            Work::Sum(How::Async) => "sum_async",
            Work::Route => "route",
            Work::Join => "join",
        };
        let inputs: Vec<_> = (0..node.from.len()).map(|input| format!("i{input}")).collect();
        let mut def =
            json!({ "id": format!("n{index}"), "kernel": kernel, "inputs": inputs, "outputs": ports(node) });
        match (node.work, node.fallback) {
            (Work::Sum(_), Fallback::Constant(number)) => def["fallback"] = json!({ "value": number }),
            (Work::Sum(_), Fallback::Output) => def["fallback"] = json!("failed"),
            _ => {}
        }
        match node.policy {
            Policy::Plain => {}
            Policy::Retry => def["retry"] = json!({ "attempts": 2, "backoff_ms": 1, "on": ["OUT_OF_RANGE"] }),
            Policy::Timeout => def["timeout_ms"] = json!(60_000),
        }
        defs.push(def);
        for (input, from) in node.from.iter().enumerate() {
            let from = match resolve(nodes, index, *from) {
                Endpoint::Port(port) => json!(port),
                Endpoint::Key(key) => json!(format!("$req.k{key}")),
                Endpoint::Constant(number) => json!(number),
            };
            bindings.push(json!({ "to": format!("n{index}.i{input}"), "from": from }));
        }
        for port in ports(node) {
            outputs.push(json!({ "from": format!("n{index}.{port}"), "as": format!("n{index}_{port}") }));
        }
    }
    json!({ "name": "random", "nodes": defs, "bindings": bindings, "outputs": outputs }).to_string()
}

// === the kernels ===

struct Sum(How);
struct RouteFactory;
struct JoinFactory;
struct SumBody;
struct RouteBody;
struct JoinBody;

fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::I64(number)) => *number,
        _ => 1,
    }
}

fn sum(inputs: &impl ReadInputs, count: usize) -> Result<i64, Fault> {
    let sum = (0..count).fold(0_i64, |sum, input| sum.wrapping_add(number(inputs.get(input))));
    if sum % 7 == 0 { Err(Fault::new(Code::OutOfRange, "a multiple of seven")) } else { Ok(sum) }
}

impl Kernel for SumBody {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let sum = sum(ports, ports.len())?;
        ports.set(0, Value::I64(sum));
        Ok(())
    }
}

impl AsyncKernel for SumBody {
    fn run<'a>(&'a self, inputs: Inputs, _: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        async move {
            tokio::time::sleep(Duration::from_millis(inputs.len() as u64)).await;
            Ok(Outputs::one(Value::I64(sum(&inputs, inputs.len())?)))
        }
        .boxed()
    }
}

impl Kernel for RouteBody {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let value = number(ports.get(0));
        ports.set(usize::from(value % 2 != 0), Value::I64(value));
        Ok(())
    }
}

impl Kernel for JoinBody {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let first = (0..ports.len()).find_map(|input| ports.get(input).map(|value| number(Some(value))));
        ports.set(0, Value::I64(first.unwrap_or_default()));
        Ok(())
    }
}

fn inputs(node: &NodeSpec<'_>) -> Vec<InputPort> {
    let names = node.inputs.unwrap_or_default();
    names.iter().map(|name| InputPort::required((*name).to_owned(), exec_plan::TypeSet::ANY)).collect()
}

impl KernelFactory for Sum {
    fn name(&self) -> &str {
        match self.0 {
            How::Inline => "sum",
            How::Blocking => "sum_blocking",
            How::Async => "sum_async",
        }
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let body = match self.0 {
            How::Inline => Body::Inline(Box::new(SumBody)),
            How::Blocking => Body::Blocking(Box::new(SumBody)),
            How::Async => Body::Async(Box::new(SumBody)),
        };
        Ok(BoundKernel {
            signature: Signature::new(inputs(node), [OutputPort::new("value", Type::I64)]),
            body,
        })
    }
}

impl KernelFactory for RouteFactory {
    fn name(&self) -> &str {
        "route"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let outputs = [OutputPort::new("even", Type::I64), OutputPort::new("odd", Type::I64)];
        let signature = Signature { emits: Emits::One, ..Signature::new(inputs(node), outputs) };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(RouteBody)) })
    }
}

impl KernelFactory for JoinFactory {
    fn name(&self) -> &str {
        "join"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let signature = Signature {
            fires: Fires::Any,
            ..Signature::new(inputs(node), [OutputPort::new("value", Type::I64)])
        };
        Ok(BoundKernel { signature, body: Body::Inline(Box::new(JoinBody)) })
    }
}

struct Env([i64; KEYS]);

impl Environment for Env {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        let number: usize = key.name.strip_prefix('k').unwrap().parse().unwrap();
        Value::I64(self.0[number])
    }
}

/// A thread for every job.
struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Job) -> Result<(), Job> {
        drop(std::thread::spawn(job));
        Ok(())
    }
}

fn compile(text: &str) -> ExecPlan {
    let mut kernels = KernelRegistry::new();
    for how in [How::Inline, How::Blocking, How::Async] {
        kernels.register(Sum(how)).unwrap();
    }
    kernels.register(RouteFactory).unwrap();
    kernels.register(JoinFactory).unwrap();
    let source = GraphSource { origin: "random.json".into(), stem: None, text: Bytes::from(text.to_owned()) };
    ExecPlan::compile(&source, &kernels, &EnvSchema::default())
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn context(env: [i64; KEYS]) -> RequestContext {
    RequestContext::new(Arc::new(Env(env)))
}

fn drive(plan: &Arc<ExecPlan>, env: [i64; KEYS], offload: &dyn Offload) -> Result<RunOutputs, RunError> {
    drive_in(plan, context(env), offload)
}

fn drive_in(plan: &Arc<ExecPlan>, cx: RequestContext, offload: &dyn Offload) -> Result<RunOutputs, RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(Executor::drive(plan, &Arc::new(cx), offload))
}

fn assert_agrees(
    ran: &Result<RunOutputs, RunError>,
    expected: &Interpreted,
    deterministic: bool,
    text: &str,
) {
    match (ran, expected) {
        (Ok(outputs), Ok(values)) => {
            let found: HashMap<String, i64> = outputs
                .iter()
                .map(|(name, value)| (name.replacen('_', ".", 1), number(Some(value))))
                .collect();
            assert_eq!(found, *values, "{text}");
        }
        (Err(error), Err(node)) => {
            assert_eq!(error.fault.code(), Code::OutOfRange, "{text}");
            if deterministic {
                assert_eq!(error.node.as_deref(), Some(&*format!("n{node}")), "{text}");
            }
        }
        (ran, expected) => panic!("ran {ran:?}, interpreted {expected:?}\n{text}"),
    }
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), 0..2_usize).prop_map(|(node, port)| From::Node(node.index(64), port)),
        2 => (0..KEYS).prop_map(From::Key),
        1 => (-20..20_i64).prop_map(From::Constant),
    ]
}

fn node(slow: bool) -> impl Strategy<Value = Node> {
    let how = if slow {
        prop_oneof![Just(How::Inline), Just(How::Blocking), Just(How::Async)].boxed()
    } else {
        Just(How::Inline).boxed()
    };
    let work = prop_oneof![4 => how.prop_map(Work::Sum), 2 => Just(Work::Route), 1 => Just(Work::Join)];
    let fallback =
        prop_oneof![Just(Fallback::Fail), (1..20_i64).prop_map(Fallback::Constant), Just(Fallback::Output)];
    let policy = if slow {
        prop_oneof![6 => Just(Policy::Plain), 1 => Just(Policy::Retry), 1 => Just(Policy::Timeout)].boxed()
    } else {
        Just(Policy::Plain).boxed()
    };
    let parts = (work, proptest::collection::vec(from(), 1..4), fallback, policy);
    parts.prop_map(|(work, mut from, fallback, mut policy)| {
        if matches!(work, Work::Route) {
            from.truncate(1);
        }
        // A clock that stands still runs as soon as all wait for other threads.
        if matches!((work, policy), (Work::Sum(How::Blocking), Policy::Timeout)) {
            policy = Policy::Plain;
        }
        Node { work, from, fallback, policy }
    })
}

fn graph(slow: bool) -> impl Strategy<Value = Vec<Node>> {
    proptest::collection::vec(node(slow), 1..24)
}

/// Graphs in which each node that takes time waits for the one before, and at least one waits.
fn chain() -> impl Strategy<Value = Vec<Node>> {
    (graph(true), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(mut nodes, at, port)| {
            let at = at.index(nodes.len());
            nodes[at].work = Work::Sum(How::Async);
            let mut latest = None;
            for (index, node) in nodes.iter_mut().enumerate() {
                let inline = matches!(node.work, Work::Sum(How::Inline) | Work::Route | Work::Join);
                if inline && node.policy == Policy::Plain {
                    continue;
                }
                if let Some(latest) = latest {
                    node.from[0] = From::Node(latest, port.index(2));
                }
                latest = Some(index);
            }
            nodes
        },
    )
}

/// Writes down which nodes a run began and ended.
#[derive(Default)]
struct Story(Mutex<Vec<(String, &'static str)>>);

impl TraceSink for Story {
    fn event(&self, _plan: &ExecPlan, event: TraceEvent<'_>) {
        let told = if let TraceEvent::NodeStarted { node } = event {
            (node.to_owned(), "started")
        } else if let TraceEvent::NodeEnded { node, end, .. } = event {
            (node.to_owned(), if end == NodeEnd::Skipped { "skipped" } else { "ended" })
        } else {
            return;
        };
        self.0.lock().unwrap().push(told);
    }
}

/// Runs a chain, whose nodes must be told of in the order of the plan, one after the other.
fn drive_in_order(
    plan: &Arc<ExecPlan>,
    cx: RequestContext,
    offload: &dyn Offload,
) -> Result<RunOutputs, RunError> {
    let story = Arc::new(Story::default());
    let ran = drive_in(plan, cx.with_trace(Some(story.clone())), offload);
    let told = story.0.lock().unwrap();
    let mut told = told.iter().map(|(node, what)| (node.as_str(), *what));
    for node in plan.explain().nodes {
        match told.next() {
            Some(first) if first == (&*node.id, "skipped") => {}
            Some(first) => {
                assert_eq!(first, (&*node.id, "started"));
                assert_eq!(told.next(), Some((&*node.id, "ended")));
            }
            None => assert!(ran.is_err(), "{} was forgotten", node.id),
        }
    }
    assert_eq!(told.next(), None);
    ran
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_runs_in_place_agrees(nodes in graph(false), env in proptest::array::uniform3(-20..20_i64)) {
        let text = document(&nodes);
        let plan = compile(&text);
        let mut executor = Executor::new();
        // Twice over the same slots: nothing of a run may leak into the next.
        for _ in 0..2 {
            let ran = executor.run(&plan, &context(env), Instant::now());
            assert_agrees(&ran, &interpret(&nodes, env), true, &text);
        }
    }

    #[test]
    fn a_plan_that_waits_and_blocks_agrees(nodes in graph(true), env in proptest::array::uniform3(-20..20_i64)) {
        let text = document(&nodes);
        let plan = Arc::new(compile(&text));
        let expected = interpret(&nodes, env);
        assert_agrees(&drive(&plan, env, &NoOffload), &expected, false, &text);
        assert_agrees(&drive(&plan, env, &Threads), &expected, false, &text);
    }

    #[test]
    fn a_plan_that_waits_in_turn_agrees(nodes in chain(), env in proptest::array::uniform3(-20..20_i64)) {
        let text = document(&nodes);
        let plan = Arc::new(compile(&text));
        let explain = plan.explain();
        assert!(!explain.overlaps && explain.nodes.iter().any(|node| node.body == "async"), "no chain: {text}");
        // The order of the plan is not the document's, but it is the only one, with one first failure.
        let order = explain.nodes.iter().map(|node| node.id[1..].parse().unwrap());
        let expected = interpret_in_order(&nodes, order, env);
        let nested = context(env).nested(Arc::new(Env(env))).unwrap();
        assert_agrees(&drive_in_order(&plan, context(env), &NoOffload), &expected, true, &text);
        assert_agrees(&drive_in_order(&plan, nested.clone(), &NoOffload), &expected, true, &text);
        assert_agrees(&drive_in_order(&plan, nested, &Threads), &expected, true, &text);
    }
}
