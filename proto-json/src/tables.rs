//! A linked schema as flat tables, the form in which messages are read and written.
//!
//! Built once by `schema/link.rs`, never changed afterwards. Invariant: every index in the tables is in
//! bounds, and a well-known message has the fields that its definition gives it.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::text::quote;
use crate::wire::WireType;

/// A message, by its place in [`Tables::messages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageIndex(pub(crate) u32);

/// An enum, by its place in [`Tables::enums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnumIndex(pub(crate) u32);

/// Names to indexes. The hash is seeded: the names come from strangers.
pub(crate) type Names<T> = HashMap<Box<str>, T, RandomState>;

#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) messages: Box<[MessageTable]>,
    pub(crate) enums: Box<[EnumTable]>,
    pub(crate) services: Box<[ServiceTable]>,
    pub(crate) types: Names<TypeIndex>,
    pub(crate) descriptor_set: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeIndex {
    Message(MessageIndex),
    Enum(EnumIndex),
}

#[derive(Debug)]
pub(crate) struct MessageTable {
    pub(crate) full_name: Box<str>,
    /// In the order of their numbers.
    pub(crate) fields: Box<[FieldTable]>,
    /// Their own names.
    pub(crate) oneofs: Box<[Box<str>]>,
    pub(crate) well_known: Option<WellKnown>,
    /// JSON names and original names.
    by_name: Names<u16>,
    /// For small numbers, the field's index or [`NO_FIELD`].
    by_number: Box<[u16]>,
}

#[derive(Debug)]
pub(crate) struct FieldTable {
    pub(crate) name: Box<str>,
    pub(crate) json_name: Box<str>,
    /// Of its name and of its JSON name.
    pub(crate) key: MemberKey,
    pub(crate) json_key: MemberKey,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    /// The oneof it belongs to; none for the one that merely marks an optional field.
    pub(crate) oneof: Option<u16>,
    /// Whether its enum takes no values beyond those declared.
    pub(crate) closed: bool,
    /// The wire type of one value.
    pub(crate) wire_type: WireType,
}

/// A member's name, ready to be written: `,"name":`.
#[derive(Debug)]
pub(crate) struct MemberKey {
    text: Box<[u8]>,
    /// How it begins. Zeros follow a shorter one.
    head: [u8; HEAD_BYTES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One value; zero is told from "not set" only with presence.
    Singular {
        presence: bool,
    },
    List {
        packed: bool,
    },
    /// The kind is the entry message, whose fields are `key = 1` and `value = 2`.
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Group(MessageIndex),
    Message(MessageIndex),
    Bytes,
    Uint32,
    Enum(EnumIndex),
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

/// What the values of a kind are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Bits,
    Bytes,
    Message(MessageIndex),
    Text,
}

/// The messages whose JSON is not an object of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WellKnown {
    Any,
    Duration,
    /// An ordinary message, except inside an `Any`.
    Empty,
    FieldMask,
    ListValue,
    Struct,
    Timestamp,
    Value,
    Wrapper,
}

#[derive(Debug)]
pub(crate) struct EnumTable {
    pub(crate) full_name: Box<str>,
    /// By number; of aliases the first declared.
    pub(crate) values: Box<[(i32, Box<str>)]>,
    /// The number of the value declared first.
    pub(crate) first: i32,
    pub(crate) by_name: Names<i32>,
    /// `google.protobuf.NullValue`, whose JSON is `null`.
    pub(crate) is_null: bool,
}

#[derive(Debug)]
pub(crate) struct ServiceTable {
    pub(crate) full_name: Box<str>,
    pub(crate) methods: Box<[MethodTable]>,
}

#[derive(Debug)]
pub(crate) struct MethodTable {
    pub(crate) name: Box<str>,
    pub(crate) input: MessageIndex,
    pub(crate) output: MessageIndex,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    pub(crate) idempotency: crate::Idempotency,
}

/// No field.
pub(crate) const NO_FIELD: u16 = u16::MAX;

/// Keys up to this length are written in one step that knows how long it is.
const HEAD_BYTES: usize = 24;

/// Numbers up to this many times the count of fields are looked up in a table.
const SPARSENESS: usize = 4;

// === impl Tables ===

impl Tables {
    #[inline]
    pub(crate) fn message(&self, index: MessageIndex) -> &MessageTable {
        &self.messages[index.0 as usize]
    }

    pub(crate) fn enumeration(&self, index: EnumIndex) -> &EnumTable {
        &self.enums[index.0 as usize]
    }

    pub(crate) fn find_message(&self, full_name: &str) -> Option<MessageIndex> {
        match self.types.get(full_name) {
            Some(TypeIndex::Message(index)) => Some(*index),
            Some(TypeIndex::Enum(_)) | None => None,
        }
    }

    /// The message that a `type_url` names by what stands after its last slash.
    pub(crate) fn find_url(&self, type_url: &str) -> Option<MessageIndex> {
        let (_, name) = type_url.rsplit_once('/')?;
        self.find_message(name)
    }
}

// === impl MessageTable ===

impl MessageTable {
    /// A message with these fields, which are in the order of their numbers. Names that are given twice
    /// mean the field that has it as JSON name.
    pub(crate) fn new(
        full_name: Box<str>,
        fields: Box<[FieldTable]>,
        oneofs: Box<[Box<str>]>,
        well_known: Option<WellKnown>,
    ) -> Self {
        let mut by_name = Names::with_capacity_and_hasher(fields.len() * 2, RandomState::default());
        let mut by_number = Vec::new();
        for (index, field) in (0_u16..).zip(&fields) {
            by_name.insert(field.json_name.clone(), index);
            let number = field.number as usize;
            if number <= fields.len() * SPARSENESS + SPARSENESS {
                by_number.resize(number + 1, NO_FIELD);
                by_number[number] = index;
            }
        }
        for (index, field) in (0_u16..).zip(&fields) {
            by_name.entry(field.name.clone()).or_insert(index);
        }
        Self { full_name, fields, oneofs, well_known, by_name, by_number: by_number.into() }
    }

    /// The index of the field with this JSON name or original name.
    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// Like [`MessageTable::find`], faster if the field is the one expected next.
    #[inline]
    pub(crate) fn find_near(&self, name: &str, expected: usize) -> Option<u16> {
        match self.fields.get(expected) {
            #[expect(clippy::cast_possible_truncation, reason = "fields are counted in u16")]
            Some(field) if *field.json_name == *name || *field.name == *name => Some(expected as u16),
            _ => self.find(name),
        }
    }

    /// The index of the field with this number.
    #[inline]
    pub(crate) fn numbered(&self, number: u32) -> Option<u16> {
        match self.by_number.get(number as usize) {
            Some(&NO_FIELD) => None,
            Some(&index) => Some(index),
            None => self.numbered_far(number),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields are counted in u16")]
    fn numbered_far(&self, number: u32) -> Option<u16> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|index| index as u16)
    }
}

// === impl FieldTable ===

impl FieldTable {
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.shape, Shape::List { .. })
    }

    /// Whether a zero value is the same as none.
    pub(crate) fn is_implicit(&self) -> bool {
        matches!(self.shape, Shape::Singular { presence: false })
    }

    /// Whether a value of this wire type belongs to the field: its own, or many values packed into one.
    #[inline]
    pub(crate) fn takes(&self, wire_type: WireType) -> bool {
        wire_type == self.wire_type
            || wire_type == WireType::Len && self.is_list() && self.wire_type != WireType::StartGroup
    }
}

// === impl MemberKey ===

impl MemberKey {
    /// The key of a member of this name.
    pub(crate) fn new(name: &str) -> Self {
        let mut text = vec![b','];
        quote(&mut text, name);
        text.push(b':');
        let mut head = [0; HEAD_BYTES];
        head.iter_mut().zip(&text).for_each(|(to, from)| *to = *from);
        Self { text: text.into(), head }
    }

    /// Appends it, with the comma before it.
    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        if self.text.len() <= HEAD_BYTES {
            let end = out.len() + self.text.len();
            out.extend_from_slice(&self.head);
            out.truncate(end);
        } else {
            out.extend_from_slice(&self.text);
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The wire type of one value.
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => WireType::Fixed64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => WireType::Fixed32,
            Self::Int64
            | Self::Uint64
            | Self::Int32
            | Self::Bool
            | Self::Uint32
            | Self::Enum(_)
            | Self::Sint32
            | Self::Sint64 => WireType::Varint,
            Self::String | Self::Message(_) | Self::Bytes => WireType::Len,
            Self::Group(_) => WireType::StartGroup,
        }
    }

    /// The message it is, if it is one.
    #[inline]
    pub(crate) fn message(self) -> Option<MessageIndex> {
        match self.form() {
            Form::Message(index) => Some(index),
            Form::Bits | Form::Bytes | Form::Text => None,
        }
    }

    /// The enum it is, if it is one.
    pub(crate) fn enumeration(self) -> Option<EnumIndex> {
        if let Self::Enum(index) = self { Some(index) } else { None }
    }

    /// What its values are made of.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Double
            | Self::Float
            | Self::Int64
            | Self::Uint64
            | Self::Int32
            | Self::Fixed64
            | Self::Fixed32
            | Self::Bool
            | Self::Uint32
            | Self::Enum(_)
            | Self::Sfixed32
            | Self::Sfixed64
            | Self::Sint32
            | Self::Sint64 => Form::Bits,
            Self::String => Form::Text,
            Self::Bytes => Form::Bytes,
            Self::Message(index) | Self::Group(index) => Form::Message(index),
        }
    }

    /// The name in the schema language.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Float => "float",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Int32 => "int32",
            Self::Fixed64 => "fixed64",
            Self::Fixed32 => "fixed32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Group(_) => "group",
            Self::Message(_) => "message",
            Self::Bytes => "bytes",
            Self::Uint32 => "uint32",
            Self::Enum(_) => "enum",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
        }
    }
}

// === impl EnumTable ===

impl EnumTable {
    /// The name of a number.
    pub(crate) fn name(&self, number: i32) -> Option<&str> {
        // Most enums count from their first number on without gaps.
        let first = self.values.first()?.0;
        let near = usize::try_from(i64::from(number) - i64::from(first)).ok()?;
        match self.values.get(near) {
            Some((found, name)) if *found == number => Some(name),
            _ => {
                let found = self.values.binary_search_by_key(&number, |(number, _)| *number).ok()?;
                Some(&self.values[found].1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_whatever_its_length() {
        for length in 1..=2 * HEAD_BYTES {
            let name = "n".repeat(length);
            let mut out = b"{".to_vec();
            MemberKey::new(&name).put(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{,\"{name}\":"));
        }
    }
}
