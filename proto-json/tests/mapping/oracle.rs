//! Random messages of random schemas mean the same to this crate as to an independent implementation.

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use proto_json::{FieldNames, Message, ReadOptions, Schema, WriteOptions, Zeros};
use serde_json::Value as Json;

use crate::compiled::{compile, to_json, to_wire};
use crate::random::{self, Random};

/// What the oracle writes, with every number as a double so that `1` and `1.0` are the same.
fn oracle_json(message: &DynamicMessage, options: &SerializeOptions) -> Json {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    message.serialize_with_options(&mut serializer, options).unwrap();
    parse(&text)
}

fn parse(text: &[u8]) -> Json {
    let mut json = serde_json::from_slice(text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)));
    as_doubles(&mut json);
    json
}

fn as_doubles(json: &mut Json) {
    match json {
        Json::Number(number) => *json = Json::from(number.as_f64().unwrap()),
        Json::Array(items) => items.iter_mut().for_each(as_doubles),
        Json::Object(members) => members.values_mut().for_each(as_doubles),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

fn decode(descriptor: &MessageDescriptor, wire: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), wire).unwrap()
}

/// Both write the same JSON of a wire form, and read each other's JSON as the same message.
fn check(message: &Message, descriptor: &MessageDescriptor, wire: &[u8]) {
    let meant = decode(descriptor, wire);
    let expected = oracle_json(&meant, &SerializeOptions::new());
    let written = to_json(message, wire, WriteOptions::default()).unwrap();
    assert_eq!(parse(written.as_bytes()), expected, "{wire:02x?}");

    let names = WriteOptions { field_names: FieldNames::Original, ..WriteOptions::default() };
    let original = to_json(message, wire, names).unwrap();
    let by_name = SerializeOptions::new().use_proto_field_name(true);
    assert_eq!(parse(original.as_bytes()), oracle_json(&meant, &by_name));

    let zeros = WriteOptions { zeros: Zeros::All, ..WriteOptions::default() };
    let with_zeros = to_json(message, wire, zeros).unwrap();

    let mut oracles = Vec::new();
    meant.serialize_with_options(&mut serde_json::Serializer::new(&mut oracles), &by_name).unwrap();
    for json in [&written, &original, &with_zeros, str::from_utf8(&oracles).unwrap()] {
        let read =
            to_wire(message, json, ReadOptions::default()).unwrap_or_else(|error| panic!("{error}: {json}"));
        let read = decode(descriptor, &read);
        assert_eq!(oracle_json(&read, &SerializeOptions::new()), expected, "{json}");
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let by_oracle = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer).unwrap();
        assert_eq!(oracle_json(&by_oracle, &SerializeOptions::new()), expected, "{json}");
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let text = random::schema(&mut random);
    let set = compile(&text, true);
    let pool = DescriptorPool::decode(&*set).unwrap();
    let schema = Schema::parse(set).unwrap_or_else(|error| panic!("{error}\n{text}"));
    // The well-known types are the same whether the set has them or not.
    let alone = Schema::parse(compile(&text, false)).unwrap();
    for (schema, name) in [(&schema, "r.M0"), (&alone, "r.M1"), (&schema, "r.M2"), (&alone, "r.M3")] {
        let (message, descriptor) = (schema.message(name).unwrap(), pool.get_message_by_name(name).unwrap());
        for _ in 0..8 {
            let one = random::message(&mut random, &descriptor, 4).encode_to_vec();
            check(&message, &descriptor, &one);
            // One message after the other is both, merged.
            let two = random::message(&mut random, &descriptor, 4).encode_to_vec();
            check(&message, &descriptor, &[one, two].concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_oracle_agrees(seed in any::<u64>()) {
        run(seed);
    }
}
