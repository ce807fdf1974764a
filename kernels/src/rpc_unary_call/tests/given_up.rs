//! Calls that were given up while their answers were under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exec_plan::Code;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MESSAGE, bind, call};
use crate::upstream::servers::{ECHO, Server, context};

/// Speaks HTTP/2 by hand: answers a request that says `keep`, and answers all others after 64 of them were reset,
/// as if the answers had been under way.
async fn answers_late(mut stream: TcpStream) -> std::io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    const END_HEADERS: u8 = 4;
    const END: u8 = 5;
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let field = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut given_up, mut newest_late) = (Vec::new(), 0);
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let answer = match head[3] {
            SETTINGS if head[4] & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            DATA if payload.ends_with(b"keep") => [
                frame(
                    HEADERS,
                    END_HEADERS,
                    id,
                    &[vec![0x88], field("content-type", "application/grpc")].concat(),
                ),
                frame(DATA, 0, id, MESSAGE),
                frame(HEADERS, END, id, &field("grpc-status", "0")),
            ]
            .concat(),
            // A reset of what was answered late is the client's complaint, not another call.
            RST_STREAM if id > newest_late => {
                given_up.push(id);
                if given_up.len() < LATE {
                    continue;
                }
                newest_late = given_up.iter().copied().max().unwrap_or(0);
                given_up.drain(..).flat_map(|id| frame(HEADERS, END, id, &[0x88])).collect()
            }
            _ => continue,
        };
        stream.write_all(&answer).await?;
    }
}

/// Calls of [`answers_late`] that are given up together.
const LATE: usize = 64;

#[tokio::test]
async fn answers_to_calls_that_were_given_up_cost_no_other_call() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Server::raw({
        let connections = connections.clone();
        move |stream| {
            connections.fetch_add(1, Ordering::SeqCst);
            async move { drop(answers_late(stream).await) }
        }
    })
    .await;
    let node = bind(json!({ "target": server.url(), "method": ECHO, "max_in_flight": LATE }));
    assert_eq!(call(&node, "keep", &context(None)).await.unwrap(), "hi");
    // More of them than HTTP/2 clients put up with by default.
    for _ in 0..24 {
        let cx = context(Some(Duration::from_millis(30)));
        for outcome in futures_util::future::join_all((0..LATE).map(|_| call(&node, "x", &cx))).await {
            assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
        }
        // All of them are reset once this is answered.
        assert_eq!(call(&node, "keep", &context(None)).await.unwrap(), "hi");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}
