//! The end of a server: what is in flight is answered, nobody can hold it up, and the exit code says how
//! it went.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::graph::Graphs;
use tests::rpc::{Call, Client, Code};
use tests::server::Serve;
use tests::upstream::{Gate, Upstream};
use tests::{documented_graph, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_are_answered_before_the_end() -> anyhow::Result<()> {
    let gate = Gate::closed();
    let upstream = Upstream::behind(&gate).await?;
    let graphs = Graphs::new()?;
    let mut okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?).start().await?;
    let client = okra.client().await?;
    let held = tokio::spawn(async move { client.call(Call::new(METHOD, "kept")).await });
    eventually("the call upstream", async || Ok((upstream.started() == 1).then_some(()))).await?;

    okra.signal("TERM")?;
    eventually("no more connections", async || {
        Ok(Client::connect(okra.service()).await.is_err().then_some(()))
    })
    .await?;
    gate.open();
    assert_eq!(held.await??.text()?, "kept");
    let status = okra.ended(Duration::from_secs(5)).await?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_goes_before_service_does() -> anyhow::Result<()> {
    let mut okra =
        Serve::graphs(documented_graph("echo.json")).flag("--drain-lame-duck", "1s").start().await?;
    okra.signal("TERM")?;
    eventually("readiness to go", async || {
        Ok(Some(okra.admin().get("/readyz").await?).filter(|answer| answer.status == 503))
    })
    .await?;
    let reply = okra.client().await?.call(Call::new(METHOD, "still here")).await?;
    assert_eq!(reply.text()?, "still here");
    assert_eq!(okra.ended(Duration::from_secs(5)).await?.code(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_do_not_hold_up_the_end() -> anyhow::Result<()> {
    let mut okra = Serve::graphs(documented_graph("echo.json")).flag("--drain-grace", "2s").start().await?;
    let _silent = TcpStream::connect(okra.service())?;
    let mut half_preface = TcpStream::connect(okra.service())?;
    half_preface.write_all(b"PRI * HTTP/2.0\r\n")?;
    let mut half_header = TcpStream::connect(okra.service())?;
    half_header.write_all(b"GET /healthz HTTP/1.1\r\nhost:")?;
    let mut deaf = TcpStream::connect(okra.service())?;
    // A preface and empty SETTINGS, and then nothing: no PING is ever acknowledged.
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let idle = okra.client().await?;
    assert_eq!(idle.call(Call::new(METHOD, "x")).await?.code, Code::Ok);

    let begun = Instant::now();
    okra.signal("TERM")?;
    let status = okra.ended(Duration::from_secs(4)).await?;
    println!("ended {:?} after the signal", begun.elapsed());
    assert_eq!(status.code(), Some(0), "no call was cut off");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlasts_the_grace_is_cut_off() -> anyhow::Result<()> {
    let upstream = Upstream::behind(&Gate::closed()).await?;
    let graphs = Graphs::new()?;
    let mut okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?)
        .flag("--drain-grace", "300ms")
        .start()
        .await?;
    let client = okra.client().await?;
    let held = tokio::spawn(async move { client.call(Call::new(METHOD, "never")).await });
    eventually("the call upstream", async || Ok((upstream.started() == 1).then_some(()))).await?;
    okra.signal("TERM")?;
    let status = okra.ended(Duration::from_secs(3)).await?;
    assert_eq!(status.code(), Some(7), "exit code 7: the drain timed out");
    assert!(held.await?.is_err(), "a call that was cut off got an answer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() -> anyhow::Result<()> {
    let upstream = Upstream::behind(&Gate::closed()).await?;
    let graphs = Graphs::new()?;
    let mut okra = Serve::graphs(graphs.with_upstream("forward.json", upstream.address())?).start().await?;
    let client = okra.client().await?;
    let held = tokio::spawn(async move { client.call(Call::new(METHOD, "never")).await });
    eventually("the call upstream", async || Ok((upstream.started() == 1).then_some(()))).await?;
    okra.signal("TERM")?;
    eventually("the drain", async || Ok(okra.log().contains("draining").then_some(()))).await?;
    let begun = Instant::now();
    okra.signal("TERM")?;
    let status = okra.ended(Duration::from_secs(2)).await?;
    assert_eq!(status.code(), Some(130), "ended after {:?}", begun.elapsed());
    assert!(held.await?.is_err());
    Ok(())
}

const METHOD: &str = "/forward.Forward/Say";
