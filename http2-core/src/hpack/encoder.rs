//! The encoder of header blocks: static names and literals, no dynamic table, no Huffman code.
//!
//! It has no state, so a block can be made anywhere and sent on any connection.

use std::fmt;

use super::{integer, static_table};
use crate::field::is_sendable;

/// Encoded fields of a response: metadata or trailers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    block: Vec<u8>,
}

/// The head of a response: its status and fields, encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseHead {
    status: u16,
    fields: Fields,
}

/// A name or value that no response may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField;

// === impl Fields ===

impl Fields {
    /// No fields.
    pub const fn new() -> Self {
        Self { block: Vec::new() }
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`InvalidField`] if the name is not a lower-case token or belongs to connections of HTTP/1
    /// (`connection`, `transfer-encoding`, …), or if the value has control characters or space at an end.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        if !is_sendable(name, value) {
            return Err(InvalidField);
        }
        put_field(&mut self.block, name, value);
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    pub(crate) fn as_block(&self) -> &[u8] {
        &self.block
    }

    /// Adds a field that is known to be sendable.
    pub(crate) fn put(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_sendable(name, value));
        put_field(&mut self.block, name, value);
    }

    /// Adds all of `other`.
    pub(crate) fn append(&mut self, other: &Self) {
        self.block.extend_from_slice(&other.block);
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} bytes)", self.block.len())
    }
}

// === impl ResponseHead ===

impl ResponseHead {
    /// The head of a response with this status; 100 to 199 are interim responses, which another follows.
    ///
    /// # Errors
    /// [`InvalidField`] if the status is not within 100..=999.
    pub fn new(status: u16) -> Result<Self, InvalidField> {
        if !(100..=999).contains(&status) {
            return Err(InvalidField);
        }
        let mut block = Vec::with_capacity(64);
        put_status(&mut block, status);
        Ok(Self { status, fields: Fields { block } })
    }

    /// Adds a field.
    ///
    /// # Errors
    /// As for [`Fields::push`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        self.fields.push(name, value)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    pub(crate) fn as_block(&self) -> &[u8] {
        self.fields.as_block()
    }

    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// A head of a status known to be within bounds.
    pub(crate) fn of(status: u16) -> Self {
        debug_assert!((100..=999).contains(&status));
        let mut block = Vec::with_capacity(64);
        put_status(&mut block, status);
        Self { status, fields: Fields { block } }
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseHead({}, {:?})", self.status, self.fields)
    }
}

// === impl InvalidField ===

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no legal field of a response")
    }
}

impl std::error::Error for InvalidField {}

/// A table size of zero, to begin a block with when the peer has lowered its limit (RFC 7541 §4.2).
pub(crate) const EMPTY_TABLE: u8 = 0b0010_0000;

fn put_status(block: &mut Vec<u8>, status: u16) {
    let indexed = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => return put_field(block, b":status", status.to_string().as_bytes()),
    };
    block.push(0x80 | indexed);
}

/// A literal without indexing.
fn put_field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match static_table::index_of(name) {
        Some(index) => integer::put(block, 0, 4, index),
        None => {
            block.push(0);
            put_string(block, name);
        }
    }
    put_string(block, value);
}

fn put_string(block: &mut Vec<u8>, text: &[u8]) {
    integer::put(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::decoder::tests::decoded;

    #[test]
    fn what_is_encoded_decodes() {
        let mut head = ResponseHead::new(200).unwrap();
        head.push(b"content-type", b"application/grpc").unwrap();
        head.push(b"x-long", &[b'v'; 300]).unwrap();
        let long = "v".repeat(300);
        assert_eq!(
            decoded(head.as_block()),
            [":status: 200", "content-type: application/grpc", &format!("x-long: {long}")]
        );
        assert_eq!(decoded(ResponseHead::new(431).unwrap().as_block()), [":status: 431"]);
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        let mut fields = Fields::new();
        assert_eq!(fields.push(b"connection", b"close"), Err(InvalidField));
        assert_eq!(fields.push(b"x", b"a\r\nb: c"), Err(InvalidField));
        assert_eq!(fields.push(b":path", b"/"), Err(InvalidField));
        assert!(fields.is_empty());
        assert_eq!(ResponseHead::new(99), Err(InvalidField));
        assert_eq!(ResponseHead::new(1000), Err(InvalidField));
    }
}
