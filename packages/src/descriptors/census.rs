//! How many elements a descriptor set has, before any of it is decoded.
//!
//! An element of two bytes becomes hundreds of bytes in memory, so the size of a set says little about what
//! decoding it takes. Counts what would be decoded, without following the rules of protobuf further than
//! that: a malformed set is for the decoder to refuse.

/// What a run of fields belongs to.
#[derive(Clone, Copy)]
enum Kind {
    Set,
    File,
    Message,
    Enum,
    Service,
    Source,
    /// Something whose options lie in this field, 0 if it has none.
    Leaf(u64),
    Options,
}

/// A field: its number, its payload if that has a length, and what follows.
pub(super) type Field<'b> = (u64, Option<&'b [u8]>, &'b [u8]);

/// The number of elements, or more.
pub(super) fn elements(set: &[u8]) -> u64 {
    let mut count = 0;
    let mut open = vec![(set, Kind::Set)];
    while let Some((mut rest, kind)) = open.pop() {
        if matches!(kind, Kind::Options) {
            // Options have messages of their own; two bytes are the least an element takes.
            count += rest.len() as u64 / 2;
            continue;
        }
        while let Some((number, payload, after)) = field(rest) {
            rest = after;
            if let Some(payload) = payload {
                count += 1;
                if let Some(kind) = kind.child(number) {
                    open.push((payload, kind));
                }
            }
        }
    }
    count
}

// === impl Kind ===

impl Kind {
    /// What is in the field of this number, if it has elements of its own.
    fn child(self, number: u64) -> Option<Self> {
        let child = match (self, number) {
            (Self::Set, 1) => Self::File,
            (Self::File, 4) | (Self::Message, 3) => Self::Message,
            (Self::File, 5) | (Self::Message, 4) => Self::Enum,
            (Self::File, 6) => Self::Service,
            (Self::File, 7) | (Self::Message, 2 | 6) => Self::Leaf(8),
            (Self::File, 8) | (Self::Message, 7) | (Self::Enum | Self::Service, 3) => Self::Options,
            (Self::File, 9) => Self::Source,
            (Self::Message, 5) | (Self::Enum, 2) => Self::Leaf(3),
            (Self::Message, 8) => Self::Leaf(2),
            (Self::Service, 2) => Self::Leaf(4),
            (Self::Source, 1) => Self::Leaf(0),
            (Self::Leaf(options), number) if options == number => Self::Options,
            _ => return None,
        };
        Some(child)
    }
}

/// The field that a message begins with.
pub(super) fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = varint(bytes)?;
    let (payload, rest) = match tag & 7 {
        0 => (None, varint(rest)?.1),
        1 => (None, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(payload), rest)
        }
        // The marks of a group; what is between them counts as if it stood outside.
        3 | 4 => (None, rest),
        5 => (None, rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, payload, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}
