//! Clients that mean harm, one kind after the other, against the real binary over both transports. Each
//! is cut off by its limit, named in a metric and in a log that it cannot flood, and beside each a client
//! that behaves gets every answer.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::future::try_join_all;
use tests::admin::Metrics;
use tests::bystander::Bystander;
use tests::process::Process;
use tests::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW, PING, PRIORITY, RST_STREAM,
    Raw, SETTINGS, WINDOW_UPDATE, call_headers, frame, message,
};
use tests::server::{Okra, Serve};
use tests::{documented_graph, eventually, say};

/// A way to do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    SilentConnections,
    SlowPrefaces,
    SlowHttp1Heads,
    HalfHeaderBlocks,
    SlowBodies,
    StalledBodies,
    SlowReaders,
    StreamFlood,
    RapidReset,
    MadeYouReset,
    ResetByProtocolError,
    ContinuationFlood,
    EmptyData,
    SettingsFlood,
    PingFlood,
    PriorityFlood,
    HpackBomb,
    HeaderFlood,
    Http1HeaderFlood,
    GzipBomb,
    ZstdBomb,
    NoHttp,
}

/// The limits of the server under attack, short enough for a test.
const LIMITS: [(&str, &str); 7] = [
    ("--connections-handshake-timeout", "1s"),
    ("--connections-idle-timeout", "1s"),
    ("--connections-max-age-grace", "2s"),
    ("--connections-body-timeout", "2s"),
    ("--connections-body-idle-timeout", "1s"),
    ("--connections-write-timeout", "1s"),
    ("--connections-max-per-ip", "3000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_are_cut_off_and_harm_nobody_over_tonic() -> anyhow::Result<()> {
    all_attacks_over("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_are_cut_off_and_harm_nobody_over_native() -> anyhow::Result<()> {
    all_attacks_over("native").await
}

async fn all_attacks_over(transport: &str) -> anyhow::Result<()> {
    let echo = Serve::graphs(documented_graph("echo.json")).flag("--transport", transport);
    let okra = LIMITS.into_iter().fold(echo, |serve, (name, value)| serve.flag(name, value)).start().await?;
    let mut harmed = Vec::new();
    for attack in Attack::ALL {
        match withstands(&okra, transport, attack).await {
            Ok(figures) => say(format!("{transport}: {attack:?}: {figures}")),
            Err(error) => harmed.push(format!("{attack:?}: {error:#}")),
        }
    }
    ensure!(harmed.is_empty(), "{transport}:\n{}", harmed.join("\n"));
    let metrics = okra.admin().metrics().await?;
    ensure!(metrics.sum("okra_connections_cut_total", &["panicked"]) < 0.5, "something panicked");
    ensure!(metrics.sum("okra_messages_in_flight_bytes", &[]) < 0.5, "bytes are held for nobody");
    Ok(())
}

/// Attacks, and tells what became of it.
async fn withstands(okra: &Okra, transport: &str, attack: Attack) -> anyhow::Result<String> {
    let process = Process(okra.id());
    let metrics = okra.admin().metrics().await?;
    let lines = okra.log().count("\"WARN\"");
    let before = process.holding()?.memory_kib;
    process.forget_peak()?;
    let bystander = Bystander::start(okra, METHOD).await?;
    let begun = Instant::now();
    let attacked = attack.run(okra).await;
    let peak = process.peak_kib()?;
    let elapsed = begun.elapsed();
    let seen = bystander.stop().await?;

    let held = attacked?;
    let (name, reason, at_least) = attack.trace(transport);
    let label = format!("reason=\"{reason}\"");
    let count = |metrics: &Metrics| metrics.sum(name, &[&label]);
    let cut = eventually(&format!("{at_least} of {reason}"), async || {
        let more = count(&okra.admin().metrics().await?) - count(&metrics);
        Ok((more >= at_least).then_some(more))
    })
    .await?;
    ensure!(seen.problems.is_empty() && seen.answered > 0, "the bystander saw {seen:?}");
    eventually(&format!("a line that says {reason}"), async || {
        Ok(okra.log().contains(&format!("\"reason\":\"{reason}\"")).then_some(()))
    })
    .await?;
    // A second of any reason has one line; a few reasons may come together.
    let lines = okra.log().count("\"WARN\"") - lines;
    let most = 3 * (2 + usize::try_from(elapsed.as_secs())?);
    ensure!(lines <= most, "{lines} lines in the log, more than {most}");
    drop(held);
    eventually("its connections to be gone", async || {
        Ok((okra.admin().metrics().await?.sum("okra_connections_open", &[]) < 2.5).then_some(()))
    })
    .await?;
    let after = process.holding()?.memory_kib;
    ensure!(peak.saturating_sub(before) < MOST_MEMORY_KIB, "memory rose from {before} to {peak} KiB");
    Ok(format!(
        "{reason} {cut}, {lines} lines, {:.1} s; {} calls beside it, slowest {:.0} ms; MiB {} > {} > {}",
        elapsed.as_secs_f64(),
        seen.answered,
        seen.slowest.as_secs_f64() * 1e3,
        before / 1024,
        peak / 1024,
        after / 1024
    ))
}

// === impl Attack ===

impl Attack {
    const ALL: [Self; 22] = [
        Self::SilentConnections,
        Self::SlowPrefaces,
        Self::SlowHttp1Heads,
        Self::HalfHeaderBlocks,
        Self::SlowBodies,
        Self::StalledBodies,
        Self::SlowReaders,
        Self::StreamFlood,
        Self::RapidReset,
        Self::MadeYouReset,
        Self::ResetByProtocolError,
        Self::ContinuationFlood,
        Self::EmptyData,
        Self::SettingsFlood,
        Self::PingFlood,
        Self::PriorityFlood,
        Self::HpackBomb,
        Self::HeaderFlood,
        Self::Http1HeaderFlood,
        Self::GzipBomb,
        Self::ZstdBomb,
        Self::NoHttp,
    ];

    /// The metric that names it, the reason there, and how often at least.
    fn trace(self, transport: &str) -> (&'static str, &'static str, f64) {
        const CUT: &str = "okra_connections_cut_total";
        const REFUSED: &str = "okra_requests_refused_total";
        let many = f64::from(MANY);
        match self {
            Self::HpackBomb if transport == "tonic" => (CUT, "flood", FEW),
            Self::SilentConnections => (CUT, "handshake_timeout", f64::from(SILENT)),
            Self::SlowPrefaces => (CUT, "handshake_timeout", many),
            Self::SlowHttp1Heads | Self::HalfHeaderBlocks => (CUT, "header_timeout", many),
            Self::SlowBodies => (REFUSED, "slow_body", many),
            Self::StalledBodies => (REFUSED, "stalled_body", many),
            Self::SlowReaders => (CUT, "write_stall", many),
            Self::StreamFlood
            | Self::RapidReset
            | Self::MadeYouReset
            | Self::ResetByProtocolError
            | Self::ContinuationFlood
            | Self::EmptyData
            | Self::SettingsFlood
            | Self::PingFlood
            | Self::PriorityFlood => (CUT, "flood", FEW),
            Self::HpackBomb | Self::HeaderFlood | Self::Http1HeaderFlood => (CUT, "head_too_large", FEW),
            Self::GzipBomb | Self::ZstdBomb => (REFUSED, "too_large", FEW),
            Self::NoHttp => (CUT, "protocol", FEW),
        }
    }

    /// Attacks, and gives the connections that are still of use.
    async fn run(self, okra: &Okra) -> anyhow::Result<Vec<Raw>> {
        let address = okra.service();
        let connect = async || Raw::connect(address).await;
        let hello = async || Raw::hello(address, &[]).await;
        match self {
            Self::SilentConnections => {
                let peers = try_join_all((0..SILENT).map(|_| connect())).await?;
                all_closed(peers).await
            }
            Self::SlowPrefaces => {
                let bytes = || tests::raw::PREFACE[..20].iter().map(|byte| vec![*byte]);
                try_join_all((0..MANY).map(async |_| connect().await?.dribble(bytes(), PAUSE, SOON).await))
                    .await?;
                Ok(Vec::new())
            }
            Self::SlowHttp1Heads => {
                let head = || [b"POST /echo.Echo/Say HTTP/1.1\r\n".to_vec()].into_iter();
                let lines = || head().chain((0..1000).map(|_| b"x: y\r\n".to_vec()));
                try_join_all((0..MANY).map(async |_| connect().await?.dribble(lines(), PAUSE, SOON).await))
                    .await?;
                Ok(Vec::new())
            }
            Self::HalfHeaderBlocks => {
                let half = frame(HEADERS, 0, 1, &call_headers(METHOD));
                let peers = try_join_all((0..MANY).map(async |_| said(hello().await?, &half).await)).await?;
                all_closed(peers).await
            }
            Self::SlowBodies => {
                let bytes = || {
                    let begun = [
                        frame(HEADERS, END_HEADERS, 1, &call_headers(METHOD)),
                        frame(DATA, 0, 1, &[0, 0, 0, 0xff, 0xff]),
                    ]
                    .concat();
                    [begun].into_iter().chain((0..1000).map(|_| frame(DATA, 0, 1, b"x")))
                };
                // The stream is answered; the connection goes when nothing is left on it.
                try_join_all((0..MANY).map(async |_| hello().await?.dribble(bytes(), PAUSE, SOON).await))
                    .await?;
                Ok(Vec::new())
            }
            Self::StalledBodies => {
                let half = [
                    frame(HEADERS, END_HEADERS, 1, &call_headers(METHOD)),
                    frame(DATA, 0, 1, &[0, 0, 0, 0, 9, b'x']),
                ]
                .concat();
                let peers = try_join_all((0..MANY).map(async |_| said(hello().await?, &half).await)).await?;
                Ok(peers)
            }
            // They stay: what is cut off is their stream.
            Self::SlowReaders => {
                let call = call(1, METHOD, &[b'x'; 60_000]);
                try_join_all(
                    (0..MANY)
                        .map(async |_| said(Raw::hello(address, &[(INITIAL_WINDOW, 0)]).await?, &call).await),
                )
                .await
            }
            Self::StreamFlood => {
                let streams = |number| frame(HEADERS, END_HEADERS, stream(number), &call_headers(METHOD));
                until_cut(hello().await?, streams).await
            }
            Self::RapidReset => {
                until_cut(hello().await?, |number| {
                    let id = stream(number);
                    [
                        frame(HEADERS, END_HEADERS, id, &call_headers(METHOD)),
                        frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()),
                    ]
                    .concat()
                })
                .await
            }
            Self::MadeYouReset => {
                until_cut(hello().await?, |number| {
                    let id = stream(number);
                    [
                        frame(HEADERS, END_HEADERS, id, &call_headers(METHOD)),
                        frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes()),
                    ]
                    .concat()
                })
                .await
            }
            Self::ResetByProtocolError => {
                // More bytes than `content-length` has promised are an error of the stream.
                let block = [&call_headers(METHOD)[..], &[0x0f, 0x0d, 1, b'1']].concat();
                until_cut(hello().await?, |number| {
                    let id = stream(number);
                    [frame(HEADERS, END_HEADERS, id, &block), frame(DATA, 0, id, b"more")].concat()
                })
                .await
            }
            Self::ContinuationFlood => {
                let mut raw = said(hello().await?, &frame(HEADERS, 0, 1, &call_headers(METHOD))).await?;
                flooded(raw.flood(&frame(CONTINUATION, 0, 1, b"").repeat(100), SOON).await)
            }
            Self::EmptyData => {
                let mut raw =
                    said(hello().await?, &frame(HEADERS, END_HEADERS, 1, &call_headers(METHOD))).await?;
                flooded(raw.flood(&frame(DATA, 0, 1, b"").repeat(100), SOON).await)
            }
            Self::SettingsFlood => {
                flooded(hello().await?.flood(&frame(SETTINGS, 0, 0, &[]).repeat(100), SOON).await)
            }
            Self::PingFlood => {
                flooded(hello().await?.flood(&frame(PING, 0, 0, &[0; 8]).repeat(100), SOON).await)
            }
            Self::PriorityFlood => flooded(
                hello().await?.flood(&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]).repeat(100), SOON).await,
            ),
            Self::HpackBomb => {
                // One large field goes into the table, and then a byte each brings it out again.
                let mut block = call_headers(METHOD);
                block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
                block.extend([b'y'; 4000]);
                block.extend([0xbe; 10_000]);
                let bomb = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
                answered(said(hello().await?, &bomb).await?).await
            }
            Self::HeaderFlood => {
                let mut block = call_headers(METHOD);
                for _ in 0..20 {
                    block.extend([0, 3, b'x', b'-', b'a', 0x7f, 0xe9, 0x06]);
                    block.extend([b'y'; 1000]);
                }
                let rest = frame(CONTINUATION, END_HEADERS, 1, &block[10_000..]);
                let flood = [frame(HEADERS, END_STREAM, 1, &block[..10_000]), rest].concat();
                answered(said(hello().await?, &flood).await?).await
            }
            Self::Http1HeaderFlood => {
                let mut flood = b"POST /echo.Echo/Say HTTP/1.1\r\nhost: x\r\n".to_vec();
                flood.extend(b"x: y\r\n".repeat(200));
                flood.extend(b"\r\n");
                all_closed(vec![said(connect().await?, &flood).await?]).await
            }
            Self::GzipBomb | Self::ZstdBomb => {
                let (encoding, bomb) =
                    if self == Self::GzipBomb { ("gzip", gzip_bomb()?) } else { ("zstd", zstd_bomb()?) };
                let mut block = call_headers(METHOD);
                block.extend([0, 13]);
                block.extend(b"grpc-encoding");
                block.push(4);
                block.extend(encoding.as_bytes());
                let mut bytes = frame(HEADERS, END_HEADERS, 1, &block);
                let framed = message(1, &bomb);
                for piece in framed.chunks(16_000) {
                    bytes.extend(frame(DATA, 0, 1, piece));
                }
                bytes.extend(frame(DATA, END_STREAM, 1, &[]));
                answered(said(hello().await?, &bytes).await?).await
            }
            Self::NoHttp => {
                all_closed(vec![said(connect().await?, b"\x16\x03\x01\x02\0\x01\0\x01\xfc").await?]).await
            }
        }
    }
}

/// Whether the server ended it.
fn flooded(closed: bool) -> anyhow::Result<Vec<Raw>> {
    ensure!(closed, "still open after {SOON:?}");
    Ok(Vec::new())
}

async fn said(mut raw: Raw, bytes: &[u8]) -> anyhow::Result<Raw> {
    raw.write(bytes).await?;
    Ok(raw)
}

async fn all_closed(mut peers: Vec<Raw>) -> anyhow::Result<Vec<Raw>> {
    for peer in &mut peers {
        peer.until_closed(SOON).await?;
    }
    Ok(peers)
}

/// Waits for an answer: a head or a reset of the first stream, or the end of the connection.
async fn answered(mut raw: Raw) -> anyhow::Result<Vec<Raw>> {
    raw.find(SOON, |kind, stream| {
        stream == 1 && matches!(kind, HEADERS | RST_STREAM) || stream == 0 && kind == GOAWAY
    })
    .await?;
    Ok(vec![raw])
}

/// Writes ever more pieces until the server closes.
async fn until_cut(mut raw: Raw, piece: impl Fn(u32) -> Vec<u8>) -> anyhow::Result<Vec<Raw>> {
    let batch = |batch: u32| (batch * 100..(batch + 1) * 100).flat_map(&piece).collect::<Vec<u8>>();
    raw.dribble((0..10_000).map(batch), Duration::from_millis(1), SOON).await?;
    Ok(vec![raw])
}

/// The id of the stream of that number.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// A whole call.
fn call(stream: u32, path: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &call_headers(path));
    let framed = message(0, payload);
    let mut pieces = framed.chunks(16_000).peekable();
    while let Some(piece) = pieces.next() {
        bytes.extend(frame(DATA, if pieces.peek().is_none() { END_STREAM } else { 0 }, stream, piece));
    }
    bytes
}

/// Zeros in a thousandth of their size.
fn gzip_bomb() -> anyhow::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; BOMB])?;
    Ok(encoder.finish()?)
}

/// Zeros in less than that.
fn zstd_bomb() -> anyhow::Result<Vec<u8>> {
    Ok(zstd::stream::encode_all(&vec![0; BOMB][..], 1)?)
}

const METHOD: &str = "/echo.Echo/Say";
/// What a compression bomb becomes.
const BOMB: usize = 64 << 20;
/// Connections that say nothing.
const SILENT: u32 = 1000;
/// Connections of an attack that needs several.
const MANY: u32 = 100;
/// One cut is enough where one connection does the harm.
const FEW: f64 = 1.0;
/// Between two pieces of what comes slowly.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an attack may last, at most.
const SOON: Duration = Duration::from_secs(12);
/// What an attack may cost at most at its peak.
const MOST_MEMORY_KIB: u64 = 64 << 10;
