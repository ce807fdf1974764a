//! Nonsense of every kind: whatever comes, one status goes, and the server lives on.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use exec_plan::Code;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use proptest::prelude::*;
use serve_host::{GrpcService, TransportLimits};
use tokio::io::AsyncWriteExt;

use super::server;
use crate::client::{Client, PREFACE, Raw, call_headers, frame, framed};
use crate::host::TestHost;

/// Pieces of a body: random bytes, or messages that are nearly right.
fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
    let random = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let message = (0_u8..3, proptest::collection::vec(any::<u8>(), 0..40), 0_usize..48)
        .prop_map(|(flag, message, cut)| framed(flag, &message).slice(..cut.min(5 + message.len())));
    proptest::collection::vec(prop_oneof![random, message], 0..4)
}

/// Values of the headers that the service looks at.
fn header(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        2 => proptest::sample::select(values).prop_map(|value| Some(value.to_owned())),
        1 => "[ -~]{0,12}".prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_request_gets_exactly_one_status_and_leaves_nothing_behind(
        method in proptest::sample::select(&["Echo", "Fail", "Metadata", "BadHeader", "None"][..]),
        pieces in pieces(),
        encoding in header(&["gzip", "zstd", "identity", "br"]),
        accepts in header(&["gzip", "identity,zstd"]),
        timeout in header(&["1S", "0n", "99999999H"]),
        binary in header(&["AAEC", "AAEC,====", "%"]),
    ) {
        let mut limits = TransportLimits::default();
        limits.messages.max_receive = 30;
        let service = GrpcService::new(Arc::new(TestHost::default()), limits);
        let mut request = http::Request::post(format!("/t.T/{method}")).header("content-type", "application/grpc");
        for (name, value) in [
            ("grpc-encoding", encoding),
            ("grpc-accept-encoding", accepts),
            ("grpc-timeout", timeout),
            ("x-any-bin", binary),
        ] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let request = request.body(StreamBody::new(stream::iter(frames))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (head, body) = runtime.block_on(service.serve(request, "test".into())).unwrap().into_parts();
        let body = runtime.block_on(body.collect()).unwrap();
        let blocks = [Some(&head.headers), body.trailers()];
        let statuses: Vec<_> = blocks.into_iter().flatten().flat_map(|block| block.get_all("grpc-status")).collect();
        prop_assert_eq!(statuses.len(), 1);
        let number: u8 = statuses[0].to_str().unwrap().parse().unwrap();
        prop_assert!(Code::from_number(number).is_some());
        prop_assert_eq!(service.bytes_in_flight(), 0);
    }
}

/// Connections of random frames, each of which is the same in every run.
#[tokio::test]
async fn random_frames_harm_nobody() {
    let (server, _) = server(TransportLimits::default());
    for seed in 0..300_u64 {
        let mut random = Random(seed * 2 + 1);
        let mut raw = Raw::connect(server.local_addr()).await;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        for _ in 0..random.below(30) {
            let kind = random.byte() % 11;
            let payload = match (kind, random.below(3)) {
                (1, 0) => call_headers("Echo"),
                (0, 0) => framed(0, b"hi").to_vec(),
                _ => (0..random.below(40)).map(|_| random.byte()).collect(),
            };
            let stream = u32::from(random.byte() % 12);
            bytes.extend(frame(kind, random.byte() & 0x2d, stream, &payload));
        }
        // The server may close in the middle, and is right to.
        let _ = raw.stream.write_all(&bytes).await;
    }
    assert_eq!(Client::connect(server.local_addr()).await.call("Echo", "hi").await.payload(), b"hi");
    assert_eq!(server.stats().cut(serve_host::Cut::Panicked), 0);
}

/// Numbers without pattern, the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}
