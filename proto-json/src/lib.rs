//! Protobuf schemas from descriptor sets, and the JSON mapping over them.
//!
//! [`Schema::parse`] links a descriptor set into tables once; [`Message::json_to_proto`] and
//! [`Message::proto_to_json`] then translate by these tables in one go, without a message in memory
//! between the two forms. The mapping is that of proto3 JSON in full, well-known types included, for
//! proto2, proto3 and editions; extensions are not part of it. [`Path`] reads one value out of an encoded
//! message.
//!
//! Does no I/O and compiles no `.proto` text. Every input may be hostile: sizes, counts and nesting are
//! bounded, and what is wrong comes back as data.

mod from_json;
mod limits;
mod options;
mod path;
mod schema;
mod tables;
mod text;
mod time;
mod to_json;
mod wire;

pub use from_json::JsonError;
pub use options::{FieldNames, ReadOptions, WriteOptions, Zeros};
pub use path::{Found, Gives, Path, PathError};
pub use schema::{Cardinality, Field, FieldType, Idempotency, Message, Method, Schema, SchemaError, Service};
pub use wire::WireError;
