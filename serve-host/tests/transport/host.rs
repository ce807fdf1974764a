//! A host whose methods each do one thing, for tests of the transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use exec_plan::{Code, Metadata};
use kernels::{Answer, RequestEnvelope};
use serve_host::{
    Begun, Fallback, GrpcService, PendingAnswer, Server, ServerConfig, TransportKind, TransportLimits,
    UnaryHost,
};

/// Counts what it was given and what became of it.
#[derive(Default)]
pub(crate) struct TestHost {
    /// Requests that reached the host.
    pub(crate) begun: AtomicUsize,
    /// Answers that were dropped before they came.
    pub(crate) cancelled: Arc<AtomicUsize>,
}

/// Counts itself on drop, unless it was defused.
struct Cancelled(Option<Arc<AtomicUsize>>);

impl Cancelled {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(counter) = self.0.take() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl UnaryHost for TestHost {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let text = || String::from_utf8_lossy(&envelope.payload).into_owned();
        let number = || text().parse().unwrap_or(0_u64);
        match &*envelope.method {
            "/t.T/Echo" => Begun::Done(Answer::ok(envelope.payload)),
            "/t.T/Size" => Begun::Done(Answer::ok(Bytes::from(vec![b'x'; number().try_into().unwrap()]))),
            "/t.T/Peer" => Begun::Done(Answer::ok(Bytes::from(envelope.peer.to_string()))),
            "/t.T/Left" => {
                let left =
                    envelope.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let text = left.map_or("none".to_owned(), |left| left.as_millis().to_string());
                Begun::Done(Answer::ok(text.into()))
            }
            "/t.T/Metadata" => {
                let seen = envelope.metadata.to_metadata();
                Begun::Done(Answer {
                    headers: Some(seen.clone()),
                    trailers: Some(seen),
                    ..Answer::ok(envelope.payload)
                })
            }
            "/t.T/Fail" => Begun::Done(Answer {
                details: Some(Bytes::from_static(b"\x08\x05")),
                trailers: Some(one("x-why", "because")),
                ..Answer::failed(Code::NotFound, text())
            }),
            "/t.T/FailWithHeaders" => Begun::Done(Answer {
                headers: Some(one("x-leading", "1")),
                trailers: Some(one("x-trailing", "2")),
                ..Answer::failed(Code::Aborted, "later")
            }),
            "/t.T/BadHeader" => {
                Begun::Done(Answer { headers: Some(one("x-bad", "a\nb")), ..Answer::ok(envelope.payload) })
            }
            "/t.T/BadTrailer" => Begun::Done(Answer {
                trailers: Some(one("x-bad", "a\nb")),
                ..Answer::failed(Code::DataLoss, "the real reason")
            }),
            "/t.T/Panic" => panic!("as asked"),
            "/t.T/PanicLater" => Begun::Pending(PendingAnswer::new(async {
                tokio::task::yield_now().await;
                panic!("as asked, later")
            })),
            "/t.T/Later" => {
                let pause = Duration::from_millis(number());
                let cancelled = Cancelled(Some(self.cancelled.clone()));
                Begun::Pending(PendingAnswer::new(async move {
                    tokio::time::sleep(pause).await;
                    cancelled.defuse();
                    Answer::ok(envelope.payload)
                }))
            }
            "/t.T/Block" => {
                std::thread::sleep(Duration::from_millis(number()));
                Begun::Done(Answer::ok(envelope.payload))
            }
            other => Begun::Done(Answer::failed(Code::Unimplemented, format!("no method {other}"))),
        }
    }
}

/// A server with one thread on a free port of the loopback.
pub(crate) fn server_over(
    transport: TransportKind,
    limits: TransportLimits,
    fallback: Option<Fallback>,
) -> (Server, Arc<TestHost>) {
    let host = Arc::new(TestHost::default());
    let config = ServerConfig {
        address: ([127, 0, 0, 1], 0).into(),
        threads: std::num::NonZeroUsize::MIN,
        fallback,
        transport,
    };
    let server = Server::bind(config, GrpcService::new(host.clone(), limits)).unwrap();
    (server, host)
}

fn one(name: &str, value: &'static str) -> Arc<Metadata> {
    let mut metadata = Metadata::new();
    metadata.append(name, value).unwrap();
    Arc::new(metadata)
}

/// Waits until something is so, for ten seconds at most.
pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not so after ten seconds: {what}");
}
