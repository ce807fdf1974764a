//! The index of all descriptors: files by name and by what they declare.
//!
//! Each service brings a set of files of its own, and two sets may well use one file name for different
//! files: every package of the original's tools has a `service.proto`. A set whose names clash with those
//! of a set before it gets its names prefixed, in the files and wherever they import each other, byte by
//! byte, so that options nobody here knows stay as they are. The well-known files of Google are shared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use super::Described;

/// Files, and what is found in them.
#[derive(Debug, Default)]
pub(super) struct Index {
    services: BTreeSet<String>,
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    by_symbol: HashMap<String, usize>,
    by_extension: HashMap<String, BTreeMap<i32, usize>>,
}

#[derive(Debug)]
struct File {
    bytes: Bytes,
    imports: Vec<String>,
}

/// What the files that every set may have in common begin with.
const SHARED: &str = "google/protobuf/";

/// The field of a `FileDescriptorSet` that has the files.
const SET_FILE: u32 = 1;

/// The fields of a `FileDescriptorProto` that name files.
const FILE_NAME: u32 = 1;
const FILE_IMPORT: u32 = 3;

// === impl Index: answers ===

impl Index {
    /// The full names of the services, in order.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }

    /// A file by its name, and all that it needs.
    pub(super) fn file(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        self.by_name.get(name).map(|file| self.with_imports(*file))
    }

    /// The file that declares a symbol, and all that it needs.
    pub(super) fn symbol(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        let name = name.strip_prefix('.').unwrap_or(name);
        self.by_symbol.get(name).map(|file| self.with_imports(*file))
    }

    /// The file that declares an extension, and all that it needs.
    pub(super) fn extension(&self, extended: &str, number: i32) -> Option<Vec<Vec<u8>>> {
        let extended = extended.strip_prefix('.').unwrap_or(extended);
        self.by_extension.get(extended)?.get(&number).map(|file| self.with_imports(*file))
    }

    /// The numbers of the extensions of a message; `None` if there is no such message.
    pub(super) fn extension_numbers(&self, extended: &str) -> Option<Vec<i32>> {
        let extended = extended.strip_prefix('.').unwrap_or(extended);
        match self.by_extension.get(extended) {
            Some(extensions) => Some(extensions.keys().copied().collect()),
            None => self.by_symbol.contains_key(extended).then(Vec::new),
        }
    }

    fn with_imports(&self, first: usize) -> Vec<Vec<u8>> {
        let (mut seen, mut order) = (BTreeSet::from([first]), vec![first]);
        let mut next = 0;
        while let Some(file) = order.get(next).and_then(|file| self.files.get(*file)) {
            for import in file.imports.iter().filter_map(|name| self.by_name.get(name)) {
                if seen.insert(*import) {
                    order.push(*import);
                }
            }
            next += 1;
        }
        order.iter().filter_map(|file| self.files.get(*file)).map(|file| file.bytes.to_vec()).collect()
    }
}

// === impl Index: making ===

impl Index {
    /// The index of these services. A set that cannot be read is left out, with its service.
    pub(super) fn of(described: &[Described]) -> Self {
        let mut described: Vec<&Described> = described.iter().collect();
        described.sort_by(|a, b| a.service.cmp(&b.service));
        let mut index = Self::default();
        let mut known: HashMap<Bytes, BTreeMap<String, usize>> = HashMap::new();
        for Described { service, descriptors } in described {
            if !known.contains_key(descriptors) {
                let Some(files) = split(descriptors) else { continue };
                known.insert(descriptors.clone(), index.add_set(service, files));
            }
            // Whatever else has its name, the service is the one that serves.
            if let Some(file) = known.get(descriptors).and_then(|services| services.get(&**service)) {
                index.services.insert(service.to_string());
                index.by_symbol.insert(service.to_string(), *file);
            }
        }
        index
    }

    /// Adds the files of a set; gives where the services are that they declare.
    fn add_set(&mut self, prefix: &str, files: Vec<(FileDescriptorProto, Bytes)>) -> BTreeMap<String, usize> {
        let own = |name: &str| !name.starts_with(SHARED);
        let clashes = files.iter().any(|(file, bytes)| {
            let there = self.by_name.get(file.name()).and_then(|file| self.files.get(*file));
            own(file.name()) && there.is_some_and(|there| there.bytes != *bytes)
        });
        let renamed = |name: &str| match clashes && own(name) {
            true => format!("{prefix}/{name}"),
            false => name.to_owned(),
        };
        let mut services = BTreeMap::new();
        for (file, bytes) in files {
            let name = renamed(file.name());
            let place = match self.by_name.get(&name) {
                Some(place) => *place,
                None => {
                    let imports = file.dependency.iter().map(|name| renamed(name)).collect();
                    let bytes = if clashes { with_names(&bytes, &renamed).unwrap_or(bytes) } else { bytes };
                    self.files.push(File { bytes, imports });
                    self.by_name.insert(name, self.files.len() - 1);
                    self.files.len() - 1
                }
            };
            self.declare(&file, place);
            let declared = file.service.iter().map(|service| (join(file.package(), service.name()), place));
            services.extend(declared);
        }
        services
    }

    /// Notes what a file declares; of equal names the first is kept.
    fn declare(&mut self, file: &FileDescriptorProto, place: usize) {
        let package = file.package();
        for service in &file.service {
            let name = join(package, service.name());
            for method in &service.method {
                self.note(join(&name, method.name()), place);
            }
            self.note(name, place);
        }
        file.message_type.iter().for_each(|message| self.declare_message(package, message, place));
        file.enum_type.iter().for_each(|listed| self.declare_enum(package, listed, place));
        file.extension.iter().for_each(|extension| self.declare_extension(package, extension, place));
    }

    fn declare_message(&mut self, scope: &str, message: &DescriptorProto, place: usize) {
        let name = join(scope, message.name());
        message.nested_type.iter().for_each(|nested| self.declare_message(&name, nested, place));
        message.enum_type.iter().for_each(|listed| self.declare_enum(&name, listed, place));
        message.extension.iter().for_each(|extension| self.declare_extension(&name, extension, place));
        message.field.iter().for_each(|field| self.note(join(&name, field.name()), place));
        message.oneof_decl.iter().for_each(|oneof| self.note(join(&name, oneof.name()), place));
        self.note(name, place);
    }

    /// The values of an enum are named beside it, not in it.
    fn declare_enum(&mut self, scope: &str, listed: &EnumDescriptorProto, place: usize) {
        listed.value.iter().for_each(|value| self.note(join(scope, value.name()), place));
        self.note(join(scope, listed.name()), place);
    }

    fn declare_extension(&mut self, scope: &str, extension: &FieldDescriptorProto, place: usize) {
        let extended = extension.extendee().trim_start_matches('.').to_owned();
        self.by_extension.entry(extended).or_default().entry(extension.number()).or_insert(place);
        self.note(join(scope, extension.name()), place);
    }

    fn note(&mut self, name: String, place: usize) {
        self.by_symbol.entry(name).or_insert(place);
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// The files of a set, each with its bytes as they stand there.
fn split(set: &Bytes) -> Option<Vec<(FileDescriptorProto, Bytes)>> {
    let mut files = Vec::new();
    for_each_field(set, |number, field| {
        if let (SET_FILE, Field::Text(bytes)) = (number, field) {
            files.push((FileDescriptorProto::decode(bytes.clone()).ok()?, bytes));
        }
        Some(())
    })?;
    Some(files)
}

/// The same file, with its names of files changed.
fn with_names(file: &Bytes, renamed: &dyn Fn(&str) -> String) -> Option<Bytes> {
    let mut changed = Vec::with_capacity(file.len() + 64);
    for_each_field(file, |number, field| {
        match field {
            Field::Text(bytes) if matches!(number, FILE_NAME | FILE_IMPORT) => {
                let name = renamed(std::str::from_utf8(&bytes).ok()?);
                encode_key(number, WireType::LengthDelimited, &mut changed);
                encode_varint(name.len() as u64, &mut changed);
                changed.extend_from_slice(name.as_bytes());
            }
            Field::Text(bytes) => {
                encode_key(number, WireType::LengthDelimited, &mut changed);
                encode_varint(bytes.len() as u64, &mut changed);
                changed.extend_from_slice(&bytes);
            }
            Field::Whole(bytes) => changed.extend_from_slice(&bytes),
        }
        Some(())
    })?;
    Some(Bytes::from(changed))
}

/// One field of a message.
enum Field {
    /// The content of a field with a length.
    Text(Bytes),
    /// Any other field, its key included.
    Whole(Bytes),
}

/// Walks the fields of a message; `None` if it is not one, or if the visitor gives up.
fn for_each_field(message: &Bytes, mut visit: impl FnMut(u32, Field) -> Option<()>) -> Option<()> {
    let mut rest = message.clone();
    while rest.has_remaining() {
        let start = rest.clone();
        let (number, wire_type) = decode_key(&mut rest).ok()?;
        let field = if wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            Field::Text((length <= rest.len()).then(|| rest.split_to(length))?)
        } else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).ok()?;
            Field::Whole(start.slice(..start.len() - rest.len()))
        };
        visit(number, field)?;
    }
    Some(())
}

#[cfg(test)]
pub(super) mod tests;
