//! What the calls of one read share, and what they do not.

use super::*;

/// Calls with the same head.
struct Head {
    method: Arc<str>,
    metadata: Arc<dyn MetadataSource>,
    peer: Arc<str>,
}

impl Head {
    fn of(method: &str) -> Self {
        Self { method: method.into(), metadata: Arc::new(Metadata::new()), peer: "127.0.0.1:9".into() }
    }

    fn begin(&self, host: &ServeHost, batch: &mut Batch, payload: &'static str) -> Begun {
        let Self { method, metadata, peer } = self;
        let payload = Bytes::from_static(payload.as_bytes());
        host.begin_in(batch, Arrival { method, metadata, peer, payload, deadline: None, at: Instant::now() })
    }
}

#[test]
fn the_calls_of_a_batch_share_a_permit_and_are_counted_at_its_end_at_the_latest() {
    let (Fixture { host, .. }, echo) = (host(2, 0), Head::of("/echo.S/M"));
    let mut batch = Batch::default();
    for payload in ["a", "b", "c"] {
        let answer = done(echo.begin(&host, &mut batch, payload));
        assert_eq!((answer.code, &answer.payload[..]), (Code::Ok, payload.as_bytes()));
        assert_eq!(host.inner.gate.free(), 1);
    }
    batch.end();
    let stats = host.stats();
    assert_eq!((stats.accepted, stats.completed, stats.latency.count), (3, 3, 3));
    assert_eq!(host.inner.gate.free(), 2);
}

#[test]
fn a_batch_that_is_dropped_has_ended() {
    let (Fixture { host, .. }, echo) = (host(1, 0), Head::of("/echo.S/M"));
    let mut batch = Batch::default();
    done(echo.begin(&host, &mut batch, "a"));
    drop(batch);
    assert_eq!((host.stats().completed, host.inner.gate.free()), (1, 1));
}

#[tokio::test]
async fn a_batch_gives_its_permit_to_whoever_waits() {
    let (Fixture { host, stage }, echo) = (host(1, 2), Head::of("/echo.S/M"));
    let mut batch = Batch::default();
    done(echo.begin(&host, &mut batch, "a"));
    let held = pending(host.begin(envelope("/held.S/M", &[])));
    let late = pending(echo.begin(&host, &mut batch, "b"));
    assert_eq!((host.stats().in_flight, host.stats().queued), (1, 1), "nobody overtakes the line");
    stage.release.add_permits(1);
    assert_eq!((held.await.payload, late.await.payload), ("hello".into(), "b".into()));
}

#[test]
fn calls_that_had_arrived_are_answered_by_a_plan_that_is_gone_since() {
    let (Fixture { host, .. }, echo) = (host(1, 0), Head::of("/echo.S/M"));
    let mut batch = Batch::default();
    done(echo.begin(&host, &mut batch, "a"));
    let receipt = host.store().withdraw(&"echo".parse().unwrap()).unwrap();
    assert_eq!(done(echo.begin(&host, &mut batch, "b")).payload, "b");
    batch.end();
    assert_eq!(done(echo.begin(&host, &mut batch, "c")).code, Code::Unimplemented);
    assert_eq!(receipt.in_flight_at_flip, 1, "the batch");
}

#[test]
fn a_batch_ends_with_the_host() {
    let (Fixture { host, .. }, echo) = (host(1, 0), Head::of("/echo.S/M"));
    let mut batch = Batch::default();
    done(echo.begin(&host, &mut batch, "a"));
    host.close();
    assert_eq!(done(echo.begin(&host, &mut batch, "b")).code, Code::Unavailable);
    assert_eq!((host.stats().completed, host.inner.gate.free()), (1, 1));
}

#[test]
fn each_call_of_a_batch_is_counted_as_it_ended() {
    let Fixture { host, .. } = host(1, 0);
    let mut batch = Batch::default();
    for (method, code) in
        [("/panic.S/M", Code::Internal), ("/echo.S/M", Code::Ok), ("/mute.S/M", Code::Internal)]
    {
        let head = Head::of(method);
        for _ in 0..2 {
            assert_eq!(done(head.begin(&host, &mut batch, "a")).code, code, "{method}");
        }
    }
    batch.end();
    let stats = host.stats();
    assert_eq!((stats.accepted, stats.completed, stats.failed), (6, 2, 4));
    assert!(stats.identity_holds());
}

#[test]
fn a_call_that_its_graph_keeps_is_not_made_another() {
    let (Fixture { host, stage }, keep) = (host(1, 0), Head::of("/keep.S/M"));
    let mut batch = Batch::default();
    for payload in ["a", "b"] {
        assert_eq!(done(keep.begin(&host, &mut batch, payload)).payload, payload);
    }
    batch.end();
    let kept: Vec<_> = stage.kept.lock().iter().map(|call| call.envelope().payload.clone()).collect();
    assert_eq!(kept, ["a", "b"]);
    assert_eq!(host.stats().completed, 2);
}

#[tokio::test]
async fn calls_without_room_are_refused_alike_and_counted_until_there_is_room_again() {
    let (Fixture { host, stage }, echo) = (host(1, 0), Head::of("/echo.S/M"));
    let held = pending(host.begin(envelope("/held.S/M", &[])));
    let (mut batch, full) = (Batch::default(), host.config().queue_full());
    for _ in 0..3 {
        let answer = done(echo.begin(&host, &mut batch, "a"));
        assert_eq!((answer.code, answer.message), (Code::ResourceExhausted, full.to_string()));
    }
    stage.release.add_permits(1);
    assert_eq!(held.await.payload, "hello");
    while host.inner.gate.free() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(done(echo.begin(&host, &mut batch, "b")).payload, "b");
    assert_eq!(host.stats().rejected[&RejectReason::QueueFull], 3);
    batch.end();
    assert_eq!((host.stats().accepted, host.stats().completed), (2, 2));
}

#[test]
fn a_crowd_is_told_when_the_host_closes_or_its_time_is_up() {
    let (Fixture { host, .. }, echo) = (host(1, 0), Head::of("/echo.S/M"));
    let _held = pending(host.begin(envelope("/held.S/M", &[])));
    let mut batch = Batch::default();
    for _ in 0..2 {
        assert_eq!(done(echo.begin(&host, &mut batch, "a")).code, Code::ResourceExhausted);
    }
    let (Head { method, metadata, peer }, at) = (&echo, Instant::now());
    let late = Arrival { method, metadata, peer, payload: Bytes::new(), deadline: Some(at), at };
    assert_eq!(done(host.begin_in(&mut batch, late)).code, Code::DeadlineExceeded);
    host.close();
    assert_eq!(done(echo.begin(&host, &mut batch, "a")).code, Code::Unavailable);
    batch.end();
    let rejected = host.stats().rejected;
    let told = [RejectReason::QueueFull, RejectReason::DeadlineExpired, RejectReason::Draining];
    assert_eq!(told.map(|reason| rejected[&reason]), [2, 1, 1]);
}
