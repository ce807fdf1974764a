//! Calls in place: which they are, and that nobody can tell where one had to be made again.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use kernels_wasm::{Begun, Call, GuestFault, Isolation, Limits};

use crate::workshop::{ask, engine, guest_file, load, load_with, module};

/// For `long` it counts for much longer than a tick, for `deep` it fills its stack; it answers with how often it
/// was called.
fn counter() -> Vec<u8> {
    module(
        "",
        "(global $calls (mut i32) (i32.const 0)) (func $deep (param i32) (result i32)
           (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))",
        "(local $left i32)
         (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 100)) (then (drop (call $deep (i32.const 0)))))
         (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 108)) (then
           (local.set $left (i32.const 200000000))
           (loop $count (br_if $count (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
         (i32.store8 (local.get $input) (i32.add (i32.const 48) (global.get $calls)))
         (call $echo (local.get $method) (local.get $method_len) (local.get $input) (local.get $len))",
    )
}

fn one() -> Limits {
    Limits { max_instances: NonZeroU32::MIN, max_waiting: 0, ..Limits::default() }
}

#[tokio::test]
async fn a_call_that_need_not_wait_has_ended_when_it_has_begun() {
    let engine = engine();
    let guest = load(&engine, guest_file("echo/echo.wat")).await;
    for isolation in [Isolation::Warm, Isolation::Fresh] {
        let begun = guest.begin(Call { isolation, ..Call::new("m", "x") });
        let Begun::Ended(Ok(reply)) = begun else { panic!("{begun:?}") };
        assert_eq!(reply.payload, "x");
    }
    assert_eq!((guest.stats().starts, guest.stats().idle), (2, 0), "the fresh one served one call");
    assert_eq!(ask(&guest, "m", "x").await.unwrap(), "x");
    let nested = || guest.begin(Call { nested: true, ..Call::new("m", "x") });
    let Begun::Waits(rest) = nested() else { panic!("it has ended") };
    assert_eq!(guest.stats().running, 1);
    assert_eq!(rest.end().await.unwrap().payload, "x");
    assert!(matches!(nested(), Begun::Waits(_)));
    let stats = guest.stats();
    assert_eq!((stats.calls, stats.completed, stats.cancelled, stats.running), (5, 4, 1, 0));
    let naps =
        "(import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func (param i32 i32 i32 i32) (result i32)))";
    let naps = load(&engine, module(naps, "", "(i64.const 0)")).await;
    assert!(matches!(naps.begin(Call::new("m", "x")), Begun::Waits(_)));
}

#[tokio::test]
async fn a_call_that_overruns_in_place_is_made_again_and_counted_once() {
    let engine = engine();
    let guest = load_with(&engine, counter(), one()).await;
    assert_eq!(ask(&guest, "short", "?").await.unwrap(), "1");
    // With what the abandoned instance did, it would be the third.
    assert_eq!(ask(&guest, "long", "?").await.unwrap(), "1");
    let stats = guest.stats();
    assert_eq!((stats.calls, stats.completed, stats.overruns, stats.starts), (2, 2, 1, 2), "{stats:?}");
    assert_eq!((stats.live, stats.running, engine.overrunning()), (1, 0, 0), "{stats:?}");
    assert!(matches!(guest.begin(Call::new("short", "?")), Begun::Waits(_)), "it is suspect");
    let mut on_fibers = 0;
    while let Begun::Waits(rest) = guest.begin(Call::new("short", "?")) {
        rest.end().await.unwrap();
        on_fibers += 1;
        assert!(on_fibers < 4_096, "it is suspect for ever");
    }
    assert!(on_fibers >= 1_024, "trusted after {on_fibers}");
}

#[tokio::test]
async fn a_call_that_is_made_again_keeps_its_place() {
    let engine = engine();
    let guest = load_with(&engine, counter(), one()).await;
    let Begun::Waits(rest) = guest.begin(Call::new("long", "?")) else { panic!("it has ended") };
    assert_eq!(
        (guest.stats().live, engine.live_instances()),
        (1, 0),
        "the instance is gone, its place is not"
    );
    assert_eq!(ask(&guest, "short", "?").await, Err(GuestFault::Busy));
    assert_eq!(rest.end().await.unwrap().payload, "1");
    let Begun::Waits(rest) = guest.begin(Call::new("long", "?")) else { panic!("it has ended") };
    drop(rest);
    assert_eq!(ask(&guest, "short", "?").await.unwrap(), "2", "a call that is given up takes nothing along");
}

#[tokio::test]
async fn a_call_in_place_ends_with_its_deadline_and_within_its_stack() {
    let guest = load(&engine(), counter()).await;
    let begun = Instant::now();
    let deadline = Some(begun + Duration::from_millis(1));
    let ended = guest.begin(Call { deadline, ..Call::new("long", "?") });
    assert!(matches!(ended, Begun::Ended(Err(GuestFault::Deadline))), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(ask(&guest, "short", "?").await.unwrap(), "1", "in another instance");
    // On a busy machine even this may take two ticks.
    let deep = match guest.begin(Call::new("deep", "?")) {
        Begun::Ended(result) => result,
        Begun::Waits(rest) => rest.end().await,
    };
    assert_eq!(deep, Err(GuestFault::StackOverflow));
}
