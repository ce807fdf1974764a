//! Links the files of a descriptor set into tables: gives every type an index, resolves every name,
//! settles presence, packing and encoding of every field.

use std::collections::HashSet;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::SchemaError;
use super::descriptor::{RawEnum, RawField, RawFile, RawMessage, RawService};
use super::features::Features;
use super::well_known;
use crate::Idempotency;
use crate::limits::{MAX_FIELD_NUMBER, MAX_FIELDS, MAX_NAME_BYTES};
use crate::tables::{
    EnumIndex, EnumTable, FieldTable, Kind, MemberKey, MessageIndex, MessageTable, MethodTable, Names,
    ServiceTable, Shape, Tables, TypeIndex,
};

/// A type that has an index and waits for its table.
struct Declared<'r, R> {
    full_name: Box<str>,
    raw: &'r R,
    features: Features,
}

/// What is known so far.
#[derive(Default)]
struct Linker<'r, 'a> {
    messages: Vec<Declared<'r, RawMessage<'a>>>,
    enums: Vec<Declared<'r, RawEnum<'a>>>,
    types: Names<TypeIndex>,
}

const REPEATED: i32 = 3;
const GROUP: i32 = 10;
const MESSAGE: i32 = 11;
const ENUM: i32 = 14;
/// Field numbers that protobuf keeps for itself.
const RESERVED: std::ops::RangeInclusive<u32> = 19_000..=19_999;

/// Links files, and the well-known types that they lack.
pub(crate) fn link(files: &[RawFile<'_>], descriptor_set: Bytes) -> Result<Tables, SchemaError> {
    check_imports(files)?;
    let mut linker = Linker::default();
    for file in files {
        linker.declare(file)?;
    }
    let built_in = well_known::file(|name| linker.types.contains_key(name));
    linker.declare(&built_in)?;

    let enums = linker.enums.iter().map(link_enum).collect::<Result<_, _>>()?;
    let messages = linker.messages.iter().map(|message| linker.message(message)).collect::<Result<_, _>>()?;
    let mut services = Vec::new();
    let mut names = HashSet::<Box<str>, RandomState>::default();
    for file in files {
        for service in &file.services {
            let service = linker.service(file.package, service)?;
            if linker.types.contains_key(&service.full_name) || !names.insert(service.full_name.clone()) {
                return Err(SchemaError::DuplicateName { name: service.full_name.into() });
            }
            services.push(service);
        }
    }
    let Linker { types, .. } = linker;
    let tables = Tables { messages, enums, services: services.into(), types, descriptor_set };
    check_messages(&tables)?;
    Ok(tables)
}

/// Checks what can be told only when all tables are there: maps and well-known messages.
fn check_messages(tables: &Tables) -> Result<(), SchemaError> {
    for table in &tables.messages {
        let type_of = |field: &FieldTable| {
            let message = field.kind.message().map(|index| &*tables.message(index).full_name);
            message.or_else(|| Some(&*tables.enumeration(field.kind.enumeration()?).full_name))
        };
        if !well_known::is_unaltered(table, type_of) {
            return Err(SchemaError::AlteredWellKnown { name: table.full_name.clone().into() });
        }
        for field in &table.fields {
            let (Shape::Map, Some(entry)) = (field.shape, field.kind.message()) else { continue };
            let entry = tables.message(entry);
            if !is_map_entry(entry) {
                return Err(SchemaError::InvalidMapEntry { name: entry.full_name.clone().into() });
            }
        }
    }
    Ok(())
}

fn is_map_entry(entry: &MessageTable) -> bool {
    let [key, value] = &*entry.fields else { return false };
    let is_singular = |field: &FieldTable| matches!(field.shape, Shape::Singular { .. });
    let is_key = match key.kind {
        Kind::Double | Kind::Float | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => false,
        Kind::Int64
        | Kind::Uint64
        | Kind::Int32
        | Kind::Fixed64
        | Kind::Fixed32
        | Kind::Bool
        | Kind::String
        | Kind::Uint32
        | Kind::Sfixed32
        | Kind::Sfixed64
        | Kind::Sint32
        | Kind::Sint64 => true,
    };
    let is_value = !matches!(value.kind, Kind::Group(_));
    (key.number, value.number) == (1, 2) && is_singular(key) && is_singular(value) && is_key && is_value
}

fn check_imports(files: &[RawFile<'_>]) -> Result<(), SchemaError> {
    let mut names = HashSet::<&str, RandomState>::default();
    for file in files {
        if !names.insert(file.name) {
            return Err(SchemaError::DuplicateName { name: file.name.to_owned() });
        }
    }
    for file in files {
        for import in &file.imports {
            if !names.contains(import) && !well_known::is_well_known_file(import) {
                let (file, import) = (file.name.to_owned(), (*import).to_owned());
                return Err(SchemaError::MissingImport { file, import });
            }
        }
    }
    Ok(())
}

fn link_enum(declared: &Declared<'_, RawEnum<'_>>) -> Result<EnumTable, SchemaError> {
    let Declared { full_name, raw, .. } = declared;
    let first = raw.values.first().ok_or_else(|| SchemaError::EmptyEnum { name: full_name.to_string() })?.1;
    let mut by_name = Names::default();
    let mut values = Vec::with_capacity(raw.values.len());
    for &(name, number) in &raw.values {
        let value_name = join(full_name, name)?;
        if by_name.insert(name.into(), number).is_some() {
            return Err(SchemaError::DuplicateName { name: value_name.into() });
        }
        values.push((number, Box::from(name)));
    }
    // Stable: of aliases, the first stays first.
    values.sort_by_key(|(number, _)| *number);
    values.dedup_by_key(|(number, _)| *number);
    let is_null = well_known::is_null_value(full_name);
    Ok(EnumTable { full_name: full_name.clone(), values: values.into(), first, by_name, is_null })
}

/// `scope.name`, if the name is an identifier.
fn join(scope: &str, name: &str) -> Result<Box<str>, SchemaError> {
    let mut chars = name.bytes();
    let starts = chars.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_name = starts && chars.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || scope.len() + name.len() >= MAX_NAME_BYTES {
        return Err(SchemaError::InvalidName { name: name.chars().take(80).collect() });
    }
    Ok(if scope.is_empty() { name.into() } else { format!("{scope}.{name}").into() })
}

/// The JSON name that a field has unless it gives one: underscores go, the letters after them rise.
fn lower_camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut rises = false;
    for char in name.chars() {
        if char == '_' {
            rises = true;
        } else {
            camel.push(if rises { char.to_ascii_uppercase() } else { char });
            rises = false;
        }
    }
    camel
}

// === impl Linker ===

impl<'r, 'a> Linker<'r, 'a> {
    /// Gives indexes to the types of a file.
    fn declare(&mut self, file: &'r RawFile<'a>) -> Result<(), SchemaError> {
        if !file.package.is_empty() {
            for part in file.package.split('.') {
                join("", part)?;
            }
        }
        let features = Features::of_file(file)?;
        for message in &file.messages {
            self.declare_message(file.package, message, features)?;
        }
        for enumeration in &file.enums {
            self.declare_enum(file.package, enumeration, features)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "types are counted when they are read")]
    fn declare_message(
        &mut self,
        scope: &str,
        raw: &'r RawMessage<'a>,
        inherited: Features,
    ) -> Result<(), SchemaError> {
        let full_name = join(scope, raw.name)?;
        let features = inherited.with(raw.features);
        let index = MessageIndex(self.messages.len() as u32);
        self.name_type(&full_name, TypeIndex::Message(index))?;
        self.messages.push(Declared { full_name: full_name.clone(), raw, features });
        for message in &raw.messages {
            self.declare_message(&full_name, message, features)?;
        }
        for enumeration in &raw.enums {
            self.declare_enum(&full_name, enumeration, features)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "types are counted when they are read")]
    fn declare_enum(
        &mut self,
        scope: &str,
        raw: &'r RawEnum<'a>,
        inherited: Features,
    ) -> Result<(), SchemaError> {
        let full_name = join(scope, raw.name)?;
        let index = EnumIndex(self.enums.len() as u32);
        self.name_type(&full_name, TypeIndex::Enum(index))?;
        self.enums.push(Declared { full_name, raw, features: inherited.with(raw.features) });
        Ok(())
    }

    fn name_type(&mut self, full_name: &str, index: TypeIndex) -> Result<(), SchemaError> {
        match self.types.insert(full_name.into(), index) {
            Some(_) => Err(SchemaError::DuplicateName { name: full_name.to_owned() }),
            None => Ok(()),
        }
    }

    /// The type of a name, which begins with a dot: compilers write no others, and looking for one in
    /// every scope would cost a stranger little and us much.
    fn resolve(&self, name: &str) -> Option<TypeIndex> {
        self.types.get(name.strip_prefix('.')?).copied()
    }

    fn message(&self, declared: &Declared<'r, RawMessage<'a>>) -> Result<MessageTable, SchemaError> {
        let Declared { full_name, raw, features } = declared;
        if raw.fields.len() > MAX_FIELDS {
            return Err(SchemaError::TooMany { what: "fields of a message", limit: MAX_FIELDS });
        }
        let mut fields = Vec::with_capacity(raw.fields.len());
        for field in &raw.fields {
            fields.push(self.field(full_name, raw, field, *features)?);
        }
        fields.sort_by_key(|field| field.number);
        if let Some(pair) = fields.windows(2).find(|pair| pair[0].number == pair[1].number) {
            let (message, number) = (full_name.to_string(), pair[0].number);
            return Err(SchemaError::DuplicateNumber { message, number });
        }
        let mut names = HashSet::<&str, RandomState>::default();
        if let Some(field) = fields.iter().find(|field| !names.insert(&field.name)) {
            return Err(SchemaError::DuplicateName { name: format!("{full_name}.{}", field.name) });
        }
        names.clear();
        if let Some(field) = fields.iter().find(|field| !names.insert(&field.json_name)) {
            let (message, name) = (full_name.to_string(), field.json_name.to_string());
            return Err(SchemaError::DuplicateJsonName { message, name });
        }
        let oneofs = raw.oneofs.iter().map(|oneof| join("", oneof.name)).collect::<Result<_, _>>()?;
        let well_known = well_known::of_name(full_name);
        Ok(MessageTable::new(full_name.clone(), fields.into(), oneofs, well_known))
    }

    fn field(
        &self,
        message: &str,
        raw_message: &RawMessage<'a>,
        raw: &RawField<'a>,
        inherited: Features,
    ) -> Result<FieldTable, SchemaError> {
        let full_name = join(message, raw.name)?;
        let named = || full_name.to_string();
        let number = u32::try_from(raw.number).ok();
        let number = number.filter(|n| (1..=MAX_FIELD_NUMBER).contains(n) && !RESERVED.contains(n));
        let number =
            number.ok_or_else(|| SchemaError::InvalidNumber { field: named(), number: raw.number })?;
        let oneof = match raw.oneof {
            None => None,
            Some(index) => {
                let index = usize::try_from(index).ok().filter(|_| raw.label != REPEATED);
                let known = index.and_then(|index| Some((index, raw_message.oneofs.get(index)?)));
                let (index, oneof) = known.ok_or_else(|| SchemaError::InvalidOneof { field: named() })?;
                let index = u16::try_from(index);
                let index = index.map_err(|_| SchemaError::TooMany { what: "oneofs", limit: MAX_FIELDS })?;
                Some((index, oneof))
            }
        };
        let inherited = oneof.map_or(inherited, |(_, oneof)| inherited.with(oneof.features));
        let features = inherited.with(raw.features);
        let kind = self.kind(&full_name, raw, features)?;
        let shape = self.shape(&full_name, raw, kind, features, oneof.is_some())?;
        // Entries are never groups, whatever the file says of other messages.
        let kind = match (shape, kind) {
            (Shape::Map, Kind::Group(entry)) => Kind::Message(entry),
            (_, kind) => kind,
        };
        let closed = kind.enumeration().is_some_and(|index| self.enums[index.0 as usize].features.closed);
        let json_name = raw.json_name.map_or_else(|| lower_camel(raw.name), str::to_owned);
        Ok(FieldTable {
            key: MemberKey::new(raw.name),
            json_key: MemberKey::new(&json_name),
            name: raw.name.into(),
            json_name: json_name.into(),
            number,
            kind,
            shape,
            oneof: oneof.filter(|_| !raw.proto3_optional).map(|(index, _)| index),
            closed,
            wire_type: kind.wire_type(),
        })
    }

    fn shape(
        &self,
        full_name: &str,
        raw: &RawField<'a>,
        kind: Kind,
        features: Features,
        in_oneof: bool,
    ) -> Result<Shape, SchemaError> {
        let is_entry = kind.message().is_some_and(|entry| self.messages[entry.0 as usize].raw.map_entry);
        Ok(match raw.label {
            REPEATED if is_entry => Shape::Map,
            REPEATED => {
                let numeric = !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Group(_));
                Shape::List { packed: numeric && raw.packed.unwrap_or(features.packed) }
            }
            // A descriptor without a label has an optional field, as in `FieldDescriptorProto()`.
            0..REPEATED => {
                let presence =
                    in_oneof || raw.proto3_optional || kind.message().is_some() || features.presence;
                Shape::Singular { presence }
            }
            _ => return Err(SchemaError::InvalidType { field: full_name.to_owned() }),
        })
    }

    fn kind(&self, full_name: &str, raw: &RawField<'a>, features: Features) -> Result<Kind, SchemaError> {
        let invalid = || SchemaError::InvalidType { field: full_name.to_owned() };
        Ok(match raw.type_code {
            1 => Kind::Double,
            2 => Kind::Float,
            3 => Kind::Int64,
            4 => Kind::Uint64,
            5 => Kind::Int32,
            6 => Kind::Fixed64,
            7 => Kind::Fixed32,
            8 => Kind::Bool,
            9 => Kind::String,
            12 => Kind::Bytes,
            13 => Kind::Uint32,
            15 => Kind::Sfixed32,
            16 => Kind::Sfixed64,
            17 => Kind::Sint32,
            18 => Kind::Sint64,
            0 | GROUP | MESSAGE | ENUM => {
                let found = self.resolve(raw.type_name).ok_or_else(|| SchemaError::UnknownType {
                    name: raw.type_name.trim_start_matches('.').to_owned(),
                    used_by: full_name.to_owned(),
                })?;
                match (raw.type_code, found) {
                    (0 | ENUM, TypeIndex::Enum(index)) => Kind::Enum(index),
                    (GROUP, TypeIndex::Message(index)) => Kind::Group(index),
                    (0 | MESSAGE, TypeIndex::Message(index)) if features.delimited => Kind::Group(index),
                    (0 | MESSAGE, TypeIndex::Message(index)) => Kind::Message(index),
                    _ => return Err(invalid()),
                }
            }
            _ => return Err(invalid()),
        })
    }

    fn service(&self, package: &str, raw: &RawService<'a>) -> Result<ServiceTable, SchemaError> {
        let full_name = join(package, raw.name)?;
        let mut methods = Vec::with_capacity(raw.methods.len());
        let mut names = HashSet::<&str, RandomState>::default();
        for method in &raw.methods {
            let name = join(&full_name, method.name)?;
            if !names.insert(method.name) {
                return Err(SchemaError::DuplicateName { name: name.into() });
            }
            let message = |type_name: &str| match self.resolve(type_name) {
                Some(TypeIndex::Message(index)) => Ok(index),
                Some(TypeIndex::Enum(_)) | None => Err(SchemaError::UnknownType {
                    name: type_name.trim_start_matches('.').to_owned(),
                    used_by: name.to_string(),
                }),
            };
            methods.push(MethodTable {
                name: method.name.into(),
                input: message(method.input)?,
                output: message(method.output)?,
                client_streaming: method.client_streaming,
                server_streaming: method.server_streaming,
                idempotency: match method.idempotency {
                    1 => Idempotency::NoSideEffects,
                    2 => Idempotency::Idempotent,
                    _ => Idempotency::Unknown,
                },
            });
        }
        Ok(ServiceTable { full_name, methods: methods.into() })
    }
}
