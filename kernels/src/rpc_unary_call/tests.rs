//! `rpc_unary_call` against servers that answer, and servers that fail in every way a server can.

mod given_up;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use exec_plan::{Code, Metadata, TraceEvent, TraceParent, TraceSink};
use h2::Reason;
use http::Response;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::testing;
use crate::upstream::servers::{
    AnyBody, ECHO, FAIL, SLEEP, Seen, Server, TRACE, context, full, nobody, untraced, with_trailers,
};

fn try_bind(upstreams: &Upstreams, params: &Json) -> Result<BoundKernel, Vec<BindError>> {
    testing::bind(&RpcUnaryCall::new(upstreams.clone()), &json!({ "params": params }))
}

fn bind(params: Json) -> BoundKernel {
    try_bind(&Upstreams::new(), &params).unwrap()
}

async fn call(node: &BoundKernel, payload: impl Into<Bytes>, cx: &RequestContext) -> Result<Bytes, Fault> {
    let inputs = [Some(Value::Bytes(payload.into()))].into_iter().collect();
    node.run_once(inputs, cx).await.map(|outputs| match outputs.get(PAYLOAD) {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        other => panic!("{other:?}"),
    })
}

fn metadata(outputs: &Outputs, output: usize) -> &Metadata {
    match outputs.get(output) {
        Some(Value::Metadata(metadata)) => metadata,
        other => panic!("{other:?}"),
    }
}

/// Waits until `fact` holds; a test that hangs here has failed.
async fn until(fact: impl Fn() -> bool) {
    for _ in 0..200 {
        if fact() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}

#[tokio::test]
async fn a_call_carries_message_metadata_trace_and_deadline() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(json!({
        "target": server.url(), "method": ECHO, "metadata": ["x-a", "x-a-bin"], "timeout_ms": 5000
    }));
    let mut meta = Metadata::new();
    for (name, value) in
        [("x-a", &b"1"[..]), ("authorization", b"secret"), ("x-a", b"2"), ("x-a-bin", b"\0\xff")]
    {
        meta.append(name, value).unwrap();
    }
    let inputs = [Some(Value::Bytes("hello".into())), Some(Value::Metadata(Arc::new(meta)))];
    let outputs = node.run_once(inputs.into_iter().collect(), &context(None)).await.unwrap();
    assert!(matches!(outputs.get(PAYLOAD), Some(Value::Bytes(bytes)) if bytes == "hello"));
    for (output, name) in [(META, "meta"), (TRAILERS, "trailers")] {
        assert_eq!(node.signature.outputs[output].name, name);
    }
    assert_eq!(metadata(&outputs, META).first("x-reply").unwrap(), "said");
    assert_eq!(metadata(&outputs, META).first("x-reply-bin").unwrap(), &b"\0\xff"[..]);
    assert!(metadata(&outputs, TRAILERS).is_empty());

    let headers = seen.headers.lock().remove(0);
    assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["x-a-bin"], "AP8");
    assert!(!headers.contains_key("authorization"));
    assert_eq!(headers["te"], "trailers");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("okra/"));
    let sent: TraceParent = headers["traceparent"].to_str().unwrap().parse().unwrap();
    let own: TraceParent = TRACE.parse().unwrap();
    assert_eq!((sent.trace_id, sent.flags), (own.trace_id, own.flags));
    assert_ne!(sent.parent_id, own.parent_id);
    let micros: u64 = headers["grpc-timeout"].to_str().unwrap().strip_suffix('u').unwrap().parse().unwrap();
    assert!((4_000_000..=5_000_000).contains(&micros), "{micros}");
}

struct Sink;

impl TraceSink for Sink {
    fn event(&self, _plan: &exec_plan::ExecPlan, _event: TraceEvent<'_>) {}
}

#[tokio::test]
async fn a_call_without_a_trace_sends_one_only_if_it_is_watched() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(json!({ "target": server.url(), "method": ECHO }));
    call(&node, "a", &untraced()).await.unwrap();
    assert!(!seen.headers.lock()[0].contains_key("traceparent"));
    call(&node, "a", &untraced().with_trace(Some(Arc::new(Sink)))).await.unwrap();
    let sent = seen.headers.lock()[1]["traceparent"].to_str().unwrap().parse::<TraceParent>().unwrap();
    assert_eq!(sent.flags, 1);
}

#[tokio::test]
async fn messages_of_every_size_survive() {
    let server = Server::grpc(Arc::default()).await;
    let node = bind(json!({ "target": server.url(), "method": ECHO, "timeout_ms": 20000 }));
    for size in [0, 1, 4096, 4097, 70_000, 4_000_000] {
        let message: Bytes = (0..size).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
        // The server counts milliseconds in what it echoes, and these are no digits.
        assert!(call(&node, message.clone(), &context(None)).await.unwrap() == message, "{size}");
    }
}

#[tokio::test]
async fn every_status_is_passed_on_as_it_came() {
    let server = Server::grpc(Arc::default()).await;
    let node = bind(json!({ "target": server.url(), "method": FAIL }));
    for code in Code::ALL.into_iter().skip(1) {
        let fault = call(&node, code.number().to_string(), &context(None)).await.unwrap_err();
        assert_eq!(fault.code(), code);
        assert_eq!(fault.message(), "no \u{1f952}\nat all");
        assert!(fault.is_verbatim());
        assert_eq!(fault.details().unwrap(), "why");
        let trailers = fault.metadata().unwrap();
        assert_eq!(trailers.first("x-reply").unwrap(), "said");
        assert_eq!(trailers.first("x-reply-bin").unwrap(), &b"\0\xff"[..]);
        assert_eq!(trailers.all("grpc-status").count(), 0);
    }
}

#[tokio::test]
async fn the_method_may_be_an_input() {
    let server = Server::grpc(Arc::default()).await;
    let node = bind(json!({ "target": server.url() }));
    let run = |method: &str| {
        let inputs = [Some(Value::Bytes("a".into())), None, Some(Value::Str(method.into()))];
        let node = &node;
        async move { node.run_once(inputs.into_iter().collect(), &context(None)).await }
    };
    assert!(run(ECHO).await.is_ok());
    assert_eq!(run("/t.T/None").await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(run("t.T").await.unwrap_err().code(), Code::InvalidArgument);
}

/// Calls a server with little time, and says what became of it.
async fn outcome(url: &str, params: Json) -> (Code, String) {
    let mut all = json!({ "target": url, "method": ECHO, "timeout_ms": 300, "max_message_bytes": 64 });
    for (key, value) in params.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    let result = call(&bind(all), "hello", &context(None)).await;
    result.map_or_else(|fault| (fault.code(), fault.message().to_owned()), |_| (Code::Ok, String::new()))
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unavailable() {
    let (code, message) = outcome(&nobody(), json!({})).await;
    assert_eq!((code, &*message), (Code::Unavailable, "cannot connect to the upstream"));
    let (code, _) = outcome("http://no-such-host.invalid:1", json!({ "timeout_ms": 10000 })).await;
    assert_eq!(code, Code::Unavailable);
}

/// A connection with unread bytes that is closed this way sends a TCP reset.
async fn reset(mut stream: TcpStream) {
    let _read = stream.read(&mut [0; 1]).await;
    drop(stream);
}

#[tokio::test]
async fn a_broken_connection_is_unavailable_however_it_breaks() {
    for round in 0..5 {
        let closed = Server::raw(|stream| async { drop(stream) }).await;
        assert_eq!(outcome(&closed.url(), json!({})).await.0, Code::Unavailable, "closed, round {round}");
        let resetting = Server::raw(reset).await;
        assert_eq!(outcome(&resetting.url(), json!({})).await.0, Code::Unavailable, "reset, round {round}");
        for garbage in
            ["\0\0\0garbage that is no frame of anything", "HTTP/1.1 502 Bad Gateway\r\n\r\n", "\0"]
        {
            let server = Server::raw(move |mut stream| async move {
                let _written = stream.write_all(garbage.as_bytes()).await;
                let _read = stream.read(&mut [0; 1024]).await;
            })
            .await;
            let (code, message) = outcome(&server.url(), json!({})).await;
            assert_eq!(code, Code::Unavailable, "{garbage:?}, round {round}: {message}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_exceeds_the_deadline() {
    let hung = Server::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let silent = Server::http2(|_| std::future::pending()).await;
    let half = Server::http2(|_| async {
        let body = http_body_util::StreamBody::new(futures_util::stream::pending());
        grpc_response(http_body_util::BodyExt::boxed(body))
    })
    .await;
    for server in [hung, silent, half] {
        let begun = Instant::now();
        assert_eq!(outcome(&server.url(), json!({})).await.0, Code::DeadlineExceeded);
        let took = begun.elapsed();
        assert!((Duration::from_millis(299)..Duration::from_millis(2000)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn the_time_of_the_request_bounds_the_call() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(json!({ "target": server.url(), "method": SLEEP, "timeout_ms": 60000 }));
    let begun = Instant::now();
    let fault = call(&node, "10000", &context(Some(Duration::from_millis(200)))).await.unwrap_err();
    assert_eq!(fault.code(), Code::DeadlineExceeded);
    assert!((Duration::from_millis(199)..Duration::from_millis(2000)).contains(&begun.elapsed()));
    let expired = context(Some(Duration::ZERO));
    assert_eq!(call(&node, "1", &expired).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(seen.headers.lock().len(), 1, "a call whose time was up went out");
    until(|| seen.running.load(Ordering::SeqCst) == 0).await;
}

/// A server that resets every call for `reason`, or ends the connection for it.
async fn resets(reason: Reason, whole_connection: bool) -> Server {
    Server::raw(move |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            if whole_connection {
                connection.abrupt_shutdown(reason);
            } else {
                respond.send_reset(reason);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_reset_call_has_the_code_of_its_reason() {
    for (reason, code) in [
        (Reason::NO_ERROR, Code::Internal),
        (Reason::PROTOCOL_ERROR, Code::Internal),
        (Reason::INTERNAL_ERROR, Code::Internal),
        (Reason::REFUSED_STREAM, Code::Unavailable),
        (Reason::CANCEL, Code::Cancelled),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
        (Reason::from(99), Code::Unknown),
    ] {
        let server = resets(reason, false).await;
        assert_eq!(outcome(&server.url(), json!({})).await.0, code, "{reason:?}");
    }
}

#[tokio::test]
async fn goaway_is_unavailable_whatever_its_reason() {
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let server = resets(reason, true).await;
        assert_eq!(outcome(&server.url(), json!({})).await.0, Code::Unavailable, "{reason:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_within_an_answer_is_unavailable() {
    let server = Server::raw(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"\0\0\0\0\x05he"), false).unwrap();
        let driving = tokio::time::timeout(Duration::from_millis(50), connection.accept());
        drop(driving.await);
    })
    .await;
    assert_eq!(outcome(&server.url(), json!({})).await.0, Code::Unavailable);
}

fn grpc_response(body: AnyBody) -> Response<AnyBody> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

#[tokio::test]
async fn an_answer_that_is_not_grpc_has_its_documented_code() {
    type Answer = fn() -> Response<AnyBody>;
    let status = |status: u16| Response::builder().status(status).body(full("")).unwrap();
    let table: [(&str, Code, Answer); 14] = [
        ("a good one", Code::Ok, || grpc_response(with_trailers(MESSAGE, OK))),
        ("no trailers", Code::Internal, || grpc_response(full(MESSAGE))),
        ("no status", Code::Internal, || grpc_response(with_trailers(MESSAGE, &[("x", "y")]))),
        ("no message", Code::Internal, || grpc_response(with_trailers("", OK))),
        ("two messages", Code::Internal, || grpc_response(with_trailers([MESSAGE, MESSAGE].concat(), OK))),
        ("truncated", Code::Internal, || grpc_response(with_trailers(&MESSAGE[..6], OK))),
        ("compressed", Code::Internal, || grpc_response(with_trailers(&b"\x01\0\0\0\x02hi"[..], OK))),
        ("too large", Code::ResourceExhausted, || {
            grpc_response(with_trailers([&b"\0\0\0\0\x41"[..], &[0; 65]].concat(), OK))
        }),
        ("huge length", Code::ResourceExhausted, || {
            grpc_response(with_trailers(&b"\0\xff\xff\xff\xff"[..], OK))
        }),
        ("OK without a body", Code::Internal, || {
            let mut response = grpc_response(full(""));
            response.headers_mut().insert("grpc-status", "0".parse().unwrap());
            response
        }),
        ("a status beside an HTTP error", Code::NotFound, || {
            let mut response = grpc_response(full(""));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response.headers_mut().insert("grpc-status", "5".parse().unwrap());
            response
        }),
        ("another content type", Code::Unknown, || {
            Response::builder().header("content-type", "text/html").body(full("<html>")).unwrap()
        }),
        ("no content type", Code::Unknown, || Response::new(with_trailers(MESSAGE, OK))),
        ("large headers", Code::Internal, || {
            let mut response = grpc_response(with_trailers(MESSAGE, OK));
            response.headers_mut().insert("x", "y".repeat(20_000).parse().unwrap());
            response
        }),
    ];
    for (name, code, answer) in table {
        let server = Server::http2(move |_| std::future::ready(answer())).await;
        let (found, message) = outcome(&server.url(), json!({})).await;
        assert_eq!(found, code, "{name}: {message}");
    }
    for (http, code) in [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
    ] {
        let server = Server::http2(move |_| std::future::ready(status(http))).await;
        let (found, message) = outcome(&server.url(), json!({})).await;
        assert_eq!((found, message), (code, format!("the upstream answered HTTP {http}")));
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_not_sent() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(json!({ "target": server.url(), "method": ECHO, "max_message_bytes": 4 }));
    assert!(call(&node, "1", &context(None)).await.is_ok());
    assert_eq!(call(&node, "12345", &context(None)).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(seen.headers.lock().len(), 1);
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_may_be_over_all_nodes_of_a_target() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let upstreams = Upstreams::new();
    let params = json!({ "target": server.url(), "method": SLEEP, "max_in_flight": 3, "max_wait_ms": 20000 });
    let nodes = [try_bind(&upstreams, &params).unwrap(), try_bind(&upstreams, &params).unwrap()];
    let cx = context(None);
    let calls = nodes.iter().cycle().take(20).map(|node| call(node, "30", &cx));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap(), "30");
    }
    assert_eq!(seen.most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_call_that_waits_too_long_for_its_turn_is_refused() {
    let server = Server::grpc(Arc::default()).await;
    let node = bind(json!({
        "target": server.url(), "method": SLEEP, "max_in_flight": 1, "max_waiting": 1, "max_wait_ms": 100
    }));
    let cx = context(None);
    let (first, second, third, fourth) = tokio::join!(
        biased;
        call(&node, "500", &cx),
        call(&node, "1", &cx),
        call(&node, "1", &cx),
        async {
            let expired = context(Some(Duration::from_millis(50)));
            tokio::time::sleep(Duration::from_millis(150)).await;
            call(&node, "1", &expired).await
        },
    );
    assert!(first.is_ok());
    let refused = |result: Result<Bytes, Fault>| {
        let fault = result.unwrap_err();
        (fault.code(), fault.message().to_owned())
    };
    let (code, message) = refused(second);
    assert_eq!((code, message.contains("waited too long")), (Code::ResourceExhausted, true));
    let (code, message) = refused(third);
    assert_eq!((code, message.contains("too many calls wait")), (Code::ResourceExhausted, true));
    assert_eq!(refused(fourth).0, Code::DeadlineExceeded, "its deadline came before its turn");
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_at_the_upstream_too() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let node = bind(json!({ "target": server.url(), "method": SLEEP, "max_in_flight": 1 }));
    let cx = context(None);
    {
        let mut dropped = pin!(call(&node, "60000", &cx));
        tokio::select! {
            _ = &mut dropped => panic!("it ended"),
            () = until(|| seen.running.load(Ordering::SeqCst) == 1) => {}
        }
    }
    until(|| seen.abandoned.load(Ordering::SeqCst) == 1).await;
    assert_eq!(call(&node, "1", &cx).await.unwrap(), "1", "its slot is free again");
}

#[tokio::test]
async fn a_new_version_of_a_graph_reconnects_nothing() {
    let seen = Arc::new(Seen::default());
    let server = Server::grpc(seen.clone()).await;
    let upstreams = Upstreams::new();
    let params = |timeout: u32| json!({ "target": server.url(), "method": ECHO, "timeout_ms": timeout });
    let mut node = try_bind(&upstreams, &params(1000)).unwrap();
    for version in 2..5 {
        call(&node, "a", &context(None)).await.unwrap();
        let next = try_bind(&upstreams, &params(1000 * version)).unwrap();
        node = next;
    }
    call(&node, "a", &context(None)).await.unwrap();
    assert_eq!(seen.headers.lock().len(), 4);
    assert_eq!(seen.peers.lock().len(), 1);
}

#[test]
fn an_upstream_that_comes_back_is_reached_again() {
    // The server has threads of its own, so that all its connections end with them.
    let serving =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let calling = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = serving();
    let server = first.block_on(Server::grpc(Arc::default()));
    let node = bind(json!({ "target": server.url(), "method": ECHO, "timeout_ms": 5000 }));
    let call = || calling.block_on(async { call(&node, "a", &context(None)).await });
    assert_eq!(call().unwrap(), "a");
    first.shutdown_timeout(Duration::from_secs(5));
    assert_eq!(call().unwrap_err().code(), Code::Unavailable);
    let second = serving();
    let _again = second.block_on(async { Server::grpc_at(server.address, Arc::default()) });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(call().unwrap(), "a");
}

#[test]
fn a_channel_does_not_outlive_the_runtime_that_drives_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = runtime();
    let server = serving.block_on(Server::grpc(Arc::default()));
    let node = bind(json!({ "target": server.url(), "method": ECHO, "timeout_ms": 5000 }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = std::thread::spawn(move || serving.block_on(stopped));
    for _ in 0..3 {
        let result = runtime().block_on(async { call(&node, "a", &context(None)).await });
        assert_eq!(result.unwrap(), "a");
    }
    drop(stop);
    assert!(served.join().is_ok());
}

/// A listener that nobody accepts from, full, so that attempts to connect to it hang.
async fn full_backlog() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        held.push(stream);
        assert!(held.len() < 64, "the backlog does not fill");
    }
    (listener, held)
}

#[tokio::test]
async fn an_attempt_to_connect_ends_and_does_not_haunt_later_calls() {
    let (listener, held) = full_backlog().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let node = |timeout: u32, connect: u32| {
        bind(json!({ "target": url, "method": ECHO, "timeout_ms": timeout, "connect_timeout_ms": connect }))
    };
    let fault = call(&node(5000, 100), "a", &context(None)).await.unwrap_err();
    assert_eq!((fault.code(), fault.message()), (Code::Unavailable, "cannot connect to the upstream"));
    let node = node(100, 200);
    assert_eq!(call(&node, "a", &context(None)).await.unwrap_err().code(), Code::DeadlineExceeded);
    // The attempt it left behind times out; then the upstream answers again.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(held);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_request, mut respond))) = connection.accept().await {
                    respond.send_reset(Reason::ENHANCE_YOUR_CALM);
                }
            });
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let fault = call(&node, "a", &context(None)).await.unwrap_err();
    assert_eq!(fault.code(), Code::ResourceExhausted, "the call reached the upstream: {fault}");
    serving.abort();
}

#[tokio::test]
async fn calls_behind_a_failed_attempt_to_connect_share_its_outcome() {
    let (listener, _held) = full_backlog().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let node = bind(json!({ "target": url, "method": ECHO, "timeout_ms": 5000, "connect_timeout_ms": 200 }));
    let begun = Instant::now();
    let cx = context(None);
    let calls = (0..20).map(|_| call(&node, "a", &cx));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap_err().code(), Code::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_millis(2000), "{:?}", begun.elapsed());
}

#[test]
fn wrong_parameters_are_all_named() {
    let check = |params: Json, expected: &[&str]| {
        let errors = try_bind(&Upstreams::new(), &params).unwrap_err();
        let found: Vec<String> =
            errors.iter().map(|error| format!("{:?}: {}", error.site, error.message)).collect();
        assert_eq!(found, expected);
    };
    check(
        json!({ "target": "https://h:1", "method": "Do", "timeout_ms": 0, "metadata": ["te"] }),
        &[
            r#"Param("/target"): TLS to upstreams is not in this release"#,
            r#"Param("/method"): expected a method as `/package.Service/Method`, found "Do""#,
            r#"Param("/metadata/0"): "te" belongs to the protocol"#,
            r#"Param("/timeout_ms"): expected 1 to 3600000, found 0"#,
        ],
    );
    check(
        json!({ "target": "http://h:1", "max_in_flight": 0, "max_waiting": 65537, "max_wait_ms": 60001,
                "connect_timeout_ms": 0, "max_message_bytes": 67108865, "concurrency": 1 }),
        &[
            r#"Param("/concurrency"): only `rpc_unary_call_batch` has this parameter"#,
            r#"Param("/max_wait_ms"): expected 0 to 60000, found 60001"#,
            r#"Param("/max_message_bytes"): expected 1 to 67108864, found 67108865"#,
            r#"Param("/max_in_flight"): expected 1 to 65536, found 0"#,
            r#"Param("/max_waiting"): expected 0 to 65536, found 65537"#,
            r#"Param("/connect_timeout_ms"): expected 1 to 60000, found 0"#,
        ],
    );
    check(
        json!({ "target": "http://h:1", "tagret": "" }),
        &[concat!(
            "ParamsOffset(8): unknown field `tagret`, expected one of `target`, `method`, `metadata`, `timeout_ms`, ",
            "`max_message_bytes`, `max_in_flight`, `max_waiting`, `max_wait_ms`, `connect_timeout_ms`, ",
            "`concurrency`, `max_items`, `on_error`"
        )],
    );
}

#[test]
fn metadata_bound_to_a_node_that_passes_none_on_is_refused() {
    let node = json!({ "params": { "target": "http://h:1" }, "inputs": ["payload", "meta", "method"] });
    let errors = testing::bind(&RpcUnaryCall::default(), &node).unwrap_err();
    assert_eq!(errors[0].site, Site::Input("meta".to_owned()));
}
