//! `http_call` against servers that answer, and servers that fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use exec_plan::{Code, Metadata, TraceParent};
use http::Response;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::testing;
use crate::upstream::servers::{AnyBody, Server, TRACE, context, full, nobody};

fn try_bind(params: &Json) -> Result<BoundKernel, Vec<BindError>> {
    testing::bind(&HttpCall::default(), &json!({ "params": params }))
}

fn bind(params: &Json) -> BoundKernel {
    try_bind(params).unwrap()
}

async fn run(node: &BoundKernel, inputs: [Option<Value>; 4]) -> Result<Outputs, Fault> {
    node.run_once(inputs.into_iter().collect(), &context(None)).await
}

const NOTHING: [Option<Value>; 4] = [None, None, None, None];

/// What a request was: method, target, headers, body.
type Said = (String, String, HeaderMap, Bytes);

/// A server that notes every request and answers 201.
async fn noting(said: Arc<Mutex<Vec<Said>>>) -> Server {
    Server::http1(move |request| {
        let said = said.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            said.lock().push((parts.method.to_string(), parts.uri.to_string(), parts.headers, body));
            Response::builder().status(201).header("x-reply", "said").body(full("done")).unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn a_request_is_what_parameters_and_inputs_say() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let server = noting(said.clone()).await;
    let node = bind(&json!({
        "url": format!("{}/base?v=1", server.url()), "method": "PUT",
        "headers": { "x-fixed": "f", "accept": "text/plain" }, "metadata": ["x-a"]
    }));
    let inputs = [
        Some(Value::from(json!({ "n": 1 }))),
        Some(Value::from(json!({ "accept": "application/json" }))),
        Some(Value::Str("a b".into())),
        Some(Value::from(json!({ "q": "x&y" }))),
    ];
    let outputs = run(&node, inputs).await.unwrap();
    assert!(matches!(outputs.get(OUT_STATUS), Some(Value::I64(201))));
    assert!(matches!(outputs.get(OUT_BODY), Some(Value::Bytes(body)) if body == "done"));
    let Some(Value::Metadata(reply)) = outputs.get(OUT_HEADERS) else { panic!("no headers") };
    assert_eq!(reply.first("x-reply").unwrap(), "said");
    assert_eq!(reply.first("content-length"), None);

    let (method, target, headers, body) = said.lock().remove(0);
    assert_eq!((&*method, &*target), ("PUT", "/base/a%20b?v=1&q=x%26y"));
    assert_eq!(body, r#"{"n":1}"#);
    for (name, value) in [
        ("x-fixed", "f"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "7"),
        ("user-agent", upstream::USER_AGENT),
        ("host", &server.address.to_string()),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let trace: TraceParent = headers["traceparent"].to_str().unwrap().parse().unwrap();
    assert_eq!(trace.trace_id, TRACE.parse::<TraceParent>().unwrap().trace_id);

    let mut meta = Metadata::new();
    meta.append("x-a", "1").unwrap();
    meta.append("authorization", "secret").unwrap();
    run(&node, [None, Some(Value::Metadata(Arc::new(meta))), None, None]).await.unwrap();
    let (_, target, headers, _) = said.lock().remove(0);
    assert_eq!(target, "/base?v=1");
    assert_eq!(headers["x-a"], "1");
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_status_is_a_failure_or_an_output() {
    for (status, code) in [
        (301, Code::Unknown),
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (503, Code::Unavailable),
    ] {
        let server = Server::http1(move |_| async move {
            Response::builder().status(status).header("location", "/elsewhere").body(full("no")).unwrap()
        })
        .await;
        let fault = run(&bind(&json!({ "url": server.url() })), NOTHING).await.unwrap_err();
        assert_eq!(fault.to_string(), format!("{code}: the upstream answered HTTP {status}"));
        let node = bind(&json!({ "url": server.url(), "fail_on_status": false }));
        let outputs = run(&node, NOTHING).await.unwrap();
        assert!(matches!(outputs.get(OUT_STATUS), Some(Value::I64(found)) if *found == i64::from(status)));
        assert!(matches!(outputs.get(OUT_BODY), Some(Value::Bytes(body)) if body == "no"));
    }
}

async fn outcome(url: &str) -> Code {
    let node = bind(&json!({ "url": url, "timeout_ms": 300, "max_body_bytes": 8 }));
    run(&node, NOTHING).await.map_or_else(|fault| fault.code(), |_| Code::Ok)
}

/// A server that says this to whoever asks, and closes.
async fn says(words: &'static str) -> Server {
    Server::raw(move |mut stream| async move {
        let _read = stream.read(&mut [0; 1024]).await;
        let _written = stream.write_all(words.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn a_failing_upstream_has_its_documented_code() {
    assert_eq!(outcome(&nobody()).await, Code::Unavailable);
    let long_header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(80_000));
    let long_header: &'static str = Box::leak(long_header.into_boxed_str());
    for (words, code) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Code::Ok),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", Code::ResourceExhausted),
        ("HTTP/1.1 200 OK\r\n\r\nthe end", Code::Ok),
        ("", Code::Unavailable),
        ("garbage\r\n\r\n", Code::Unavailable),
        ("HTTP/1.1 200 OK\r\ncontent-len", Code::Unavailable),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", Code::Unavailable),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", Code::Unavailable),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Code::Unavailable),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789", Code::ResourceExhausted),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
            Code::ResourceExhausted,
        ),
        (long_header, Code::Internal),
    ] {
        let server = says(words).await;
        assert_eq!(outcome(&server.url()).await, code, "{:?}", &words[..words.len().min(80)]);
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_exceeds_the_deadline() {
    for words in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi"] {
        let server = Server::raw(move |mut stream| async move {
            let _read = stream.read(&mut [0; 1024]).await;
            let _written = stream.write_all(words.as_bytes()).await;
            std::future::pending::<()>().await;
        })
        .await;
        let begun = Instant::now();
        assert_eq!(outcome(&server.url()).await, Code::DeadlineExceeded);
        assert!((Duration::from_millis(299)..Duration::from_millis(2000)).contains(&begun.elapsed()));
    }
}

#[tokio::test]
async fn connections_are_kept_and_calls_at_a_time_are_limited() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Server::raw({
        let (running, most, connections) = (running.clone(), most.clone(), connections.clone());
        move |stream| {
            connections.fetch_add(1, Ordering::SeqCst);
            let (running, most) = (running.clone(), most.clone());
            let service = hyper::service::service_fn(move |_| {
                let (running, most) = (running.clone(), most.clone());
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, std::convert::Infallible>(Response::<AnyBody>::new(full("")))
                }
            });
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
            }
        }
    })
    .await;
    let node = bind(&json!({ "url": server.url(), "max_in_flight": 2, "max_wait_ms": 10000 }));
    let calls = (0..12).map(|_| run(&node, NOTHING));
    for result in futures_util::future::join_all(calls).await {
        assert!(result.is_ok());
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let opened = connections.load(Ordering::SeqCst);
    assert!(opened <= 4, "{opened} connections for 12 calls, 2 at a time");
}

#[tokio::test]
async fn inputs_that_cannot_be_sent_are_refused() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let server = noting(said.clone()).await;
    let node = bind(&json!({ "url": server.url(), "max_body_bytes": 4 }));
    for (inputs, code) in [
        ([Some(Value::Str("12345".into())), None, None, None], Code::ResourceExhausted),
        ([None, Some(Value::from(json!({ "host": "h" }))), None, None], Code::InvalidArgument),
        ([None, None, Some(Value::Str("../x".into())), None], Code::InvalidArgument),
        ([None, None, None, Some(Value::from(json!([1])))], Code::InvalidArgument),
    ] {
        assert_eq!(run(&node, inputs).await.unwrap_err().code(), code);
    }
    assert!(said.lock().is_empty());
}

#[test]
fn wrong_parameters_are_all_named() {
    let params = json!({
        "url": "https://h", "method": "TRACE", "headers": { "te": "x", "a/b": "y", "ok": "a\nb" },
        "metadata": ["host"], "timeout_ms": 0
    });
    let found: Vec<String> = try_bind(&params)
        .unwrap_err()
        .iter()
        .map(|error| format!("{:?}: {}", error.site, error.message))
        .collect();
    assert_eq!(
        found,
        [
            r#"Param("/url"): TLS to upstreams is not in this release"#,
            r#"Param("/method"): expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found "TRACE""#,
            r#"Param("/headers/a~1b"): "a/b" is not a lower-case header name"#,
            r#"Param("/headers/ok"): the value of "ok" cannot be sent in a header"#,
            r#"Param("/headers/te"): "te" belongs to the protocol"#,
            r#"Param("/metadata/0"): "host" belongs to the protocol"#,
            r#"Param("/timeout_ms"): expected 1 to 3600000, found 0"#,
        ]
    );
}
