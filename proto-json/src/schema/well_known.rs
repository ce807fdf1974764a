//! The well-known types, which every schema has whether its descriptor set defines them or not.

use super::descriptor::{RawEnum, RawField, RawFile, RawMessage, RawOneof};
use crate::tables::{FieldTable, Kind, MessageTable, Shape, WellKnown};

/// A well-known message by its definition.
struct Definition {
    name: &'static str,
    well_known: WellKnown,
    fields: &'static [Member],
}

/// A field: name, number, type and whether it is repeated.
type Member = (&'static str, i32, Type, bool);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Double = 1,
    Float = 2,
    Int64 = 3,
    Uint64 = 4,
    Int32 = 5,
    Bool = 8,
    String = 9,
    Message = 11,
    Bytes = 12,
    Uint32 = 13,
    Enum = 14,
}

const PACKAGE: &str = "google.protobuf";
const NULL_VALUE: &str = "google.protobuf.NullValue";

const DEFINITIONS: &[Definition] = &[
    define("Any", WellKnown::Any, &[("type_url", 1, Type::String, false), ("value", 2, Type::Bytes, false)]),
    define(
        "Duration",
        WellKnown::Duration,
        &[("seconds", 1, Type::Int64, false), ("nanos", 2, Type::Int32, false)],
    ),
    define("Empty", WellKnown::Empty, &[]),
    define("FieldMask", WellKnown::FieldMask, &[("paths", 1, Type::String, true)]),
    define("ListValue", WellKnown::ListValue, &[("values", 1, Type::Message, true)]),
    define("Struct", WellKnown::Struct, &[("fields", 1, Type::Message, true)]),
    define(
        "Timestamp",
        WellKnown::Timestamp,
        &[("seconds", 1, Type::Int64, false), ("nanos", 2, Type::Int32, false)],
    ),
    define(
        "Value",
        WellKnown::Value,
        &[
            ("null_value", 1, Type::Enum, false),
            ("number_value", 2, Type::Double, false),
            ("string_value", 3, Type::String, false),
            ("bool_value", 4, Type::Bool, false),
            ("struct_value", 5, Type::Message, false),
            ("list_value", 6, Type::Message, false),
        ],
    ),
    define("DoubleValue", WellKnown::Wrapper, &[("value", 1, Type::Double, false)]),
    define("FloatValue", WellKnown::Wrapper, &[("value", 1, Type::Float, false)]),
    define("Int64Value", WellKnown::Wrapper, &[("value", 1, Type::Int64, false)]),
    define("UInt64Value", WellKnown::Wrapper, &[("value", 1, Type::Uint64, false)]),
    define("Int32Value", WellKnown::Wrapper, &[("value", 1, Type::Int32, false)]),
    define("UInt32Value", WellKnown::Wrapper, &[("value", 1, Type::Uint32, false)]),
    define("BoolValue", WellKnown::Wrapper, &[("value", 1, Type::Bool, false)]),
    define("StringValue", WellKnown::Wrapper, &[("value", 1, Type::String, false)]),
    define("BytesValue", WellKnown::Wrapper, &[("value", 1, Type::Bytes, false)]),
];

/// Files that a set may import without holding them.
const FILES: &[&str] = &[
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
];

const fn define(name: &'static str, well_known: WellKnown, fields: &'static [Member]) -> Definition {
    Definition { name, well_known, fields }
}

/// Whether a file may be imported although it is missing.
pub(crate) fn is_well_known_file(name: &str) -> bool {
    FILES.contains(&name)
}

/// Whether this is the enum whose JSON is `null`.
pub(crate) fn is_null_value(full_name: &str) -> bool {
    full_name == NULL_VALUE
}

/// The well-known message of this full name.
pub(crate) fn of_name(full_name: &str) -> Option<WellKnown> {
    definition(full_name).map(|definition| definition.well_known)
}

/// Whether a linked message that has a well-known name has the fields of its definition, where `type_of`
/// gives the full name of a field's message or enum.
pub(crate) fn is_unaltered<'t>(
    table: &MessageTable,
    type_of: impl Fn(&FieldTable) -> Option<&'t str>,
) -> bool {
    let Some(definition) = definition(&table.full_name) else { return true };
    table.fields.len() == definition.fields.len()
        && table.fields.iter().zip(definition.fields).all(|(field, (name, number, kind, repeated))| {
            let type_name = absolute_type_name(definition.name, name).strip_prefix('.');
            *field.name == **name
                && i64::from(field.number) == i64::from(*number)
                && kind_is(*kind, field.kind)
                && *repeated != matches!(field.shape, Shape::Singular { .. })
                && type_of(field) == type_name
        })
}

/// The definitions as a file, of those messages and enums that `has` does not know.
pub(crate) fn file(has: impl Fn(&str) -> bool) -> RawFile<'static> {
    let missing = |name: &str| !has(&format!("{PACKAGE}.{name}"));
    let messages =
        DEFINITIONS.iter().filter(|definition| missing(definition.name)).map(Definition::to_raw).collect();
    let null = RawEnum { name: "NullValue", values: vec![("NULL_VALUE", 0)], ..RawEnum::default() };
    let enums = Vec::from_iter(missing(null.name).then_some(null));
    RawFile { package: PACKAGE, syntax: "proto3", messages, enums, ..RawFile::default() }
}

// === impl Definition ===

impl Definition {
    fn to_raw(&self) -> RawMessage<'static> {
        let mut raw = RawMessage { name: self.name, ..RawMessage::default() };
        let is_value = self.well_known == WellKnown::Value;
        if is_value {
            raw.oneofs.push(RawOneof { name: "kind", ..RawOneof::default() });
        }
        if self.well_known == WellKnown::Struct {
            let fields = vec![
                raw_field("key", 1, Type::String, false, ""),
                raw_field("value", 2, Type::Message, false, ".google.protobuf.Value"),
            ];
            raw.messages.push(RawMessage {
                name: "FieldsEntry",
                fields,
                map_entry: true,
                ..RawMessage::default()
            });
        }
        for &(name, number, kind, repeated) in self.fields {
            let type_name = absolute_type_name(self.name, name);
            let oneof = is_value.then_some(0);
            raw.fields.push(RawField { oneof, ..raw_field(name, number, kind, repeated, type_name) });
        }
        raw
    }
}

fn raw_field(
    name: &'static str,
    number: i32,
    kind: Type,
    repeated: bool,
    type_name: &'static str,
) -> RawField<'static> {
    let label = if repeated { 3 } else { 1 };
    RawField { name, number, label, type_code: kind as i32, type_name, ..RawField::default() }
}

fn definition(full_name: &str) -> Option<&'static Definition> {
    let name = full_name.strip_prefix(PACKAGE)?.strip_prefix('.')?;
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

/// The type of a field that has a named one.
fn absolute_type_name(message: &str, field: &str) -> &'static str {
    match (message, field) {
        ("ListValue", _) => ".google.protobuf.Value",
        ("Struct", _) => ".google.protobuf.Struct.FieldsEntry",
        ("Value", "null_value") => ".google.protobuf.NullValue",
        ("Value", "struct_value") => ".google.protobuf.Struct",
        ("Value", "list_value") => ".google.protobuf.ListValue",
        _ => "",
    }
}

fn kind_is(defined: Type, linked: Kind) -> bool {
    match linked {
        Kind::Double => defined == Type::Double,
        Kind::Float => defined == Type::Float,
        Kind::Int64 => defined == Type::Int64,
        Kind::Uint64 => defined == Type::Uint64,
        Kind::Int32 => defined == Type::Int32,
        Kind::Bool => defined == Type::Bool,
        Kind::String => defined == Type::String,
        Kind::Message(_) => defined == Type::Message,
        Kind::Bytes => defined == Type::Bytes,
        Kind::Uint32 => defined == Type::Uint32,
        Kind::Enum(_) => defined == Type::Enum,
        Kind::Fixed64
        | Kind::Fixed32
        | Kind::Group(_)
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Sint32
        | Kind::Sint64 => false,
    }
}
