//! Every reply is its own caller's: calls with numbers of their own, over gRPC and Connect at once, of a
//! service in WebAssembly.
//!
//! `OKRA_LONG=1 cargo test --release -p tests --test replies` makes ten million calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use serde_json::json;
use tests::guests::rust_guest;
use tests::http::Http;
use tests::long_form;
use tests::rpc::{Call, Client};
use tests::server::{Okra, Serve, okra};

/// Numbers for calls, until there are none left.
struct Numbers {
    next: AtomicU64,
    end: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reply_is_its_own_callers() -> anyhow::Result<()> {
    let server = Serve::empty().flag("--connections-max-per-ip", 1024).start().await?;
    let package = rust_guest("greeter")?;
    let admin = server.admin().address().to_string();
    let deployed = okra(&["deploy", &package.display().to_string(), "--admin", &admin])?;
    ensure!(deployed.status.success(), "{}", deployed.stderr);

    let total: u64 = if long_form() { 10_000_000 } else { 12_000 };
    let sizes = [16, 64, 256];
    let before = server.admin().stats().await?;
    for connections in sizes {
        load(&server, connections, total / sizes.len() as u64).await?;
    }
    let after = server.admin().stats().await?;
    let expected = total / sizes.len() as u64 * sizes.len() as u64;
    assert_eq!(after.completed - before.completed, expected);
    assert_eq!(after.rejected, before.rejected);
    assert!(after.adds_up(), "{after:?}");
    Ok(())
}

/// Makes `calls` calls over this many connections: every other one speaks gRPC, several calls at a time.
async fn load(server: &Okra, connections: usize, calls: u64) -> anyhow::Result<()> {
    let numbers = Arc::new(Numbers { next: AtomicU64::new(0), end: calls });
    let mut callers = tokio::task::JoinSet::new();
    for connection in 0..connections {
        if connection % 2 == 0 {
            let client = server.client().await?;
            for _ in 0..STREAMS {
                callers.spawn(call_by_grpc(client.clone(), numbers.clone()));
            }
        } else {
            let client = Http::one(server.service()).await?;
            callers.spawn(call_by_connect(client, numbers.clone()));
        }
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn call_by_grpc(client: Client, numbers: Arc<Numbers>) -> anyhow::Result<()> {
    while let Some(number) = numbers.take() {
        let name = number.to_string();
        let mut input = vec![FIELD_1_BYTES, u8::try_from(name.len())?];
        input.extend_from_slice(name.as_bytes());
        let reply = client.call(Call::new("/myapp.Greeter/greet", input)).await?;
        let message = greeting(number);
        let mut expected = vec![FIELD_1_BYTES, u8::try_from(message.len())?];
        expected.extend_from_slice(message.as_bytes());
        ensure!(reply.payload.as_deref() == Some(&*expected), "call {number} got {reply:?}");
    }
    Ok(())
}

async fn call_by_connect(mut client: Http, numbers: Arc<Numbers>) -> anyhow::Result<()> {
    while let Some(number) = numbers.take() {
        let input = json!({ "name": number.to_string() }).to_string();
        let reply =
            client.send("POST", "/myapp.Greeter/greet", &[("content-type", "application/json")], input);
        let reply = reply.await?;
        let expected = json!({ "message": greeting(number) });
        ensure!(reply.status == 200 && reply.json()? == expected, "call {number} got {reply:?}");
    }
    Ok(())
}

fn greeting(number: u64) -> String {
    format!("Hello, {number}!")
}

// === impl Numbers ===

impl Numbers {
    fn take(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }
}

/// Calls at a time on one gRPC connection.
const STREAMS: usize = 4;

/// The tag of field 1, of bytes with a length.
const FIELD_1_BYTES: u8 = 0x0a;
