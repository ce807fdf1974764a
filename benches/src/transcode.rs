//! One message in JSON and in protobuf, translated by us and by prost-reflect.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use proto_json::{Message, ReadOptions, Schema, WriteOptions};
use protox::file::{ChainFileResolver, File, FileResolver};

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

/// The two that are compared, on the same message of six fields, as many a request.
#[derive(Debug)]
pub struct Pair {
    message: Message,
    descriptor: MessageDescriptor,
    wire: Vec<u8>,
    out: Vec<u8>,
}

/// One of the four ways.
pub type Step = fn(&mut Pair) -> anyhow::Result<()>;

// === impl Pair ===

impl Pair {
    /// Both know the message, and agree on it in both forms.
    ///
    /// # Errors
    /// They do not.
    pub fn new() -> anyhow::Result<Self> {
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
        pair.agree()?;
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

    /// JSON to protobuf, by us.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn read(&mut self) -> anyhow::Result<()> {
        self.out.clear();
        Ok(self.message.json_to_proto(black_box(JSON.as_bytes()), ReadOptions::default(), &mut self.out)?)
    }

    /// JSON to protobuf, by prost-reflect.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn read_dynamic(&mut self) -> anyhow::Result<()> {
        let mut json = serde_json::Deserializer::from_str(black_box(JSON));
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json)?;
        self.out.clear();
        Ok(message.encode(&mut self.out)?)
    }

    /// Protobuf to JSON, by us.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn write(&mut self) -> anyhow::Result<()> {
        self.out.clear();
        Ok(self.message.proto_to_json(black_box(&*self.wire), WriteOptions::default(), &mut self.out)?)
    }

    /// Protobuf to JSON, by prost-reflect.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn write_dynamic(&mut self) -> anyhow::Result<()> {
        let message = DynamicMessage::decode(self.descriptor.clone(), black_box(&*self.wire))?;
        self.out.clear();
        Ok(serde_json::to_writer(&mut self.out, &message)?)
    }
}

const PROTO: &str = r#"
syntax = "proto3";
package order;
enum Kind { UNKNOWN = 0; BOOK = 1; MUSIC = 2; }
message Order { int64 id = 1; string customer_name = 2; double total = 3; bool paid = 4; Kind kind = 5; repeated int32 counts = 6; }
"#;
/// The message.
pub const JSON: &str = r#"{"id":"1234567890123","customerName":"Ada Lovelace of Marylebone","total":129.95,"paid":true,"kind":"BOOK","counts":[1,2,3,400]}"#;
