//! Draining: what was accepted is finished, and nobody can make it take longer than was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serve_host::{Cut, DrainReport, Phase, TransportLimits};
use tokio::net::TcpStream;

use super::server;
use crate::client::{Client, GOAWAY, HEADERS, PREFACE, Raw};
use crate::host::eventually;

const MS: Duration = Duration::from_millis(1);
/// What a drain may take beyond its grace, on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn idle_clients_leave_at_once() {
    let (server, _) = server(TransportLimits::default());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = Client::connect(server.local_addr()).await;
        assert_eq!(client.call("Echo", "hi").await.code(), 0);
        clients.push(client);
    }
    assert_eq!(server.drain_handle().phase(), Phase::Serving);
    let begun = Instant::now();
    let report = server.drain(Duration::from_secs(20)).await;
    assert_eq!(report, DrainReport { finished: 20, ..DrainReport::default() });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(server.drain_handle().phase(), Phase::Drained);
    assert!(TcpStream::connect(server.local_addr()).await.is_err(), "nobody listens any more");
    eventually("all clients have left", || clients.iter().all(Client::has_ended)).await;
}

#[tokio::test]
async fn calls_in_flight_are_answered_and_then_the_server_is_gone() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let call = tokio::spawn(async move { client.call("Later", "700").await });
    eventually("the call has begun", || host.begun.load(Ordering::SeqCst) == 1).await;
    let report = server.drain(Duration::from_secs(20)).await;
    assert_eq!((report.finished, report.forced, report.forced_calls), (1, 0, 0));
    assert_eq!(call.await.unwrap().payload(), b"700");
}

#[tokio::test]
async fn a_request_that_was_sent_before_goaway_arrived_is_served() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    raw.call(1, "Fail", b"").await;
    raw.find("an answer", |frame| frame.kind == HEADERS && frame.stream == 1).await;
    let drain = tokio::spawn(async move { server.drain(Duration::from_secs(10)).await });
    raw.find("GOAWAY", |frame| frame.kind == GOAWAY).await;
    raw.call(3, "Fail", b"").await;
    raw.find("another answer", |frame| frame.kind == HEADERS && frame.stream == 3).await;
    drop(raw);
    assert_eq!(drain.await.unwrap().forced, 0);
}

#[tokio::test]
async fn hostile_clients_cannot_hold_a_drain_beyond_its_grace() {
    let (server, host) = server(TransportLimits::default());
    let address = server.local_addr();
    let silent = TcpStream::connect(address).await.unwrap();
    let mut half_preface = Raw::connect(address).await;
    half_preface.write(&PREFACE[..10]).await;
    let mut half_head = Raw::connect(address).await;
    half_head.write(b"GET / HTTP/1.1\r\n").await;
    let no_ack = Raw::hello(address, &[]).await;
    let mut unfinished = Raw::hello(address, &[]).await;
    unfinished.open_call(1, "Echo").await;
    let client = Client::connect(address).await;
    let long = tokio::spawn(async move { client.call("Later", "60000").await });
    eventually("the long call has begun", || host.begun.load(Ordering::SeqCst) == 1).await;
    eventually("all are there", || server.open_connections() == 6).await;

    let begun = Instant::now();
    let report = server.drain(1500 * MS).await;
    assert!(begun.elapsed() < 1500 * MS + MARGIN, "{:?}", begun.elapsed());
    assert_eq!(report.finished + report.forced, 6, "{report:?}");
    assert_eq!((report.forced_calls, report.stuck_threads), (2, 0), "the unfinished and the long one");
    assert_eq!(server.stats().cut(Cut::Drained), report.forced);
    assert_eq!((server.open_connections(), server.grpc().bytes_in_flight()), (0, 0));
    eventually("the long call is cancelled", || host.cancelled.load(Ordering::SeqCst) == 1).await;
    assert!(long.await.is_err(), "it never got an answer");
    drop((silent, half_preface, half_head, no_ack, unfinished));
}

#[tokio::test]
async fn clients_that_ignore_goaway_do_not_use_up_the_whole_grace() {
    let (server, _) = server(TransportLimits::default());
    let mut half_preface = Raw::connect(server.local_addr()).await;
    half_preface.write(&PREFACE[..10]).await;
    let _no_ack = Raw::hello(server.local_addr(), &[]).await;
    eventually("both are there", || server.open_connections() == 2).await;
    let begun = Instant::now();
    let report = server.drain(Duration::from_secs(60)).await;
    assert_eq!((report.finished, report.forced), (2, 0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_kernel_that_blocks_its_thread_longer_than_the_grace_is_left_behind() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let call = tokio::spawn(async move { client.call("Block", "5000").await });
    eventually("the call has begun", || host.begun.load(Ordering::SeqCst) == 1).await;
    let begun = Instant::now();
    let report = server.drain(300 * MS).await;
    assert!(begun.elapsed() < 300 * MS + MARGIN, "{:?}", begun.elapsed());
    assert_eq!((report.forced, report.stuck_threads), (1, 1), "{report:?}");
    call.abort();
}

#[tokio::test]
async fn the_earlier_of_two_ends_counts() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let call = tokio::spawn(async move { client.call("Later", "60000").await });
    eventually("the call has begun", || host.begun.load(Ordering::SeqCst) == 1).await;
    let handle = server.drain_handle();
    let patient = tokio::spawn(async move { handle.drain(Duration::from_secs(60)).await });
    let begun = Instant::now();
    tokio::time::sleep(100 * MS).await;
    assert!(matches!(server.drain_handle().phase(), Phase::Draining { .. }));
    let report = server.drain(Duration::ZERO).await;
    assert_eq!((report.forced, report.forced_calls), (1, 1));
    patient.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(call.await.is_err());
}

#[tokio::test]
async fn dropping_a_server_ends_it() {
    let (server, _) = server(TransportLimits::default());
    let address = server.local_addr();
    let client = Client::connect(address).await;
    let handle = server.drain_handle();
    drop(server);
    eventually("its threads have ended", || handle.phase() == Phase::Drained).await;
    eventually("its connections are closed", || client.has_ended()).await;
    assert!(TcpStream::connect(address).await.is_err());
}

/// Many clients call as fast as they can while the server goes: whatever the host was given, the client
/// gets its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_call_that_was_accepted_is_answered() {
    for _ in 0..5 {
        let (server, host) = server(TransportLimits::default());
        let address = server.local_addr();
        let answered = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..32)
            .map(|number| {
                let answered = answered.clone();
                tokio::spawn(async move {
                    let client = Client::connect(address).await;
                    let method = if number % 2 == 0 { "Echo" } else { "Later" };
                    while let Ok(reply) = client.try_call(method, "7").await {
                        assert_eq!((reply.code(), reply.payload()), (0, &b"7"[..]));
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        eventually("there is load", || answered.load(Ordering::SeqCst) > 500).await;
        let report = server.drain(Duration::from_secs(20)).await;
        assert_eq!((report.finished, report.forced, report.forced_calls), (32, 0, 0));
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(answered.load(Ordering::SeqCst), host.begun.load(Ordering::SeqCst));
    }
}
