//! Conversations with the client of the `h2` crate over a pipe in memory: another HPACK, another idea of
//! windows, another state machine, which all must agree with ours.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderValue, Request};
use http2_core::{
    Answer, Cancelled, Connection, End, Field, Fields, Handler, Head, Reply, ResponseHead, Settings,
    StreamId, Tick, UnaryCall,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::script::Random;

/// Echoes calls with their metadata, some at once and some later; echoes plain bodies as they come.
#[derive(Default)]
struct Echo {
    later: VecDeque<(StreamId, Reply)>,
    opened: Vec<(StreamId, ResponseHead)>,
    /// What is to be echoed on plain streams, in order: a chunk, and whether it is the last.
    chunks: VecDeque<(StreamId, Bytes, bool)>,
    trailers: Vec<(StreamId, Fields)>,
    cancelled: usize,
}

/// What a run of the server left behind.
struct Served {
    end: Option<End>,
    cancelled: usize,
    streams: usize,
    buffered: usize,
}

// === impl Echo ===

fn echoed<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Fields {
    let mut echo = Fields::new();
    for field in fields.into_iter().filter(|field| field.name().starts_with(b"x-")) {
        echo.push(field.name(), field.value()).unwrap();
    }
    echo
}

impl Handler for Echo {
    fn unary(&mut self, call: UnaryCall<'_>) -> Answer {
        let metadata = echoed(call.head.fields().iter());
        let reply = Reply { metadata, ..Reply::ok(call.message.clone()) };
        match &**call.head.path() {
            "/echo/now" => Answer::Ok(call.message),
            "/echo/metadata" => Answer::Reply(Box::new(reply)),
            _ => {
                self.later.push_back((call.stream, reply));
                Answer::Later
            }
        }
    }

    fn open(&mut self, stream: StreamId, head: &Arc<Head>, ended: bool) {
        let mut answer = ResponseHead::new(200).unwrap();
        for field in head.fields().iter().filter(|field| field.name().starts_with(b"x-")) {
            answer.push(field.name(), field.value()).unwrap();
        }
        self.opened.push((stream, answer));
        if ended {
            self.chunks.push_back((stream, Bytes::new(), true));
        }
    }

    fn data(&mut self, stream: StreamId, chunk: Bytes, ended: bool) {
        self.chunks.push_back((stream, chunk, ended));
    }

    fn trailers(&mut self, stream: StreamId, trailers: Vec<Field>) {
        self.trailers.push((stream, echoed(&trailers)));
    }

    fn cancelled(&mut self, stream: StreamId, _why: Cancelled) {
        self.cancelled += 1;
        self.chunks.retain(|(id, ..)| *id != stream);
    }
}

impl Echo {
    /// Does what can be done now. Errors mean that a stream is gone, which is the client's right.
    fn act(&mut self, connection: &mut Connection, random: &mut Random, out: &mut Vec<u8>) {
        for (stream, head) in self.opened.drain(..) {
            let _ = connection.send_head(stream, &head, false, out);
        }
        while connection.next_writable().is_some() {}
        for (stream, chunk, end) in std::mem::take(&mut self.chunks) {
            if connection.room(stream) == 0 && self.chunks.len() < 10_000 {
                self.chunks.push_back((stream, chunk, end));
                continue;
            }
            let len = chunk.len();
            if self.chunks.iter().any(|(id, ..)| *id == stream) {
                self.chunks.push_back((stream, chunk, end));
            } else if connection.send_data(stream, chunk, end, out).is_ok() {
                connection.consumed(stream, len, out);
            }
        }
        for (stream, fields) in std::mem::take(&mut self.trailers) {
            if self.chunks.iter().any(|(id, ..)| *id == stream) {
                self.trailers.push((stream, fields));
            } else {
                let _ = connection.send_trailers(stream, fields, out);
            }
        }
        for _ in 0..random.below(self.later.len() + 1) {
            if let Some((stream, reply)) = self.later.remove(random.below(self.later.len())) {
                let _ = connection.respond(stream, reply, out);
            }
        }
    }

    fn is_busy(&self) -> bool {
        !self.later.is_empty() || !self.chunks.is_empty() || !self.trailers.is_empty()
    }
}

async fn serve(mut pipe: DuplexStream, settings: Settings, mut random: Random) -> Served {
    let mut connection = Connection::new(&settings, Tick::from_millis(0));
    let mut echo = Echo::default();
    let mut out = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = random.of(&[1, 100, 5_000, 65_536]);
        let read = if echo.is_busy() {
            // Gives the client a turn, then goes on with what waits.
            tokio::select! {
                biased;
                read = pipe.read(&mut buffer[..most]) => read,
                () = tokio::task::yield_now() => Ok(usize::MAX),
            }
        } else {
            pipe.read(&mut buffer[..most]).await
        };
        match read {
            Ok(0) | Err(_) => connection.disconnected(&mut echo),
            Ok(usize::MAX) => {}
            Ok(len) => connection.input(&buffer[..len], Tick::from_millis(0), &mut out, &mut echo),
        }
        echo.act(&mut connection, &mut random, &mut out);
        while !out.is_empty() {
            if pipe.write_all(&out).await.is_err() {
                connection.disconnected(&mut echo);
            }
            out.clear();
            connection.pump(Tick::from_millis(0), &mut out);
        }
        if connection.is_closed() {
            return Served {
                end: connection.end(),
                cancelled: echo.cancelled,
                streams: connection.stream_count(),
                buffered: connection.buffered(),
            };
        }
    }
}

fn random_value(random: &mut Random) -> Vec<u8> {
    let len = random.of(&[0, 1, 5, 20, 100, 400]);
    let mut value: Vec<u8> = (0..len)
        .map(|_| match random.below(3) {
            0 => u8::try_from(random.below(94) + 33).unwrap(),
            1 => random.of(b" abcdefghijklmnop\t"),
            _ => u8::try_from(random.below(128) + 128).unwrap(),
        })
        .collect();
    while value.first().is_some_and(|byte| b" \t".contains(byte)) {
        value.remove(0);
    }
    while value.last().is_some_and(|byte| b" \t".contains(byte)) {
        value.pop();
    }
    value
}

/// One call; checks what comes back. One in ten may be given up on the way.
async fn call(client: SendRequest<Bytes>, mut random: Random, grpc: bool, longest: usize) {
    let path = random.of(&["/echo/now", "/echo/now", "/echo/metadata", "/echo/later"]);
    let mut request = Request::post(format!("http://host{path}"));
    if grpc {
        request = request.header("content-type", "application/grpc").header("te", "trailers");
    }
    let mut sent = Vec::new();
    for _ in 0..random.below(5) {
        let name = format!("x-{}", random.below(20));
        let value = if random.one_in(2) { b"the same".to_vec() } else { random_value(&mut random) };
        request = request.header(&name, HeaderValue::from_bytes(&value).unwrap());
        sent.push((name, value));
    }
    let len = random.of(&[0, 1, 64, 64, 64, 1_000, 16_379, 16_380, 70_000, 200_000]);
    let payload: Vec<u8> = (0..len.min(longest)).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let body = if grpc { crate::peer::message(&payload) } else { payload.clone() };
    let mut client = client.ready().await.unwrap();
    let trailers = !grpc && random.one_in(2);
    let (response, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let cancel = random.one_in(10);
    let mut rest = Bytes::from(body.clone());
    let most = random.of(&[1_000, 20_000, 1 << 20]);
    let send = async {
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len().min(most));
            let Some(Ok(capacity)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                return;
            };
            let part = rest.split_to(capacity.min(rest.len()));
            if cancel && random.one_in(2) {
                stream.send_reset(h2::Reason::CANCEL);
                return;
            }
            if stream.send_data(part, false).is_err() {
                return;
            }
        }
        if trailers {
            let mut fields = http::HeaderMap::new();
            fields.insert("x-end", HeaderValue::from_static("reached"));
            let _ = stream.send_trailers(fields);
        } else {
            let _ = stream.send_data(Bytes::new(), true);
        }
    };
    let receive = async {
        // Whoever gives up reads on until then: an echo that nobody reads stalls its own request.
        let response = match response.await {
            Err(_) if cancel => return,
            response => response.expect("an answer"),
        };
        assert_eq!(response.status(), 200);
        let metadata = !grpc || path != "/echo/now";
        if metadata {
            let mut got: Vec<_> = response
                .headers()
                .iter()
                .filter(|(name, _)| name.as_str().starts_with("x-"))
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            let mut sent = sent.clone();
            got.sort();
            sent.sort();
            assert_eq!(got, sent);
        }
        let mut received = Vec::new();
        let mut body_in = response.into_body();
        while let Some(chunk) = body_in.data().await {
            let chunk = match chunk {
                Err(_) if cancel => return,
                chunk => chunk.expect("a chunk"),
            };
            body_in.flow_control().release_capacity(chunk.len()).unwrap();
            received.extend(chunk);
        }
        assert!(received == body, "{} bytes for {}", received.len(), body.len());
        let ending = match body_in.trailers().await {
            Err(_) if cancel => return,
            ending => ending.expect("trailers"),
        };
        if grpc {
            assert_eq!(ending.unwrap()["grpc-status"], "0");
        } else if trailers {
            assert_eq!(ending.unwrap()["x-end"], "reached");
        } else {
            assert!(ending.is_none());
        }
    };
    tokio::join!(send, receive);
}

/// One connection with `calls` calls, `concurrent` at a time.
async fn converse(seed: u64, calls: usize, concurrent: usize) -> Served {
    let mut random = Random::new(seed);
    let (ours, theirs) = tokio::io::duplex(random.of(&[100, 10_000, 200_000]));
    let offered = Settings {
        stream_window: random.of(&[65_535, 300_000]),
        connection_window: random.of(&[65_535, 1 << 20]),
        header_memo: random.one_in(2),
        output_bytes: random.of(&[100, 20_000, 256 << 10]),
        send_buffer: random.of(&[1_000, 64 << 10]),
        ..Settings::default()
    };
    let server = tokio::task::spawn_local(serve(ours, offered, Random::new(seed + 1)));
    let window = random.of(&[1, 1_000, 65_535, 1 << 20]);
    // Small windows take a frame or two for each of their fills.
    let longest = usize::try_from(window).unwrap() * 300;
    let (client, connection) = client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(random.of(&[65_535, 1 << 20]))
        .max_frame_size(random.of(&[16_384, 100_000]))
        .header_table_size(random.of(&[0, 100, 4_096, 65_536]))
        .max_concurrent_reset_streams(1_000)
        .handshake::<_, Bytes>(theirs)
        .await
        .unwrap();
    let driver = tokio::task::spawn_local(async move { connection.await.unwrap() });
    let gate = Arc::new(tokio::sync::Semaphore::new(concurrent));
    let mut running = tokio::task::JoinSet::new();
    for at in 0..calls {
        let permit = gate.clone().acquire_owned().await.unwrap();
        let client = client.clone();
        let random = Random::new(seed << 20 | at as u64);
        let grpc = at % 3 != 0;
        running.spawn_local(async move {
            call(client, random, grpc, longest).await;
            drop(permit);
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    drop(client);
    driver.await.unwrap();
    server.await.unwrap()
}

/// `HTTP2_CORE_CONVERSATIONS` sets how many connections are tried.
fn conversations() -> u64 {
    std::env::var("HTTP2_CORE_CONVERSATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(25)
}

#[test]
fn another_client_agrees_on_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut cancelled = 0;
        for seed in 1..=conversations() {
            let talk = converse(seed, 120, 1 + usize::try_from(seed).unwrap() * 3);
            let served = tokio::time::timeout(std::time::Duration::from_secs(60), talk).await;
            let served = served.unwrap_or_else(|_| panic!("the conversation of seed {seed} hangs"));
            assert!(matches!(served.end, Some(End::Disconnected)), "seed {seed}: {:?}", served.end);
            assert_eq!((served.streams, served.buffered), (0, 0));
            cancelled += served.cancelled;
        }
        let few = usize::try_from(conversations() / 2).unwrap();
        assert!(cancelled > few, "some calls were given up while they waited: {cancelled}");
    });
}
