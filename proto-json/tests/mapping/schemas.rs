//! Descriptor sets: what a schema tells of them, and why some are none.

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use proto_json::{Cardinality, FieldType, Idempotency, ReadOptions, Schema, SchemaError, WriteOptions};

use crate::compiled::{all, compile, delimited, to_json, to_wire};

/// What is wrong with the set of this file, after a change.
fn refused(text: &str, change: impl FnOnce(&mut FileDescriptorProto)) -> SchemaError {
    let mut set = FileDescriptorSet::decode(&*compile(text, false)).unwrap();
    change(&mut set.file[0]);
    Schema::parse(set.encode_to_vec()).unwrap_err()
}

const M: &str = r#"syntax = "proto3"; package p; message M { int32 a = 1; int32 b = 2; N n = 3; } message N {} enum E { Z = 0; }
                  service S { rpc C(M) returns (N); }"#;

#[test]
fn services_and_messages_are_found_by_name() {
    let (schema, _) = all();
    let services: Vec<_> = schema.services().map(|service| service.full_name().to_owned()).collect();
    assert_eq!(services, ["all.Calculator"]);
    let service = schema.service("all.Calculator").unwrap();
    let shown: Vec<_> = service
        .methods()
        .map(|m| {
            let (input, output) = (m.input.full_name(), m.output.full_name());
            format!(
                "{} {input} {output} {} {} {:?}",
                m.name, m.client_streaming, m.server_streaming, m.idempotency
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "Add all.AddRequest all.AddResponse false false NoSideEffects",
            "List google.protobuf.Empty all.ListResponse false true Unknown",
            "Put all.Tree all.Known true false Idempotent",
        ]
    );
    assert_eq!(service.method("Add").unwrap().idempotency, Idempotency::NoSideEffects);
    assert!(service.method("add").is_none() && schema.service("Calculator").is_none());
    assert!(schema.message("google.protobuf.Any").is_some() && schema.message("all.Colour").is_none());

    let scalars = schema.message("all.Scalars").unwrap();
    let field = scalars.field("snake_case_name").unwrap();
    assert_eq!((field.json_name(), field.number(), field.has_presence()), ("snakeCaseName", 2000, false));
    assert!(scalars.field("opt_number").unwrap().has_presence());
    assert_eq!(field.kind(), FieldType::Scalar("int32"));
    let tree = schema.message("all.Tree").unwrap();
    assert_eq!(tree.field("rest").unwrap().cardinality(), Cardinality::List);
    assert_eq!(tree.field("left").unwrap().kind(), FieldType::Message(tree.clone()));
    assert_eq!(schema.message("all.Maps").unwrap().fields().next().unwrap().cardinality(), Cardinality::Map);
}

#[test]
fn the_set_is_kept_as_it_was() {
    let set = compile(M, true);
    assert_eq!(*Schema::parse(set.clone()).unwrap().descriptor_set(), set);
}

#[test]
fn a_set_that_does_not_hold_together_is_refused() {
    let field = |file: &mut FileDescriptorProto,
                 change: fn(&mut prost_reflect::prost_types::FieldDescriptorProto)| {
        change(&mut file.message_type[0].field[1]);
    };
    for (error, expected) in [
        (refused(M, |f| f.message_type[1].name = Some("M".to_owned())), "p.M is defined twice"),
        (refused(M, |f| f.enum_type[0].name = Some("M".to_owned())), "p.M is defined twice"),
        (refused(M, |f| f.service[0].name = Some("M".to_owned())), "p.M is defined twice"),
        (refused(M, |f| field(f, |f| f.name = Some("a".to_owned()))), "p.M.a is defined twice"),
        (
            refused(M, |f| field(f, |f| f.json_name = Some("a".to_owned()))),
            "two fields of p.M have the JSON name \"a\"",
        ),
        (refused(M, |f| field(f, |f| f.number = Some(1))), "two fields of p.M have the number 1"),
        (refused(M, |f| field(f, |f| f.number = Some(0))), "p.M.b cannot have the number 0"),
        (refused(M, |f| field(f, |f| f.number = Some(-1))), "p.M.b cannot have the number -1"),
        (refused(M, |f| field(f, |f| f.number = Some(1 << 29))), "p.M.b cannot have the number 536870912"),
        (refused(M, |f| field(f, |f| f.number = Some(19_500))), "p.M.b cannot have the number 19500"),
        (refused(M, |f| field(f, |f| f.name = Some("b\"".to_owned()))), "\"b\\\"\" is not a name"),
        (
            refused(M, |f| field(f, |f| f.name = Some("x".repeat(2000)))),
            &format!("{:?} is not a name", "x".repeat(80)),
        ),
        (refused(M, |f| field(f, |f| f.oneof_index = Some(0))), "p.M.b belongs to no oneof of its message"),
        (refused(M, |f| field(f, |f| f.r#type = Some(99))), "p.M.b has no valid type"),
        (refused(M, |f| field(f, |f| f.label = Some(9))), "p.M.b has no valid type"),
        (
            refused(M, |f| f.message_type[0].field[2].type_name = Some(".p.X".to_owned())),
            "p.M.n uses \"p.X\", which is not defined",
        ),
        (
            refused(M, |f| f.message_type[0].field[2].type_name = Some(".p.E".to_owned())),
            "p.M.n has no valid type",
        ),
        (
            refused(M, |f| f.service[0].method[0].input_type = Some(".p.E".to_owned())),
            "p.S.C uses \"p.E\", which is not defined",
        ),
        (refused(M, |f| f.enum_type[0].value.clear()), "p.E has no values"),
        (
            refused(M, |f| f.dependency.push("other.proto".to_owned())),
            "test.proto imports \"other.proto\", which is missing",
        ),
        (
            refused(M, |f| f.syntax = Some("proto4".to_owned())),
            "test.proto has the unsupported syntax \"proto4\"",
        ),
        (refused(M, |f| f.package = Some("a..b".to_owned())), "\"\" is not a name"),
        (
            refused(M, |f| {
                f.package = Some("google.protobuf".to_owned());
                f.message_type[0].field.pop();
                f.message_type[0].name = Some("Timestamp".to_owned());
                f.service.clear();
            }),
            "google.protobuf.Timestamp differs from the well-known message of this name",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        Schema::parse(vec![0; (16 << 20) + 1]).unwrap_err(),
        SchemaError::TooLarge { bytes: (16 << 20) + 1 }
    );
    assert_eq!(Schema::parse(vec![0xff; 4]).unwrap_err().to_string(), "not a descriptor set");
    assert!(Schema::parse(Vec::new()).unwrap().services().next().is_none());
}

#[test]
fn a_map_whose_entry_is_none_is_refused() {
    let text = r#"syntax = "proto3"; package p; message M { map<string, int32> m = 1; }"#;
    let entry = |change: fn(&mut prost_reflect::prost_types::DescriptorProto)| {
        refused(text, |f| change(&mut f.message_type[0].nested_type[0])).to_string()
    };
    let expected = "p.M.MEntry is no map entry";
    assert_eq!(entry(|entry| _ = entry.field.pop()), expected);
    assert_eq!(entry(|entry| entry.field[0].r#type = Some(1)), expected);
    assert_eq!(entry(|entry| entry.field[1].label = Some(3)), expected);
    assert_eq!(entry(|entry| entry.field[1].number = Some(3)), expected);
}

#[test]
fn a_small_set_does_not_become_a_large_schema() {
    // Two bytes for each empty message.
    let file = [0x22, 0].repeat(100_000);
    let set = delimited(&[0x0a], &file);
    assert_eq!(Schema::parse(set).unwrap_err().to_string(), "more than 65536 messages and enums");
    let mut nested = Vec::new();
    for _ in 0..60 {
        nested = delimited(&[0x1a], &nested);
    }
    // Names are missing, but that many levels alone are fine.
    let set = delimited(&[0x0a], &delimited(&[0x22], &nested));
    assert_eq!(Schema::parse(set).unwrap_err().to_string(), "\"\" is not a name");
}

#[test]
fn the_features_of_an_edition_are_kept() {
    let text = r#"syntax = "proto3"; package p; enum E { Z = 0; } message M { int32 a = 1; repeated int32 b = 2; E e = 3; M m = 4; int32 c = 5; }"#;
    let set = FileDescriptorSet::decode(&*compile(text, false)).unwrap();
    let mut file = set.file[0].clone();
    file.syntax = Some("editions".to_owned());
    // `edition = "2023"`, and the options that are given.
    let schema = |options: &[u8], field_options: &[(usize, &[u8])]| {
        let mut message = Vec::new();
        for (index, field) in file.message_type[0].field.iter().enumerate() {
            let mut bytes = field.encode_to_vec();
            for (_, extra) in field_options.iter().filter(|(of, _)| *of == index) {
                bytes.extend(delimited(&[0x42], extra));
            }
            message.extend(delimited(&[0x12], &bytes));
        }
        message.extend([0x0a, 1, b'M']);
        let mut bare = file.clone();
        bare.message_type.clear();
        let mut bytes = bare.encode_to_vec();
        bytes.extend(delimited(&[0x22], &message));
        bytes.extend(delimited(&[0x70, 0xe8, 0x07, 0x42], options));
        let set = delimited(&[0x0a], &bytes);
        Schema::parse(set).unwrap().message("p.M").unwrap()
    };
    let wire =
        |message: &proto_json::Message, json: &str| to_wire(message, json, ReadOptions::default()).unwrap();

    let plain = schema(&[], &[]);
    assert_eq!(wire(&plain, r#"{"a":0,"b":[1,2],"m":{}}"#), [0x08, 0, 0x12, 2, 1, 2, 0x22, 0]);
    // Of the file: implicit presence, expanded lists, delimited messages.
    let file_features = [0x92, 0x03, 6, 0x08, 2, 0x18, 2, 0x28, 2];
    let other = schema(&file_features, &[]);
    assert_eq!(wire(&other, r#"{"a":0,"b":[1,2],"m":{"a":1}}"#), [0x10, 1, 0x10, 2, 0x23, 0x08, 1, 0x24]);
    assert_eq!(to_json(&other, &[0x23, 0x08, 1, 0x24], WriteOptions::default()).unwrap(), r#"{"m":{"a":1}}"#);
    // A field goes its own way.
    let mixed = schema(&file_features, &[(0, &[0xaa, 0x01, 2, 0x08, 1]), (3, &[0xaa, 0x01, 2, 0x28, 1])]);
    assert_eq!(wire(&mixed, r#"{"a":0,"c":0,"m":{}}"#), [0x08, 0, 0x22, 0]);
    // Closed enums drop what they do not have.
    let closed = schema(&[0x92, 0x03, 2, 0x10, 2], &[]);
    assert_eq!(to_json(&closed, &[0x18, 5], WriteOptions::default()).unwrap(), "{}");
    assert_eq!(to_json(&plain, &[0x18, 5], WriteOptions::default()).unwrap(), r#"{"e":5}"#);
}
