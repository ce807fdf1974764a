use super::*;
use crate::engine::{Engine, EngineOptions, Evict as _};

#[tokio::test]
async fn instances_that_nobody_needs_are_dropped_but_for_those_kept_ready() {
    let wasm = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/echo/echo.wat")).unwrap();
    let engine = Engine::new(EngineOptions { max_instances: 8, ..EngineOptions::default() }).unwrap();
    let options = LoadOptions { name: "e".into(), abi: Abi::default(), limits: Limits::default() };
    let guest = engine.load(wasm, options).await.unwrap();
    let pool = &guest.0.pool;
    let take = async |number: usize| {
        let mut held = Vec::new();
        for _ in 0..number {
            let wish = Wish { deadline: None, fresh: false, nested: false };
            let mut lease = pool.check_out(wish).await.unwrap();
            lease.is_sound();
            held.push(lease);
        }
    };
    take(6).await;
    pool.trim();
    assert_eq!(guest.stats().idle, 6, "they were needed");
    take(2).await;
    pool.trim();
    assert_eq!((guest.stats().idle, guest.stats().live), (2, 2), "four were not");
    pool.trim();
    pool.trim();
    assert_eq!((guest.stats().idle, engine.live_instances()), (1, 1), "one stays ready");
    assert_eq!(guest.call(Call::new("m", "x")).await.unwrap().payload, "x");
}
