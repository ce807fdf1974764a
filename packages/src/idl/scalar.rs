//! The types that need no definition.

use prost_types::field_descriptor_proto::Type;

/// A type that needs no definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// One that protobuf has, too.
    Plain(Type),
    /// A moment, which is a message of its own there.
    Timestamp,
}

/// Their names.
pub(crate) const NAMES: [&str; 11] =
    ["String", "Int", "Float", "Boolean", "Bytes", "Time", "ID", "Long", "Double", "DateTime", "Timestamp"];

// === impl Scalar ===

impl Scalar {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let scalar = match name {
            "String" | "ID" => Self::Plain(Type::String),
            "Int" => Self::Plain(Type::Int32),
            "Long" => Self::Plain(Type::Int64),
            "Float" => Self::Plain(Type::Float),
            "Double" => Self::Plain(Type::Double),
            "Boolean" => Self::Plain(Type::Bool),
            "Bytes" => Self::Plain(Type::Bytes),
            "Time" | "DateTime" | "Timestamp" => Self::Timestamp,
            _ => return None,
        };
        Some(scalar)
    }
}

/// What to write instead of a type of other languages.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    let scalar = match name.to_ascii_lowercase().as_str() {
        "str" | "string" | "text" | "uuid" | "decimal" => "String",
        "int" | "integer" | "int32" | "uint32" => "Int",
        "int64" | "uint64" | "bigint" | "long" | "duration" => "Long",
        "float" | "float32" => "Float",
        "float64" | "double" | "number" => "Double",
        "bool" | "boolean" => "Boolean",
        "byte" | "bytes" | "binary" => "Bytes",
        "date" | "datetime" | "time" | "timestamp" => "Time",
        "id" => "ID",
        _ => return None,
    };
    Some(scalar)
}
