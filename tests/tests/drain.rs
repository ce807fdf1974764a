//! The end of a server: what is in flight is answered, nobody can hold it up, and the exit code says how
//! it went.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::graph::Graphs;
use tests::load::{Load, Task};
use tests::raw::{DATA, END_HEADERS, HEADERS, PREFACE, Raw, SETTINGS, call_headers, frame};
use tests::rpc::{Call, Client, Code};
use tests::server::Serve;
use tests::upstream::{Gate, Told, Upstream};
use tests::{documented_graph, eventually, long_form, say};

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

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_call_fails_when_it_ends_under_load_over_tonic() -> anyhow::Result<()> {
    no_accepted_call_fails_when_it_ends_under_load("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accepted_call_fails_when_it_ends_under_load_over_native() -> anyhow::Result<()> {
    no_accepted_call_fails_when_it_ends_under_load("native").await
}

/// Ends a saturated server again and again; its clients keep the books.
async fn no_accepted_call_fails_when_it_ends_under_load(transport: &str) -> anyhow::Result<()> {
    let rounds = if long_form() { 50 } else { 5 };
    let graphs = Graphs::new()?;
    let upstream = Upstream::start(|asked| async move {
        tokio::time::sleep(Duration::from_millis(asked.number % 20)).await;
        Told::ok(asked.payload)
    })
    .await?;
    graphs.with_upstream("forward.json", upstream.address())?;
    graphs.write("echo.json", &std::fs::read_to_string(documented_graph("echo.json"))?)?;
    let (mut answered, mut unsent, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..rounds {
        let mut okra = Serve::graphs(graphs.path())
            .flag("--transport", transport)
            .flag("--default-graph", "forward")
            .start()
            .await?;
        let echo = Call::new(METHOD, "warm").metadata("okra-graph", "echo");
        assert_eq!(okra.client().await?.call(echo).await?.code, Code::Ok);
        let task = Task { method: METHOD, code: Code::Ok, timeout: None };
        let load = Load::start(okra.service(), 64, &[task]);
        eventually("the load", async || Ok((load.answered() > 300).then_some(()))).await?;
        let begun = Instant::now();
        okra.signal("TERM")?;
        let status = okra.ended(Duration::from_secs(10)).await?;
        slowest = slowest.max(begun.elapsed());
        let book = load.stop().await?;
        assert_eq!(status.code(), Some(0), "{}", okra.log());
        assert!(book.problems.is_empty(), "an accepted call failed: {book:?}\n{}", okra.log());
        // The server's own book, of which the first call was made apart from the load.
        let completed = format!("\"completed\":{}", book.of(Code::Ok) + 1);
        eventually(&completed, async || Ok(okra.log().contains(&completed).then_some(()))).await?;
        answered += book.of(Code::Ok);
        unsent += book.unsent;
    }
    say(format!(
        "{transport}: ended {rounds} times under load: {answered} answered, 0 failed, {unsent} to be made again; \
         slowest end {slowest:?}"
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_up_the_end_beyond_its_grace_over_tonic() -> anyhow::Result<()> {
    nobody_holds_up_the_end_beyond_its_grace("tonic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_up_the_end_beyond_its_grace_over_native() -> anyhow::Result<()> {
    nobody_holds_up_the_end_beyond_its_grace("native").await
}

/// A client that never acknowledges, one whose machine is gone, and one whose stream never ends.
async fn nobody_holds_up_the_end_beyond_its_grace(transport: &str) -> anyhow::Result<()> {
    let mut okra = Serve::graphs(documented_graph("echo.json"))
        .flag("--transport", transport)
        .flag("--drain-grace", "1s")
        .start()
        .await?;
    let begun_call = frame(HEADERS, END_HEADERS, 1, &call_headers(METHOD));
    let mut never_acknowledges = TcpStream::connect(okra.service())?;
    never_acknowledges.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
    // As if a cable were pulled: half a frame came, nothing is read, and no end is ever seen.
    let mut half_open = TcpStream::connect(okra.service())?;
    half_open.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &begun_call[..7]].concat())?;
    let mut endless = Raw::hello(okra.service(), &[]).await?;
    endless.write(&begun_call).await?;
    let endless = tokio::spawn(async move {
        let pieces = (0..100_000).map(|_| frame(DATA, 0, 1, &[0, 0, 0, 0xff, 0xff]));
        endless.dribble(pieces, Duration::from_millis(10), Duration::from_secs(10)).await
    });
    let open = async || anyhow::Ok(okra.admin().metrics().await?.sum("okra_connections_open", &[]));
    eventually("all three", async || Ok((open().await? > 2.5).then_some(()))).await?;

    let begun = Instant::now();
    okra.signal("TERM")?;
    let status = okra.ended(Duration::from_secs(6)).await?;
    say(format!("{transport}: ended {:?} after the signal, with a grace of 1 s", begun.elapsed()));
    // The endless stream is a call that was begun and is cut off: that is said by the exit code.
    assert_eq!(status.code(), Some(7), "{}", okra.log());
    endless.await??;
    Ok(())
}

const METHOD: &str = "/forward.Forward/Say";
