//! The features of protobuf editions that bear on JSON and the wire, and the defaults they start from.

use super::SchemaError;
use super::descriptor::RawFile;

/// Features as an options message sets them; 0 is "not set here".
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawFeatures {
    pub(crate) field_presence: i32,
    pub(crate) enum_type: i32,
    pub(crate) repeated_field_encoding: i32,
    pub(crate) message_encoding: i32,
}

/// Features as they hold for one element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Whether a field of one scalar tells zero from "not set".
    pub(crate) presence: bool,
    /// Whether an enum takes no values beyond those declared.
    pub(crate) closed: bool,
    /// Whether lists of numbers are packed.
    pub(crate) packed: bool,
    /// Whether messages are written as groups.
    pub(crate) delimited: bool,
}

const IMPLICIT: i32 = 2;
const CLOSED: i32 = 2;
const EXPANDED: i32 = 2;
const DELIMITED: i32 = 2;

const EDITION_PROTO2: i32 = 998;
const EDITION_PROTO3: i32 = 999;
const EDITION_2023: i32 = 1000;
const EDITION_2024: i32 = 1001;

// === impl RawFeatures ===

impl RawFeatures {
    /// Takes over what `other` sets.
    pub(crate) fn merge(&mut self, other: Self) {
        let set = |old: &mut i32, new: i32| {
            if new != 0 {
                *old = new;
            }
        };
        set(&mut self.field_presence, other.field_presence);
        set(&mut self.enum_type, other.enum_type);
        set(&mut self.repeated_field_encoding, other.repeated_field_encoding);
        set(&mut self.message_encoding, other.message_encoding);
    }
}

// === impl Features ===

impl Features {
    /// What holds for a file.
    ///
    /// # Errors
    /// Its syntax or edition is not known.
    pub(crate) fn of_file(file: &RawFile<'_>) -> Result<Self, SchemaError> {
        let edition = match (file.syntax, file.edition) {
            ("" | "proto2", 0) => EDITION_PROTO2,
            ("proto3", 0) => EDITION_PROTO3,
            (_, edition) => edition,
        };
        let defaults = match edition {
            EDITION_PROTO2 => Self { presence: true, closed: true, packed: false, delimited: false },
            EDITION_PROTO3 => Self { presence: false, closed: false, packed: true, delimited: false },
            EDITION_2023 | EDITION_2024 => {
                Self { presence: true, closed: false, packed: true, delimited: false }
            }
            _ => {
                let syntax = if file.edition == 0 { file.syntax.to_owned() } else { edition.to_string() };
                return Err(SchemaError::UnsupportedSyntax { file: file.name.to_owned(), syntax });
            }
        };
        Ok(defaults.with(file.features))
    }

    /// What holds for an element inside, which sets some features of its own.
    pub(crate) fn with(self, own: RawFeatures) -> Self {
        let pick =
            |inherited: bool, own: i32, meaning: i32| if own == 0 { inherited } else { own == meaning };
        Self {
            presence: if own.field_presence == 0 { self.presence } else { own.field_presence != IMPLICIT },
            closed: pick(self.closed, own.enum_type, CLOSED),
            packed: if own.repeated_field_encoding == 0 {
                self.packed
            } else {
                own.repeated_field_encoding != EXPANDED
            },
            delimited: pick(self.delimited, own.message_encoding, DELIMITED),
        }
    }
}
