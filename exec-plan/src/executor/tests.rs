//! What could differ between the walks: every plan that the chain walk runs, the dataflow walk runs alike.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::*;
use crate::context::{Cancel, EnvKey, EnvSchema, Environment};
use crate::kernel::{
    AsyncKernel, Begun, BindError, Body, BoundKernel, Emits, Fires, InputPort, Kernel, KernelFactory,
    KernelRegistry, NodeSpec, OutputPort, Signature,
};
use crate::plan::GraphSource;
use crate::ports::{Inputs, Outputs};
use crate::trace::TraceSink;
use crate::value::{Type, TypeSet};

/// How a node's work goes.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    /// Gives the sum of its inputs.
    Add,
    /// The same, after so many milliseconds.
    AddAfter(u64),
    /// Never ends.
    Hang,
    /// Fails so many times, then adds.
    FailTimes(u32),
    /// Says that the caller left, then adds.
    Cancel,
    /// Takes so many milliseconds of its thread, then adds.
    Occupy(u64),
    /// Panics when it is started.
    Panic,
    /// Panics once it has waited.
    PanicLater,
    /// Fires the second of two outputs, and never the first.
    Second,
    /// Gives how many handles of the bytes it got there are.
    CountHandles,
}

#[derive(Deserialize)]
struct ActParams {
    act: Act,
}

struct Node {
    act: Act,
    failed: AtomicU32,
    /// Ends where it begins, as an async kernel that finds it need not wait.
    prompt: bool,
}

struct Inline;
struct Blocking;
struct Waiting {
    prompt: bool,
}
struct Join;

fn sum(inputs: &impl ReadInputs, count: usize) -> Value {
    let number = |input| match inputs.get(input) {
        Some(Value::I64(number)) => *number,
        Some(_) => 100,
        None => 0,
    };
    Value::I64((0..count).map(number).sum())
}

impl Node {
    fn act(&self, cx: &RequestContext) -> Result<(), Fault> {
        assert!(!matches!(self.act, Act::Panic), "as told");
        if matches!(self.act, Act::Cancel) {
            cx.cancel().cancel();
        }
        if let Act::Occupy(millis) = self.act {
            std::thread::sleep(Duration::from_millis(millis));
        }
        if let Act::FailTimes(times) = self.act
            && self.failed.fetch_add(1, Ordering::SeqCst) < times
        {
            return Err(Fault::new(Code::Unavailable, "not now"));
        }
        Ok(())
    }

    fn result(&self, inputs: &impl ReadInputs, count: usize) -> Value {
        match (&self.act, inputs.get(0)) {
            (Act::CountHandles, Some(Value::Str(text))) => {
                Value::I64(i64::try_from(Arc::strong_count(text)).unwrap())
            }
            _ => sum(inputs, count),
        }
    }
}

impl Kernel for Node {
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
        self.act(cx)?;
        let value = self.result(ports, ports.len());
        ports.set(usize::from(matches!(self.act, Act::Second)), value);
        Ok(())
    }
}

impl AsyncKernel for Node {
    fn run<'a>(&'a self, inputs: Inputs, cx: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        let acted = self.act(cx);
        Box::pin(async move {
            acted?;
            if let Act::AddAfter(millis) = self.act {
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            if matches!(self.act, Act::Hang) {
                std::future::pending::<()>().await;
            }
            if matches!(self.act, Act::PanicLater) {
                tokio::task::yield_now().await;
                panic!("as told");
            }
            Ok(Outputs::one(self.result(&inputs, inputs.len())))
        })
    }

    fn begin<'a>(&'a self, ports: &mut Ports<'_>, cx: &'a RequestContext) -> Begun<'a> {
        let waits = matches!(self.act, Act::AddAfter(_) | Act::Hang | Act::PanicLater | Act::CountHandles);
        match self.prompt && !waits {
            true => Begun::Ended(Kernel::run(self, ports, cx)),
            false => Begun::Waits(AsyncKernel::run(self, ports.take_all(), cx)),
        }
    }
}

fn bound(node: &NodeSpec<'_>, body: fn(Node) -> Body) -> Result<BoundKernel, Vec<BindError>> {
    let ActParams { act } = node.params.parse()?;
    let names = node.inputs.unwrap_or_default();
    let inputs: Vec<_> =
        names.iter().map(|name| InputPort::required((*name).to_owned(), TypeSet::ANY)).collect();
    let mut signature = Signature::new(inputs, [OutputPort::new("value", Type::I64)]);
    if matches!(act, Act::Second) {
        signature.outputs.push(OutputPort::new("other", Type::I64));
        signature.emits = Emits::One;
    }
    Ok(BoundKernel { signature, body: body(Node { act, failed: AtomicU32::new(0), prompt: false }) })
}

impl KernelFactory for Inline {
    fn name(&self) -> &str {
        "inline"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        bound(node, |node| Body::Inline(Box::new(node)))
    }
}

impl KernelFactory for Blocking {
    fn name(&self) -> &str {
        "blocking"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        bound(node, |node| Body::Blocking(Box::new(node)))
    }
}

impl KernelFactory for Waiting {
    fn name(&self) -> &str {
        "async"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        match self.prompt {
            true => bound(node, |node| Body::Async(Box::new(Node { prompt: true, ..node }))),
            false => bound(node, |node| Body::Async(Box::new(node))),
        }
    }
}

impl KernelFactory for Join {
    fn name(&self) -> &str {
        "join"
    }

    fn bind(&self, node: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let mut bound = bound(node, |node| Body::Inline(Box::new(node)))?;
        bound.signature.fires = Fires::Any;
        Ok(bound)
    }
}

/// The environment: `text` is a text that only the run holds, all others are 1.
#[derive(Default)]
struct Env(Mutex<Option<Weak<str>>>);

impl Environment for Env {
    fn value(self: Arc<Self>, key: &EnvKey) -> Value {
        if &*key.name != "text" {
            return Value::I64(1);
        }
        let text: Arc<str> = "text".into();
        *self.0.lock() = Some(Arc::downgrade(&text));
        Value::Str(text)
    }
}

/// Writes down what a run tells.
#[derive(Default)]
struct Story(Mutex<Vec<String>>);

impl TraceSink for Story {
    fn event(&self, _plan: &ExecPlan, event: TraceEvent<'_>) {
        self.0.lock().push(match event {
            TraceEvent::RunStarted => "begin".to_owned(),
            TraceEvent::NodeStarted { node } => format!("{node}.."),
            TraceEvent::NodeEnded { node, end, .. } => format!("{node} {end:?}"),
            TraceEvent::RunEnded { code, .. } => format!("end {code}"),
        });
    }
}

/// A thread for every job; counts them.
#[derive(Default)]
struct Threads(AtomicUsize);

impl Offload for Threads {
    fn offload(&self, job: Job) -> Result<(), Job> {
        self.0.fetch_add(1, Ordering::SeqCst);
        drop(std::thread::spawn(job));
        Ok(())
    }
}

/// A plan of nodes written as `{"id", "kernel", "act", "from": [..]}` and their policies; it gives every port
/// listed in `outputs`.
fn plan(nodes: &Json, outputs: &[&str]) -> Arc<ExecPlan> {
    plan_with(nodes, outputs, false)
}

fn plan_with(nodes: &Json, outputs: &[&str], prompt: bool) -> Arc<ExecPlan> {
    let (mut defs, mut bindings) = (Vec::new(), Vec::new());
    for node in nodes.as_array().unwrap() {
        let mut def = node.as_object().unwrap().clone();
        let act = def.remove("act").unwrap_or(json!("add"));
        let from = def.remove("from").unwrap();
        let froms = from.as_array().unwrap();
        for (input, from) in froms.iter().enumerate() {
            let to = format!("{}.i{input}", def["id"].as_str().unwrap());
            bindings.push(json!({ "to": to, "from": from }));
        }
        let inputs: Vec<_> = (0..froms.len()).map(|input| format!("i{input}")).collect();
        let mut ports = vec!["value"];
        ports.extend((act == "second").then_some("other"));
        ports.extend((def.get("fallback") == Some(&json!("failed"))).then_some("failed"));
        def.extend([
            ("params".to_owned(), json!({ "act": act })),
            ("inputs".to_owned(), json!(inputs)),
            ("outputs".to_owned(), json!(ports)),
        ]);
        defs.push(def);
    }
    let outputs: Vec<_> =
        outputs.iter().map(|port| json!({ "from": port, "as": port.replace('.', "_") })).collect();
    let text = json!({ "name": "test", "nodes": defs, "bindings": bindings, "outputs": outputs }).to_string();
    let mut kernels = KernelRegistry::new();
    kernels.register(Inline).unwrap();
    kernels.register(Blocking).unwrap();
    kernels.register(Waiting { prompt }).unwrap();
    kernels.register(Join).unwrap();
    let source = GraphSource { origin: "test".into(), stem: None, text: Bytes::from(text) };
    let env = EnvSchema::new([("x", Type::I64), ("text", Type::String)]);
    Arc::new(ExecPlan::compile(&source, &kernels, &env).unwrap_or_else(|errors| panic!("{errors}")))
}

fn told(ran: &Result<RunOutputs, RunError>) -> String {
    match ran {
        Ok(outputs) => outputs.iter().map(|(name, value)| format!("{name}={value:?} ")).collect(),
        Err(error) => error.to_string(),
    }
}

fn context() -> RequestContext {
    RequestContext::new(Arc::new(Env::default()))
}

/// Runs a chain by either walk, and with nodes that end where they begin; says what came of it and what was told
/// meanwhile: the same each time.
async fn both(nodes: &Json, outputs: &[&str], cx: impl Fn() -> RequestContext) -> String {
    let mut stories = Vec::new();
    for (mode, prompt) in [(Mode::Chain, false), (Mode::Dataflow, false), (Mode::Chain, true)] {
        let plan = plan_with(nodes, outputs, prompt);
        assert_eq!(plan.mode(), Mode::Chain, "{nodes}");
        let story = Arc::new(Story::default());
        let cx = Arc::new(cx().with_trace(Some(story.clone())));
        let ran = Executor::drive_as(mode, &plan, &cx, &NoOffload).await;
        let told = told(&ran);
        stories.push(format!("{}: {}", story.0.lock().join(", "), told.trim_end()));
    }
    assert!(stories.iter().all(|story| *story == stories[0]), "{nodes}: {stories:?}");
    stories.swap_remove(0)
}

#[test]
fn a_plan_gets_the_walk_that_it_needs() {
    let node = |id: &str, kernel: &str, from: &[&str]| json!({ "id": id, "kernel": kernel, "from": from });
    let x = &["$req.x"];
    let retried = json!({ "id": "a", "kernel": "inline", "from": x, "retry": { "attempts": 2 } });
    for (nodes, outputs, mode) in [
        (
            json!([node("a", "inline", x), node("b", "inline", x)]),
            &["a.value", "b.value"][..],
            Mode::Straight,
        ),
        (json!([node("a", "blocking", x), node("b", "inline", x)]), &["a.value", "b.value"], Mode::Straight),
        (
            json!([node("a", "blocking", x), node("b", "blocking", &["a.value"])]),
            &["b.value"],
            Mode::Straight,
        ),
        (
            json!([node("a", "blocking", x), node("b", "blocking", x)]),
            &["a.value", "b.value"],
            Mode::Dataflow,
        ),
        (json!([node("a", "async", x)]), &["a.value"], Mode::Chain),
        (json!([node("a", "async", x), node("b", "inline", x)]), &["a.value", "b.value"], Mode::Chain),
        (json!([node("a", "async", x), node("b", "blocking", &["a.value"])]), &["b.value"], Mode::Chain),
        (json!([node("a", "async", x), node("b", "async", x)]), &["a.value", "b.value"], Mode::Dataflow),
        (json!([node("a", "async", x), node("b", "blocking", x)]), &["a.value", "b.value"], Mode::Dataflow),
        (json!([retried]), &["a.value"], Mode::Chain),
        (json!([retried, node("b", "async", x)]), &["a.value", "b.value"], Mode::Dataflow),
    ] {
        assert_eq!(plan(&nodes, outputs).mode(), mode, "{nodes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_runs_like_dataflow() {
    let wait = json!({ "id": "w", "kernel": "async", "act": { "add_after": 5 }, "from": ["a.value"] });
    let a = json!({ "id": "a", "kernel": "inline", "from": ["$req.x"] });
    let with = |mut node: Json, more: Json| {
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let retry = json!({ "retry": { "attempts": 3, "backoff_ms": 1 } });
    let three_times = with(with(wait.clone(), json!({ "act": { "fail_times": 2 } })), retry.clone());
    let too_often = with(with(wait.clone(), json!({ "act": { "fail_times": 3 } })), retry.clone());
    let hangs = with(wait.clone(), json!({ "act": "hang", "timeout_ms": 5 }));
    let fails = with(wait.clone(), json!({ "act": { "fail_times": 9 } }));
    let join = json!({ "id": "j", "kernel": "join", "from": ["w.value", "w.failed"] });
    for (nodes, outputs, expected) in [
        (
            json!([a, wait, { "id": "b", "kernel": "inline", "from": ["w.value", "a.value", "$req.x"] }]),
            &["b.value", "w.value"][..],
            "begin, a.., a Ok, w.., w Ok, b.., b Ok, end OK: b_value=3 w_value=1",
        ),
        // What need not wait goes first.
        (
            json!([a, wait, { "id": "b", "kernel": "inline", "from": ["a.value"] }]),
            &["b.value", "w.value"],
            "begin, a.., a Ok, b.., b Ok, w.., w Ok, end OK: b_value=1 w_value=1",
        ),
        (
            json!([a, fails, { "id": "b", "kernel": "inline", "from": ["w.value"] }]),
            &["b.value"],
            "begin, a.., a Ok, w.., w Failed(Unavailable), end UNAVAILABLE: node w: UNAVAILABLE: not now",
        ),
        (
            json!([a, with(wait.clone(), json!({ "act": "panic" }))]),
            &["w.value"],
            "begin, a.., a Ok, w.., w Failed(Internal), end INTERNAL: node w: INTERNAL: the kernel panicked",
        ),
        (
            json!([a, with(wait.clone(), json!({ "act": "panic_later" }))]),
            &["w.value"],
            "begin, a.., a Ok, w.., w Failed(Internal), end INTERNAL: node w: INTERNAL: the kernel panicked",
        ),
        (
            json!([with(a.clone(), json!({ "act": "panic" })), wait]),
            &["w.value"],
            "begin, a.., a Failed(Internal), end INTERNAL: node a: INTERNAL: the kernel panicked",
        ),
        (json!([a, three_times]), &["w.value"], "begin, a.., a Ok, w.., w Ok, end OK: w_value=1"),
        (
            json!([a, too_often]),
            &["w.value"],
            "begin, a.., a Ok, w.., w Failed(Unavailable), end UNAVAILABLE: node w: UNAVAILABLE: not now",
        ),
        (
            json!([with(with(a.clone(), json!({ "act": { "fail_times": 2 } })), retry), wait]),
            &["w.value"],
            "begin, a.., a Ok, w.., w Ok, end OK: w_value=1",
        ),
        (
            json!([a, hangs]),
            &["w.value"],
            "begin, a.., a Ok, w.., w Failed(DeadlineExceeded), end DEADLINE_EXCEEDED: \
             node w: DEADLINE_EXCEEDED: timed out after 5 ms",
        ),
        (
            json!([a, with(hangs.clone(), json!({ "fallback": { "value": 7 } }))]),
            &["w.value"],
            "begin, a.., a Ok, w.., w FellBack(DeadlineExceeded), end OK: w_value=7",
        ),
        (
            json!([a, with(fails.clone(), json!({ "fallback": "failed" })), join]),
            &["j.value"],
            "begin, a.., a Ok, w.., w FellBack(Unavailable), j.., j Ok, end OK: j_value=100",
        ),
        (
            json!([
                with(
                    fails.clone(),
                    json!({ "id": "a", "kernel": "inline", "from": ["$req.x"],
                "fallback": { "value": 4 } })
                ),
                wait
            ]),
            &["w.value"],
            "begin, a.., a FellBack(Unavailable), w.., w Ok, end OK: w_value=4",
        ),
        // A node that takes time is skipped, and so is what hangs on it; what comes after goes on.
        (
            json!([
                with(a.clone(), json!({ "act": "second" })),
                wait,
                { "id": "v", "kernel": "inline", "from": ["w.value"] },
                { "id": "j", "kernel": "join", "from": ["v.value", "a.other"] },
                { "id": "z", "kernel": "async", "from": ["j.value", "j.value"] }
            ]),
            &["w.value", "z.value"],
            "begin, a.., a Ok, w Skipped, v Skipped, j.., j Ok, z.., z Ok, end OK: z_value=2",
        ),
        (
            json!([
                { "id": "b", "kernel": "blocking", "from": ["$req.x"] },
                { "id": "w", "kernel": "async", "from": ["b.value"] },
                { "id": "c", "kernel": "blocking", "act": { "fail_times": 1 }, "from": ["w.value"] }
            ]),
            &["c.value"],
            "begin, b.., b Ok, w.., w Ok, c.., c Failed(Unavailable), end UNAVAILABLE: node c: UNAVAILABLE: not now",
        ),
        // Whoever reads a value last has it for itself.
        (
            json!([
                { "id": "a", "kernel": "async", "act": "count_handles", "from": ["$req.text"] },
                { "id": "b", "kernel": "async", "act": "count_handles", "from": ["$req.text", "a.value"] }
            ]),
            &["a.value", "b.value"],
            "begin, a.., a Ok, b.., b Ok, end OK: a_value=2 b_value=1",
        ),
        (
            json!([{ "id": "a", "kernel": "async", "act": "count_handles", "from": ["$req.text", "$req.text"] }]),
            &["a.value"],
            "begin, a.., a Ok, end OK: a_value=2",
        ),
    ] {
        assert_eq!(both(&nodes, outputs, context).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_ends_a_chain_like_dataflow() {
    let cancellable = || context().with_cancel(Cancel::new());
    for (kernel, expected) in [
        ("inline", "begin, a.., a Ok, end CANCELLED: CANCELLED: the call was cancelled"),
        // A node that ends because the call did is not at fault.
        ("async", "begin, a.., end CANCELLED: CANCELLED: the call was cancelled"),
        ("blocking", "begin, a.., end CANCELLED: CANCELLED: the call was cancelled"),
    ] {
        let nodes = json!([
            { "id": "a", "kernel": kernel, "act": "cancel", "from": ["$req.x"] },
            { "id": "w", "kernel": "async", "from": ["a.value"] }
        ]);
        assert_eq!(both(&nodes, &["w.value"], cancellable).await, expected);
    }
    let hang = json!([{ "id": "w", "kernel": "async", "act": "hang", "from": ["$req.x"] }]);
    let leaves_later = || {
        let cancel = Cancel::new();
        tokio::spawn({
            let cancel = cancel.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                cancel.cancel();
            }
        });
        context().with_cancel(cancel)
    };
    let expected = "begin, w.., end CANCELLED: CANCELLED: the call was cancelled";
    assert_eq!(both(&hang, &["w.value"], leaves_later).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_chain_like_dataflow() {
    let within =
        |millis| move || context().with_deadline(Some(Instant::now() + Duration::from_millis(millis)));
    let expected = "end DEADLINE_EXCEEDED: DEADLINE_EXCEEDED: the deadline of the call has passed";
    let hang = json!([{ "id": "w", "kernel": "async", "act": "hang", "from": ["$req.x"] }]);
    assert_eq!(both(&hang, &["w.value"], within(1000)).await, format!("begin, w.., {expected}"));
    for kernel in ["async", "blocking"] {
        let nodes = json!([
            { "id": "b", "kernel": kernel, "act": { "occupy": 30 }, "from": ["$req.x"] },
            { "id": "w", "kernel": "async", "from": ["b.value"] }
        ]);
        assert_eq!(both(&nodes, &["w.value"], within(20)).await, format!("begin, b.., {expected}"));
    }
    // An inline node is not looked at, but what takes time does not start after it.
    let nodes = json!([
        { "id": "b", "kernel": "inline", "act": { "occupy": 30 }, "from": ["$req.x"] },
        { "id": "w", "kernel": "async", "from": ["b.value"] }
    ]);
    let expected = "end DEADLINE_EXCEEDED: node w: DEADLINE_EXCEEDED: the deadline of the call has passed";
    assert_eq!(both(&nodes, &["w.value"], within(20)).await, format!("begin, b.., b Ok, w.., {expected}"));
    // A time-out of its own does not outlast the call's deadline, nor does its fallback take over then.
    let nodes = json!([{ "id": "w", "kernel": "async", "act": "hang", "from": ["$req.x"],
        "timeout_ms": 5000, "retry": { "attempts": 3 }, "fallback": { "value": 1 } }]);
    let expected = "end DEADLINE_EXCEEDED: DEADLINE_EXCEEDED: the deadline of the call has passed";
    assert_eq!(both(&nodes, &["w.value"], within(1000)).await, format!("begin, w.., {expected}"));
}

#[test]
fn a_chain_that_need_not_wait_sets_no_timer() {
    let plan = plan(&json!([{ "id": "w", "kernel": "async", "from": ["$req.x"] }]), &["w.value"]);
    let deadline = Some(Instant::now() + Duration::from_secs(60));
    let cx = Arc::new(context().with_cancel(Cancel::new()).with_deadline(deadline));
    // There is no runtime here, hence no clock that could wake anybody.
    let ran = pin!(Executor::drive(&plan, &cx, &NoOffload)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(ran) = ran else { panic!("the run waits") };
    assert_eq!(told(&ran), "w_value=1 ");
}

#[tokio::test(start_paused = true)]
async fn a_run_dropped_half_way_keeps_nothing() {
    let nodes = json!([
        { "id": "w", "kernel": "async", "act": "hang", "from": ["$req.text"] },
        { "id": "b", "kernel": "inline", "from": ["w.value", "$req.text"] }
    ]);
    let plan = plan(&nodes, &["b.value"]);
    let env = Arc::new(Env::default());
    let cx = Arc::new(RequestContext::new(env.clone()));
    let mut run = Box::pin(Executor::drive(&plan, &cx, &NoOffload));
    assert!(poll_fn(|task| Poll::Ready(run.as_mut().poll(task).is_pending())).await);
    let handles = || env.0.lock().as_ref().map(Weak::strong_count);
    // The node has one, and the slot keeps one for the last reader.
    assert_eq!(handles(), Some(2));
    drop(run);
    assert_eq!(handles(), Some(0));
}

#[test]
fn what_blocks_in_a_nested_chain_moves_to_another_thread_and_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let chain = json!([
        { "id": "b", "kernel": "blocking", "act": { "occupy": 60 }, "from": ["$req.x"] },
        { "id": "w", "kernel": "async", "from": ["b.value"] }
    ]);
    let straight = json!([chain[0]]);
    for (nodes, output) in [(&chain, "w.value"), (&straight, "b.value")] {
        let plan = plan(nodes, &[output]);
        let cancel = Cancel::new();
        let nested = context().with_cancel(cancel.clone()).nested(Arc::new(Env::default())).unwrap();
        let (threads, begun) = (Threads::default(), Instant::now());
        let (ran, ()) = runtime.block_on(async {
            let leaves = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                cancel.cancel();
            };
            // The timer runs meanwhile: the thread of the run is free.
            let nested = Arc::new(nested);
            tokio::join!(Executor::drive(&plan, &nested, &threads), leaves)
        });
        assert_eq!(told(&ran), "CANCELLED: the call was cancelled");
        assert_eq!(threads.0.load(Ordering::SeqCst), 1);
        assert!(begun.elapsed() >= Duration::from_millis(60), "the run ended before its work");
        // By itself the plan has the thread to itself.
        let ran = runtime.block_on(Executor::drive(&plan, &Arc::new(context()), &threads));
        assert_eq!(told(&ran), format!("{}=1 ", output.replace('.', "_")));
        assert_eq!(threads.0.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_future_of_a_run_is_small() {
    let plan = plan(&json!([{ "id": "w", "kernel": "async", "from": ["$req.x"] }]), &["w.value"]);
    let cx = Arc::new(context());
    let size = size_of_val(&Executor::drive(&plan, &cx, &NoOffload));
    assert!(size <= 1536, "{size} bytes to move for every call on the pool");
}
