//! `graph_call` and `scatter`, in whole plans.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, Body, BoundKernel, Cancel, Emits, EnvSchema, GraphResolver, GraphSource, HeldPlan,
    InputPort, Inputs, Job, Kernel, KernelFactory, KernelRegistry, NodeSpec, Offload, OutputPort, Outputs,
    Params, Ports, ReadInputs, Signature, Type, TypeSet,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::*;
use crate::graph_call::GraphCall;
use crate::scatter::Scatter;

/// A kernel made of a signature and a body.
struct Made<F>(&'static str, F);

impl<F: Fn() -> (Signature, Body) + Send + Sync + 'static> KernelFactory for Made<F> {
    fn name(&self) -> &str {
        self.0
    }

    fn bind(&self, _node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let (signature, body) = (self.1)();
        Ok(BoundKernel { signature, body })
    }
}

/// Runs a closure on the integers `a` and, if bound, `b`.
struct Compute<F>(F);

impl<F: Fn(i64, i64) -> Result<i64, Fault> + Send + Sync + 'static> Kernel for Compute<F> {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        let second = ports.get(1).map(|_| ports.i64(1)).transpose()?;
        let value = (self.0)(ports.i64(0)?, second.unwrap_or_default())?;
        ports.set(0, Value::I64(value));
        Ok(())
    }
}

/// Waits for `a` milliseconds and gives it back; counts how many wait at a time.
struct Wait(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AsyncKernel for Wait {
    fn run<'a>(&'a self, inputs: Inputs, _cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        Box::pin(async move {
            let millis = inputs.i64(0)?;
            self.0.most.fetch_max(self.0.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(millis.unsigned_abs())).await;
            self.0.now.fetch_sub(1, Ordering::SeqCst);
            Ok(Outputs::one(Value::I64(millis)))
        })
    }
}

/// Fires its second output, and never its first.
struct Second;

impl Kernel for Second {
    fn run(&self, ports: &mut Ports<'_>, _cx: &RequestContext) -> Result<(), Fault> {
        ports.set(1, Value::Null);
        Ok(())
    }
}

fn numbers() -> Signature {
    let inputs = [InputPort::required("a", Type::I64), InputPort::optional("b", Type::I64)];
    Signature::new(inputs, [OutputPort::new("value", Type::I64)])
}

/// What the graphs of a test may look like, and how they find each other.
struct World {
    kernels: KernelRegistry,
    plans: Mutex<HashMap<String, Arc<ExecPlan>>>,
    lookups: AtomicUsize,
    waiting: Arc<Waiting>,
}

impl GraphResolver for World {
    fn plan(&self, name: &str) -> Option<HeldPlan> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.plans.lock().get(name).cloned().map(HeldPlan::Owned)
    }
}

impl World {
    /// A world with these graphs, by name: one node each, of this kernel, from `$req.item` and, if so
    /// written, `$req.more`.
    fn new(graphs: &[(&str, &str, &[&str])]) -> Arc<Self> {
        let waiting = Arc::<Waiting>::default();
        let (waits, barrier) = (waiting.clone(), Arc::new(Barrier::new(2)));
        let mut kernels = KernelRegistry::new();
        let inline = |f: fn(i64, i64) -> Result<i64, Fault>| (numbers(), Body::Inline(Box::new(Compute(f))));
        kernels.register(GraphCall).unwrap();
        kernels.register(Scatter).unwrap();
        kernels.register(Made("add", move || inline(|a, b| Ok(a + b)))).unwrap();
        let refuse = |a, _| {
            let fault = || Fault::new(Code::NotFound, "not there").with_details(Bytes::from_static(b"why"));
            if a < 0 { Err(fault()) } else { Ok(a) }
        };
        kernels.register(Made("refuse_negative", move || inline(refuse))).unwrap();
        kernels
            .register(Made("wait", move || (numbers(), Body::Async(Box::new(Wait(waits.clone()))))))
            .unwrap();
        let meet = move || {
            let barrier = barrier.clone();
            let compute = Compute(move |a, _| {
                barrier.wait();
                Ok(a)
            });
            (numbers(), Body::Blocking(Box::new(compute)))
        };
        kernels.register(Made("meet", meet)).unwrap();
        let second = || {
            let outputs = [OutputPort::new("value", Type::Null), OutputPort::new("other", Type::Null)];
            let mut signature = Signature::new([InputPort::required("a", Type::I64)], outputs);
            signature.emits = Emits::One;
            (signature, Body::Inline(Box::new(Second)))
        };
        kernels.register(Made("second", second)).unwrap();
        let answer = || {
            let mut signature = Signature::new([InputPort::required("a", TypeSet::ANY)], []);
            signature.answers = true;
            (signature, Body::Inline(Box::new(Compute(|a, _| Ok(a)))))
        };
        kernels.register(Made("answer", answer)).unwrap();
        let world = Self { kernels, plans: Mutex::default(), lookups: AtomicUsize::new(0), waiting };
        for (name, kernel, inputs) in graphs {
            world.publish(name, &one_node(name, kernel, json!({}), inputs, &["value"]));
        }
        Arc::new(world)
    }

    fn compile(&self, name: &str, document: &Json) -> Arc<ExecPlan> {
        let source = GraphSource { origin: name.into(), stem: None, text: document.to_string().into() };
        let env = EnvSchema::new([("rpc.method", Type::String)]);
        match ExecPlan::compile(&source, &self.kernels, &env) {
            Ok(plan) => Arc::new(plan),
            Err(errors) => panic!("{errors}"),
        }
    }

    fn publish(&self, name: &str, document: &Json) {
        let plan = self.compile(name, document);
        self.plans.lock().insert(name.to_owned(), plan);
    }

    /// Runs a graph of one node, whose inputs come from the environment, and gives its outputs.
    async fn run(
        self: &Arc<Self>,
        kernel: &str,
        params: Json,
        given: &[(&str, Value)],
        outputs: &[&str],
    ) -> Result<RunOutputs, exec_plan::RunError> {
        self.run_in(|cx| cx, kernel, params, given, outputs).await
    }

    async fn run_in(
        self: &Arc<Self>,
        prepare: impl FnOnce(RequestContext) -> RequestContext,
        kernel: &str,
        params: Json,
        given: &[(&str, Value)],
        outputs: &[&str],
    ) -> Result<RunOutputs, exec_plan::RunError> {
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        let plan = self.compile("outer", &one_node("outer", kernel, params, &names, outputs));
        let cx = RequestContext::new(Arc::new(Given(
            given.iter().map(|(n, v)| ((*n).into(), v.clone())).collect(),
        )));
        let cx = Arc::new(prepare(cx.with_graphs(self.clone())));
        Executor::drive(&plan, &cx, cx.offload()).await
    }
}

/// The environment of the outer graph.
struct Given(Vec<(Arc<str>, Value)>);

impl Environment for Given {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        if key.index.is_some() {
            return Value::Str("/t.T/Outer".into());
        }
        self.0.iter().find(|(name, _)| *name == key.name).map_or(Value::Null, |(_, value)| value.clone())
    }
}

/// A graph of one node: each input from the key of its name (`item` and `more` feed `a` and `b` of
/// kernels that compute), each output given under its name.
fn one_node(name: &str, kernel: &str, params: Json, inputs: &[&str], outputs: &[&str]) -> Json {
    let computes = !matches!(kernel, "graph_call" | "scatter");
    let port = |key: &str| match key {
        "item" if computes => "a".to_owned(),
        "more" if computes => "b".to_owned(),
        other => other.to_owned(),
    };
    let ports: Vec<String> = inputs.iter().map(|key| port(key)).collect();
    let bindings: Vec<Json> = inputs
        .iter()
        .map(|key| json!({ "to": format!("n.{}", port(key)), "from": format!("$req.{key}") }))
        .collect();
    let given: Vec<Json> =
        outputs.iter().map(|output| json!({ "from": format!("n.{output}"), "as": output })).collect();
    json!({
        "version": 1, "name": name, "bindings": bindings, "outputs": given,
        "nodes": [{ "id": "n", "kernel": kernel, "params": params, "inputs": ports, "outputs": outputs }],
    })
}

fn shown(outputs: &RunOutputs) -> String {
    outputs.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
}

fn told(result: Result<RunOutputs, exec_plan::RunError>) -> String {
    result.map_or_else(|error| error.fault.to_string(), |outputs| shown(&outputs))
}

fn ints(values: impl IntoIterator<Item = i64>) -> Value {
    Value::List(values.into_iter().map(Value::I64).collect())
}

#[tokio::test]
async fn a_called_graph_gets_inputs_and_gives_outputs() {
    let world = World::new(&[]);
    // A graph whose keys are `x` and `y`, which gives two outputs.
    world.publish(
        "two",
        &json!({
            "version": 1, "name": "two",
            "nodes": [{ "id": "n", "kernel": "add", "inputs": ["a", "b"], "outputs": ["value"] }],
            "bindings": [{ "to": "n.a", "from": "$req.x" }, { "to": "n.b", "from": "$req.y" }],
            "outputs": [{ "from": "n.value", "as": "sum" }, { "from": "$req.rpc.method", "as": "method" }],
        }),
    );
    let given = [("x", Value::I64(2)), ("y", Value::I64(40))];
    let result = world.run("graph_call", json!({ "graph": "two" }), &given, &["sum", "method"]).await;
    assert_eq!(told(result), r#"sum=42 method="/t.T/Outer""#);
    let result = world.run("graph_call", json!({ "graph": "two" }), &given, &["none"]).await;
    assert_eq!(told(result), r#"FAILED_PRECONDITION: graph two gave no output "none""#);
    let result = world.run("graph_call", json!({ "graph": "two" }), &given[..1], &["sum"]).await;
    assert_eq!(told(result), r#"FAILED_PRECONDITION: graph two needs the input "y""#);
}

#[tokio::test]
async fn the_version_published_when_the_node_runs_is_called() {
    let world = World::new(&[("g", "add", &["item"])]);
    let given = [("item", Value::I64(1))];
    let outer = json!({
        "version": 1, "name": "outer",
        "nodes": [{ "id": "n", "kernel": "graph_call", "params": { "graph": "g" }, "inputs": ["item"] }],
        "bindings": [{ "to": "n.item", "from": "$req.item" }],
        "outputs": [{ "from": "n.value", "as": "value" }],
    });
    let plan = world.compile("outer", &outer);
    let run = || async {
        let given = given.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        let cx = Arc::new(RequestContext::new(Arc::new(Given(given))).with_graphs(world.clone()));
        told(Executor::drive(&plan, &cx, cx.offload()).await)
    };
    assert_eq!(run().await, "value=1");
    let mut next = one_node("g", "add", json!({}), &["item"], &["value"]);
    next["bindings"].as_array_mut().unwrap().push(json!({ "to": "n.b", "from": 10 }));
    next["nodes"][0]["inputs"] = json!(["a", "b"]);
    world.publish("g", &next);
    assert_eq!(run().await, "value=11");
    world.plans.lock().clear();
    assert_eq!(run().await, "FAILED_PRECONDITION: graph g is not published here");
}

#[tokio::test]
async fn a_graph_that_cannot_be_called_is_named() {
    let world = World::new(&[("skips", "second", &["item"])]);
    world.publish(
        "serves",
        &json!({
            "version": 1, "name": "serves", "nodes": [{ "id": "n", "kernel": "answer" }],
            "bindings": [{ "to": "n.a", "from": "$req.rpc.method" }],
        }),
    );
    let given = [("item", Value::I64(1))];
    for (graph, expected) in [
        ("none", "FAILED_PRECONDITION: graph none is not published here"),
        ("skips", r#"FAILED_PRECONDITION: graph skips gave no output "value""#),
        (
            "serves",
            "FAILED_PRECONDITION: graph serves answers calls itself; only graphs that give outputs run inside another",
        ),
    ] {
        let result = world.run("graph_call", json!({ "graph": graph }), &given, &["value"]).await;
        assert_eq!(told(result), expected);
        let list = [("list", ints([1]))];
        let result = world.run("scatter", json!({ "graph": graph }), &list, &["list"]).await;
        let expected = expected.replacen(": ", if graph == "skips" { ": item 0: " } else { ": " }, 1);
        assert_eq!(told(result), expected);
    }
    // Where there are no other graphs at all, none is published.
    let alone = RequestContext::new(Arc::new(Given(Vec::new())));
    assert_eq!(resolve(&"g".parse().unwrap(), &alone).unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_graph_that_calls_itself_ends_at_the_depth_limit() {
    let world = World::new(&[]);
    world.publish(
        "again",
        &json!({
            "version": 1, "name": "again",
            "nodes": [{ "id": "n", "kernel": "graph_call", "params": { "graph": "again" } }],
            "outputs": [{ "from": "n.value", "as": "value" }],
        }),
    );
    let result = world.run("graph_call", json!({ "graph": "again" }), &[], &["value"]).await;
    assert_eq!(told(result), "RESOURCE_EXHAUSTED: graphs call each other deeper than 8");
    assert_eq!(world.lookups.load(Ordering::SeqCst), 9);
}

#[tokio::test]
async fn a_fault_within_comes_out_as_it_is_and_says_where_it_was() {
    let world = World::new(&[("g", "refuse_negative", &["item"])]);
    let given = [("item", Value::I64(-1))];
    let result = world.run("graph_call", json!({ "graph": "g" }), &given, &["value"]).await;
    let fault = result.unwrap_err().fault;
    assert_eq!(fault.to_string(), "NOT_FOUND: not there");
    assert_eq!(fault.details().unwrap(), "why");
    assert!(fault.source().unwrap().to_string().starts_with("graph g@1.0.0#"), "{fault:?}");
    assert!(fault.source().unwrap().to_string().ends_with(" at n"), "{fault:?}");

    let list = [("list", ints([1, 2, -1, 3]))];
    let result = world.run("scatter", json!({ "graph": "g" }), &list, &["list"]).await;
    let fault = result.unwrap_err().fault;
    assert_eq!(fault.to_string(), "NOT_FOUND: item 2: not there");
    assert_eq!(fault.details().unwrap(), "why");
}

#[tokio::test(start_paused = true)]
async fn scattered_items_keep_their_order_and_their_limit() {
    let world = World::new(&[("g", "wait", &["item"])]);
    let list = [("list", ints((1..=30).rev()))];
    let result = world.run("scatter", json!({ "graph": "g", "concurrency": 5 }), &list, &["list"]).await;
    let expected: Vec<i64> = (1..=30).rev().collect();
    assert_eq!(told(result), format!("list={expected:?}"));
    assert_eq!(world.waiting.most.load(Ordering::SeqCst), 5);
    assert_eq!(world.lookups.load(Ordering::SeqCst), 1, "all items meet the same version");
}

#[tokio::test]
async fn a_scattered_graph_gets_the_item_and_what_is_shared() {
    let world = World::new(&[("g", "add", &["item", "more"])]);
    let list = Value::from(json!([1, 2, 3]));
    let outer = json!({
        "version": 1, "name": "outer",
        "nodes": [{ "id": "n", "kernel": "scatter", "params": { "graph": "g" }, "inputs": ["more", "list"] }],
        "bindings": [{ "to": "n.list", "from": "$req.list" }, { "to": "n.more", "from": 10 }],
        "outputs": [{ "from": "n.list", "as": "list" }],
    });
    let plan = world.compile("outer", &outer);
    let run = |list: Value| async {
        let cx = RequestContext::new(Arc::new(Given(vec![("list".into(), list)]))).with_graphs(world.clone());
        let cx = Arc::new(cx);
        told(Executor::drive(&plan, &cx, cx.offload()).await)
    };
    assert_eq!(run(list).await, "list=[11, 12, 13]");
    assert_eq!(run(ints([])).await, "list=[]");
    assert_eq!(run(ints(0..10_001)).await, "RESOURCE_EXHAUSTED: the list has 10001 items, 10000 are allowed");
    let fault = run(Value::from(json!(["x"]))).await;
    assert!(fault.starts_with("INVALID_ARGUMENT: item 0: input a expects i64"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn deadline_and_cancellation_reach_within() {
    let world = World::new(&[("g", "wait", &["item"])]);
    let list = [("list", ints([60_000, 1]))];
    let soon = (tokio::time::Instant::now() + Duration::from_millis(50)).into_std();
    let begun = tokio::time::Instant::now();
    let result = world
        .run_in(|cx| cx.with_deadline(Some(soon)), "scatter", json!({ "graph": "g" }), &list, &["list"])
        .await;
    assert_eq!(result.unwrap_err().fault.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(60));

    let cancel = Cancel::new();
    let params = json!({ "graph": "g" });
    let running = world.run_in(|cx| cx.with_cancel(cancel.clone()), "scatter", params, &list, &["list"]);
    let (result, ()) = tokio::join!(running, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().fault.code(), Code::Cancelled);
}

struct Threads;

impl Offload for Threads {
    fn offload(&self, job: Job) -> Result<(), Job> {
        std::thread::spawn(job);
        Ok(())
    }
}

#[tokio::test]
async fn scattered_graphs_that_block_run_beside_each_other() {
    let world = World::new(&[("g", "meet", &["item"])]);
    // Each of the two waits for the other: one after the other they would never end.
    let list = [("list", ints([1, 2]))];
    let params = json!({ "graph": "g", "concurrency": 2 });
    let running = world.run_in(|cx| cx.with_offload(Arc::new(Threads)), "scatter", params, &list, &["list"]);
    assert_eq!(told(running.await), "list=[1, 2]");
}

#[test]
fn wrong_nodes_are_refused() {
    let bind =
        |factory: &dyn KernelFactory, params: &str, inputs: Option<&[&str]>, outputs: Option<&[&str]>| {
            let node = NodeSpec { id: "n", params: Params::new(params), inputs, outputs };
            let errors = factory.bind(&node).unwrap_err();
            errors.iter().map(|error| format!("{:?}: {}", error.site, error.message)).collect::<Vec<_>>()
        };
    assert_eq!(
        bind(&GraphCall, r#"{"graph": "g", "output": "x"}"#, None, Some(&["x"])),
        [r#"Param("/output"): the node lists its outputs already"#]
    );
    assert!(bind(&GraphCall, r#"{"graph": "../g"}"#, None, None)[0].starts_with(r#"Param("/graph"): "#));
    assert_eq!(
        bind(&Scatter, r#"{"graph": "g", "concurrency": 257}"#, Some(&["item"]), None),
        [
            r#"Param("/concurrency"): expected 1 to 256, found 257"#,
            r#"Input("item"): "item" is the key of the item"#,
            "Node: the inputs lack `list`",
        ]
    );
}
