//! Schemas compiled from text, for this crate and for the oracle.

use std::sync::OnceLock;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use proto_json::{Message, ReadOptions, Schema, WriteOptions};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// One file of text, and the well-known ones.
struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "test.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The encoded descriptor set of a text, with or without what it imports.
pub(crate) fn compile(text: &str, imports: bool) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(text.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(imports);
    compiler.open_file("test.proto").unwrap_or_else(|error| panic!("{error:?}"));
    compiler.encode_file_descriptor_set()
}

/// The schema of `all.proto`, by this crate and by the oracle.
pub(crate) fn all() -> &'static (Schema, DescriptorPool) {
    static ALL: OnceLock<(Schema, DescriptorPool)> = OnceLock::new();
    ALL.get_or_init(|| {
        let set = compile(include_str!("all.proto"), true);
        (Schema::parse(set.clone()).unwrap(), DescriptorPool::decode(&*set).unwrap())
    })
}

/// A message of `all.proto` by its short name.
pub(crate) fn message(name: &str) -> (Message, MessageDescriptor) {
    let (schema, pool) = all();
    let name = format!("all.{name}");
    (schema.message(&name).unwrap(), pool.get_message_by_name(&name).unwrap())
}

/// The wire form of JSON.
pub(crate) fn to_wire(message: &Message, json: &str, options: ReadOptions) -> Result<Vec<u8>, String> {
    let mut wire = Vec::new();
    message.json_to_proto(json.as_bytes(), options, &mut wire).map_err(|error| error.to_string())?;
    Ok(wire)
}

/// The JSON of a wire form.
pub(crate) fn to_json(message: &Message, wire: &[u8], options: WriteOptions) -> Result<String, String> {
    let mut json = Vec::new();
    message.proto_to_json(wire, options, &mut json).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(json).unwrap())
}

/// The canonical wire form of what the oracle reads from a wire form.
pub(crate) fn oracle(descriptor: &MessageDescriptor, wire: &[u8]) -> prost_reflect::DynamicMessage {
    let decoded = prost_reflect::DynamicMessage::decode(descriptor.clone(), wire);
    decoded.unwrap_or_else(|error| panic!("the oracle does not read {wire:02x?}: {error}"))
}

/// The bytes of a message of the oracle.
pub(crate) fn encoded(message: &prost_reflect::DynamicMessage) -> Vec<u8> {
    message.encode_to_vec()
}

/// A length-delimited field.
pub(crate) fn delimited(tag: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut field = tag.to_vec();
    prost_reflect::prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}
