//! Reads the parts of a `google.protobuf.FileDescriptorSet` that JSON and the wire need.
//!
//! Borrows every name from the set. Counts what it reads, so that a small set cannot become a large
//! schema. Resolves nothing; options, extensions and source locations beyond what is needed are dropped.

use super::SchemaError;
use super::features::RawFeatures;
use crate::limits::{MAX_FILES, MAX_MEMBERS, MAX_TYPE_NESTING, MAX_TYPES};
use crate::wire::{Cursor, Raw, Span};

#[derive(Debug, Default)]
pub(crate) struct RawFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) package: &'a str,
    pub(crate) imports: Vec<&'a str>,
    pub(crate) messages: Vec<RawMessage<'a>>,
    pub(crate) enums: Vec<RawEnum<'a>>,
    pub(crate) services: Vec<RawService<'a>>,
    pub(crate) syntax: &'a str,
    pub(crate) edition: i32,
    pub(crate) features: RawFeatures,
}

#[derive(Debug, Default)]
pub(crate) struct RawMessage<'a> {
    pub(crate) name: &'a str,
    pub(crate) fields: Vec<RawField<'a>>,
    pub(crate) messages: Vec<RawMessage<'a>>,
    pub(crate) enums: Vec<RawEnum<'a>>,
    pub(crate) oneofs: Vec<RawOneof<'a>>,
    pub(crate) map_entry: bool,
    pub(crate) features: RawFeatures,
}

#[derive(Debug, Default)]
pub(crate) struct RawField<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: i32,
    /// 1 optional, 2 required, 3 repeated.
    pub(crate) label: i32,
    pub(crate) type_code: i32,
    pub(crate) type_name: &'a str,
    pub(crate) json_name: Option<&'a str>,
    pub(crate) oneof: Option<i32>,
    pub(crate) proto3_optional: bool,
    pub(crate) packed: Option<bool>,
    pub(crate) features: RawFeatures,
}

#[derive(Debug, Default)]
pub(crate) struct RawOneof<'a> {
    pub(crate) name: &'a str,
    pub(crate) features: RawFeatures,
}

#[derive(Debug, Default)]
pub(crate) struct RawEnum<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: Vec<(&'a str, i32)>,
    pub(crate) features: RawFeatures,
}

#[derive(Debug, Default)]
pub(crate) struct RawService<'a> {
    pub(crate) name: &'a str,
    pub(crate) methods: Vec<RawMethod<'a>>,
}

#[derive(Debug, Default)]
pub(crate) struct RawMethod<'a> {
    pub(crate) name: &'a str,
    pub(crate) input: &'a str,
    pub(crate) output: &'a str,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    pub(crate) idempotency: i32,
}

/// Reads the set, and counts.
struct Decoder<'a> {
    bytes: &'a [u8],
    types: usize,
    members: usize,
}

/// One field of a descriptor: numbers as their bits, the rest as its span.
type Part = (u32, Raw);

/// The files of a descriptor set.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<RawFile<'_>>, SchemaError> {
    let mut decoder = Decoder { bytes, types: 0, members: 0 };
    let mut files = Vec::new();
    let whole = Cursor::new(bytes)?.rest();
    for part in decoder.parts(whole) {
        if let (1, Raw::Span(span)) = part? {
            if files.len() == MAX_FILES {
                return Err(SchemaError::TooMany { what: "files", limit: MAX_FILES });
            }
            files.push(decoder.file(span)?);
        }
    }
    Ok(files)
}

// === impl Decoder ===

impl<'a> Decoder<'a> {
    fn parts(&self, span: Span) -> impl Iterator<Item = Result<Part, SchemaError>> + use<'a> {
        let mut cursor = Cursor::within(self.bytes, span);
        std::iter::from_fn(move || {
            if cursor.is_at_end() {
                return None;
            }
            let part = cursor.tag().and_then(|(number, wire)| Ok((number, cursor.value(number, wire)?)));
            if part.is_err() {
                cursor = Cursor::within(&[], Span { start: 0, end: 0 });
            }
            Some(part.map_err(SchemaError::from))
        })
    }

    fn text(&self, span: Span) -> Result<&'a str, SchemaError> {
        str::from_utf8(span.of(self.bytes)).map_err(|_| SchemaError::NotUtf8)
    }

    fn count_type(&mut self) -> Result<(), SchemaError> {
        self.types += 1;
        match self.types > MAX_TYPES {
            true => Err(SchemaError::TooMany { what: "messages and enums", limit: MAX_TYPES }),
            false => Ok(()),
        }
    }

    fn count_member(&mut self) -> Result<(), SchemaError> {
        self.members += 1;
        match self.members > MAX_MEMBERS {
            true => Err(SchemaError::TooMany { what: "fields, values and methods", limit: MAX_MEMBERS }),
            false => Ok(()),
        }
    }

    fn file(&mut self, span: Span) -> Result<RawFile<'a>, SchemaError> {
        let mut file = RawFile::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => file.name = self.text(span)?,
                (2, Raw::Span(span)) => file.package = self.text(span)?,
                (3, Raw::Span(span)) => {
                    self.count_member()?;
                    file.imports.push(self.text(span)?);
                }
                (4, Raw::Span(span)) => file.messages.push(self.message(span, 0)?),
                (5, Raw::Span(span)) => file.enums.push(self.enumeration(span)?),
                (6, Raw::Span(span)) => file.services.push(self.service(span)?),
                (8, Raw::Span(span)) => file.features.merge(self.features(span, 50)?),
                (12, Raw::Span(span)) => file.syntax = self.text(span)?,
                (14, Raw::Bits(bits)) => file.edition = int32(bits),
                _ => {}
            }
        }
        Ok(file)
    }

    fn message(&mut self, span: Span, depth: usize) -> Result<RawMessage<'a>, SchemaError> {
        if depth == MAX_TYPE_NESTING {
            return Err(SchemaError::TooDeep);
        }
        self.count_type()?;
        let mut message = RawMessage::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => message.name = self.text(span)?,
                (2, Raw::Span(span)) => message.fields.push(self.field(span)?),
                (3, Raw::Span(span)) => message.messages.push(self.message(span, depth + 1)?),
                (4, Raw::Span(span)) => message.enums.push(self.enumeration(span)?),
                (7, Raw::Span(span)) => {
                    message.features.merge(self.features(span, 12)?);
                    for option in self.parts(span) {
                        if let (7, Raw::Bits(bits)) = option? {
                            message.map_entry = bits != 0;
                        }
                    }
                }
                (8, Raw::Span(span)) => message.oneofs.push(self.oneof(span)?),
                _ => {}
            }
        }
        Ok(message)
    }

    fn field(&mut self, span: Span) -> Result<RawField<'a>, SchemaError> {
        self.count_member()?;
        let mut field = RawField::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => field.name = self.text(span)?,
                (3, Raw::Bits(bits)) => field.number = int32(bits),
                (4, Raw::Bits(bits)) => field.label = int32(bits),
                (5, Raw::Bits(bits)) => field.type_code = int32(bits),
                (6, Raw::Span(span)) => field.type_name = self.text(span)?,
                (8, Raw::Span(span)) => {
                    field.features.merge(self.features(span, 21)?);
                    for option in self.parts(span) {
                        if let (2, Raw::Bits(bits)) = option? {
                            field.packed = Some(bits != 0);
                        }
                    }
                }
                (9, Raw::Bits(bits)) => field.oneof = Some(int32(bits)),
                (10, Raw::Span(span)) => field.json_name = Some(self.text(span)?),
                (17, Raw::Bits(bits)) => field.proto3_optional = bits != 0,
                _ => {}
            }
        }
        Ok(field)
    }

    fn oneof(&mut self, span: Span) -> Result<RawOneof<'a>, SchemaError> {
        self.count_member()?;
        let mut oneof = RawOneof::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => oneof.name = self.text(span)?,
                (2, Raw::Span(span)) => oneof.features.merge(self.features(span, 1)?),
                _ => {}
            }
        }
        Ok(oneof)
    }

    fn enumeration(&mut self, span: Span) -> Result<RawEnum<'a>, SchemaError> {
        self.count_type()?;
        let mut enumeration = RawEnum::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => enumeration.name = self.text(span)?,
                (2, Raw::Span(span)) => {
                    self.count_member()?;
                    let mut value = ("", 0);
                    for part in self.parts(span) {
                        match part? {
                            (1, Raw::Span(span)) => value.0 = self.text(span)?,
                            (2, Raw::Bits(bits)) => value.1 = int32(bits),
                            _ => {}
                        }
                    }
                    enumeration.values.push(value);
                }
                (3, Raw::Span(span)) => enumeration.features.merge(self.features(span, 7)?),
                _ => {}
            }
        }
        Ok(enumeration)
    }

    fn service(&mut self, span: Span) -> Result<RawService<'a>, SchemaError> {
        self.count_member()?;
        let mut service = RawService::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => service.name = self.text(span)?,
                (2, Raw::Span(span)) => service.methods.push(self.method(span)?),
                _ => {}
            }
        }
        Ok(service)
    }

    fn method(&mut self, span: Span) -> Result<RawMethod<'a>, SchemaError> {
        self.count_member()?;
        let mut method = RawMethod::default();
        for part in self.parts(span) {
            match part? {
                (1, Raw::Span(span)) => method.name = self.text(span)?,
                (2, Raw::Span(span)) => method.input = self.text(span)?,
                (3, Raw::Span(span)) => method.output = self.text(span)?,
                (4, Raw::Span(span)) => {
                    for option in self.parts(span) {
                        if let (34, Raw::Bits(bits)) = option? {
                            method.idempotency = int32(bits);
                        }
                    }
                }
                (5, Raw::Bits(bits)) => method.client_streaming = bits != 0,
                (6, Raw::Bits(bits)) => method.server_streaming = bits != 0,
                _ => {}
            }
        }
        Ok(method)
    }

    /// The `FeatureSet` that an options message has in this field.
    fn features(&self, options: Span, number: u32) -> Result<RawFeatures, SchemaError> {
        let mut features = RawFeatures::default();
        for option in self.parts(options) {
            let (found, Raw::Span(span)) = option? else { continue };
            if found != number {
                continue;
            }
            for feature in self.parts(span) {
                match feature? {
                    (1, Raw::Bits(bits)) => features.field_presence = int32(bits),
                    (2, Raw::Bits(bits)) => features.enum_type = int32(bits),
                    (3, Raw::Bits(bits)) => features.repeated_field_encoding = int32(bits),
                    (5, Raw::Bits(bits)) => features.message_encoding = int32(bits),
                    _ => {}
                }
            }
        }
        Ok(features)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an int32 is the low half of its varint")]
fn int32(bits: u64) -> i32 {
    (bits as u32).cast_signed()
}
