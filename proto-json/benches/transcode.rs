//! Both directions against prost-reflect, on a small message such as a gateway sees and on a larger one.
//!
//! `cargo bench -p proto-json`; the goal for the small message is a fifth of prost-reflect's time.

#![expect(clippy::unwrap_used, reason = "a bench whose premise fails must fail")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use proto_json::{Message, ReadOptions, Schema, WriteOptions};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

struct Text;

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "bench.proto" => File::from_source(name, PROTO),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

const PROTO: &str = r#"
syntax = "proto3";
package bench;
import "google/protobuf/timestamp.proto";
enum Kind { UNKNOWN = 0; BOOK = 1; MUSIC = 2; }
message Small { int64 id = 1; string customer_name = 2; double total = 3; bool paid = 4; Kind kind = 5; repeated int32 counts = 6; }
message Order { Small head = 1; repeated Line lines = 2; map<string, string> labels = 3; google.protobuf.Timestamp created_at = 4; bytes token = 5; }
message Line { string sku = 1; uint32 count = 2; double price = 3; string note = 4; }
"#;

const SMALL: &str = r#"{"id":"1234567890123","customerName":"Ada Lovelace of Marylebone","total":129.95,"paid":true,"kind":"BOOK","counts":[1,2,3,400]}"#;

fn order() -> String {
    let line = |n| {
        format!(
            r#"{{"sku":"SKU-{n:05}","count":{n},"price":{n}.25,"note":"leave it \"by\" the door, please"}}"#
        )
    };
    let lines: Vec<_> = (1..40).map(line).collect();
    format!(
        r#"{{"head":{SMALL},"lines":[{}],"labels":{{"channel":"web","region":"eu-west"}},"createdAt":"2024-02-29T12:30:00.123Z","token":"AQIDBAUGBwgJCgsMDQ4PEA=="}}"#,
        lines.join(",")
    )
}

struct Case {
    message: Message,
    descriptor: MessageDescriptor,
    json: String,
    wire: Vec<u8>,
}

impl Case {
    fn read(&self) -> DynamicMessage {
        let mut deserializer = serde_json::Deserializer::from_str(&self.json);
        DynamicMessage::deserialize(self.descriptor.clone(), &mut deserializer).unwrap()
    }
}

fn cases() -> Vec<(&'static str, Case)> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("bench.proto").unwrap();
    let set = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(&*set).unwrap();
    let schema = Schema::parse(set).unwrap();
    let case = |name: &str, json: String| {
        let descriptor = pool.get_message_by_name(name).unwrap();
        let mut case = Case { message: schema.message(name).unwrap(), descriptor, json, wire: Vec::new() };
        case.wire = case.read().encode_to_vec();
        case
    };
    vec![("small", case("bench.Small", SMALL.to_owned())), ("order", case("bench.Order", order()))]
}

fn transcode(c: &mut Criterion) {
    for (name, case) in cases() {
        let mut group = c.benchmark_group(format!("json_to_proto/{name}"));
        group.throughput(Throughput::Bytes(case.json.len() as u64));
        let mut out = Vec::new();
        group.bench_function("proto-json", |b| {
            b.iter(|| {
                out.clear();
                let json = black_box(case.json.as_bytes());
                case.message.json_to_proto(json, ReadOptions::default(), &mut out).unwrap();
                out.len()
            });
        });
        group.bench_function("prost-reflect", |b| b.iter(|| black_box(&case).read().encode_to_vec()));
        group.finish();

        let mut group = c.benchmark_group(format!("proto_to_json/{name}"));
        group.throughput(Throughput::Bytes(case.json.len() as u64));
        group.bench_function("proto-json", |b| {
            b.iter(|| {
                out.clear();
                let wire = black_box(&*case.wire);
                case.message.proto_to_json(wire, WriteOptions::default(), &mut out).unwrap();
                out.len()
            });
        });
        group.bench_function("prost-reflect", |b| {
            b.iter(|| {
                let wire = black_box(&*case.wire);
                let message = DynamicMessage::decode(case.descriptor.clone(), wire).unwrap();
                serde_json::to_vec(&message).unwrap()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, transcode);
criterion_main!(benches);
