//! `rpc_unary_call_batch` against a server that answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use exec_plan::Metadata;
use serde_json::Value as Json;

use super::*;
use crate::testing;
use crate::upstream::servers::{ECHO, FAIL, SLEEP, Seen, Server, context};

fn bind(params: &Json) -> Result<BoundKernel, Vec<BindError>> {
    testing::bind(&RpcUnaryCallBatch::default(), &json!({ "params": params }))
}

async fn run(node: &BoundKernel, list: Value) -> Result<Outputs, Fault> {
    node.run_once([Some(list)].into_iter().collect(), &context(Some(Duration::from_secs(20)))).await
}

fn texts(outputs: &Outputs) -> Vec<String> {
    let Some(Value::List(payloads)) = outputs.get(PAYLOADS) else { panic!("no list") };
    let text = |value: &Value| {
        let Value::Bytes(bytes) = value else { return format!("{value:?}") };
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    payloads.iter().map(text).collect()
}

#[tokio::test]
async fn answers_stand_in_the_order_of_their_requests() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(&json!({ "target": server.url(), "method": SLEEP, "concurrency": 4 })).unwrap();
    // Later ones are quicker.
    let millis: Vec<String> = (1..=12).rev().map(|i: u32| (i * 5).to_string()).collect();
    let list = millis.iter().map(|text| Value::Bytes(text.clone().into())).collect();
    assert_eq!(texts(&run(&node, Value::List(list)).await.unwrap()), millis);
    assert_eq!(seen.most.load(Ordering::SeqCst), 4);
    let strings = run(&node, Value::from(json!(["2", "1"]))).await.unwrap();
    assert_eq!(texts(&strings), ["2", "1"]);
    assert!(strings.get(RESULTS).is_none());
    assert!(texts(&run(&node, Value::List([].into())).await.unwrap()).is_empty());
}

#[tokio::test]
async fn the_first_failure_ends_the_batch_and_abandons_the_others() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(&json!({ "target": server.url(), "concurrency": 3 })).unwrap();
    let list = Value::from(json!(["0", "5", "0"]));
    let inputs = [Some(list), None, Some(Value::Str(FAIL.into()))];
    let fault = node.run_once(inputs.into_iter().collect(), &context(None)).await.unwrap_err();
    assert_eq!(fault.code(), Code::NotFound);
    assert!(fault.message().starts_with("item 1: no "), "{fault}");
    assert_eq!(fault.details().unwrap(), "why");
    assert!(fault.metadata().is_some());

    let slow = bind(&json!({ "target": server.url(), "method": SLEEP, "timeout_ms": 300 })).unwrap();
    let fault = run(&slow, Value::from(json!(["60000", "1", "60000"]))).await.unwrap_err();
    assert_eq!(fault.code(), Code::DeadlineExceeded);
    for _ in 0..200 {
        if seen.running.load(Ordering::SeqCst) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_collecting_batch_says_what_became_of_each() {
    let server = Server::grpc(Arc::default()).await;
    let node =
        bind(&json!({ "target": server.url(), "method": SLEEP, "timeout_ms": 400, "on_error": "collect" }))
            .unwrap();
    let outputs = run(&node, Value::from(json!(["1", "60000", "2"]))).await.unwrap();
    assert_eq!(texts(&outputs), ["1", "null", "2"]);
    let Some(Value::Json(results)) = outputs.get(RESULTS) else { panic!("no results") };
    let ok = json!({ "code": "OK", "message": "" });
    let late = json!({ "code": "DEADLINE_EXCEEDED", "message": "the upstream did not answer in time" });
    assert_eq!(**results, json!([ok, late, ok]));
}

#[tokio::test]
async fn metadata_goes_with_every_call() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(&json!({ "target": server.url(), "method": ECHO, "metadata": ["x-a"] })).unwrap();
    let mut meta = Metadata::new();
    meta.append("x-a", "1").unwrap();
    let inputs = [Some(Value::from(json!(["a", "b"]))), Some(Value::Metadata(Arc::new(meta)))];
    node.run_once(inputs.into_iter().collect(), &context(None)).await.unwrap();
    assert!(seen.headers.lock().iter().all(|headers| headers["x-a"] == "1"));
    assert_eq!(seen.headers.lock().len(), 2);
}

#[tokio::test]
async fn items_that_are_no_messages_are_refused_before_any_call() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(&json!({ "target": server.url(), "method": ECHO, "max_items": 2 })).unwrap();
    for (list, message) in [
        (json!(["a", {}]), "INVALID_ARGUMENT: item 1: expected bytes or a string, found json"),
        (json!(["a", "b", "c"]), "RESOURCE_EXHAUSTED: the list has 3 items, 2 are allowed"),
        (json!({}), "INVALID_ARGUMENT: expected a list or a JSON array"),
    ] {
        assert_eq!(run(&node, Value::from(list)).await.unwrap_err().to_string(), message);
    }
    assert!(seen.headers.lock().is_empty());
}

#[test]
fn only_a_collecting_batch_has_results() {
    let outputs = |params: Json| {
        let bound = bind(&params).unwrap();
        bound.signature.outputs.iter().map(|port| port.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(outputs(json!({ "target": "http://h:1" })), ["payloads"]);
    assert_eq!(outputs(json!({ "target": "http://h:1", "on_error": "collect" })), ["payloads", "results"]);
    let wrong = json!({ "target": "http://h:1", "concurrency": 257, "max_items": 0 });
    assert_eq!(bind(&wrong).unwrap_err().len(), 2);
}
