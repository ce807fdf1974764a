//! The same requests to both transports: whatever is asked, they answer alike.

use std::cell::{Cell, RefCell};
use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serve_host::{Server, TransportKind, TransportLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::client::{
    Client, DATA, END_HEADERS, GOAWAY, HEADERS, RST_STREAM, Raw, Reply, WINDOW_UPDATE, call_headers, frame,
    framed,
};
use crate::host::server_over;

/// A unary call, perhaps a bad one.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<Bytes>,
}

/// A server of either transport, and a client of each.
struct Pair {
    runtime: Runtime,
    servers: [Server; 2],
    clients: RefCell<[Client; 2]>,
    asked: Cell<u32>,
}

/// A connection that sends a few bytes at a time, each in a segment of its own.
struct Splitting {
    stream: TcpStream,
    random: u64,
}

// === impl Pair ===

impl Pair {
    fn new(limits: &TransportLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let servers = [TransportKind::Native, TransportKind::Tonic]
            .map(|transport| server_over(transport, limits.clone(), None).0);
        let clients = runtime.block_on(connect(&servers));
        Self { runtime, servers, clients: RefCell::new(clients), asked: Cell::new(0) }
    }

    /// What each answers to the same call.
    fn ask(&self, asked: &Asked) -> [Result<Reply, String>; 2] {
        let headers: Vec<_> = asked.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let ask = async |client: &Client| {
            let reply = client.try_send(asked.method, &headers, &asked.body).await;
            reply.map(without_date).map_err(|error| format!("{error:?}"))
        };
        let mut clients = self.clients.borrow_mut();
        self.runtime.block_on(async {
            // Each call that is refused before its end costs a little of a connection's patience, and hyper has less.
            self.asked.set(self.asked.get() + 1);
            if self.asked.get().is_multiple_of(CALLS_OF_A_CONNECTION) {
                *clients = connect(&self.servers).await;
            }
            [ask(&clients[0]).await, ask(&clients[1]).await]
        })
    }

    /// The calls that either has refused, by reason.
    fn refusals(&self) -> [Vec<(String, u64)>; 2] {
        [&self.servers[0], &self.servers[1]].map(|server| {
            server.grpc().refusals().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
        })
    }
}

/// A client of each, both of which split what they send in the same places.
async fn connect(servers: &[Server; 2]) -> [Client; 2] {
    let connect = async |server: &Server| {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(Splitting { stream, random: 1 }).await
    };
    [connect(&servers[0]).await, connect(&servers[1]).await]
}

/// hyper says when it answered.
fn without_date(mut reply: Reply) -> Reply {
    reply.headers.remove("date");
    reply
}

// === impl Splitting ===

impl AsyncRead for Splitting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Splitting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut next = self.random ^ self.random << 13;
        next ^= next >> 7;
        next ^= next << 17;
        // Mostly a piece of a frame, sometimes several frames at once.
        let most = if next.is_multiple_of(4) { 16_384 } else { next % 23 + 1 };
        let piece = &bytes[..bytes.len().min(usize::try_from(most).unwrap())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, piece));
        self.random = next;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// === what is asked ===

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

/// A header that is one of these, or anything; or not there.
fn header(
    name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(String, String)>> {
    let known = proptest::sample::select(values).prop_map(str::to_owned);
    prop_oneof![
        4 => Just(None),
        4 => known.prop_map(Some),
        1 => "[!-~]{0,12}".prop_map(Some),
    ]
    .prop_map(move |value| value.map(|value| (name.to_owned(), value)).into_iter().collect())
}

/// Metadata of the caller's own; values of `-bin` names may be no base64 at all.
fn metadata() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = ("(x-|okra-|grpc-x|a)[a-z0-9_.-]{3,9}[a-z0-9]", "([!-~]([ -~]{0,30}[!-~])?)?");
    let binary = ("(x-|b)[a-z]{3,9}-bin", "[A-Za-z0-9+/]{0,12}(==|=|,[A-Za-z]{4}|%)?");
    proptest::collection::vec(prop_oneof![text, binary], 0..5)
}

/// The pieces of a body: one good message as a rule, else one that is not.
fn body() -> impl Strategy<Value = Vec<Bytes>> {
    let message = prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..200),
        // Beyond the limit of a message, a frame and the window of a stream.
        1 => prop_oneof![Just(999), Just(1000), Just(1001), Just(20_000), Just(70_000)].prop_map(|size| vec![7; size]),
    ];
    let flawed = (0_usize..8, any::<u8>());
    let cuts = proptest::collection::vec(0_usize..300, 0..4);
    (message, flawed, cuts).prop_map(|(message, (flaw, byte), cuts)| {
        let whole = match flaw {
            0 => framed(byte, &message),
            1 => framed(1, &gzip(&message)),
            2 => framed(0, &message).slice(..(usize::from(byte) % 8).min(5 + message.len())),
            3 => [framed(0, &message), framed(0, b"more")].concat().into(),
            4 => Bytes::new(),
            _ => framed(0, &message),
        };
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        // Many frames that carry nothing are a flood, which either measures in its own way.
        cuts.dedup();
        cuts.windows(2).map(|ends| whole.slice(ends[0]..ends[1])).collect()
    })
}

/// Calls after which a new connection is made.
const CALLS_OF_A_CONNECTION: u32 = 200;

/// What the host of the tests can do at once.
const METHODS: &[&str] =
    &["Echo", "Metadata", "Fail", "FailWithHeaders", "BadHeader", "BadTrailer", "None", "Panic"];

fn asked() -> impl Strategy<Value = Asked> {
    let headers = (
        metadata(),
        header("grpc-encoding", &["gzip", "identity", "zstd", "br"]),
        header("grpc-accept-encoding", &["gzip", "identity,zstd", "br", "gzip, zstd"]),
        // Nobody can say who notices first that there is no time at all.
        header("grpc-timeout", &["1H", "90S", "99999999n", "123456789S", "1x", "-1S", "S", "5", "1 S"]),
        header("content-type", &["application/grpc+proto", "application/grpc;x=y", "application/grpc+json"]),
    );
    (proptest::sample::select(METHODS), headers, body()).prop_map(|(method, headers, body)| {
        let (metadata, encoding, accepts, timeout, kind) = headers;
        let headers = [metadata, encoding, accepts, timeout, kind].concat();
        Asked { method, headers, body }
    })
}

fn answer_alike(limits: &TransportLimits, calls: u32) {
    let pair = Pair::new(limits);
    let config = ProptestConfig { cases: calls, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(asked in asked())| {
        let [native, tonic] = pair.ask(&asked);
        prop_assert_eq!(&native, &tonic);
        prop_assert!(native.is_ok(), "{:?}", native);
    });
    let [native, tonic] = pair.refusals();
    assert_eq!(native, tonic);
    assert!(native.iter().filter(|(_, count)| *count > 0).count() > 4, "all kinds were asked: {native:?}");
}

#[test]
fn random_calls_are_answered_alike() {
    let mut limits = TransportLimits::default();
    limits.messages.max_receive = 1000;
    answer_alike(&limits, 4000);
}

#[test]
fn random_calls_are_answered_alike_when_answers_are_compressed_and_windows_are_small() {
    let mut limits = TransportLimits::default();
    limits.messages.max_receive = 100_000;
    limits.messages.max_send = 50_000;
    limits.messages.compression = serve_host::ResponseCompression::Accepted;
    limits.http2.stream_window = 65_535;
    limits.http2.send_buffer = 1000;
    answer_alike(&limits, 2000);
}

/// Breaches of HTTP/2, one to a connection: the same stream ends of it, or the whole connection. Of several error
/// codes that fit, hyper often takes the most general.
#[tokio::test]
async fn breaches_of_the_protocol_end_alike() {
    let call = |stream| frame(HEADERS, END_HEADERS, stream, &call_headers("Later"));
    let after_call = |bytes: Vec<u8>| [call(1), bytes].concat();
    let breaches = [
        ("DATA on stream 0", frame(DATA, 0, 0, b"x")),
        ("DATA on an idle stream", frame(DATA, 0, 5, b"x")),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 5, &[0; 4])),
        ("WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 5, &[0, 0, 0, 1])),
        ("an even stream", frame(HEADERS, END_HEADERS, 2, &call_headers("Later"))),
        ("a stream that goes backwards", [call(5), call(3)].concat()),
        ("a frame within a header block", [frame(HEADERS, 0, 1, &call_headers("Later")), call(3)].concat()),
        ("a window beyond its limit", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("PUSH_PROMISE", frame(5, END_HEADERS, 1, &[0; 8])),
        ("SETTINGS of five bytes", frame(4, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(4, 0, 1, &[])),
        ("PING of seven bytes", frame(6, 0, 0, &[0; 7])),
        ("padding beyond its frame", after_call(frame(DATA, 8, 1, &[9, 0]))),
        (
            "a stream's window beyond its limit",
            after_call(frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])),
        ),
    ];
    for (breach, bytes) in breaches {
        let mut ends = Vec::new();
        for transport in [TransportKind::Native, TransportKind::Tonic] {
            let (server, _) = server_over(transport, TransportLimits::default(), None);
            let mut raw = Raw::hello(server.local_addr(), &[]).await;
            raw.write(&bytes).await;
            let end = raw.find(breach, |frame| matches!(frame.kind, GOAWAY | RST_STREAM)).await;
            ends.push((end.kind, end.stream));
        }
        assert_eq!(ends[0], ends[1], "{breach}");
    }
}
