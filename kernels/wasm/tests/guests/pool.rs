//! Instances: how many there are, who waits for them, and what becomes of them.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use kernels_wasm::{Call, Guest, GuestFault, Limits};
use tokio::task::JoinHandle;

use crate::workshop::{ask, call, engine, guest_file, load, load_with, module};

/// Sleeps for the milliseconds that its input is bytes long, then echoes.
fn sleeper() -> Vec<u8> {
    module(
        "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))",
        "",
        "(i32.store (i32.const 64) (i32.const 0))
         (i32.store8 (i32.const 72) (i32.const 0))
         (i32.store (i32.const 80) (i32.const 1))
         (i64.store (i32.const 88) (i64.mul (i64.extend_i32_u (local.get $len)) (i64.const 1000000)))
         (i32.store16 (i32.const 104) (i32.const 0))
         (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    )
}

fn most(instances: u32) -> Limits {
    Limits { max_instances: NonZeroU32::new(instances).unwrap(), ..Limits::default() }
}

fn spawn(guest: &Guest, ms: usize) -> JoinHandle<Result<(), GuestFault>> {
    let guest = guest.clone();
    tokio::spawn(async move { ask(&guest, "sleep", &"x".repeat(ms)).await.map(drop) })
}

#[tokio::test]
async fn calls_of_one_guest_run_side_by_side() {
    let guest = load(&engine(), sleeper()).await;
    let begun = Instant::now();
    let calls: Vec<_> = (0..8).map(|_| spawn(&guest, 300)).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300), "it did not sleep: {took:?}");
    assert!(took < Duration::from_millis(900), "eight took {took:?}");
    assert_eq!((guest.stats().live, guest.stats().idle), (8, 8));
}

#[tokio::test]
async fn beyond_the_most_calls_wait_their_turn() {
    let guest = load_with(&engine(), sleeper(), most(2)).await;
    let begun = Instant::now();
    let calls: Vec<_> = (0..6).map(|_| spawn(&guest, 100)).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((guest.stats().live, guest.stats().waiting), (2, 0));
}

#[tokio::test]
async fn waiting_has_an_end() {
    let limits = Limits { max_wait: Duration::from_millis(50), max_waiting: 1, ..most(1) };
    let guest = load_with(&engine(), sleeper(), limits).await;
    let busy = spawn(&guest, 400);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waits = spawn(&guest, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(guest.stats().waiting, 1);
    assert_eq!(ask(&guest, "m", "x").await, Err(GuestFault::Busy), "the line is full");
    assert_eq!(waits.await.unwrap(), Err(GuestFault::Busy), "it waited long enough");
    let soon = Call { deadline: Some(Instant::now() + Duration::from_millis(10)), ..call("m", "x") };
    assert_eq!(guest.call(soon).await, Err(GuestFault::Deadline));
    busy.await.unwrap().unwrap();
    assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_calls() {
    let limits = Limits { reuses: NonZeroU32::new(4).unwrap(), ..most(1) };
    let guest = load_with(&engine(), guest_file("echo/echo.wat"), limits).await;
    for _ in 0..12 {
        ask(&guest, "m", "x").await.unwrap();
    }
    assert_eq!((guest.stats().starts, guest.stats().live), (3, 0));
}

#[tokio::test]
async fn an_instance_that_traps_in_its_third_call_is_gone_and_the_next_call_has_another() {
    let counting = module(
        "",
        "(global $calls (mut i32) (i32.const 0))",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.eq (global.get $calls) (i32.const 3)) (then (unreachable)))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    );
    let guest = load_with(&engine(), counting, most(1)).await;
    for instance in 1..4 {
        for _ in 0..2 {
            assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
        }
        assert_eq!((guest.stats().starts, guest.stats().idle), (instance, 1));
        assert!(matches!(ask(&guest, "m", "x").await, Err(GuestFault::Trapped { .. })));
        assert_eq!((guest.stats().live, guest.stats().traps), (0, instance));
    }
}

#[tokio::test]
async fn guests_share_the_engines_instances() {
    let engine = engine();
    let guests = [load(&engine, sleeper()).await, load(&engine, sleeper()).await];
    // The first fills the engine; its idle instances then make room for the second.
    for guest in &guests {
        let calls: Vec<_> = (0..40).map(|_| spawn(guest, 30)).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert!(engine.live_instances() <= 32, "{}", engine.live_instances());
    }
    let stats = guests.map(|guest| guest.stats());
    assert!(stats[1].live >= 1, "{stats:?}");
    assert_eq!(stats.map(|stats| stats.completed), [40, 40]);
}

/// Starts until a moment, and traps from then on.
fn starts_until(moment_ns: u128) -> Vec<u8> {
    let initialize = format!(
        "(func (export \"_initialize\")
           (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 64)))
           (if (i64.gt_u (i64.load (i32.const 64)) (i64.const {moment_ns})) (then (unreachable))))"
    );
    module(
        "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result i32)))",
        &initialize,
        "(unreachable)",
    )
}

#[tokio::test]
async fn a_start_that_keeps_failing_is_not_tried_all_the_time() {
    let moment = std::time::SystemTime::now() + Duration::from_secs(3);
    let since = moment.duration_since(std::time::UNIX_EPOCH).unwrap();
    let guest = load(&engine(), starts_until(since.as_nanos())).await;
    // The first call ends the instance that did start.
    assert!(matches!(ask(&guest, "m", "x").await, Err(GuestFault::Trapped { .. })));
    tokio::time::sleep(moment.duration_since(std::time::SystemTime::now()).unwrap_or_default()).await;
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let Err(GuestFault::Starting { why, retry_in }) = ask(&guest, "m", "x").await else {
            panic!("it must not start")
        };
        assert!(why.contains("unreachable"), "{why}");
        pauses.push(!retry_in.is_zero());
    }
    assert_eq!(pauses[..3], [false, false, true]);
    assert!(pauses[3..].iter().all(|paused| *paused), "{pauses:?}");
    assert_eq!((guest.stats().failed_starts, guest.stats().refused), (3, 20));
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(ask(&guest, "m", "x").await.is_err());
    assert_eq!(guest.stats().failed_starts, 4);
}

/// Polls a call so many times, with pauses in which clocks may go on, and then drops it.
async fn drop_after(guest: &Guest, method: &str, polls: u32, pause: Duration) {
    let mut call = pin!(guest.call(call(method, &"x".repeat(40))));
    for _ in 0..polls {
        let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if matches!(poll, Poll::Ready(_)) {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn a_call_may_be_dropped_at_any_await() {
    let engine = engine();
    let sleeper = load_with(&engine, sleeper(), most(2)).await;
    let looper = load_with(&engine, guest_file("attackers/endless_loop.wat"), most(2)).await;
    let pause = Duration::from_millis(1);
    for polls in 0..12 {
        drop_after(&sleeper, "m", polls, pause).await;
        drop_after(&looper, "m", polls, pause).await;
        let stats = [sleeper.stats(), looper.stats()];
        for stats in stats {
            assert_eq!((stats.running, stats.waiting), (0, 0), "{polls}: {stats:?}");
            assert_eq!(stats.live, stats.idle, "{polls}: {stats:?}");
            assert_eq!(stats.calls, u64::from(polls), "a call begins when it is first polled");
        }
        assert_eq!(engine.overrunning(), 0, "{polls}");
        let live = u64::from(stats[0].live + stats[1].live);
        assert_eq!(engine.live_instances() as u64, live, "{polls}");
    }
    assert!(sleeper.stats().cancelled > 3 && looper.stats().cancelled > 6);
    assert_eq!(ask(&sleeper, "m", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_place_in_line_may_be_dropped() {
    let guest = load_with(&engine(), sleeper(), most(1)).await;
    for polls in 1..4 {
        let busy = spawn(&guest, 60);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop_after(&guest, "m", polls, Duration::from_millis(1)).await;
        let next = spawn(&guest, 1);
        busy.await.unwrap().unwrap();
        next.await.unwrap().unwrap();
        assert_eq!((guest.stats().live, guest.stats().idle), (1, 1));
    }
}

/// Sleeps a little again and again, so that no tick ever finds it running for long.
#[tokio::test]
async fn naps_do_not_add_up_to_more_than_a_call_may_take() {
    let naps = module(
        "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))",
        "",
        "(i32.store (i32.const 80) (i32.const 1))
         (i64.store (i32.const 88) (i64.const 2000000))
         (loop $again
           (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
           (br $again))
         (unreachable)",
    );
    let limits = Limits { call_time: Duration::from_millis(100), ..Limits::default() };
    let guest = load_with(&engine(), naps, limits).await;
    let begun = Instant::now();
    assert_eq!(guest.call(Call::new("m", "x")).await, Err(GuestFault::Deadline));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Who was handed an instance and leaves while using it must not hand it on.
#[tokio::test]
async fn an_instance_that_was_handed_on_and_abandoned_is_gone() {
    let guest = load_with(&engine(), sleeper(), most(1)).await;
    let busy = spawn(&guest, 50);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let handed = spawn(&guest, 10_000);
    busy.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((guest.stats().starts, guest.stats().waiting, guest.stats().idle), (1, 0, 0));
    handed.abort();
    assert!(handed.await.unwrap_err().is_cancelled());
    assert_eq!((guest.stats().live, guest.stats().cancelled), (0, 1));
    assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
    assert_eq!(guest.stats().starts, 2);
}

#[tokio::test]
async fn a_sleep_ends_with_the_deadline() {
    let guest = load(&engine(), sleeper()).await;
    let deadline = Some(Instant::now() + Duration::from_millis(60));
    let begun = Instant::now();
    let slept = guest.call(Call { deadline, ..call("m", &"x".repeat(5_000)) }).await;
    assert_eq!(slept, Err(GuestFault::Deadline));
    assert!(begun.elapsed() < Duration::from_millis(600));
    assert_eq!(guest.stats().live, 0);
}
