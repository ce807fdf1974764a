//! Calls over the service port: what comes back for every kind of request, well-formed or not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serve_host::{RefusalReason, TransportLimits};

use super::server;
use crate::client::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, Raw, call_headers, frame, framed};
use crate::host::eventually;

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

/// One request and its answer over HTTP/1.1.
fn http1(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_call_is_answered_with_its_message_and_the_status_in_the_trailers() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    for message in [&b""[..], b"hi", &[7; 10_000], &vec![9; 4 << 20]] {
        let reply = client.call("Echo", message).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/grpc");
        assert_eq!((reply.code(), reply.payload()), (0, message));
        assert!(!reply.headers.contains_key("grpc-status"));
    }
    let reply = client.send("Echo", &[("content-type", "application/grpc+proto")], &[framed(0, b"hi")]).await;
    assert_eq!(reply.headers["content-type"], "application/grpc+proto");
    let peer = client.call("Peer", "").await;
    assert!(peer.payload().starts_with(b"127.0.0.1:"));
}

#[tokio::test]
async fn a_message_may_arrive_in_any_pieces() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let pieces: Vec<Bytes> = framed(0, b"in pieces").chunks(2).map(Bytes::copy_from_slice).collect();
    assert_eq!(client.send("Echo", &[], &pieces).await.payload(), b"in pieces");
}

#[tokio::test]
async fn malformed_calls_get_the_status_that_the_suites_ask_for() {
    let mut limits = TransportLimits::default();
    limits.messages.max_receive = 100;
    let (server, host) = server(limits);
    let client = Client::connect(server.local_addr()).await;
    let bomb = framed(1, &gzip(&[0; 101]));
    let hi = || framed(0, b"hi");
    type Case<'a> = (&'a [(&'a str, &'a str)], Vec<Bytes>, u8, &'a str);
    let cases: [Case<'_>; 17] = [
        (&[], vec![], 12, "needs one request message"),
        (&[], vec![Bytes::new()], 12, "needs one request message"),
        (&[], vec![hi(), hi()], 12, "takes one request message"),
        (&[], vec![hi().slice(..3)], 13, "ends after 3 of 5 bytes"),
        (&[], vec![hi().slice(..6)], 13, "ends after 6 of 7 bytes"),
        (&[], vec![framed(2, b"hi")], 13, "2 is not a compressed-flag"),
        (
            &[],
            vec![framed(0, &[0; 101])],
            8,
            "of 101 bytes is larger than the limit of 100 bytes (messages.max_receive)",
        ),
        (&[], vec![Bytes::from_static(b"\0\xff\xff\xff\xff")], 8, "4294967295"),
        (&[("grpc-encoding", "gzip")], vec![bomb], 8, "inflates to more than the limit of 100 bytes"),
        (&[("grpc-encoding", "gzip")], vec![framed(1, b"no gzip")], 13, "not valid gzip"),
        (&[], vec![framed(1, &gzip(b"hi"))], 13, "grpc-encoding names no compression"),
        (&[("grpc-encoding", "identity")], vec![framed(1, b"hi")], 13, "grpc-encoding names no compression"),
        (&[("grpc-encoding", "br")], vec![hi()], 12, "supported: identity,gzip,zstd"),
        (&[("grpc-timeout", "")], vec![hi()], 3, "grpc-timeout"),
        (&[("grpc-timeout", "123456789S")], vec![hi()], 3, "grpc-timeout"),
        (&[("grpc-timeout", "1x")], vec![hi()], 3, "grpc-timeout"),
        (&[("content-type", "application/grpc;x=y"), ("grpc-timeout", "-1S")], vec![hi()], 3, "grpc-timeout"),
    ];
    for (headers, body, code, message) in cases {
        let reply = client.send("Echo", headers, &body).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.code(), code, "{headers:?} {body:?}: {reply:?}");
        assert!(reply.message().contains(message), "{message:?} in {reply:?}");
        let accepted = reply.last("grpc-accept-encoding");
        assert_eq!(accepted.is_some(), message.starts_with("supported"), "{reply:?}");
    }
    assert_eq!(host.begun.load(Ordering::SeqCst), 0);
    let refused: u64 = server.grpc().refusals().map(|(_, count)| count).sum();
    assert_eq!(refused, 17);
    assert_eq!(
        client.call("Echo", [7; 100]).await.code(),
        0,
        "the connection lives on, and the limit is taken"
    );
    assert_eq!(server.grpc().bytes_in_flight(), 0);
}

#[tokio::test]
async fn what_is_no_grpc_call_is_told_so_in_http() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    for content_type in ["application/grpc+json", "application/grpc-web", "application/json", "text/plain"] {
        let reply = client.send("Echo", &[("content-type", content_type)], &[framed(0, b"hi")]).await;
        assert_eq!(reply.status, 415, "{content_type}");
        assert!(reply.body.ends_with(b"\n"), "{reply:?}");
    }
    let get = http::Request::get("http://test/t.T/Echo")
        .header("content-type", "application/grpc")
        .body(Default::default())
        .unwrap();
    let reply = client.request(get).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.last("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn metadata_travels_both_ways_and_the_wire_s_names_do_not() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let headers = [
        ("x-text", "one"),
        ("x-text", "two"),
        ("x-raw-bin", "AP8Q"),
        ("x-raw-bin", "AA==,AQ"),
        ("grpc-timeout", "10S"),
        ("grpc-status", "3"),
        ("user-agent", "test"),
    ];
    let reply = client.send("Metadata", &headers, &[framed(0, b"")]).await;
    for map in [&reply.headers, reply.trailers.as_ref().unwrap()] {
        let all =
            |name: &str| map.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(all("x-text"), ["one", "two"]);
        assert_eq!(all("x-raw-bin"), ["AP8Q", "AA", "AQ"]);
        assert_eq!(all("user-agent"), ["test"]);
        assert!(!map.contains_key("te") && !map.contains_key("grpc-timeout"));
    }
    assert_eq!(reply.trailers.unwrap().get_all("grpc-status").iter().collect::<Vec<_>>(), ["0"]);
}

#[tokio::test]
async fn a_failure_is_trailers_only_unless_it_has_leading_metadata() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let reply = client.call("Fail", "grüß % Gott").await;
    assert_eq!((reply.code(), reply.message()), (5, "gr%C3%BC%C3%9F %25 Gott"));
    assert_eq!((reply.last("grpc-status-details-bin"), reply.last("x-why")), (Some("CAU"), Some("because")));
    assert!(reply.trailers.is_none() && reply.body.is_empty(), "{reply:?}");

    let reply = client.call("FailWithHeaders", "").await;
    assert_eq!(reply.headers["x-leading"], "1");
    let trailers = reply.trailers.unwrap();
    assert_eq!(
        (trailers["grpc-status"].to_str().unwrap(), trailers["x-trailing"].to_str().unwrap()),
        ("10", "2")
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_says_why_and_a_failure_keeps_its_status() {
    let mut limits = TransportLimits::default();
    limits.messages.max_send = 1000;
    let (server, _) = server(limits);
    let client = Client::connect(server.local_addr()).await;
    let reply = client.call("BadHeader", "").await;
    assert_eq!(reply.code(), 13);
    assert!(reply.message().contains("\"x-bad\" is not printable ASCII"), "{reply:?}");
    let reply = client.call("BadTrailer", "").await;
    assert_eq!((reply.code(), reply.message()), (15, "the real reason"));
    assert_eq!(client.call("Size", "1000").await.code(), 0);
    let reply = client.call("Size", "1001").await;
    assert_eq!(reply.code(), 8);
    assert!(
        reply.message().contains("1001 bytes is larger than the limit of 1000 bytes (messages.max_send)")
    );
}

#[tokio::test]
async fn compressed_requests_are_read_and_answered_in_kind() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let message = b"again and ".repeat(1000);
    let headers = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,zstd")];
    let reply = client.send("Echo", &headers, &[framed(1, &gzip(&message))]).await;
    assert_eq!((reply.code(), reply.last("grpc-encoding"), reply.body[0]), (0, Some("gzip"), 1));
    let mut inflated = Vec::new();
    GzDecoder::new(reply.payload()).read_to_end(&mut inflated).unwrap();
    assert_eq!(inflated, message);

    let zstd = zstd::encode_all(&message[..], 3).unwrap();
    let reply = client.send("Echo", &[("grpc-encoding", "zstd")], &[framed(1, &zstd)]).await;
    assert_eq!(zstd::decode_all(reply.payload()).unwrap(), message);

    let reply = client.send("Echo", &headers, &[framed(1, &gzip(b"short"))]).await;
    assert_eq!((reply.last("grpc-encoding"), reply.payload()), (None, &b"short"[..]), "not worth it");
    let reply = client.send("Echo", &[("grpc-accept-encoding", "gzip")], &[framed(0, &message)]).await;
    assert_eq!((reply.last("grpc-encoding"), reply.body[0]), (None, 0), "the request was not compressed");
}

#[tokio::test]
async fn the_deadline_reaches_the_host() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    assert_eq!(client.call("Left", "").await.payload(), b"none");
    for (timeout, from, to) in [("20S", 10_000, 20_000), ("99999999H", 3600 * 1000, u64::MAX)] {
        let reply = client.send("Left", &[("grpc-timeout", timeout)], &[framed(0, b"")]).await;
        assert_eq!(reply.code(), 0, "{timeout}: {reply:?}");
        let left: u64 = std::str::from_utf8(reply.payload()).unwrap().parse().unwrap();
        assert!((from..=to).contains(&left), "{timeout}: {left}");
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_reaches_the_host_if_the_message_came_with_it() {
    let (server, host) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let mut block = call_headers("Left");
    block.extend(b"\0\x0cgrpc-timeout\x020n");
    let head = frame(HEADERS, END_HEADERS, 1, &block);
    raw.write(&[head, frame(DATA, END_STREAM, 1, &framed(0, b""))].concat()).await;
    let answer = raw.find("a message", |frame| frame.kind == DATA).await;
    assert_eq!(answer.payload, framed(0, b"0"));
    assert_eq!(host.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_with_a_status() {
    let mut limits = TransportLimits::default();
    limits.connections.body_idle_timeout = Duration::from_millis(200);
    let (server, host) = server(limits);
    let client = Client::connect(server.local_addr()).await;
    let begun = Instant::now();
    let (stalled, reply) = client.open("Echo", &[]);
    stalled.send(Bytes::from_static(b"\0\0\0")).unwrap();
    let reply = reply.await.unwrap();
    assert_eq!(reply.code(), 1);
    assert!(reply.message().contains("for 200ms (connections.body_idle_timeout)"), "{reply:?}");
    assert!(begun.elapsed() >= Duration::from_millis(200));

    let (_late, reply) = client.open("Echo", &[("grpc-timeout", "100m")]);
    assert_eq!(reply.await.unwrap().code(), 4);

    assert_eq!(host.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_that_dribbles_is_given_up_after_the_whole_time() {
    let mut limits = TransportLimits::default();
    limits.connections.body_timeout = Duration::from_millis(400);
    limits.connections.body_idle_timeout = Duration::from_millis(300);
    let (server, _) = server(limits);
    let client = Client::connect(server.local_addr()).await;
    let (dribble, reply) = client.open("Echo", &[]);
    dribble.send(framed(0, &[0; 50]).slice(..5)).unwrap();
    tokio::spawn(async move {
        while dribble.send(Bytes::from_static(b"x")).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let reply = reply.await.unwrap();
    assert!(reply.message().contains("within 400ms (connections.body_timeout)"), "{reply:?}");
}

#[tokio::test]
async fn a_panic_fails_its_own_call_and_no_other() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let other = client.call("Later", "300");
    let panics = async {
        for method in ["Panic", "PanicLater", "Panic"] {
            let reply = client.call(method, "").await;
            assert_eq!(
                (reply.code(), reply.message()),
                (13, "the call failed inside the server"),
                "{method}"
            );
        }
    };
    let (other, ()) = tokio::join!(other, panics);
    assert_eq!(other.payload(), b"300");
    let panicked = server.grpc().refusals().find(|(reason, _)| *reason == RefusalReason::Panicked);
    assert_eq!(panicked, Some((RefusalReason::Panicked, 3)));
    assert_eq!(host.begun.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_client_that_gives_up_cancels_its_call() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call("Later", "60000").await }
    });
    eventually("the call has begun", || host.begun.load(Ordering::SeqCst) == 1).await;
    assert!(server.grpc().bytes_in_flight() > 0);
    call.abort();
    eventually("the call is cancelled", || host.cancelled.load(Ordering::SeqCst) == 1).await;
    eventually("its bytes are given back", || server.grpc().bytes_in_flight() == 0).await;

    let second = tokio::spawn(async move { client.call("Later", "60000").await });
    eventually("another has begun", || host.begun.load(Ordering::SeqCst) == 2).await;
    second.abort();
    eventually("it is cancelled with its connection", || host.cancelled.load(Ordering::SeqCst) == 2).await;
    eventually("the connection is gone", || server.open_connections() == 0).await;
}

#[tokio::test]
async fn messages_in_flight_share_a_budget_that_always_returns_to_nothing() {
    let mut limits = TransportLimits::default();
    limits.messages.in_flight = 100_000;
    let (server, _) = server(limits);
    let client = Client::connect(server.local_addr()).await;
    let (held, first) = client.open("Echo", &[]);
    let first = tokio::spawn(first);
    let message = framed(0, &[1; 70_000]);
    held.send(message.slice(..60_000)).unwrap();
    eventually("the first piece is held", || server.grpc().bytes_in_flight() >= 60_000).await;
    let refused = client.call("Echo", vec![2; 50_000]).await;
    assert_eq!(refused.code(), 8);
    assert!(refused.message().contains("hold 100000 bytes already (messages.in_flight)"), "{refused:?}");
    held.send(message.slice(60_000..)).unwrap();
    drop(held);
    assert_eq!(first.await.unwrap().unwrap().payload().len(), 70_000);
    eventually("everything is given back", || server.grpc().bytes_in_flight() == 0).await;
    assert_eq!(client.call("Echo", vec![2; 50_000]).await.code(), 0);
}

#[tokio::test]
async fn many_calls_at_once_are_each_answered_with_their_own_message() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let calls = (0..1000_u32).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let method = if number % 3 == 0 { "Later" } else { "Echo" };
            let message = (number % 50).to_string();
            let reply = client.call(method, &message).await;
            assert_eq!((reply.code(), reply.payload()), (0, message.as_bytes()));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(host.begun.load(Ordering::SeqCst), 1000);
    assert_eq!(server.grpc().bytes_in_flight(), 0);
}

#[test]
fn http1_is_answered_on_the_same_port() {
    let (server, _) = server(TransportLimits::default());
    let address = server.local_addr();
    let head = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let cases = [
        (format!("GET /healthz {head}\r\n"), "200", "alive"),
        (format!("POST /healthz {head}content-length: 3\r\n\r\nabc"), "200", "alive"),
        (format!("PUT /healthz {head}\r\n"), "405", "GET, HEAD or POST"),
        (format!("GET / {head}\r\n"), "404", "nothing here"),
        (format!("POST /t.T/Echo {head}content-type: application/grpc\r\n\r\n"), "426", "gRPC needs HTTP/2"),
        (format!("POST /t.T/Echo {head}content-type: application/json\r\n\r\n"), "415", "content type"),
        (format!("GET /{} {head}\r\n", "x".repeat(8192)), "414", "messages.max_uri"),
        (format!("GET / {head}{}\r\n", "x: y\r\n".repeat(100)), "431", ""),
        (format!("GET / {head}x: {}\r\n\r\n", "y".repeat(70_000)), "431", ""),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400", ""),
    ];
    for (request, status, text) in cases {
        let answer = http1(address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains(text), "{text}: {answer}");
    }
}

#[tokio::test]
async fn a_long_target_is_refused_on_http2_too() {
    let (server, _) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    assert_eq!(client.call(&"x".repeat(8192), "").await.status, 414);
    assert_eq!(client.call(&"x".repeat(8187), "").await.status, 200, "/t.T/ and 8187 more are 8192");
}
