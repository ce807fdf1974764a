//! Services that call services, within one process: nobody waits for himself, and calls of one service run
//! beside each other.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::http::{Http, HttpReply};
use tests::package::{Orders, Packed, REQUEST, deployed, pack_with};
use tests::process::Process;
use tests::rpc::{Call, Code};
use tests::server::{Okra, Serve};
use tests::texts::{message, talk, text_guest, variation};
use tests::{long_form, say};

/// What these services take and give: a call to pass on, what came of it, or a text.
const SCHEMA: &str = "service Relay { pass(input: Hop): Hop }
type Hop { service: String method: String payload: Hop success: Boolean data: Hop error: Failure text: String }
type Failure { code: String message: String }
";

fn schema(namespace: &str) -> String {
    format!("@okra(namespace: \"{namespace}\", version: \"v1\")\n{SCHEMA}")
}

/// A package of `NAMESPACE.Relay.v1`, which passes its input on as a call of a service and answers with the
/// reply. Its host function gives the reply in one of the two forms.
fn relay(namespace: &str, packed: bool, further: &Value) -> anyhow::Result<Packed> {
    let (result, body) = if packed {
        ("i64", "(call $call_service (local.get $input) (local.get $len))")
    } else {
        (
            "i32 i32",
            "(call $call_service (local.get $input) (local.get $len))
             (local.set $len) (local.set $out)
             (i64.or (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))
               (i64.extend_i32_u (local.get $len)))",
        )
    };
    let import =
        format!("(import \"okra\" \"call_service\" (func $call_service (param i32 i32) (result {result})))");
    pack_with(&schema(namespace), &variation(&import, "", body)?, further)
}

/// `a`, `b` and `echo`, each with one instance; the first two may call all three.
async fn ring() -> anyhow::Result<Okra> {
    let server = Serve::empty().start().await?;
    let one = json!({ "limits": { "instances": 1 }, "calls": ["a.Relay.v1", "b.*", "echo.Relay.v1"] });
    deployed(&server, &relay("a", true, &one)?).await?;
    deployed(&server, &relay("b", false, &one)?).await?;
    let echo = pack_with(&schema("echo"), &text_guest("echo/echo.wat")?, &one)?;
    deployed(&server, &echo).await?;
    Ok(server)
}

fn to(namespace: &str, payload: &Value) -> Value {
    json!({ "service": format!("{namespace}.Relay.v1"), "method": "pass", "payload": payload })
}

/// A call that goes through all of these, and ends with a text; and the answer that is right.
fn through(namespaces: &[&str], text: &str) -> (Value, Value) {
    let text = json!({ "text": text });
    namespaces.iter().rev().fold((text.clone(), text), |(call, answer), namespace| {
        (to(namespace, &call), json!({ "success": true, "data": answer }))
    })
}

async fn ask(http: &mut Http, namespace: &str, call: &Value, timeout_ms: u32) -> anyhow::Result<HttpReply> {
    let timeout = timeout_ms.to_string();
    let headers = [("content-type", "application/json"), ("connect-timeout-ms", &*timeout)];
    http.send("POST", &format!("/{namespace}.Relay/pass"), &headers, call.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calls_b_calls_a_with_one_instance_each() -> anyhow::Result<()> {
    let server = ring().await?;
    let mut http = Http::two(server.service()).await?;
    for number in 0..50 {
        let (call, answer) = through(&["b", "a", "b", "a", "echo"], &number.to_string());
        let reply = ask(&mut http, "a", &call, PATIENCE_MS).await?;
        assert_eq!(reply.json()?, answer);
    }
    // Many at a time, half of them in the other direction: each waits for the other's one instance.
    let (callers, rounds) = (16, if long_form() { 500 } else { 10 });
    let begun = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let address = server.service();
            tokio::spawn(async move {
                let mut http = Http::two(address).await?;
                let (one, other) = if caller % 2 == 0 { ("a", "b") } else { ("b", "a") };
                for round in 0..rounds {
                    let (call, answer) = through(&[other, one, "echo"], &format!("{caller}/{round}"));
                    let reply = ask(&mut http, one, &call, PATIENCE_MS).await?;
                    ensure!(reply.status == 200, "{caller}/{round}: {reply:?}");
                    ensure!(reply.json()? == answer, "another call's answer: {reply:?}");
                }
                anyhow::Ok(rounds)
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await??;
    }
    let took = begun.elapsed();
    say(format!("{calls} calls of a > b > a > echo and b > a > b > echo, 16 at a time, in {took:?}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_has_an_end() -> anyhow::Result<()> {
    let server = ring().await?;
    let looping = talk("loop", &text_guest("attackers/endless_loop.wat")?, &json!({}))?;
    deployed(&server, &looping).await?;
    let mut http = Http::one(server.service()).await?;
    // As deep as may be, and deeper.
    let (call, _) = through(&["b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "echo"], "too deep");
    let reply = ask(&mut http, "a", &call, PATIENCE_MS).await?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(text.contains("services call each other deeper than 8"), "{text}");
    // Somebody who is not there, and somebody whom the package does not name.
    for (id, code) in [("b.Nobody.v1", "SERVICE_NOT_FOUND"), ("loop.Talk.v1", "UNAUTHORIZED")] {
        let call = json!({ "service": id, "method": "pass", "payload": {} });
        let reply = ask(&mut http, "a", &call, PATIENCE_MS).await?.json()?;
        assert_eq!((&reply["success"], &reply["error"]["code"]), (&json!(false), &json!(code)), "{reply}");
    }
    // The deadline of the first call is that of the last.
    let allowed = json!({ "calls": ["loop.Talk.v1"] });
    deployed(&server, &relay("b", true, &allowed)?).await?;
    let call = to("b", &json!({ "service": "loop.Talk.v1", "method": "say", "payload": {} }));
    let begun = Instant::now();
    let reply = ask(&mut http, "a", &call, 200).await?;
    assert_eq!((reply.status.as_u16(), &reply.json()?["code"]), (504, &json!("deadline_exceeded")));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let (call, answer) = through(&["echo"], "as before");
    assert_eq!(ask(&mut http, "a", &call, PATIENCE_MS).await?.json()?, answer);
    Ok(())
}

/// Sleeps for 400 ms, and echoes.
fn sleeper() -> anyhow::Result<Vec<u8>> {
    variation(
        "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))",
        "",
        "(i32.store (i32.const 80) (i32.const 1))
         (i64.store (i32.const 88) (i64.const 400000000))
         (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    )
}

/// How long so many calls take that are made at once.
async fn together(
    server: &Okra,
    method: &'static str,
    payload: &[u8],
    count: usize,
) -> anyhow::Result<Duration> {
    let client = server.client().await?;
    let begun = Instant::now();
    let calls = (0..count).map(|_| client.call(Call::new(method, payload.to_vec())));
    for reply in futures_util::future::try_join_all(calls).await? {
        ensure!(reply.code == Code::Ok, "{:?} {}", reply.code, reply.message);
    }
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slow_calls_of_one_service_take_the_time_of_one() -> anyhow::Result<()> {
    let server = Serve::empty().start().await?;
    deployed(&server, &talk("sleepy", &sleeper()?, &json!({}))?).await?;
    let one_at_a_time = json!({ "limits": { "instances": 1 } });
    deployed(&server, &talk("single", &sleeper()?, &one_at_a_time)?).await?;
    let payload = message("good morning");
    let one = together(&server, "/sleepy.Talk/say", &payload, 1).await?;
    let two = together(&server, "/sleepy.Talk/say", &payload, 2).await?;
    let many = together(&server, "/sleepy.Talk/say", &payload, 16).await?;
    let queued = together(&server, "/single.Talk/say", &payload, 2).await?;
    say(format!(
        "calls that sleep for 400 ms: one {one:?}, two {two:?}, 16 {many:?}; of one instance, two {queued:?}"
    ));
    assert!(one >= SLEEP, "it does not sleep: {one:?}");
    assert!(two < SLEEP * 3 / 2 && many < SLEEP * 2, "one {one:?}, two {two:?}, 16 {many:?}");
    assert!(queued >= SLEEP * 2, "one instance served two at a time: {queued:?}");
    Ok(())
}

/// As above for guests that compute: all threads of the pool but one are for them, and the last is for the
/// neighbours. What counts is how many threads want to run at a time, which does not depend on how busy the
/// machine is.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_compute_run_side_by_side_on_all_threads_but_one() -> anyhow::Result<()> {
    let mut found = Vec::new();
    for threads in [2, 3] {
        let server = Serve::empty().flag("--pool-threads", threads).start().await?;
        let counts = Orders { rounds: 2_000_000_000, ..Orders::saying("v1", "counted") };
        deployed(&server, &counts.pack()?).await?;
        let process = Process(server.id());
        let (before, begun) = (process.wanted_time()?, Instant::now());
        together(&server, "/shop.Orders/place", REQUEST, 2).await?;
        let took = begun.elapsed();
        let at_a_time = (process.wanted_time()? - before).as_secs_f64() / took.as_secs_f64();
        say(format!("{threads} threads: two calls that count in {took:?}, {at_a_time:.2} at a time"));
        found.push(at_a_time);
    }
    // Somewhat above one and two: a slot that changes hands wakes a second thread before the first sleeps.
    assert!(found[1] > found[0] * 1.2 && found[0] < 1.9, "{found:?}");
    Ok(())
}

/// The deadline of calls that are not about deadlines.
const PATIENCE_MS: u32 = 10_000;

/// How long the sleeper does.
const SLEEP: Duration = Duration::from_millis(400);
