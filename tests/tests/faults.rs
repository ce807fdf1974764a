//! The faults that users of the first okra met, each with the test that shows that they are not met here.
//!
//! | fault of the first okra | shown not to be here by |
//! |---|---|
//! | one endless call of a guest freezes both ports, health and SIGTERM | `attackers.rs::attackers_harm_their_own_calls_alone`, `attackers.rs::endless_guests_do_not_hold_up_the_end_beyond_its_grace` |
//! | a long call of a guest holds up another service | [`a_long_call_of_one_service_holds_up_no_other`] |
//! | DELETE answers, and the guest spins on for ever | [`a_guest_that_spins_ends_although_its_service_is_gone`] |
//! | two idle minutes lose a service until a restart | `idleness.rs::a_service_left_idle_answers_as_before` |
//! | an undeployed service cannot be deployed again; two versions cannot stand side by side | `deploys.rs::versions_stand_side_by_side_and_the_last_one_has_the_plain_route` |
//! | answers get lost or mixed up among concurrent calls | `replies.rs::every_reply_is_its_own_callers`, `redeploys.rs::redeploys_under_load_lose_and_mix_nothing` |
//! | `proc_exit` poisons a service for ever; a trap keeps its instance | [`an_exit_or_a_trap_costs_its_own_call_alone`] |
//! | the client is sent the stack of the guest | the same, and `attackers.rs::attackers_harm_their_own_calls_alone` |
//! | each error of a guest leaks one of its blocks | [`an_error_of_a_guest_leaks_nothing`] |
//! | calls of one service run one after another | `chains.rs::two_slow_calls_of_one_service_take_the_time_of_one`, `kernels/wasm/tests/guests/pool.rs::calls_of_one_guest_run_side_by_side` |
//! | any HTTP method runs the guest, HEAD and a preflight, too | [`what_is_no_call_does_not_run_the_guest`], `gateway.rs::what_is_no_call_runs_nothing` |
//! | `POST /connect/ns.Svc` is sent to a path without the prefix | the same |
//! | a Connect GET loses its message | [`a_guest_gets_the_message_of_a_get`], `gateway.rs::a_get_brings_its_message` |
//! | senseless time-outs and protocol versions are ignored | [`what_is_no_call_does_not_run_the_guest`], `gateway.rs::what_makes_no_sense_is_refused_and_not_ignored` |
//! | content types are compared by case; JSON with a parameter is answered in protobuf | [`json_is_answered_in_json`], `gateway.rs::content_types_are_read_as_http_says` |
//! | a small package of zeros takes 811 MB and 4.8 s | [`a_package_of_zeros_costs_next_to_nothing`], `packages/tests/bounded_memory.rs::a_bomb_takes_no_more_than_it_was` |
//! | a header that is half sent stays open for ever | `hostile.rs::hostile_clients_are_cut_off_and_harm_nobody_over_native`, `SlowHttp1Heads` and `HalfHeaderBlocks` |
//! | answers have no limit | `attackers.rs::attackers_harm_their_own_calls_alone`, `serve-host/tests/transport/calls.rs::an_answer_that_cannot_be_sent_says_why_and_a_failure_keeps_its_status` |
//! | a deploy that is refused as a duplicate is compiled first | [`a_duplicate_is_refused_before_it_is_compiled`], `deploys.rs::a_deploy_tells_its_steps_while_it_takes_them` |
//! | missing exports are told after a fixed second | [`missing_exports_are_told_at_once`] |
//! | SIGTERM closes the admin port only, the service port answers for ever | `drain.rs::calls_in_flight_are_answered_before_the_end`, `attackers.rs::attackers_harm_their_own_calls_alone` |
//! | GraphQL ignores aliases, refuses fragments, mislabels introspection, loses the keys of failing fields | nothing: there is no such gateway |

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::json;
use tests::guests::rust_guest;
use tests::http::Http;
use tests::moody::{Counts, counts, is_answer, moody};
use tests::package::{DEPLOY, Orders, REQUEST, deploy, deployed, pack, problem, said};
use tests::process::Process;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};
use tests::{eventually, repository, say};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_of_one_service_holds_up_no_other() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    deployed(&server, &moody(LONG_CALLS, 60_000)?).await?;
    deployed(&server, &Orders::saying("v1", "hello").pack()?).await?;
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..LONG_CALLS {
        let client = server.client().await?;
        working.spawn(async move {
            let begun = Instant::now();
            let reply = client.call(Call::new("/test.Moody/work", "")).await?;
            ensure!(reply.code == Code::Ok, "{reply:?}");
            anyhow::Ok(begun.elapsed())
        });
    }
    eventually("all of them to run", async || {
        Ok((server.admin().stats().await?.in_flight == u64::from(LONG_CALLS)).then_some(()))
    })
    .await?;
    let neighbour = server.client().await?;
    let (mut slowest, mut served, mut quickest) = (Duration::ZERO, 0, None);
    // As long as none of them has come to its end.
    while quickest.is_none() {
        let begun = Instant::now();
        let reply = neighbour.call(Call::new("/shop.Orders/place", REQUEST)).await?;
        ensure!(reply.code == Code::Ok, "{reply:?}");
        (slowest, served) = (slowest.max(begun.elapsed()), served + 1);
        quickest = working.try_join_next();
    }
    let quickest = quickest.context("one has ended")???;
    say(format!(
        "{LONG_CALLS} long calls, the first took {quickest:?}; {served} beside it, each at most {slowest:?}"
    ));
    assert!(quickest >= Duration::from_millis(1400), "it was no long call: {quickest:?}");
    assert!(served >= 20 && slowest < quickest / 2, "{served} in {quickest:?}, the slowest in {slowest:?}");
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_spins_ends_although_its_service_is_gone() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    let package = moody(2, 1500)?;
    deployed(&server, &package).await?;
    let spin =
        |client: Client| tokio::spawn(async move { client.call(Call::new("/test.Moody/spin", "")).await });
    let (staying, leaving) = (spin(server.client().await?), spin(server.client().await?));
    let running = async |calls: u64| {
        eventually("the calls that run", async || {
            Ok((server.admin().stats().await?.in_flight == calls).then_some(()))
        })
        .await
    };
    running(2).await?;
    let begun = Instant::now();
    assert_eq!(server.admin().delete("/api/v1/packages/test.Moody.v1").await?.status, 204);
    let reply = server.client().await?.call(Call::new("/test.Moody/count", "")).await?;
    assert_eq!(reply.code, Code::Unimplemented);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // One ends with its client, the other with the time that a call of the service may take.
    leaving.abort();
    running(1).await?;
    assert_eq!(staying.await??.code, Code::DeadlineExceeded);
    running(0).await?;
    let process = Process(server.id());
    let spent = process.processor_time()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = process.processor_time()? - spent;
    assert!(spent < Duration::from_millis(100), "{spent:?} of processor time in half a second of rest");
    deployed(&server, &package).await?;
    assert_eq!(counts(&server).await?.calls, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_or_a_trap_costs_its_own_call_alone() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    deployed(&server, &moody(1, 10_000)?).await?;
    let client = server.client().await?;
    let mut http = Http::one(server.service()).await?;
    // The node's name and these words, and no stack behind them.
    let is_all = |message: &str, says: &str| message.ends_with(says) && message.lines().count() == 1;
    for _ in 0..20 {
        for (method, says) in [
            ("/test.Moody/exit", "the service exited with code 3"),
            ("/test.Moody/trap", "the service trapped: wasm `unreachable` instruction executed"),
        ] {
            let reply = client.call(Call::new(method, "")).await?;
            assert!(reply.code == Code::Internal && is_all(&reply.message, says), "{reply:?}");
            // It begins anew, in an instance that has seen no call.
            assert_eq!(counts(&server).await?.calls, 1, "after {method}");
            let reply = http.send("POST", method, &[JSON], "{}").await?;
            let body = reply.json()?;
            let message = body["message"].as_str().context("a message")?;
            assert!(reply.status == 500 && is_all(message, says), "{body}");
            assert_eq!(counts(&server).await?.calls, 1, "after {method}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_guest_leaks_nothing() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    deployed(&server, &moody(1, 10_000)?).await?;
    let Counts { live, calls } = counts(&server).await?;
    let client = server.client().await?;
    // Fewer than an instance serves before a new one takes its place.
    for _ in 0..100 {
        let reply = client.call(Call::new("/test.Moody/fail", "")).await?;
        assert_eq!((reply.code, reply.message.as_str()), (Code::Unknown, "not today"));
    }
    // The same instance has failed all of them, and has as many blocks as before.
    assert_eq!(counts(&server).await?, Counts { live, calls: calls + 101 });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_does_not_run_the_guest() -> anyhow::Result<()> {
    let server = Serve::empty().flag("--cors-allowed-origins", "https://a.example").start().await?;
    deployed(&server, &moody(1, 10_000)?).await?;
    let (count, look) = ("/test.Moody/count", "/test.Moody/look");
    let under_connect = format!("/connect{count}");
    for http in [&mut Http::one(server.service()).await?, &mut Http::two(server.service()).await?] {
        for path in [count, look, &under_connect] {
            for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
                let reply = http.send(method, path, &[JSON], "").await?;
                assert_eq!(reply.status, 405, "{method} {path}");
            }
            for (origin, status) in [("https://a.example", 204), ("https://b.example", 403)] {
                let preflight = [("origin", origin), ("access-control-request-method", "POST")];
                let reply = http.send("OPTIONS", path, &preflight, "").await?;
                assert_eq!(reply.status, status, "a preflight of {origin}");
            }
        }
        for path in [count, &under_connect] {
            let reply = http.send("GET", &format!("{path}?encoding=json&message=%7B%7D"), &[], "").await?;
            assert_eq!(reply.status, 405, "its method promises nothing");
        }
        for path in ["/test.Moody", "/test.Moody/", "/connect/test.Moody", "/connect/test.Moody/"] {
            let reply = http.send("POST", path, &[JSON], "{}").await?;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (404, None), "{path}");
        }
        for (header, status) in [
            (("connect-timeout-ms", "soon"), 400),
            (("connect-timeout-ms", "-1"), 400),
            (("connect-timeout-ms", "12345678901"), 400),
            (("connect-protocol-version", "2"), 400),
        ] {
            let reply = http.send("POST", count, &[JSON, header], "{}").await?;
            assert_eq!(reply.status, status, "{header:?}");
        }
        let reply = http.send("POST", count, &[("content-type", "text/plain")], "{}").await?;
        assert_eq!(reply.status, 415);
    }
    assert_eq!(counts(&server).await?.calls, 1, "this one");
    let reply = Http::one(server.service())
        .await?
        .send("GET", &format!("{look}?encoding=json&message=%7B%7D"), &[], "")
        .await?;
    assert!(reply.status == 200 && is_answer(&reply.json()?), "{reply:?}");
    assert_eq!(counts(&server).await?.calls, 3, "a GET of a method that changes nothing is a call");
    Ok(())
}

/// A host of the greeter, and a connection to it.
async fn greeter() -> anyhow::Result<(Okra, Http)> {
    let server = Serve::empty().start().await?;
    let package: Bytes = std::fs::read(rust_guest("greeter")?)?.into();
    server.admin().upload(DEPLOY, package).await?.expect_ok()?;
    let http = Http::one(server.service()).await?;
    Ok((server, http))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_the_message_of_a_get() -> anyhow::Result<()> {
    let (_server, mut http) = greeter().await?;
    for (query, expected) in [
        ("encoding=json&message=%7B%22name%22%3A%22Ada%22%7D", "Hello, Ada!"),
        ("encoding=json&message=%7B%22name%22%3A%22Ada%22%2C%22loud%22%3Atrue%7D", "HELLO, ADA!"),
        ("encoding=json&base64=1&message=eyJuYW1lIjoiQWRhIn0", "Hello, Ada!"),
    ] {
        let path = format!("/connect/myapp.Greeter/greet?connect=v1&{query}");
        let reply = http.send("GET", &path, &[], "").await?;
        assert_eq!((reply.status.as_u16(), reply.json()?), (200, json!({ "message": expected })), "{query}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_answered_in_json() -> anyhow::Result<()> {
    let (_server, mut http) = greeter().await?;
    let mut post = async |content_type: &str, body: &str| {
        http.send("POST", "/connect/myapp.Greeter/greet", &[("content-type", content_type)], body.to_owned())
            .await
    };
    for content_type in
        ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
    {
        let reply = post(content_type, r#"{"name":"Ada"}"#).await?;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("application/json")));
        assert_eq!(reply.json()?, json!({ "message": "Hello, Ada!" }), "{content_type}");
    }
    // Whose fault it is, and where.
    for (body, status, words) in [
        (r#"{"name": 1}"#, 400, "line 1"),
        (r#"{"nobody": 1}"#, 400, "nobody"),
        (r#"{"name": "a", "name": "b"}"#, 400, "name"),
        (r#"{"name": ""}"#, 500, "name must not be empty"),
    ] {
        let reply = post("application/json", body).await?;
        let message = reply.json()?["message"].as_str().context("a message")?.to_owned();
        assert!(reply.status == status && message.contains(words), "{body}: {} {message}", reply.status);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_zeros_costs_next_to_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::File::create(folder.path().join("service.wasm"))?.set_len(400_000_000)?;
    let archive = folder.path().join("zeros.okra.pkg");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder.path()).arg("-czf").arg(&archive).arg("service.wasm");
    tests::clients::run(&mut tar)?;
    let server = Serve::empty().flag("--packages-roots", folder.path().display()).start().await?;
    let process = Process(server.id());
    process.forget_peak()?;
    let (before, begun) = (process.holding()?.memory_kib, Instant::now());
    let source = json!({ "source": format!("file://{}", archive.display()) });
    let (status, error) = problem(&server.admin().post(DEPLOY, &source).await?)?;
    let (took, grown) = (begun.elapsed(), process.peak_kib()?.saturating_sub(before));
    say(format!("{} bytes of 400 MB of zeros: {took:?}, {grown} KiB", archive.metadata()?.len()));
    assert!(status == 422 && error.contains("failed to extract package"), "{status} {error}");
    assert!(took < Duration::from_secs(1) && grown < 64 << 10, "{took:?}, {grown} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_refused_before_it_is_compiled() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    let good = Orders::saying("v1", "hello");
    deployed(&server, &good.pack()?).await?;
    // The same service with a guest that no compiler takes.
    let bad = pack(&good.schema(), b"\0asm\x01\0\0\0\xff")?;
    let (status, error) = problem(&deploy(&server, &bad, false).await?)?;
    assert!(status == 409 && error.contains("service shop.Orders.v1 already deployed"), "{status} {error}");
    let (status, error) = problem(&deploy(&server, &bad, true).await?)?;
    assert!(status == 422 && error.contains("failed to compile WASM module"), "{status} {error}");
    assert_eq!(said(&server, None).await?, Ok("hello".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_exports_are_told_at_once() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    let schema = "service S { go(input: A): A }\ntype A { b: String }\n";
    let package = pack(schema, &wat::parse_str("(module (memory (export \"memory\") 1))")?)?;
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let (status, error) = problem(&deploy(&server, &package, false).await?)?;
        quickest = quickest.min(begun.elapsed());
        assert!(status == 422 && error.contains("handle_request function not found"), "{status} {error}");
    }
    say(format!("missing exports are told after {quickest:?}"));
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    Ok(())
}

/// What the table above names in this repository is there: of `file.rs::test` the test, of `[test]` one here.
#[test]
fn every_test_of_the_table_is_there() -> anyhow::Result<()> {
    let here = include_str!("faults.rs");
    let rows = here.lines().filter(|line| line.starts_with("//! | "));
    let mut named = 0;
    for quoted in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        let (file, test) = match quoted.split_once("::") {
            Some((file, test)) if file.contains('/') => (repository().join(file), test),
            Some((file, test)) => (repository().join("tests/tests").join(file), test),
            None => (repository().join("tests/tests/faults.rs"), quoted),
        };
        let is_test = quoted.contains("::") || here.contains(&format!("[`{quoted}`]"));
        if is_test {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            assert!(text.contains(&format!("fn {test}(")), "{} has no test {test}", file.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named} tests were found in the table");
    Ok(())
}

/// Long calls at a time: more than the host has threads for.
const LONG_CALLS: u32 = 6;
