//! Every built-in kernel has a runnable graph, `graphs/kernels/<name>.json`: compiled and run here as a
//! host would.

#![expect(clippy::unwrap_used, reason = "a test whose premise fails must fail")]

#[path = "../src/testing/shop.rs"]
mod shop;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use exec_plan::{
    Class, Code, ExecPlan, Executor, GraphSource, KernelRegistry, Metadata, NoOffload, RequestContext,
};
use kernels::{
    Answer, MetadataSource, RequestEnvelope, RpcServerCall, Service, Services, builtin, builtin_with,
    serve_env,
};
use kernels_wasm::{Abi, Engine, EngineOptions, Limits, LoadOptions};
use proto_json::Schema;

fn graph(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../graphs/kernels/{name}.json"))
}

fn compile(name: &str, kernels: &KernelRegistry) -> Arc<ExecPlan> {
    let text = std::fs::read(graph(name)).unwrap_or_else(|error| panic!("{name}.json: {error}"));
    let source = GraphSource { origin: format!("{name}.json").into(), stem: None, text: text.into() };
    Arc::new(ExecPlan::compile(&source, kernels, &serve_env()).unwrap_or_else(|errors| panic!("{errors}")))
}

fn call(method: &str, user: Option<&str>, payload: &str) -> Arc<RpcServerCall> {
    let mut metadata = Metadata::new();
    if let Some(user) = user {
        metadata.append("user", user.to_owned()).unwrap();
    }
    Arc::new(RpcServerCall::new(RequestEnvelope {
        method: method.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        metadata: Arc::new(metadata),
        peer: "127.0.0.1:9".into(),
        deadline: None,
    }))
}

/// What the caller gets: the graph's answer, or the failure of its run.
async fn answer(plan: &Arc<ExecPlan>, call: Arc<RpcServerCall>) -> Answer {
    let cx = Arc::new(RequestContext::new(call.clone()));
    match Executor::drive(plan, &cx, &NoOffload).await {
        Ok(_) => call.take_answer().expect("a graph that ended well has answered"),
        Err(error) => Answer::from(&error.fault),
    }
}

fn show(answer: &Answer) -> String {
    let metadata = |metadata: &Option<Arc<Metadata>>| -> String {
        let entries = metadata.iter().flat_map(|metadata| metadata.iter());
        entries.map(|(name, value)| format!(" {name}={}", value.escape_ascii())).collect()
    };
    let body = if answer.code == Code::Ok {
        String::from_utf8_lossy(&answer.payload)
    } else {
        answer.message.as_str().into()
    };
    format!("{}{}: {body}{}", answer.code, metadata(&answer.headers), metadata(&answer.trailers))
}

/// Runs the graph of a kernel for a user, method and payload.
async fn check(name: &str, requests: &[(&str, &str, &str)]) {
    check_with(&builtin(), name, requests).await;
}

async fn check_with(kernels: &KernelRegistry, name: &str, requests: &[(&str, &str, &str)]) {
    let plan = compile(name, kernels);
    for (method, payload, expected) in requests {
        let answer = answer(&plan, call(method, Some("ann"), payload)).await;
        assert_eq!(show(&answer), *expected, "{name}: {method} {payload}");
    }
}

#[test]
fn every_kernel_has_a_graph_that_compiles_and_uses_it() {
    let kernels = builtin();
    for name in kernels.names() {
        let plan = compile(name, &kernels);
        assert!(plan.answers(), "{name}");
        let text = std::fs::read_to_string(graph(name)).unwrap();
        assert!(text.contains(&format!(r#""kernel": "{name}""#)), "{name}.json does not use {name}");
    }
}

#[tokio::test]
async fn values_pass() {
    check("identity", &[("/s/M", "hi", "OK: hi")]).await;
    check("log", &[("/s/M", "hi", "OK: hi")]).await;
    check("const", &[("/s/M", "", r#"OK max=10 unit=items: {"max":"10","unit":"items"}"#)]).await;
}

#[tokio::test]
async fn the_call_is_read_and_answered() {
    let input = r#"OK: {"bytes":2,"hurry":false,"method":"/s/M","peer":"127.0.0.1:9","user":"ann"}"#;
    check("rpc_server_input", &[("/s/M", "hi", input)]).await;
    let output = [
        ("/s/M", "{}", "OK cache-control=no-store: {} served-by=a served-by=graph"),
        (
            "/s/M",
            r#"{"code":"NOT_FOUND","message":"gone"}"#,
            "NOT_FOUND cache-control=no-store: gone served-by=a served-by=graph",
        ),
        ("/s/M", r#"{"code":"NO"}"#, r#"INTERNAL: the graph gives "NO" as a status code"#),
        ("/s/M", "?", "INVALID_ARGUMENT: not JSON: expected value at line 1 column 1"),
    ];
    check("rpc_server_output", &output).await;
}

#[tokio::test]
async fn json_is_read_and_changed() {
    let get = [
        ("/s/M", r#"{"order":{"tags":["new","old"]}}"#, "OK: new"),
        ("/s/M", r#"{"order":{"tags":[]}}"#, "OK: none"),
        ("/s/M", r#"{"order":{"tags":[1]}}"#, "INVALID_ARGUMENT: order.tags.0 is i64, not string"),
    ];
    check("json_get", &get).await;
    check("json_set", &[("/s/M", r#"{"id":1}"#, r#"OK: {"id":1,"seen":{"from":"127.0.0.1:9"}}"#)]).await;
    let merge = [("/s/M", r#"{"colour":null,"size":{"h":2}}"#, r#"OK: {"size":{"h":2,"w":1}}"#)];
    check("json_merge", &merge).await;
    let order = r#"{"price":20,"count":3,"items":[{"id":"a","stocked":true},{"id":"b","stocked":false}]}"#;
    check("cel", &[("/s/M", order, r#"OK: {"for":"ann","missing":["b"],"total":60}"#)]).await;
}

#[tokio::test]
async fn messages_are_translated_by_the_schema_of_a_service() {
    let services = shop::services();
    let kernels = builtin_with(&services);
    // `customer_id` "x", `total` 3.
    let order = "\n\u{1}x\u{19}\0\0\0\0\0\0\u{8}@";
    let to_json = [
        ("/shop.Orders/Put", order, r#"OK: {"customer_id":"x","total":3}"#),
        ("/shop.Orders/Gone", order, "UNIMPLEMENTED: shop.Orders.v1 has no method /shop.Orders/Gone"),
        ("/shop.Orders/Put", "\n\u{5}x", "INVALID_ARGUMENT: service.Order: byte 1: unexpected end"),
    ];
    check_with(&kernels, "proto_to_json", &to_json).await;
    let to_proto = [
        ("/s/M", r#"{"customerId":"x","total":3}"#, format!("OK: {order}")),
        ("/s/M", r#"{"customer":1}"#, r#"INVALID_ARGUMENT: (line 1:2): unknown field "customer""#.to_owned()),
    ];
    let to_proto =
        to_proto.each_ref().map(|(method, payload, expected)| (*method, *payload, expected.as_str()));
    check_with(&kernels, "json_to_proto", &to_proto).await;
    check_with(&kernels, "proto_get", &[("/s/M", order, "OK: x"), ("/s/M", "", "OK: ")]).await;

    // A graph without a digest follows what is deployed.
    let plan = compile("proto_get", &kernels);
    assert!(services.remove("shop.Orders.v1", shop::DIGEST));
    let gone = answer(&plan, call("/s/M", None, order)).await;
    assert_eq!(show(&gone), "FAILED_PRECONDITION: service shop.Orders.v1 is not deployed here");
}

#[tokio::test]
async fn branches_are_taken_and_meet_again() {
    let route = [
        ("/shop.Orders/Get", "hi", "OK: hi"),
        ("/shop.Orders/Count", "hi", r#"OK: {"bytes":2}"#),
        ("/shop.Orders/Drop", "hi", "UNIMPLEMENTED: shop.Orders has Get and Count"),
    ];
    check("method_route", &route).await;
    let switch = [
        ("/s/M", r#"{"total":101}"#, r#"OK size=big: {"total":101}"#),
        ("/s/M", r#"{"total":100}"#, r#"OK size=small: {"total":100}"#),
        ("/s/M", r#"{"total":0}"#, "FAILED_PRECONDITION: an order for nothing"),
        ("/s/M", "{}", "INVALID_ARGUMENT: CEL: No such key: total"),
    ];
    check("switch", &switch).await;
    check("join", &[("/s/M", r#"{"total":200}"#, "OK: 180"), ("/s/M", r#"{"total":50}"#, "OK: 50")]).await;
}

#[tokio::test]
async fn a_deployed_guest_answers() {
    let nobody = answer(&compile("wasm_invoke", &builtin()), call("/demo.Echo/Say", None, "hi")).await;
    assert_eq!(show(&nobody), "FAILED_PRECONDITION: service demo.Echo.v1 is not deployed here");
    let wasm = wat::parse_file(graph("../../guests/echo/echo").with_extension("wat")).unwrap();
    let engine = Engine::new(EngineOptions { max_instances: 2, ..EngineOptions::default() }).unwrap();
    let options = LoadOptions { name: "demo.Echo.v1".into(), abi: Abi::default(), limits: Limits::default() };
    let services = Services::new();
    services.insert(Service {
        id: "demo.Echo.v1".into(),
        route: "demo.Echo".into(),
        digest: "d".into(),
        schema: Schema::parse(Bytes::new()).unwrap(),
        guest: engine.load(wasm, options).await.unwrap(),
        calls: Arc::new([]),
    });
    let plan = compile("wasm_invoke", &builtin_with(&services));
    for payload in ["hi", "hello"] {
        let answer = answer(&plan, call("/demo.Echo/Say", None, payload)).await;
        assert_eq!(show(&answer), format!("OK: {payload}"));
    }
}

#[tokio::test]
async fn a_failure_reaches_the_caller_in_the_graphs_words() {
    let plan = compile("fail", &builtin());
    let refused = answer(&plan, call("/s/M", None, "hi")).await;
    assert_eq!(show(&refused), "UNAUTHENTICATED: who are you?");
    assert!(refused.details.is_some());
    assert_eq!(show(&answer(&plan, call("/s/M", Some("ann"), "hi")).await), "OK: hi");
}

/// Compiles a graph with a node that refuses, answering where `answered` leads.
fn refusing(refuse: &str, answered: &str) -> Result<Arc<ExecPlan>, String> {
    let text = format!(
        r#"{{ "name": "g", "nodes": [
            {{ "id": "in", "kernel": "rpc_server_input", "outputs": ["method", "payload"] }},
            {{ "id": "route", "kernel": "method_route", "params": {{ "routes": {{ "A": "a", "B": "b" }} }} }},
            {{ "id": "refuse", "kernel": "fail", "params": {{ "code": "ABORTED" }}, "inputs": ["when"] {refuse} }},
            {{ "id": "out", "kernel": "rpc_server_output", "inputs": ["call", "payload"] }} ],
          "bindings": [
            {{ "to": "in.call", "from": "$req.rpc.call" }},
            {{ "to": "route.method", "from": "in.method" }},
            {{ "to": "refuse.when", "from": "route.a" }},
            {{ "to": "out.call", "from": "$req.rpc.call" }},
            {{ "to": "out.payload", "from": "{answered}" }} ] }}"#
    );
    let source = GraphSource { origin: "g".into(), stem: None, text: text.into() };
    let plan = ExecPlan::compile(&source, &builtin(), &serve_env());
    plan.map(Arc::new).map_err(|errors| errors.errors().iter().map(|error| error.message.clone()).collect())
}

#[tokio::test]
async fn a_branch_may_end_in_a_failure_and_in_nothing_else() {
    let plan = refusing("", "route.b").unwrap();
    assert_eq!(show(&answer(&plan, call("/s/A", None, "")).await), "ABORTED: ");
    assert_eq!(show(&answer(&plan, call("/s/B", None, "")).await), "OK: /s/B");
    for (refuse, answered) in [
        // Answered beside the failure.
        ("", "in.payload"),
        ("", "route.a"),
        // The failure leads on, but nowhere.
        (r#", "outputs": ["failed"], "fallback": "failed""#, "route.b"),
        (r#", "fallback": {}"#, "route.b"),
    ] {
        let refused = refusing(refuse, answered);
        assert!(refused.is_err(), "{refuse} {answered}");
    }
    // The failure leads to the answer; the other way has none, as the report says.
    let leads_on = refusing(r#", "outputs": ["failed"], "fallback": "failed""#, "refuse.failed").unwrap_err();
    assert!(leads_on.contains("`route` takes `b`"), "{leads_on}");
}

#[tokio::test(start_paused = true)]
async fn delays_run_side_by_side() {
    for (name, expected) in [("delay", "OK: hi"), ("gather", r#"OK: ["/s/M","127.0.0.1:9"]"#)] {
        let start = tokio::time::Instant::now();
        check(name, &[("/s/M", "hi", expected)]).await;
        let took = start.elapsed();
        assert!((Duration::from_millis(20)..Duration::from_millis(30)).contains(&took), "{name}: {took:?}");
    }
}

/// Metadata that nobody may ask for.
struct Untouchable;

impl MetadataSource for Untouchable {
    fn first(&self, _name: &str) -> Option<Bytes> {
        None
    }

    fn to_metadata(&self) -> Arc<Metadata> {
        panic!("the metadata is made although nothing reads it")
    }
}

#[tokio::test]
async fn what_nothing_reads_is_not_made() {
    let untouched = |payload: &'static str| {
        let metadata = Arc::new(Untouchable);
        let envelope = call("/s/M", None, payload).envelope().clone();
        Arc::new(RpcServerCall::new(RequestEnvelope { metadata, ..envelope }))
    };
    assert_eq!(show(&answer(&compile("identity", &builtin()), untouched("hi")).await), "OK: hi");
    let read = answer(&compile("fail", &builtin()), untouched("hi")).await;
    assert_eq!(show(&read), "INTERNAL: the kernel panicked", "or else this test shows nothing");
}

#[test]
fn plans_of_cheap_kernels_run_where_the_request_was_read() {
    let kernels = builtin();
    for name in ["identity", "json_get", "switch", "method_route", "rpc_server_input", "fail"] {
        let plan = compile(name, &kernels);
        assert_eq!(plan.class(), Class::Inline, "{name}");
        let call = call("/s/M", Some("ann"), r#"{"total":1,"order":{"tags":["x"]}}"#);
        let cx = RequestContext::new(call.clone());
        Executor::new().run(&plan, &cx, Instant::now()).unwrap();
        assert!(call.take_answer().is_some(), "{name}");
    }
    // A loop over what the caller sent must not hold up the thread that reads requests.
    for name in ["cel", "delay", "gather"] {
        assert_eq!(compile(name, &kernels).class(), Class::Pooled, "{name}");
    }
}
