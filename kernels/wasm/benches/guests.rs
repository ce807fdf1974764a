//! What a call of a guest costs, beside the same work without one.

#![expect(clippy::unwrap_used, reason = "a bench whose premise fails must fail")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use kernels_wasm::{Abi, Call, Engine, EngineOptions, Guest, Isolation, Limits, LoadOptions, MethodName};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn engine(cache: Option<PathBuf>) -> Engine {
    Engine::new(EngineOptions { cache, ..EngineOptions::default() }).unwrap()
}

fn load(runtime: &Runtime, engine: &Engine, wasm: &[u8]) -> Guest {
    let options = LoadOptions { name: "bench".into(), abi: Abi::default(), limits: Limits::default() };
    runtime.block_on(engine.load(wasm.to_vec(), options)).unwrap()
}

fn echo_text() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guests/echo/echo.wat");
    std::fs::read_to_string(path).unwrap()
}

/// The echo guest, with a megabyte of data of its own.
fn echo_with_data() -> Vec<u8> {
    let data = "(data (i32.const 65536) \"".to_owned() + &"okra".repeat(1 << 18) + "\")";
    let text = echo_text().replacen(
        "(memory (export \"memory\") 1)",
        &format!("(memory (export \"memory\") 18) {data}"),
        1,
    );
    wat::parse_str(text).unwrap()
}

fn echo() -> Vec<u8> {
    wat::parse_str(echo_text()).unwrap()
}

fn many(runtime: &Runtime, guest: &Guest, len: usize, isolation: Isolation, calls: u64) -> Duration {
    let (method, input): (MethodName, _) = ("echo".into(), Bytes::from(vec![b'x'; len]));
    runtime.block_on(async {
        let begun = Instant::now();
        for _ in 0..calls {
            let call = Call { isolation, ..Call::new(method.clone(), input.clone()) };
            black_box(guest.call(call).await.unwrap());
        }
        begun.elapsed()
    })
}

fn calls(criterion: &mut Criterion) {
    let (runtime, engine) = (runtime(), engine(None));
    let guest = load(&runtime, &engine, &echo());
    let mut group = criterion.benchmark_group("call");
    let input = Bytes::from(vec![b'x'; 64]);
    group.bench_function("native/64", |b| b.iter(|| Bytes::copy_from_slice(black_box(&input))));
    for len in [64, 4_096] {
        let name = format!("warm/{len}");
        group.bench_function(name, |b| b.iter_custom(|n| many(&runtime, &guest, len, Isolation::Warm, n)));
    }
    group
        .bench_function("fresh/tiny", |b| b.iter_custom(|n| many(&runtime, &guest, 64, Isolation::Fresh, n)));
    let large = load(&runtime, &engine, &echo_with_data());
    group
        .bench_function("fresh/1MiB", |b| b.iter_custom(|n| many(&runtime, &large, 64, Isolation::Fresh, n)));
    group.finish();
}

fn loads(criterion: &mut Criterion) {
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let engine = engine(Some(dir.path().to_owned()));
    let mut group = criterion.benchmark_group("load");
    for (name, wasm) in [("tiny", echo()), ("1MiB", echo_with_data())] {
        load(&runtime, &engine, &wasm);
        group.bench_function(format!("cached/{name}"), |b| b.iter(|| load(&runtime, &engine, &wasm)));
    }
    group.finish();
}

criterion_group!(benches, calls, loads);
criterion_main!(benches);
