//! The bounds that hold for every schema and message. Those a caller may choose are in the options.

/// Messages inside messages, in either direction; also groups inside groups.
pub(crate) const MAX_DEPTH: usize = 100;
/// Bytes of an encoded descriptor set.
pub(crate) const MAX_DESCRIPTOR_SET_BYTES: usize = 16 << 20;
/// Files of a descriptor set.
pub(crate) const MAX_FILES: usize = 4096;
/// Messages and enums of a schema.
pub(crate) const MAX_TYPES: usize = 65_536;
/// Messages declared inside messages.
pub(crate) const MAX_TYPE_NESTING: usize = 64;
/// Fields of one message: their indexes are `u16`, and one of these means "none".
pub(crate) const MAX_FIELDS: usize = 65_534;
/// Imports, fields, oneofs, enum values, services and methods of a schema.
pub(crate) const MAX_MEMBERS: usize = 1 << 18;
/// Bytes of a full name.
pub(crate) const MAX_NAME_BYTES: usize = 1024;
/// The largest field number protobuf allows.
pub(crate) const MAX_FIELD_NUMBER: u32 = (1 << 29) - 1;
/// Bytes of a piece of the input that an error message quotes.
pub(crate) const MAX_QUOTED_BYTES: usize = 80;
/// Bytes of output unless the options say otherwise.
pub(crate) const DEFAULT_OUTPUT_BYTES: usize = 64 << 20;
