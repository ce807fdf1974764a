//! G12: JSON ↔ protobuf as the gateway does it, over the same by prost-reflect.
//!
//! The message has six fields, as many a request. Batches of both take turns; the two agree on every byte
//! before anything is timed. That the mapping is complete is shown by the tests of `proto-json`.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use proto_json::{Message, ReadOptions, Schema, WriteOptions};
use protox::file::{ChainFileResolver, File, FileResolver};

use crate::goals::{Bound, Finding};
use crate::spread::Spread;

/// The schema as `protoc` would find it on disk.
struct Text;

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "order.proto" {
            File::from_source(name, PROTO)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// The two that are compared, on the same message.
struct Pair {
    message: Message,
    descriptor: MessageDescriptor,
    wire: Vec<u8>,
    out: Vec<u8>,
}

/// The ratio of each direction, and our own nanoseconds for the record.
pub(crate) fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let mut pair = Pair::new()?;
    pair.agree()?;
    let mut findings = Vec::new();
    for (direction, ours, theirs) in [
        ("JSON → protobuf", Pair::read as Step, Pair::read_dynamic as Step),
        ("protobuf → JSON", Pair::write, Pair::write_dynamic),
    ] {
        let (mut ratios, mut own) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut batches = [Vec::new(), Vec::new()];
            for _ in 0..BATCHES {
                batches[0].push(pair.batch(ours)?);
                batches[1].push(pair.batch(theirs)?);
            }
            let [ours, theirs] = batches.map(Spread::of);
            let (ours, theirs) = (ours.context("no batches")?.median, theirs.context("no batches")?.median);
            own.push(ours);
            ratios.push(ours / theirs);
        }
        let what = format!("{direction} ÷ prost-reflect, {} B of JSON", JSON.len());
        findings.push(Finding::new("G12", what, Spread::of(ratios), "", Bound::AtMost(0.2)));
        findings.push(Finding::new("G12", direction, Spread::of(own), " ns", Bound::Record));
    }
    Ok(findings)
}

type Step = fn(&mut Pair) -> anyhow::Result<()>;

// === impl Pair ===

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Text);
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file("order.proto")?;
        let set = compiler.encode_file_descriptor_set();
        let pool = DescriptorPool::decode(&*set)?;
        let descriptor = pool.get_message_by_name("order.Order").context("the message")?;
        let message = Schema::parse(set)?.message("order.Order").context("the message")?;
        let mut pair = Self { message, descriptor, wire: Vec::new(), out: Vec::new() };
        pair.read_dynamic()?;
        pair.wire = pair.out.clone();
        Ok(pair)
    }

    /// Both give the same bytes in both directions.
    fn agree(&mut self) -> anyhow::Result<()> {
        self.read()?;
        ensure!(self.out == self.wire, "they read different messages");
        self.write()?;
        let ours = self.out.clone();
        self.write_dynamic()?;
        let (ours, theirs): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(&ours)?, serde_json::from_slice(&self.out)?);
        ensure!(ours == theirs, "{ours} and {theirs}");
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        self.out.clear();
        Ok(self.message.json_to_proto(black_box(JSON.as_bytes()), ReadOptions::default(), &mut self.out)?)
    }

    fn read_dynamic(&mut self) -> anyhow::Result<()> {
        let mut json = serde_json::Deserializer::from_str(black_box(JSON));
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json)?;
        self.out.clear();
        Ok(message.encode(&mut self.out)?)
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.out.clear();
        Ok(self.message.proto_to_json(black_box(&*self.wire), WriteOptions::default(), &mut self.out)?)
    }

    fn write_dynamic(&mut self) -> anyhow::Result<()> {
        let message = DynamicMessage::decode(self.descriptor.clone(), black_box(&*self.wire))?;
        self.out.clear();
        Ok(serde_json::to_writer(&mut self.out, &message)?)
    }

    /// Nanoseconds of one step.
    fn batch(&mut self, step: Step) -> anyhow::Result<f64> {
        let begun = Instant::now();
        for _ in 0..BATCH {
            step(self)?;
            black_box(&self.out);
        }
        Ok(begun.elapsed().as_nanos() as f64 / BATCH as f64)
    }
}

const BATCH: usize = 200;
const BATCHES: usize = 200;
const PROTO: &str = r#"
syntax = "proto3";
package order;
enum Kind { UNKNOWN = 0; BOOK = 1; MUSIC = 2; }
message Order { int64 id = 1; string customer_name = 2; double total = 3; bool paid = 4; Kind kind = 5; repeated int32 counts = 6; }
"#;
const JSON: &str = r#"{"id":"1234567890123","customerName":"Ada Lovelace of Marylebone","total":129.95,"paid":true,"kind":"BOOK","counts":[1,2,3,400]}"#;
