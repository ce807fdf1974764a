//! Mixed load with a swap every second, for as long as one likes: at the end the server holds what it held
//! after the beginning, and the clients' own book is equal to the server's.
//!
//! The short form takes seconds. `OKRA_SOAK_MINUTES=20 cargo test -p tests --test soak -- --nocapture`
//! soaks for so many minutes and compares with the end of minute two.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::graph::{Graphs, waiting};
use tests::load::{Load, Task};
use tests::process::Process;
use tests::rpc::Code;
use tests::server::Serve;
use tests::upstream::{Told, Upstream};
use tests::{eventually, say};

#[tokio::test(flavor = "multi_thread")]
async fn what_it_holds_does_not_grow_and_every_call_is_accounted_for_over_tonic() -> anyhow::Result<()> {
    soak("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_holds_does_not_grow_and_every_call_is_accounted_for_over_native() -> anyhow::Result<()> {
    soak("native").await
}

async fn soak(transport: &str) -> anyhow::Result<()> {
    let minutes = std::env::var("OKRA_SOAK_MINUTES").ok().and_then(|text| text.parse::<u64>().ok());
    let (settle, whole) = match minutes {
        Some(minutes) => (Duration::from_secs(120), Duration::from_secs(60 * minutes.max(3))),
        None => (Duration::from_secs(3), Duration::from_secs(8)),
    };
    let upstream = Upstream::start(|asked| async move { Told::ok(asked.payload) }).await?;
    let graphs = Graphs::new()?;
    let forward = graphs.with_upstream("forward.json", upstream.address())?;
    let text = std::fs::read_to_string(forward)?;
    // Another version of the same, so that a swap changes what serves and not what is answered.
    graphs.write("forward2.json", &text.replace("\"1.0.0\"", "\"2.0.0\""))?;
    // Answers too late for its callers.
    graphs.write("late.json", &waiting("late", 2000))?;
    let okra = Serve::graphs(graphs.path())
        .flag("--transport", transport)
        .flag("--default-graph", "forward")
        .start()
        .await?;
    let (begun, process) = (Instant::now(), Process(okra.id()));
    let load = Load::start(
        okra.service(),
        16,
        &[
            Task { method: "/forward.Forward/Say", code: Code::Ok, timeout: None },
            Task {
                method: "/late.Late/Say",
                code: Code::DeadlineExceeded,
                timeout: Some(Duration::from_millis(20)),
            },
            Task { method: "/forward.Forward/Again", code: Code::Ok, timeout: Some(Duration::from_secs(20)) },
        ],
    );
    let mut settled = None;
    let mut swaps = 0_u64;
    while begun.elapsed() < whole {
        let next = begun + Duration::from_secs(swaps + 1);
        tokio::time::sleep_until(next.into()).await;
        let version = if swaps.is_multiple_of(2) { "1.0.0" } else { "2.0.0" };
        okra.admin()
            .post("/api/v1/graphs/forward/publish", &json!({ "version": version }))
            .await?
            .expect_ok()?;
        swaps += 1;
        if settled.is_none() && begun.elapsed() >= settle {
            settled = Some(process.holding()?);
        }
    }
    let ended = process.holding()?;
    let settled = settled.unwrap_or(ended);
    let book = load.stop().await?;
    let stats =
        eventually("quiet", async || Ok(Some(okra.admin().stats().await?).filter(|s| s.is_quiet()))).await?;
    say(format!(
        "{transport}: {swaps} swaps in {whole:?}; {:?}; {settled:?}, at the end {ended:?}",
        book.answers
    ));

    assert!(book.problems.is_empty() && book.unsent == 0, "{book:?}");
    assert!(stats.adds_up(), "{stats:?}");
    assert_eq!((stats.completed, stats.cancelled), (book.of(Code::Ok), 0), "{stats:?}");
    // A deadline of milliseconds may pass while the message arrives, at the door, as the run begins or, as
    // nearly always, while it waits: each has a count of its own.
    let too_late = okra.admin().metrics().await?.sum("okra_requests_refused_total", &["reason=\"deadline\""]);
    let rest = stats.expired + stats.failed + stats.rejected;
    let difference = book.of(Code::DeadlineExceeded) as f64 - too_late - rest as f64;
    assert!(difference.abs() < 0.5, "{difference} calls apart: {book:?} {stats:?}, {too_late} too late");
    assert!(book.of(Code::Ok) > 100 && book.of(Code::DeadlineExceeded) > 10, "{book:?}");
    // A blocking pool may keep a thread for some seconds, and a scrape a file; a leak grows with every swap.
    assert!(ended.files <= settled.files + 8, "{settled:?} {ended:?}");
    assert!(ended.threads <= settled.threads + 4, "{settled:?} {ended:?}");
    let slack = MOST_GROWTH_KIB + settled.memory_kib / 10;
    assert!(ended.memory_kib <= settled.memory_kib + slack, "{settled:?} {ended:?}");
    Ok(())
}

/// What memory may grow beside a tenth: caches and fragments, not one leak for each call or swap.
const MOST_GROWTH_KIB: u64 = 8 << 10;
