//! Connections that ask for too much: each limit, one past it, and what the peer gets to see.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serve_host::{Cut, Server, TransportLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server;
use crate::client::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, call_headers, frame, framed,
};
use crate::host::eventually;

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(10);

fn limits(change: impl FnOnce(&mut TransportLimits)) -> TransportLimits {
    let mut limits = TransportLimits::default();
    change(&mut limits);
    limits
}

/// Whether the server still answers.
async fn assert_alive(server: &Server) {
    assert_eq!(Client::connect(server.local_addr()).await.call("Echo", "hi").await.payload(), b"hi");
}

/// The last GOAWAY in what a server sent: its error code.
fn farewell(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes;
    let mut code = None;
    while let Some((head, tail)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == GOAWAY {
            code = Some(u32::from_be_bytes(tail[4..8].try_into().unwrap()));
        }
        rest = tail.get(length..)?;
    }
    code
}

const NO_ERROR: Option<u32> = Some(0);
const ENHANCE_YOUR_CALM: Option<u32> = Some(11);

#[tokio::test]
async fn connections_have_a_limit_in_all_and_per_address() {
    for (max, max_per_ip, reason) in [(3, 100, Cut::TooManyConnections), (100, 3, Cut::TooManyFromAddress)] {
        let (server, _) = server(limits(|limits| {
            limits.connections.max = max;
            limits.connections.max_per_ip = max_per_ip;
        }));
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(Client::connect(server.local_addr()).await);
            assert_eq!(kept.last().unwrap().call("Echo", "hi").await.payload(), b"hi");
        }
        let mut refused = Raw::connect(server.local_addr()).await;
        assert_eq!(refused.until_closed(SOON).await, b"");
        eventually("it is counted", || server.stats().cut(reason) == 1).await;
        drop(kept);
        eventually("the places are free again", || server.open_connections() == 0).await;
        assert_alive(&server).await;
    }
}

#[tokio::test]
async fn whoever_does_not_finish_saying_hello_is_cut_off() {
    let (server, _) = server(limits(|limits| limits.connections.handshake_timeout = 300 * MS));
    let beginnings: [&[u8]; 5] =
        [b"", b"P", &PREFACE[..20], b"GET / HT", b"POST /x HTTP/1.1\r\nhost: x\r\nx-slow: "];
    let mut peers = Vec::new();
    for beginning in beginnings {
        let mut peer = Raw::connect(server.local_addr()).await;
        peer.write(beginning).await;
        peers.push(peer);
    }
    let begun = Instant::now();
    for peer in &mut peers {
        peer.until_closed(SOON).await;
    }
    assert!(begun.elapsed() >= 200 * MS);
    let cut = |reason| server.stats().cut(reason);
    eventually("all are counted", || (cut(Cut::HandshakeTimeout), cut(Cut::HeaderTimeout)) == (3, 2)).await;
    eventually("all are gone", || server.open_connections() == 0).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn an_http1_head_that_dribbles_does_not_gain_time() {
    let (server, _) = server(limits(|limits| limits.connections.handshake_timeout = 300 * MS));
    let mut peer = Raw::connect(server.local_addr()).await;
    peer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = [0; 512];
    assert!(peer.stream.read(&mut answer).await.unwrap() > 0);
    // Between two requests it may be silent for longer than a head may take.
    tokio::time::sleep(600 * MS).await;
    peer.write(b"GET /healthz HTTP/1.1\r\n").await;
    let begun = Instant::now();
    while peer.stream.write_all(b"x: y\r\n").await.is_ok() && begun.elapsed() < SOON {
        tokio::time::sleep(20 * MS).await;
    }
    assert!((200 * MS..5000 * MS).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    eventually("it is counted", || server.stats().cut(Cut::HeaderTimeout) == 1).await;
}

#[tokio::test]
async fn five_hundred_silent_connections_harm_nobody_and_are_gone_in_time() {
    let (server, _) = server(limits(|limits| {
        limits.connections.handshake_timeout = 1000 * MS;
        limits.connections.max_per_ip = 2000;
    }));
    let mut peers = Vec::new();
    for number in 0..500 {
        let mut peer = Raw::connect(server.local_addr()).await;
        peer.write(if number % 2 == 0 { &PREFACE[..10] } else { b"GET / HTTP/1.1\r\n" }).await;
        peers.push(peer);
    }
    assert_alive(&server).await;
    for peer in &mut peers {
        peer.until_closed(SOON).await;
    }
    eventually("all are counted", || {
        server.stats().cut(Cut::HandshakeTimeout) + server.stats().cut(Cut::HeaderTimeout) == 500
    })
    .await;
}

#[tokio::test]
async fn what_is_no_http_is_read_and_closed_without_a_reset() {
    let (server, _) = server(TransportLimits::default());
    for hello in [
        &b"\x16\x03\x01\x02\0\x01\0"[..],
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(hello).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let mut rest = Vec::new();
        // A reset would be an error here.
        stream.read_to_end(&mut rest).await.unwrap();
    }
    eventually("all are counted", || server.stats().cut(Cut::Protocol) == 3).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let (server, _) = server(limits(|limits| limits.connections.idle_timeout = 300 * MS));
    let client = Client::connect(server.local_addr()).await;
    assert_eq!(client.call("Later", "600").await.payload(), b"600", "a call is not idle");
    assert!(!client.has_ended());
    eventually("the client has gone", || client.has_ended()).await;
    assert_eq!(server.stats().cut(Cut::Idle), 1);

    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    raw.find("GOAWAY", |frame| frame.kind == GOAWAY && frame.payload[4..8] == [0; 4]).await;
}

#[tokio::test]
async fn a_connection_that_ignores_goaway_is_closed() {
    let (server, _) = server(limits(|limits| limits.connections.idle_timeout = 100 * MS));
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let bytes = raw.until_closed(SOON).await;
    assert_eq!(farewell(&bytes), NO_ERROR);
    eventually("it is counted", || server.stats().cut(Cut::Overstayed) == 1).await;
}

#[tokio::test]
async fn an_old_connection_finishes_its_calls_and_goes() {
    let (server, _) = server(limits(|limits| limits.connections.max_age = Some(300 * MS)));
    let client = Client::connect(server.local_addr()).await;
    assert_eq!(client.call("Later", "900").await.payload(), b"900");
    eventually("the client has gone", || client.has_ended()).await;
    assert_eq!(server.stats().cut(Cut::MaxAge), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_gone() {
    let (server, _) = server(limits(|limits| {
        limits.connections.keepalive_interval = 100 * MS;
        limits.connections.keepalive_timeout = 100 * MS;
    }));
    let client = Client::connect(server.local_addr()).await;
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    raw.find("a PING", |frame| frame.kind == PING).await;
    raw.until_closed(SOON).await;
    eventually("it is counted", || server.stats().cut(Cut::KeepAlive) == 1).await;
    assert_eq!(client.call("Echo", "hi").await.payload(), b"hi", "whoever answers stays");
}

#[tokio::test]
async fn streams_have_a_limit_that_is_announced_and_kept() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let settings = raw.find("SETTINGS", |frame| frame.kind == SETTINGS && frame.flags == 0).await.payload;
    let announced = |id: u16| {
        let mut entries = settings.chunks(6).filter(|entry| entry[..2] == id.to_be_bytes());
        entries.next().map(|entry| u32::from_be_bytes(entry[2..6].try_into().unwrap()))
    };
    assert_eq!((announced(3), announced(6), announced(4)), (Some(200), Some(16 << 10), Some(1 << 20)));
    for number in 0..201 {
        raw.open_call(2 * number + 1, "Echo").await;
    }
    let refused = raw.find("RST_STREAM", |frame| frame.kind == RST_STREAM).await;
    assert_eq!((refused.stream, refused.payload), (401, 7_u32.to_be_bytes().to_vec()), "REFUSED_STREAM");
}

#[tokio::test]
async fn a_header_list_over_the_limit_is_refused() {
    let (server, host) = server(TransportLimits::default());
    let client = Client::connect(server.local_addr()).await;
    let value = "x".repeat(15_000);
    assert_eq!(client.send("Echo", &[("x-a", &value)], &[framed(0, b"hi")]).await.code(), 0);
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let mut block = call_headers("Echo");
    for _ in 0..20 {
        // Literal without indexing, a name of three bytes and a value of a thousand.
        block.extend([0, 3, b'x', b'-', b'a', 0x7f, 0xe9, 0x06]);
        block.extend([b'y'; 1000]);
    }
    raw.frame(HEADERS, END_STREAM, 1, &block[..16_000]).await;
    raw.frame(CONTINUATION, END_HEADERS, 1, &block[16_000..]).await;
    let answer = raw.find("an answer", |frame| matches!(frame.kind, HEADERS | RST_STREAM)).await;
    assert_eq!((answer.kind, answer.stream), (HEADERS, 1), "431, as hyper answers");
    assert_eq!(host.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn rapid_reset_is_cut_off() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let mut flood = Vec::new();
    for number in 0..2000_u32 {
        let stream = 2 * number + 1;
        flood.extend(frame(HEADERS, END_HEADERS, stream, &call_headers("Later")));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = raw.stream.write_all(&flood).await;
    assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);
    eventually("it is counted", || server.stats().cut(Cut::Flood) == 1).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn resets_that_the_peer_provokes_are_limited() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    for batch in 0..30_u32 {
        let mut bytes = Vec::new();
        for number in 0..100 {
            let stream = 2 * (batch * 100 + number) + 1;
            bytes.extend(frame(HEADERS, END_HEADERS, stream, &call_headers("Later")));
            bytes.extend(frame(WINDOW_UPDATE, 0, stream, &overflow));
        }
        if raw.stream.write_all(&bytes).await.is_err() {
            break;
        }
        tokio::time::sleep(2 * MS).await;
    }
    assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);
    eventually("it is counted", || server.stats().cut(Cut::Flood) == 1).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn calls_that_are_taken_back_at_once_are_limited() {
    for (count, cut) in [(5, 0), (6, 1)] {
        let (server, _) = server(limits(|limits| limits.http2.max_pending_resets = 5));
        let mut raw = Raw::hello(server.local_addr(), &[]).await;
        let mut burst = Vec::new();
        for number in 0..count {
            let stream = 2 * number + 1;
            burst.extend(frame(HEADERS, END_HEADERS, stream, &call_headers("Echo")));
            // Some are whole, others not yet.
            if number % 2 == 0 {
                burst.extend(frame(DATA, END_STREAM, stream, &framed(0, b"hi")));
            }
            burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        raw.write(&burst).await;
        if cut == 0 {
            raw.call(101, "Echo", b"hi").await;
            raw.find("an answer", |frame| frame.kind == HEADERS && frame.stream == 101).await;
        } else {
            assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);
            eventually("it is counted", || server.stats().cut(Cut::Flood) == 1).await;
        }
        assert_eq!(server.stats().cut(Cut::Flood), cut);
    }
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_whoever_goes_on_is_cut_off_once() {
    let (server, _) = server(limits(|limits| {
        limits.http2.max_streams = 10;
        limits.http2.max_local_resets = 50;
    }));
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    for number in 0..12 {
        raw.open_call(2 * number + 1, "Echo").await;
    }
    raw.find("the second refusal", |frame| frame.kind == RST_STREAM && frame.stream == 23).await;
    assert_eq!(server.stats().cuts().map(|(_, count)| count).sum::<u64>(), 0, "they may be tried again");
    let flood: Vec<u8> = (12..2000_u32)
        .flat_map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, &call_headers("Echo")))
        .collect();
    let _ = raw.stream.write_all(&flood).await;
    assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);
    eventually("it is counted", || server.stats().cut(Cut::Flood) == 1).await;
    assert_eq!(server.stats().cuts().map(|(_, count)| count).sum::<u64>(), 1);
}

#[tokio::test]
async fn the_table_that_compresses_headers_has_the_size_that_is_set() {
    for size in [0, 100, 65_536] {
        let (server, _) = server(limits(|limits| limits.http2.header_table = size));
        let mut raw = Raw::hello(server.local_addr(), &[]).await;
        let settings = raw.find("SETTINGS", |frame| frame.kind == SETTINGS && frame.flags == 0).await.payload;
        let told = settings.chunks(6).find(|entry| entry[..2] == [0, 1]).map(|entry| entry[2..6].to_vec());
        assert_eq!(told, Some(size.to_be_bytes().to_vec()));
        // A client that keeps to it is served; a name of its own would be in the table the second time.
        let client = Client::connect(server.local_addr()).await;
        for _ in 0..3 {
            let reply = client.send("Echo", &[("x-mine", "value")], &[framed(0, b"hi")]).await;
            assert_eq!(reply.payload(), b"hi");
        }
        // A table that is larger than that is refused.
        raw.frame(SETTINGS, 1, 0, &[]).await;
        let mut block = vec![0x3f, 0xe2, 0xff, 0x03];
        block.extend(call_headers("Echo"));
        raw.frame(HEADERS, END_HEADERS, 1, &block).await;
        let farewell = farewell(&raw.until_closed(SOON).await);
        // hyper calls it a PROTOCOL_ERROR.
        assert!(matches!(farewell, Some(9 | 1)), "COMPRESSION_ERROR, not {farewell:?}");
    }
}

#[tokio::test]
async fn endless_continuations_and_empty_data_are_cut_off() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    raw.frame(HEADERS, 0, 1, &call_headers("Echo")).await;
    let _ = raw.stream.write_all(&frame(CONTINUATION, 0, 1, b"").repeat(20_000)).await;
    assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);

    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    raw.open_call(1, "Echo").await;
    let _ = raw.stream.write_all(&frame(DATA, 0, 1, b"").repeat(20_000)).await;
    assert_eq!(farewell(&raw.until_closed(SOON).await), ENHANCE_YOUR_CALM);
    eventually("both are counted", || server.stats().cut(Cut::Flood) == 2).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_client_that_opens_no_window_loses_its_stream_and_keeps_its_connection() {
    let (server, _) = server(limits(|limits| limits.connections.write_timeout = 300 * MS));
    // A stream window of nothing (4 = INITIAL_WINDOW_SIZE).
    let mut raw = Raw::hello(server.local_addr(), &[(4, 0)]).await;
    raw.call(1, "Size", b"500000").await;
    raw.find("the head of the response", |frame| frame.kind == HEADERS && frame.stream == 1).await;
    let reset = raw.find("RST_STREAM", |frame| frame.kind == RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (1, 8_u32.to_be_bytes().to_vec()), "CANCEL");
    assert_eq!(server.stats().cut(Cut::WriteStall), 1);
    raw.call(3, "Fail", b"").await;
    raw.find("another answer", |frame| frame.kind == HEADERS && frame.stream == 3).await;
    assert_eq!(server.grpc().bytes_in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_its_response() {
    let (server, _) = server(limits(|limits| limits.connections.write_timeout = 4000 * MS));
    let mut raw = Raw::hello(server.local_addr(), &[(4, 1000)]).await;
    raw.call(1, "Size", b"50000").await;
    let mut got = 0;
    loop {
        let frame =
            raw.find("DATA or trailers", |frame| matches!(frame.kind, DATA | HEADERS | RST_STREAM)).await;
        assert_ne!(frame.kind, RST_STREAM);
        if frame.flags & END_STREAM != 0 {
            break;
        }
        if frame.kind == DATA {
            got += frame.payload.len();
            tokio::time::sleep(30 * MS).await;
            let more = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
            raw.frame(WINDOW_UPDATE, 0, 1, &more).await;
        }
    }
    assert_eq!(got, 50_005);
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_and_what_it_held_is_given_back() {
    let (server, _) = server(limits(|limits| limits.connections.write_timeout = 300 * MS));
    // The largest windows: only the socket itself holds anything back.
    let mut raw = Raw::hello(server.local_addr(), &[(4, 0x7fff_ffff)]).await;
    raw.frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()).await;
    for number in 0..4 {
        raw.call(2 * number + 1, "Size", b"15000000").await;
    }
    eventually("a response is in flight", || server.grpc().bytes_in_flight() > 1_000_000).await;
    eventually("the connection is cut off", || server.stats().cut(Cut::WriteStall) > 0).await;
    eventually("nothing is held", || server.grpc().bytes_in_flight() == 0).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn pings_and_settings_without_end_do_not_stop_the_service() {
    let (server, _) = server(TransportLimits::default());
    let mut raw = Raw::hello(server.local_addr(), &[]).await;
    let (mut reader, mut writer) = raw.stream.split();
    let flood = [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat().repeat(100);
    let write = async {
        for _ in 0..50 {
            if writer.write_all(&flood).await.is_err() {
                break;
            }
        }
    };
    let mut sink = vec![0; 1 << 16];
    let read = async { while matches!(reader.read(&mut sink).await, Ok(1..)) {} };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    assert_alive(&server).await;
}
