//! HPACK (RFC 7541): a decoder with table and Huffman code, an encoder without either, a memo of blocks.

pub(crate) mod decoder;
pub(crate) mod encoder;
mod huffman;
mod integer;
pub(crate) mod memo;
mod static_table;

/// Why a header block does not decode. The compression state is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HpackError {
    /// The block ends within a field.
    Truncated,
    /// An integer is larger than any legal one here.
    IntegerTooLarge,
    /// An index names no entry.
    NoSuchEntry,
    /// A Huffman string with a bad code or bad padding.
    BadHuffman,
    /// A table size update after a field.
    LateSizeUpdate,
    /// A table size above the limit we set.
    SizeUpdateTooLarge,
    /// The encoder knows that the limit is lower than its table, and goes on as before.
    NoSizeUpdate,
}
