//! Strangers' code of the worst kind, deployed beside a service that behaves: each attack has its documented
//! status and its own words, and the host, its control plane and the neighbour go on as if nothing were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::bystander::{Bystander, Seen};
use tests::package::{Packed, deploy, deployed, problem, services};
use tests::process::Process;
use tests::rpc::{Call, Client, Code};
use tests::server::{Okra, Serve};
use tests::texts::{message, talk, text_guest, variation};
use tests::{eventually, long_form, say};

/// What one attacker's calls come to.
#[derive(Clone, Copy, Debug)]
struct Attack {
    /// Its file in `guests/attackers`, and the namespace it is deployed in.
    name: &'static str,
    /// Its one method.
    method: &'static str,
    /// How long a call of it may take.
    within: Duration,
    /// How many calls the short form makes.
    few: usize,
    /// The status that is documented.
    code: Code,
    /// What the caller is told: one of these.
    words: &'static [&'static str],
}

/// For what ends by another limit.
const AMPLE: Duration = Duration::from_secs(20);

/// For what ends with its deadline.
const SHORT: Duration = Duration::from_millis(50);

/// The host saw it, or the guest's own clock did.
const LATE: &[&str] = &["the deadline of the call has passed", "the service did not answer in time"];
const NO_MEMORY: &[&str] = &["the service ran out of memory (limit 67108864 bytes)"];

const ATTACKS: [Attack; 10] = [
    Attack::new("endless_loop", "/endless_loop.Talk/say", Code::DeadlineExceeded, LATE)
        .within(SHORT)
        .costly(),
    Attack::new("memory_bomb", "/memory_bomb.Talk/say", Code::ResourceExhausted, NO_MEMORY).costly(),
    Attack::new("allocation_storm", "/allocation_storm.Talk/say", Code::ResourceExhausted, NO_MEMORY)
        .costly(),
    Attack::new(
        "table_bomb",
        "/table_bomb.Talk/say",
        Code::ResourceExhausted,
        &["the service ran out of table space (limit 10000 elements)"],
    ),
    Attack::new(
        "stack_overflow",
        "/stack_overflow.Talk/say",
        Code::ResourceExhausted,
        &["the service overflowed its stack"],
    ),
    Attack::new(
        "trap",
        "/trap.Talk/say",
        Code::Internal,
        &["the service trapped: wasm `unreachable` instruction executed"],
    ),
    Attack::new("exit", "/exit.Talk/say", Code::Internal, &["the service exited with code 3"]),
    Attack::new(
        "wild_pointers",
        "/wild_pointers.Talk/say",
        Code::Internal,
        &["the service gave a result outside its memory"],
    ),
    Attack::new(
        "huge_result",
        "/huge_result.Talk/say",
        Code::Internal,
        &["the service's result is larger than 16777216 bytes"],
    ),
    Attack::new(
        "host_call_storm",
        "/host_call_storm.Talk/say",
        Code::ResourceExhausted,
        &["the service made more than 1000 calls to its host"],
    )
    .costly(),
];

const OWN_WORDS: &str = "out of stock: \u{2639}";

/// One that does not attack: it fails in an orderly way, in words of its own.
const ORDERLY: Attack = Attack::new("orderly", "/orderly.Talk/say", Code::Unknown, &[OWN_WORDS]);

/// Starts when it is deployed, and not later: what `slow_start` would do to who trusts a first impression.
const LATER: Attack =
    Attack::new("later", "/later.Talk/say", Code::DeadlineExceeded, LATE).within(SHORT).costly();

#[tokio::test(flavor = "multi_thread")]
async fn attackers_harm_their_own_calls_alone() -> anyhow::Result<()> {
    let server = Arc::new(Serve::empty().start().await?);
    let spoiled = SystemTime::now() + Duration::from_secs(8);
    deployed(&server, &talk("later", &starts_until(spoiled)?, &json!({}))?).await?;
    deployed(&server, &talk("near", &text_guest("echo/echo.wat")?, &json!({}))?).await?;
    deployed(&server, &talk("orderly", &orderly()?, &json!({}))?).await?;
    for Attack { name, .. } in ATTACKS {
        deployed(&server, &attacker(name)?).await?;
    }
    let process = Process(server.id());
    let quiet = beside(&server, "quiet", async {
        tokio::time::sleep(Duration::from_secs(if long_form() { 10 } else { 1 })).await;
        Ok(0)
    });
    quiet.await?;
    let held = process.holding()?;
    for attack in ATTACKS.into_iter().chain([ORDERLY]) {
        beside(&server, attack.name, attack.many(&server, attack.calls())).await?;
    }
    let all =
        futures_util::future::try_join_all(ATTACKS.map(|attack| attack.many(&server, attack.calls() / 4)));
    beside(&server, "all at once", async { Ok(all.await?.into_iter().sum()) }).await?;

    // The two that are refused: a start that never ends, and exports of the wrong type.
    beside(&server, "slow_start", refused(&server, "slow_start", if long_form() { 10 } else { 1 }, SLOW))
        .await?;
    beside(
        &server,
        "bad_exports",
        refused(&server, "bad_exports", if long_form() { CALLS } else { 32 }, BAD),
    )
    .await?;
    // And one whose start became endless after it was deployed.
    tokio::time::sleep(spoiled.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let client = server.client().await?;
    assert_eq!(client.call(Call::new(LATER.method, message("x"))).await?.code, Code::Internal);
    beside(&server, "started slowly", LATER.many(&server, LATER.calls())).await?;
    let never = Attack { code: Code::Unavailable, words: &[NEVER], within: AMPLE, ..LATER };
    beside(&server, "never started", never.many(&server, CALLERS)).await?;

    eventually("all to be over", async || Ok(server.admin().stats().await?.is_quiet().then_some(()))).await?;
    let stats = server.admin().stats().await?;
    assert!(stats.adds_up(), "{stats:?}");
    let holds = process.holding()?;
    say(format!("{held:?} > {holds:?}, {stats:?}"));
    assert!(holds.memory_kib < held.memory_kib + (128 << 10), "{held:?} > {holds:?}");
    assert!(holds.files <= held.files + 8 && holds.threads <= held.threads + 8, "{held:?} > {holds:?}");
    ends_amid_attacks(server).await
}

/// SIGTERM while attacks of every kind go on: those under way end as they must, and so does the process.
async fn ends_amid_attacks(server: Arc<Okra>) -> anyhow::Result<()> {
    let attacks = ATTACKS.map(|attack| {
        let address = server.service();
        tokio::spawn(async move {
            let client = Client::connect(address).await?;
            loop {
                // Once the host says that it takes no more calls, there is nothing to attack.
                match client.call(attack.call()).await {
                    Ok(reply) if reply.code == attack.code => {}
                    Ok(reply) if reply.code == Code::Unavailable => return anyhow::Ok(()),
                    Ok(reply) => anyhow::bail!("{}: {reply:?}", attack.name),
                    Err(_) => return Ok(()),
                }
            }
        })
    });
    eventually("an attack", async || Ok((server.admin().stats().await?.in_flight > 0).then_some(()))).await?;
    let mut server = Arc::into_inner(server).context("nobody else has it")?;
    let begun = Instant::now();
    server.signal("TERM")?;
    let status = server.ended(GRACE).await?;
    say(format!("ended {:?} after SIGTERM, amid attacks", begun.elapsed()));
    assert_eq!(status.code(), Some(0), "{}", server.log());
    for attack in attacks {
        attack.await??;
    }
    Ok(())
}

/// Guests that never run for a tick at a stretch: they keep asking their host something that is answered at
/// once, or nap for an instant. They get no more of the threads than one that simply loops.
#[tokio::test(flavor = "multi_thread")]
async fn who_works_between_short_waits_holds_up_nobody() -> anyhow::Result<()> {
    let server = Arc::new(Serve::empty().start().await?);
    deployed(&server, &talk("near", &text_guest("echo/echo.wat")?, &json!({}))?).await?;
    deployed(&server, &talk("asks", &works_between(ASK)?, &json!({}))?).await?;
    deployed(&server, &talk("naps", &works_between(NAP)?, &json!({}))?).await?;
    let late = Attack::new("asks", "/asks.Talk/say", Code::DeadlineExceeded, LATE);
    let rounds = if long_form() { 20 } else { 1 };
    for attack in [late, Attack { name: "naps", method: "/naps.Talk/say", ..late }] {
        let attack = attack.within(PROMPT * 2);
        beside(&server, attack.name, attack.many(&server, CALLERS * rounds)).await?;
    }
    Ok(())
}

/// Loops without a deadline, which only the grace's end can end.
#[tokio::test(flavor = "multi_thread")]
async fn endless_guests_do_not_hold_up_the_end_beyond_its_grace() -> anyhow::Result<()> {
    let mut server = Serve::empty().flag("--drain-grace", "1s").start().await?;
    deployed(&server, &attacker("endless_loop")?).await?;
    let client = server.client().await?;
    let looping: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(Call::new(ATTACKS[0].method, message("x"))).await })
        })
        .collect();
    eventually("the loops", async || {
        Ok((server.admin().stats().await?.in_flight == CALLERS as u64).then_some(()))
    })
    .await?;
    // The service itself goes at once, whoever spins in it.
    let begun = Instant::now();
    assert_eq!(server.admin().delete("/api/v1/packages/endless_loop.Talk.v1").await?.status, 204);
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    assert_eq!(client.call(ATTACKS[0].call()).await?.code, Code::Unimplemented);
    let begun = Instant::now();
    server.signal("TERM")?;
    let status = server.ended(Duration::from_secs(6)).await?;
    say(format!(
        "ended {:?} after SIGTERM, with a grace of 1 s and {CALLERS} endless loops",
        begun.elapsed()
    ));
    assert_eq!(status.code(), Some(7), "exit code 7: the drain timed out");
    for call in looping {
        assert!(call.await?.is_err(), "a call that was cut off got an answer");
    }
    Ok(())
}

// === impl Attack ===

impl Attack {
    const fn new(
        name: &'static str,
        method: &'static str,
        code: Code,
        words: &'static [&'static str],
    ) -> Self {
        Self { name, method, within: AMPLE, few: CALLS, code, words }
    }

    const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// One whose calls take long.
    const fn costly(mut self) -> Self {
        self.few = 32;
        self
    }

    fn calls(self) -> usize {
        if long_form() { CALLS } else { self.few }
    }

    fn call(self) -> Call {
        Call::new(self.method, message("x")).timeout(self.within)
    }

    /// Whether these are the words: all that the host says beside them is where it failed.
    fn told(self, message: &str) -> bool {
        let graph = format!("graph {}.Talk: ", self.name);
        let message = message.strip_prefix("node guest of ").unwrap_or(message);
        self.words.contains(&message.strip_prefix(&graph).unwrap_or(message))
    }

    /// So many calls, some at a time, each of which must end as documented; gives how many there were.
    async fn many(self, server: &Okra, calls: usize) -> anyhow::Result<usize> {
        let clients = server.clients(2).await?;
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let client = clients.pick(caller).clone();
                tokio::spawn(async move {
                    for _ in 0..calls / CALLERS {
                        let begun = Instant::now();
                        let reply = client.call(self.call()).await?;
                        let took = begun.elapsed();
                        let is_documented = reply.code == self.code && self.told(&reply.message);
                        ensure!(is_documented, "{}: {reply:?}", self.name);
                        ensure!(took < self.within + GRACE, "{} took {took:?}", self.name);
                    }
                    anyhow::Ok(calls / CALLERS)
                })
            })
            .collect();
        let mut made = 0;
        for caller in callers {
            made += caller.await??;
        }
        Ok(made)
    }
}

/// Does something while the neighbour serves and the control plane is asked, and says what they felt of it.
async fn beside(
    server: &Arc<Okra>,
    what: &str,
    doing: impl Future<Output = anyhow::Result<usize>>,
) -> anyhow::Result<Seen> {
    let process = Process(server.id());
    process.forget_peak()?;
    let neighbour = Bystander::start(server, "/near.Talk/say").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watch(server.clone(), stop.clone()));
    let begun = Instant::now();
    let made = doing.await;
    let took = begun.elapsed();
    stop.store(true, Relaxed);
    let (asked, slowest) = watch.await?.with_context(|| format!("during {what}"))?;
    let seen = neighbour.stop().await?;
    let made = made?;
    say(format!(
        "{what:16} {made:5} calls in {:6.2} s; neighbour: {:5} calls, p50 {:6.2} ms, p99 {:6.2} ms, most \
         {:6.2} ms; host: {asked:4} questions, most {:6.2} ms; peak {:4} MiB",
        took.as_secs_f64(),
        seen.answered,
        ms(seen.percentile(50)),
        ms(seen.percentile(99)),
        ms(seen.slowest),
        ms(slowest),
        process.peak_kib()? >> 10,
    ));
    assert!(seen.problems.is_empty(), "{what}: {:?}", seen.problems);
    assert!(seen.slowest < PROMPT, "{what}: a neighbour's call took {:?}", seen.slowest);
    assert!(process.peak_kib()? < PEAK_KIB, "{what}: {} KiB", process.peak_kib()?);
    Ok(seen)
}

/// Asks the host how it is until it is told to stop; gives how often, and the longest that an answer took.
async fn watch(server: Arc<Okra>, stop: Arc<AtomicBool>) -> anyhow::Result<(usize, Duration)> {
    let client = server.client().await?;
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Relaxed) {
        for question in ["/readyz", "/api/v1/stats", "/api/v1/packages", "health"] {
            let begun = Instant::now();
            if question == "health" {
                // For `near.Talk`, which is SERVING: 1.
                let reply =
                    client.call(Call::new("/grpc.health.v1.Health/Check", message("near.Talk"))).await?;
                ensure!(reply.payload.as_deref() == Some(&[8, 1]), "{reply:?}");
            } else {
                server.admin().get(question).await?.expect_ok()?;
            }
            let took = begun.elapsed();
            ensure!(took < PROMPT, "{question} took {took:?}");
            (asked, slowest) = (asked + 1, slowest.max(took));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((asked, slowest))
}

/// Tries to deploy an attacker so many times.
async fn refused(server: &Okra, name: &str, times: usize, words: &str) -> anyhow::Result<usize> {
    let package = attacker(name)?;
    let before: Vec<Value> = services(server).await?;
    for _ in 0..times {
        let (status, error) = problem(&deploy(server, &package, true).await?)?;
        ensure!(status == 422 && error.contains(words), "{name}: {status} {error}");
        ensure!(!error.contains("backtrace"), "{name}: {error}");
    }
    ensure!(services(server).await? == before, "{name} is listed");
    Ok(times)
}

fn attacker(name: &str) -> anyhow::Result<Packed> {
    talk(name, &text_guest(&format!("attackers/{name}.wat"))?, &json!({}))
}

/// Answers with an error, as guests do.
fn orderly() -> anyhow::Result<Vec<u8>> {
    let error = json!({ "error": OWN_WORDS }).to_string();
    variation(
        "",
        &format!("(data (i32.const 64) \"{}\")", error.replace('"', "\\\"")),
        &format!("(i64.const {})", (1_u64 << 63 | 64 << 32 | error.len() as u64).cast_signed()),
    )
}

/// Starts until a moment, and never gets past its start from then on; traps when it is called.
fn starts_until(moment: SystemTime) -> anyhow::Result<Vec<u8>> {
    let extras = format!(
        "(func (export \"_initialize\")
           (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64)))
           (if (i64.gt_u (i64.load (i32.const 64)) (i64.const {}))
             (then (loop $for_ever (br $for_ever)))))",
        moment.duration_since(UNIX_EPOCH)?.as_nanos()
    );
    variation(
        "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result i32)))",
        &extras,
        "(unreachable)",
    )
}

/// What a guest does instead of working on.
type Wait = (&'static str, &'static str, &'static str);

/// Asks for the time.
const ASK: Wait = (
    "(import \"okra\" \"run_host_api\" (func $run (param i32 i32) (result i64)))",
    "(data (i32.const 64) \"{\\\"api\\\":\\\"okra.time\\\",\\\"method\\\":\\\"now\\\"}\")",
    "(call $deallocate (i32.wrap_i64 (i64.shr_u (call $run (i32.const 64) (i32.const 34)) (i64.const 32))))",
);

/// Sleeps for a nanosecond.
const NAP: Wait = (
    "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))",
    "",
    "(i32.store (i32.const 80) (i32.const 1))
     (i64.store (i32.const 88) (i64.const 1))
     (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))",
);

/// Counts for some milliseconds, waits, and so on.
fn works_between((import, extras, wait): Wait) -> anyhow::Result<Vec<u8>> {
    variation(
        import,
        extras,
        &format!(
            "(loop $again
               (local.set $out (i32.const 10000000))
               (loop $count (br_if $count (local.tee $out (i32.sub (local.get $out) (i32.const 1)))))
               {wait}
               (br $again))
             (unreachable)"
        ),
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Why `slow_start` is refused.
const SLOW: &str = "it takes longer than 5000 ms";

/// Why `bad_exports` is.
const BAD: &str = "handle_request must be a function (i32, i32, i32, i32) -> i64";

/// What is said of a service that started once and does so no more.
const NEVER: &str = "the service does not start: it takes longer than 5000 ms";

/// Calls of each attacker.
const CALLS: usize = 1_000;

/// Attacks at a time.
const CALLERS: usize = 8;

/// No call of the neighbour and no question to the host may take as long, whatever the attackers do.
const PROMPT: Duration = Duration::from_secs(1);

/// The most that the end may take amid attacks, and that an attack may outlast its deadline by.
const GRACE: Duration = Duration::from_secs(5);

/// The memory of the host, and of as many guests at their limit as there are at a time: two attackers use all
/// that they can get.
const PEAK_KIB: u64 = (2 * CALLERS as u64 * 64 + 256) << 10;
