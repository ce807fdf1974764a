//! What a caller may choose when a message is written as JSON or read from it.

use crate::limits::DEFAULT_OUTPUT_BYTES;

/// Which names fields have in written JSON. Both are understood when JSON is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldNames {
    /// The JSON name, `createdAt` unless the schema gives another: what protobuf's JSON has.
    #[default]
    LowerCamel,
    /// The name in the schema, `created_at`.
    Original,
}

/// Which fields without presence are written although they hold their zero value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zeros {
    /// None: what protobuf's JSON does.
    #[default]
    Omitted,
    /// Numbers, truth values, strings and bytes, but neither enums nor empty lists and maps.
    Scalars,
    /// All of them, also the first value of enums and empty lists and maps.
    All,
}

/// How a message is written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// The names of fields.
    pub field_names: FieldNames,
    /// What is written of fields that are not set.
    pub zeros: Zeros,
    /// The most bytes of JSON one message may become. A single value that does not fit may have been
    /// appended when this is noticed.
    pub max_output_bytes: usize,
}

/// How JSON is read as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether fields that the message does not have are passed over, and values of enums that the enum
    /// does not have; otherwise they are errors.
    pub ignore_unknown_fields: bool,
    /// Whether what guests that write JSON by hand are known to answer is understood: `""` as the first
    /// value of an enum, `null` as an empty message, and a bare value where a message `…Response` with
    /// the single field `response = 1` is expected.
    pub lenient: bool,
    /// The most bytes one message may become. A single value that does not fit may have been appended
    /// when this is noticed.
    pub max_output_bytes: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            field_names: FieldNames::default(),
            zeros: Zeros::default(),
            max_output_bytes: DEFAULT_OUTPUT_BYTES,
        }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { ignore_unknown_fields: false, lenient: false, max_output_bytes: DEFAULT_OUTPUT_BYTES }
    }
}
