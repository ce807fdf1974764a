//! The host with kernels that tests can hold, count and break.

mod batch;
mod machine;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use exec_plan::{
    AsyncKernel, BindError, Body, BoundKernel, Code, Fault, GraphName, GraphSource, InputPort, Inputs,
    Kernel, KernelFactory, KernelRegistry, Metadata, NodeSpec, OutputPort, Outputs, Ports, ReadInputs,
    Signature, StoreOptions, Type,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernels::{MetadataSource, serve_env};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::stats::RejectReason;
use kernels::Answer;

/// What the kernels of one test share.
struct Stage {
    /// A held call goes on when it gets a permit of these.
    release: Semaphore,
    /// How many times a kernel ran.
    ran: AtomicUsize,
    /// The calls that kernels kept.
    kept: Mutex<Vec<Arc<RpcServerCall>>>,
}

/// Passes the payload on, once released.
struct Hold(Arc<Stage>);
/// Answers with its payload.
struct Reply;
/// The same, and keeps the call.
struct Keep(Arc<Stage>);
/// Panics.
struct Explode;
/// Does nothing, so that the call stays unanswered although the graph claims to answer.
struct Mute;

impl Stage {
    fn closed() -> Self {
        Self { release: Semaphore::new(0), ran: AtomicUsize::new(0), kept: Mutex::default() }
    }
}

impl AsyncKernel for Hold {
    fn run<'a>(&'a self, mut inputs: Inputs, _: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        async move {
            self.0.ran.fetch_add(1, Ordering::SeqCst);
            self.0.release.acquire().await.unwrap().forget();
            Ok(Outputs::one(inputs.take(0).unwrap()))
        }
        .boxed()
    }
}

impl Kernel for Reply {
    fn run(&self, ports: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        let call = ports.call(0)?.clone().downcast::<RpcServerCall>().unwrap();
        call.answer(Answer::ok(ports.bytes(1)?.clone()))
            .map_err(|error| Fault::new(Code::Internal, error.to_string()))
    }
}

impl Kernel for Keep {
    fn run(&self, ports: &mut Ports<'_>, cx: &RequestContext) -> Result<(), Fault> {
        self.0.kept.lock().push(ports.call(0)?.clone().downcast::<RpcServerCall>().unwrap());
        Reply.run(ports, cx)
    }
}

impl Kernel for Explode {
    fn run(&self, _: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        panic!("on purpose")
    }
}

impl Kernel for Mute {
    fn run(&self, _: &mut Ports<'_>, _: &RequestContext) -> Result<(), Fault> {
        Ok(())
    }
}

/// A factory whose nodes all run the same body.
struct Factory(&'static str, Arc<Stage>);

impl KernelFactory for Factory {
    fn name(&self) -> &str {
        self.0
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let call = || InputPort::required("call", Type::Call);
        let payload = || InputPort::required("payload", Type::Bytes);
        let passes = || Signature::new([payload()], [OutputPort::new("payload", Type::Bytes)]);
        let answers = || Signature { answers: true, ..Signature::new([call(), payload()], []) };
        let (signature, body) = match self.0 {
            "hold" => (passes(), Body::Async(Box::new(Hold(self.1.clone())))),
            "explode" => (passes(), Body::Inline(Box::new(Explode))),
            "explode_blocking" => (passes(), Body::Blocking(Box::new(Explode))),
            "keep" => (answers(), Body::Inline(Box::new(Keep(self.1.clone())))),
            "mute" => (answers(), Body::Inline(Box::new(Mute))),
            _ => (answers(), Body::Inline(Box::new(Reply))),
        };
        Ok(BoundKernel { signature, body })
    }
}

struct Fixture {
    host: ServeHost,
    stage: Arc<Stage>,
}

/// A host with one graph of these nodes per service: `held.S`, `echo.S`, `panic.S`, `panic_pooled.S`, `mute.S`, `keep.S`.
fn host(max_inflight: usize, queue_capacity: usize) -> Fixture {
    let stage = Arc::new(Stage::closed());
    let mut registry = KernelRegistry::new();
    for name in ["hold", "explode", "explode_blocking", "keep", "mute", "reply"] {
        registry.register(Factory(name, stage.clone())).unwrap();
    }
    let store = stored(
        registry,
        &[
            ("held", Some("hold"), "reply"),
            ("echo", None, "reply"),
            ("panic", Some("explode"), "reply"),
            ("panic_pooled", Some("explode_blocking"), "reply"),
            ("mute", None, "mute"),
            ("keep", None, "keep"),
        ],
    );
    let config = HostConfig {
        max_inflight: MaxInflight(NonZeroUsize::new(max_inflight).unwrap()),
        queue_capacity: QueueCapacity(queue_capacity),
        ..HostConfig::default()
    };
    Fixture { host: ServeHost::new(Arc::new(store), config).unwrap(), stage }
}

/// A store of graphs: name, first node if there is one, last node; each serves `name.S`.
fn stored(registry: KernelRegistry, graphs: &[(&str, Option<&str>, &str)]) -> PlanStore {
    let options = StoreOptions::in_memory(registry, serve_env());
    let (store, _) = PlanStore::open(options).unwrap();
    for (name, first, last) in graphs {
        let (first_node, payload) = match first {
            Some(kernel) => (
                format!(r#"{{"id": "first", "kernel": "{kernel}"}},"#),
                r#"{"to": "first.payload", "from": "$req.rpc.payload"}, {"to": "last.payload", "from": "first.payload"}"#,
            ),
            None => (String::new(), r#"{"to": "last.payload", "from": "$req.rpc.payload"}"#),
        };
        let text = format!(
            r#"{{"name": "{name}", "serves": ["{name}.S"],
                 "nodes": [{first_node} {{"id": "last", "kernel": "{last}"}}],
                 "bindings": [{{"to": "last.call", "from": "$req.rpc.call"}}, {payload}]}}"#
        );
        let source = GraphSource { origin: "test".into(), stem: None, text: Bytes::from(text) };
        let staged = store.stage(&source, false).unwrap();
        store.publish(&staged.graph, &Version::ZERO).unwrap();
    }
    store
}

fn envelope(method: &str, metadata: &[(&'static str, &'static str)]) -> RequestEnvelope {
    let mut entries = Metadata::new();
    for (name, value) in metadata {
        entries.append(*name, *value).unwrap();
    }
    RequestEnvelope {
        method: method.into(),
        payload: Bytes::from_static(b"hello"),
        metadata: Arc::new(entries),
        peer: "127.0.0.1:9".into(),
        deadline: None,
    }
}

fn within(millis: u64) -> RequestEnvelope {
    RequestEnvelope {
        deadline: Some(Instant::now() + Duration::from_millis(millis)),
        ..envelope("/held.S/M", &[])
    }
}

impl Fixture {
    fn begin(&self, method: &str) -> Begun {
        self.host.begin(envelope(method, &[]))
    }

    fn hold(&self) -> PendingAnswer {
        pending(self.begin("/held.S/M"))
    }

    /// Waits until the figures are as they should be; they follow the answer by a moment.
    async fn settled(&self, check: impl Fn(&StatsSnapshot) -> bool) -> StatsSnapshot {
        for _ in 0..500 {
            let stats = self.host.stats();
            assert!(stats.identity_holds(), "{stats:?}");
            if check(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never settled: {:?}", self.host.stats());
    }
}

fn pending(begun: Begun) -> PendingAnswer {
    match begun {
        Begun::Pending(pending) => pending,
        Begun::Done(answer) => panic!("done: {answer:?}"),
    }
}

fn done(begun: Begun) -> Answer {
    match begun {
        Begun::Done(answer) => answer,
        Begun::Pending(pending) => panic!("pending: {pending:?}"),
    }
}

#[tokio::test]
async fn an_inline_plan_is_done_at_once() {
    let fixture = host(1, 0);
    let answer = done(fixture.begin("/echo.S/M"));
    assert_eq!((answer.code, &answer.payload[..]), (Code::Ok, &b"hello"[..]));
    let stats = fixture.host.stats();
    assert_eq!((stats.accepted, stats.completed, stats.in_flight), (1, 1, 0));
}

#[tokio::test]
async fn a_pooled_plan_answers_later() {
    let fixture = host(1, 0);
    let call = fixture.hold();
    fixture.settled(|stats| stats.in_flight == 1).await;
    fixture.stage.release.add_permits(1);
    assert_eq!(call.await.payload, "hello");
    fixture.settled(|stats| stats.completed == 1 && stats.in_flight == 0).await;
}

#[tokio::test]
async fn a_call_that_waits_keeps_its_message_alive_and_not_the_read_it_came_in() {
    let Fixture { host, stage } = host(1, 1);
    let read = Bytes::from(vec![7; 1 << 10]);
    let part = || RequestEnvelope { payload: read.slice(5..69), ..envelope("/held.S/Call", &[]) };
    let calls = [pending(host.begin(part())), pending(host.begin(part()))];
    assert!(read.is_unique(), "one runs and one waits in line");
    stage.release.add_permits(2);
    for call in calls {
        assert_eq!(call.await.payload, [7; 64][..]);
    }
}

#[tokio::test]
async fn overflow_is_refused_with_the_time_to_come_back() {
    let fixture = host(1, 1);
    let _running = fixture.hold();
    let _waiting = fixture.hold();
    let answer = done(fixture.begin("/held.S/M"));
    assert_eq!(answer.code, Code::ResourceExhausted);
    assert!(answer.trailers.unwrap().first("grpc-retry-pushback-ms").is_some());
    let stats = fixture.settled(|stats| (stats.in_flight, stats.queued) == (1, 1)).await;
    assert_eq!(stats.rejected[&RejectReason::QueueFull], 1);
}

#[tokio::test]
async fn an_inline_plan_waits_its_turn_too() {
    let fixture = host(1, 1);
    let running = fixture.hold();
    let waiting = pending(fixture.begin("/echo.S/M"));
    fixture.stage.release.add_permits(1);
    assert_eq!(running.await.code, Code::Ok);
    assert_eq!(waiting.await.payload, "hello");
}

#[tokio::test]
async fn a_call_that_expires_in_line_never_runs_a_kernel() {
    let fixture = host(1, 8);
    let _running = fixture.hold();
    fixture.settled(|_| fixture.stage.ran.load(Ordering::SeqCst) == 1).await;
    let answer = pending(fixture.host.begin(within(30))).await;
    assert_eq!(answer.code, Code::DeadlineExceeded);
    fixture.stage.release.add_permits(8);
    fixture.settled(|stats| stats.completed == 1 && stats.expired == 1).await;
    assert_eq!(fixture.stage.ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_running_call_is_answered_at_its_deadline_and_stopped() {
    let fixture = host(1, 0);
    let begun = Instant::now();
    let answer = pending(fixture.host.begin(within(50))).await;
    assert_eq!(answer.code, Code::DeadlineExceeded);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    fixture.settled(|stats| stats.expired == 1 && stats.in_flight == 0).await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_refused() {
    let fixture = host(1, 0);
    assert_eq!(done(fixture.host.begin(within(0))).code, Code::DeadlineExceeded);
    assert_eq!(fixture.host.stats().rejected[&RejectReason::DeadlineExpired], 1);
}

#[tokio::test]
async fn a_call_whose_client_leaves_gives_its_permit_back() {
    let fixture = host(1, 8);
    let running = fixture.hold();
    let waiting = fixture.hold();
    fixture.settled(|stats| (stats.in_flight, stats.queued) == (1, 1)).await;
    drop(waiting);
    fixture.settled(|stats| (stats.queued, stats.cancelled) == (0, 1)).await;
    drop(running);
    fixture.settled(|stats| (stats.in_flight, stats.cancelled) == (0, 2)).await;
}

#[tokio::test]
async fn nobody_waits_longer_than_anyone_may() {
    let fixture = host(1, 8);
    let _running = fixture.hold();
    let begun = Instant::now();
    let answer = fixture.hold().await;
    assert_eq!(answer.code, Code::ResourceExhausted);
    assert!(begun.elapsed() >= fixture.host.config().max_queue_wait);
    fixture.settled(|stats| (stats.queued, stats.failed) == (0, 1)).await;
}

#[tokio::test]
async fn a_panic_costs_its_call_alone() {
    let fixture = host(4, 0);
    for _ in 0..100 {
        let answer = done(fixture.begin("/panic.S/M"));
        assert_eq!(answer.code, Code::Internal);
        assert!(answer.message.contains("node first of graph panic"), "{}", answer.message);
        assert!(!answer.message.contains("on purpose"), "{}", answer.message);
        assert_eq!(pending(fixture.begin("/panic_pooled.S/M")).await.code, Code::Internal);
        assert_eq!(done(fixture.begin("/echo.S/M")).code, Code::Ok);
    }
    let stats = fixture.settled(|stats| stats.in_flight == 0).await;
    assert_eq!((stats.failed, stats.completed), (200, 100));
}

#[tokio::test]
async fn a_run_without_an_answer_is_answered_by_the_host() {
    let fixture = host(1, 0);
    let answer = done(fixture.begin("/mute.S/M"));
    assert_eq!(answer.code, Code::Internal);
    assert!(answer.message.contains("without an answer"));
    assert_eq!(fixture.host.stats().failed, 1);
}

#[tokio::test]
async fn a_closing_host_answers_everyone_in_line_and_lets_the_others_finish() {
    let fixture = host(1, 8);
    let running = fixture.hold();
    let waiting = [fixture.hold(), fixture.hold()];
    fixture.host.close();
    for call in waiting {
        assert_eq!(call.await.code, Code::Unavailable);
    }
    assert_eq!(done(fixture.begin("/echo.S/M")).code, Code::Unavailable);
    fixture.stage.release.add_permits(1);
    assert_eq!(running.await.code, Code::Ok);
    let stats = fixture.settled(|stats| stats.in_flight == 0).await;
    assert_eq!((stats.completed, stats.failed, stats.rejected[&RejectReason::Draining]), (1, 2, 1));
}

#[tokio::test]
async fn a_graph_is_found_by_service_then_by_metadata_then_by_default() {
    let fixture = host(4, 0);
    let call = |method, metadata: &[(&'static str, &'static str)]| {
        done(fixture.host.begin(envelope(method, metadata)))
    };
    assert_eq!(call("/nobody.S/M", &[]).code, Code::Unimplemented);
    assert_eq!(call("/nobody.S/M", &[("okra-graph", "echo")]).code, Code::Ok);
    assert_eq!(call("/nobody.S/M", &[("sr-graph-name", "echo")]).code, Code::Ok);
    assert_eq!(call("/nobody.S/M", &[("okra-graph", "missing")]).code, Code::NotFound);
    assert_eq!(call("/echo.S/M", &[("okra-graph-version", "0.0.0")]).code, Code::Ok);
    assert_eq!(call("/echo.S/M", &[("okra-graph-version", "9")]).code, Code::NotFound);
    assert_eq!(call("/echo.S/M", &[("okra-graph-version", "x")]).code, Code::InvalidArgument);
    fixture.host.store().set_default(&"echo".parse::<GraphName>().unwrap(), None).unwrap();
    assert_eq!(call("/nobody.S/M", &[]).code, Code::Ok);
}

#[tokio::test]
async fn the_plan_is_named_to_who_asks() {
    let fixture = host(1, 0);
    let answer = done(fixture.host.begin(envelope("/echo.S/M", &[("okra-plan", "1")])));
    let label = answer.trailers.unwrap().first("okra-plan").unwrap().clone();
    assert!(label.starts_with(b"echo@0.0.0#"), "{label:?}");
    assert!(done(fixture.begin("/echo.S/M")).trailers.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_at_random_points_loses_no_permit() {
    let fixture = host(4, 16);
    fixture.stage.release.add_permits(100_000);
    let calls = (0..3_000_u64).map(|number| {
        let host = fixture.host.clone();
        tokio::spawn(async move {
            if let Begun::Pending(call) = host.begin(envelope("/held.S/M", &[])) {
                if number % 3 == 0 {
                    let _left = tokio::time::timeout(Duration::from_micros(number % 400), call).await;
                } else {
                    call.await;
                }
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let stats = fixture.settled(|stats| stats.in_flight == 0 && stats.queued == 0).await;
    assert_eq!(stats.accepted + stats.rejected.values().sum::<u64>(), 3_000);
    // Every permit comes back, the last just after its call was counted: as many calls as there are permits pass at
    // once.
    let gate = &fixture.host.inner.gate;
    let all_are_back = || (0..4).map(|_| gate.try_pass()).collect::<Vec<_>>().iter().all(Option::is_some);
    fixture.settled(|_| all_are_back()).await;
}
