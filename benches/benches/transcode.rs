//! What it costs to translate a message between JSON and protobuf, as the gateway does and as prost-reflect does.

use benches::transcode::{Pair, Step};
use criterion::{Criterion, criterion_group, criterion_main};

fn transcode(c: &mut Criterion) {
    let mut pair = Pair::new().expect("both know the message");
    let steps: [(&str, Step); 4] = [
        ("JSON to protobuf", Pair::read),
        ("JSON to protobuf, prost-reflect", Pair::read_dynamic),
        ("protobuf to JSON", Pair::write),
        ("protobuf to JSON, prost-reflect", Pair::write_dynamic),
    ];
    let mut group = c.benchmark_group("transcode");
    for (name, step) in steps {
        group.bench_function(name, |b| b.iter(|| step(&mut pair).expect("the message is valid")));
    }
    group.finish();
}

criterion_group!(benches, transcode);
criterion_main!(benches);
