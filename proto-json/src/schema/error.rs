//! What can be wrong with a descriptor set.

use crate::WireError;
use crate::limits::MAX_DESCRIPTOR_SET_BYTES;

/// Why a descriptor set is no schema. Names are full names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A message with the name of a well-known one, but other fields.
    #[error("{name} differs from the well-known message of this name")]
    AlteredWellKnown {
        /// The message.
        name: String,
    },
    /// Two fields of a message have one JSON name.
    #[error("two fields of {message} have the JSON name {name:?}")]
    DuplicateJsonName {
        /// The message.
        message: String,
        /// The JSON name.
        name: String,
    },
    /// Two files, types, services, fields, enum values or methods have one name.
    #[error("{name} is defined twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two fields of a message have one number.
    #[error("two fields of {message} have the number {number}")]
    DuplicateNumber {
        /// The message.
        message: String,
        /// The number.
        number: u32,
    },
    /// An enum has no value.
    #[error("{name} has no values")]
    EmptyEnum {
        /// The enum.
        name: String,
    },
    /// A map's entry is not a message of one key and one value.
    #[error("{name} is no map entry")]
    InvalidMapEntry {
        /// The entry message.
        name: String,
    },
    /// A name that is not made of identifiers, or longer than 1,024 bytes.
    #[error("{name:?} is not a name")]
    InvalidName {
        /// The name, cut if it is long.
        name: String,
    },
    /// A field's number is not between 1 and 536,870,911, or reserved for protobuf itself.
    #[error("{field} cannot have the number {number}")]
    InvalidNumber {
        /// The field.
        field: String,
        /// Its number.
        number: i32,
    },
    /// A field belongs to a oneof that its message does not have, or is repeated and in a oneof.
    #[error("{field} belongs to no oneof of its message")]
    InvalidOneof {
        /// The field.
        field: String,
    },
    /// A field's label or type is none, or its type is not what its type name says.
    #[error("{field} has no valid type")]
    InvalidType {
        /// The field.
        field: String,
    },
    /// The bytes are not a descriptor set.
    #[error("not a descriptor set")]
    Malformed(#[source] WireError),
    /// A file imports one that is neither in the set nor one of the well-known ones.
    #[error("{file} imports {import:?}, which is missing")]
    MissingImport {
        /// The file that imports.
        file: String,
        /// What it imports.
        import: String,
    },
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    NotUtf8,
    /// Messages are declared inside messages more than 64 deep.
    #[error("messages are declared more than 64 deep")]
    TooDeep,
    /// The set is larger than 16 MiB.
    #[error("a descriptor set of {bytes} bytes is larger than {MAX_DESCRIPTOR_SET_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More of something than a schema may have.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A type that is not in the set.
    #[error("{used_by} uses {name:?}, which is not defined")]
    UnknownType {
        /// The type.
        name: String,
        /// The field or method that uses it.
        used_by: String,
    },
    /// A file in a syntax or edition other than proto2, proto3, 2023 and 2024.
    #[error("{file} has the unsupported syntax {syntax:?}")]
    UnsupportedSyntax {
        /// The file.
        file: String,
        /// Its syntax or the number of its edition.
        syntax: String,
    },
}

impl From<WireError> for SchemaError {
    fn from(error: WireError) -> Self {
        Self::Malformed(error)
    }
}
