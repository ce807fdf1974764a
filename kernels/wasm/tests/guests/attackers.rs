//! Strangers' code of the worst kind: each attack ends as documented, and nobody else feels it.

use std::time::{Duration, Instant};

use kernels_wasm::{Call, Engine, Guest, GuestFault, Limits, LoadError};

use crate::workshop::{ask, engine, guest_file, load, load_with, module, options, refused};

/// How long an attacker may run here.
const DEADLINE: Duration = Duration::from_millis(150);

/// How long one may that ends by another limit.
const AMPLE: Duration = Duration::from_secs(20);

/// Calls of each attacker.
const ATTACKS: usize = 8;

async fn attack(guest: &Guest, within: Duration) -> GuestFault {
    let deadline = Some(Instant::now() + within);
    guest.call(Call { deadline, ..Call::new("attack", "{}") }).await.expect_err("an attack must not succeed")
}

async fn short_calls(neighbour: &Guest, number: usize) {
    for n in 0..number {
        let sent = format!("{{\"n\":{n}}}");
        assert_eq!(ask(neighbour, "echo", &sent).await.unwrap(), sent);
    }
}

/// Attacks, then finds the neighbour as before and nothing of the attacker left.
async fn check(name: &str, within: Duration, is_expected: impl Fn(&GuestFault) -> bool) {
    let engine = engine();
    let neighbour = load(&engine, guest_file("echo/echo.wat")).await;
    let attacker = load(&engine, guest_file(&format!("attackers/{name}.wat"))).await;
    for _ in 0..ATTACKS {
        let begun = Instant::now();
        let fault = attack(&attacker, within).await;
        assert!(is_expected(&fault), "{name}: {fault:?}");
        let took = begun.elapsed();
        assert!(took < within + Duration::from_secs(2), "{name} took {took:?}");
        let words = fault.to_string();
        assert!(!words.contains("wasm") || words.len() < 120, "{name} tells too much: {words}");
    }
    short_calls(&neighbour, 1_000).await;
    let stats = attacker.stats();
    assert_eq!((stats.calls, stats.live, stats.running), (ATTACKS as u64, 0, 0), "{name}: {stats:?}");
    assert_eq!(stats.traps + stats.exhausted + stats.deadlines, stats.calls, "{name}: {stats:?}");
    assert_eq!((engine.live_instances(), engine.overrunning()), (1, 0), "{name}");
}

#[tokio::test]
async fn an_endless_loop_ends_with_the_deadline() {
    check("endless_loop", DEADLINE, |fault| *fault == GuestFault::Deadline).await;
}

#[tokio::test]
async fn a_memory_bomb_ends_at_the_limit() {
    check("memory_bomb", AMPLE, |fault| *fault == GuestFault::MemoryLimit { limit: 64 << 20 }).await;
}

#[tokio::test]
async fn an_allocation_storm_ends_at_the_limit() {
    check("allocation_storm", AMPLE, |fault| *fault == GuestFault::MemoryLimit { limit: 64 << 20 }).await;
}

#[tokio::test]
async fn a_table_bomb_ends_at_the_limit() {
    check("table_bomb", AMPLE, |fault| *fault == GuestFault::TableLimit { limit: 10_000 }).await;
}

#[tokio::test]
async fn a_stack_overflow_is_told() {
    check("stack_overflow", AMPLE, |fault| *fault == GuestFault::StackOverflow).await;
}

#[tokio::test]
async fn a_trap_is_told_without_a_trace() {
    let unreachable = "wasm `unreachable` instruction executed";
    check("trap", AMPLE, |fault| *fault == GuestFault::Trapped { what: unreachable.into() }).await;
}

#[tokio::test]
async fn an_exit_is_told_with_its_code() {
    check("exit", AMPLE, |fault| *fault == GuestFault::Exited(3)).await;
}

#[tokio::test]
async fn wild_pointers_are_refused() {
    check("wild_pointers", AMPLE, |fault| *fault == GuestFault::Malformed("a result outside its memory"))
        .await;
}

#[tokio::test]
async fn a_huge_result_is_refused_unread() {
    check("huge_result", AMPLE, |fault| *fault == GuestFault::ResultTooLarge { limit: 16 << 20 }).await;
}

#[tokio::test]
async fn a_storm_of_host_calls_ends_at_the_limit() {
    check("host_call_storm", AMPLE, |fault| *fault == GuestFault::HostCalls { limit: 1_000 }).await;
}

#[tokio::test]
async fn who_never_starts_is_not_loaded() {
    let engine = engine();
    let limits = Limits { start_time: DEADLINE, ..Limits::default() };
    let begun = Instant::now();
    let loaded = engine.load(guest_file("attackers/slow_start.wat"), options("slow", limits)).await;
    let Err(LoadError::Start(GuestFault::Starting { why, .. })) = loaded else { panic!("{loaded:?}") };
    assert_eq!(why, "it takes longer than 150 ms");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((engine.live_instances(), engine.overrunning()), (0, 0));
}

#[tokio::test]
async fn exports_of_the_wrong_type_are_found_at_load() {
    let error = refused(&engine(), guest_file("attackers/bad_exports.wat")).await;
    assert_eq!(error.to_string(), "handle_request must be a function (i32, i32, i32, i32) -> i64");
}

/// The method's first letter says what to do: trap, loop, exit in an orderly way, or echo.
fn moody() -> Vec<u8> {
    module(
        "",
        "(data (i32.const 16) \"{\\\"error\\\":\\\"no\\\"}\")",
        "(if (i32.eq (i32.load8_u (local.get $method)) (i32.const 116)) (then (unreachable)))
         (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 108)) (then (loop $l (br $l))))
         (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 110)) (then
           (local.set $out (call $allocate (i32.const 14)))
           (memory.copy (local.get $out) (i32.const 16) (i32.const 14))
           (return (i64.or (i64.const 0x800000000000000e)
             (i64.shl (i64.extend_i32_u (local.get $out)) (i64.const 32))))))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    )
}

#[tokio::test]
async fn a_guest_serves_on_after_each_of_its_faults() {
    let engine = engine();
    let guest = load_with(&engine, moody(), Limits { call_time: DEADLINE, ..Limits::default() }).await;
    for (method, live_after) in [("trap", 0), ("loop", 0), ("no", 1), ("echo", 1)] {
        for _ in 0..3 {
            let outcome = ask(&guest, method, "{}").await;
            assert_eq!(outcome.is_ok(), method == "echo", "{method}: {outcome:?}");
            assert_eq!(guest.stats().live, live_after, "{method}");
        }
        short_calls(&guest, 1_000).await;
    }
    assert_eq!(ask(&guest, "no", "{}").await, Err(GuestFault::Guest("no".into())));
}

/// Short calls beside loops that never end, on one thread: they pass, since who overruns gives way.
#[tokio::test]
async fn loops_leave_room_for_short_calls() {
    let engine = engine();
    let neighbour = load(&engine, guest_file("echo/echo.wat")).await;
    let attacker = load(&engine, guest_file("attackers/endless_loop.wat")).await;
    let attacks: Vec<_> = (0..6)
        .map(|_| {
            let attacker = attacker.clone();
            tokio::spawn(async move { attack(&attacker, DEADLINE).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut worst = Duration::ZERO;
    while !attacks.iter().all(tokio::task::JoinHandle::is_finished) {
        let begun = Instant::now();
        short_calls(&neighbour, 1).await;
        worst = worst.max(begun.elapsed());
        tokio::task::yield_now().await;
    }
    for attack in attacks {
        assert_eq!(attack.await.unwrap(), GuestFault::Deadline);
    }
    assert!(worst < Duration::from_secs(1), "a short call took {worst:?}");
    assert_eq!(engine.overrunning(), 0);
}

/// What a neighbour's calls take while something happens: the median and the 99th percentile.
async fn latencies(neighbour: &Guest, meanwhile: impl Future<Output = ()>) -> (Duration, Duration) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let neighbour = neighbour.clone();
    let calls = tokio::spawn(async move {
        let mut took = Vec::new();
        loop {
            let begun = Instant::now();
            short_calls(&neighbour, 1).await;
            took.push(begun.elapsed());
            if stopped.try_recv().is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.sort_unstable();
        took
    });
    meanwhile.await;
    stop.send(()).unwrap();
    let took = calls.await.unwrap();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// Eight attacks at a time on the two threads that the neighbour's calls run on, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_is_served_under_attack() {
    let attacks = if std::env::var_os("OKRA_LONG").is_some() { 1_000 } else { 24 };
    let engine = engine();
    let neighbour = load(&engine, guest_file("echo/echo.wat")).await;
    let quiet = latencies(&neighbour, tokio::time::sleep(Duration::from_millis(500))).await;
    println!("quiet: median {:?}, p99 {:?}", quiet.0, quiet.1);
    for name in [
        "endless_loop",
        "memory_bomb",
        "allocation_storm",
        "table_bomb",
        "stack_overflow",
        "trap",
        "exit",
        "wild_pointers",
        "huge_result",
        "host_call_storm",
    ] {
        let attacker = load(&engine, guest_file(&format!("attackers/{name}.wat"))).await;
        let attacked = latencies(&neighbour, async {
            let attackers: Vec<_> = (0..8)
                .map(|_| {
                    let attacker = attacker.clone();
                    tokio::spawn(async move {
                        for _ in 0..attacks / 8 {
                            attack(&attacker, DEADLINE).await;
                        }
                    })
                })
                .collect();
            for attacker in attackers {
                attacker.await.unwrap();
            }
        });
        let (median, p99) = attacked.await;
        println!("{name}: median {median:?}, p99 {p99:?}");
        assert!(p99 < Duration::from_secs(1), "{name}: {p99:?}");
        let stats = attacker.stats();
        assert_eq!((stats.calls, stats.live, stats.completed), (attacks, 0, 0), "{name}: {stats:?}");
    }
    assert_eq!((engine.live_instances(), engine.overrunning()), (neighbour.stats().live as usize, 0));
}

/// Which the compiler refuses, or runs into a limit of its own.
#[tokio::test]
async fn what_is_switched_off_is_not_compiled() {
    let engine: Engine = engine();
    for text in [
        "(module (memory 1) (memory 1))",
        "(module (memory i64 1))",
        "(module (memory 1 2 shared))",
        "(module (tag))",
    ] {
        let error = refused(&engine, wat::parse_str(text).unwrap()).await;
        assert!(matches!(error, LoadError::Compile(_)), "{text}: {error}");
    }
    for bytes in [&b""[..], b"not a wasm module", b"\0asm"] {
        let error = refused(&engine, bytes.to_vec()).await;
        assert!(error.to_string().starts_with("failed to compile module: "), "{error}");
    }
}
