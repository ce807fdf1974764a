//! Makes a descriptor set of a description, by the rules of the original's generator.
//!
//! Names are taken as they are. Fields are numbered from 1 in their order; an enum gets a zero of its own
//! before its values. What need not be there is `optional`; lists are `repeated`. A method without an
//! argument takes `google.protobuf.Empty`, one that gives a plain value gives a message made for it.
//! `@readonly` and `@idempotent` become the option that says the same.

mod imports;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions, OneofDescriptorProto,
    ServiceDescriptorProto,
};

use crate::description::{Description, EnumType, Field, Method, ObjectType, Service};
use crate::idl::Scalar;

/// The most fields of a type: what follows is reserved by protobuf.
pub(crate) const MAX_FIELDS: usize = 18_999;

/// What the file is called. Nobody matches on it.
const FILE: &str = "service.proto";
/// The package of a schema without a namespace.
const DEFAULT_PACKAGE: &str = "service";
/// What a method without an argument takes.
pub(super) const EMPTY: &str = ".google.protobuf.Empty";
/// What a moment is.
pub(super) const TIMESTAMP: &str = ".google.protobuf.Timestamp";

/// How the names of a description are referred to.
struct Builder<'d> {
    description: &'d Description,
    package: &'d str,
}

/// The set for a description that was proved to have one.
pub(crate) fn build(description: &Description) -> FileDescriptorSet {
    let builder = Builder { description, package: package_of(&description.meta.namespace) };
    let file = builder.file();
    let mut set = FileDescriptorSet::default();
    for import in &file.dependency {
        set.file.extend(imports::named(import));
    }
    set.file.push(file);
    set
}

/// The protobuf package of a namespace.
pub(crate) fn package_of(namespace: &str) -> &str {
    if namespace.is_empty() { DEFAULT_PACKAGE } else { namespace }
}

/// The name of the message that is made for a method that gives a plain value.
pub(crate) fn response_name(method: &str) -> String {
    let mut letters = method.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    format!("{}{}Response", first.map(String::from).unwrap_or_default(), letters.as_str())
}

/// The name of the value that is made for an enum.
pub(crate) fn unspecified(of: &str) -> String {
    format!("{}_UNSPECIFIED", of.to_ascii_uppercase())
}

/// The name that JSON has for a field.
pub(crate) fn json_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut is_capital = false;
    for letter in field.chars() {
        if letter == '_' {
            is_capital = true;
        } else {
            name.push(if is_capital { letter.to_ascii_uppercase() } else { letter });
            is_capital = false;
        }
    }
    name
}

// === impl Builder ===

impl Builder<'_> {
    fn file(&self) -> FileDescriptorProto {
        let services = &self.description.services;
        let methods = || services.iter().flat_map(|service| &service.methods);
        let made = methods().filter_map(|method| self.response(method));
        let messages: Vec<_> = self.description.types.iter().map(|of| self.message(of)).chain(made).collect();
        let uses_time =
            messages.iter().flat_map(|message| &message.field).any(|field| field.type_name() == TIMESTAMP)
                || methods().any(|method| Scalar::named(&method.output_type) == Some(Scalar::Timestamp));
        let uses_empty = methods().any(|method| method.input_type.is_empty());
        let imports = [(uses_time, imports::TIMESTAMP), (uses_empty, imports::EMPTY)];
        FileDescriptorProto {
            name: Some(FILE.to_owned()),
            package: Some(self.package.to_owned()),
            dependency: imports
                .iter()
                .filter(|(used, _)| *used)
                .map(|(_, file)| (*file).to_owned())
                .collect(),
            message_type: messages,
            enum_type: self.description.enums.iter().map(enumeration).collect(),
            service: services.iter().map(|service| self.service(service)).collect(),
            syntax: Some("proto3".to_owned()),
            ..FileDescriptorProto::default()
        }
    }

    fn message(&self, of: &ObjectType) -> DescriptorProto {
        let mut message = DescriptorProto { name: Some(of.name.clone()), ..DescriptorProto::default() };
        let mut optional = Vec::new();
        for (number, field) in (1..).zip(&of.fields) {
            let mut made = self.field(&field.name, &field.type_name, number);
            if is_optional(field) {
                made.proto3_optional = Some(true);
                // At most 18,999 fields, see above.
                made.oneof_index = i32::try_from(optional.len()).ok();
                optional.push(field.name.as_str());
            }
            message.field.push(made);
        }
        message.oneof_decl = oneofs(&optional, &of.fields);
        message
    }

    fn field(&self, name: &str, type_name: &str, number: i32) -> FieldDescriptorProto {
        let element = type_name.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
        let label = if element.is_some() { Label::Repeated } else { Label::Optional };
        let (kind, type_name) = self.resolve(element.unwrap_or(type_name));
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(label as i32),
            r#type: Some(kind as i32),
            type_name,
            json_name: Some(json_name(name)),
            ..FieldDescriptorProto::default()
        }
    }

    /// The type of a field, and its name if it has one.
    fn resolve(&self, name: &str) -> (Type, Option<String>) {
        match Scalar::named(name) {
            Some(Scalar::Plain(kind)) => (kind, None),
            Some(Scalar::Timestamp) => (Type::Message, Some(TIMESTAMP.to_owned())),
            None if self.description.enums.iter().any(|of| of.name == name) => {
                (Type::Enum, Some(self.full_name(name)))
            }
            None => (Type::Message, Some(self.full_name(name))),
        }
    }

    fn full_name(&self, name: &str) -> String {
        format!(".{}.{name}", self.package)
    }

    /// The message that is made for a method that gives a plain value.
    fn response(&self, method: &Method) -> Option<DescriptorProto> {
        Scalar::named(&method.output_type)?;
        Some(DescriptorProto {
            name: Some(response_name(&method.name)),
            field: vec![self.field("response", &method.output_type, 1)],
            ..DescriptorProto::default()
        })
    }

    fn service(&self, service: &Service) -> ServiceDescriptorProto {
        ServiceDescriptorProto {
            name: Some(service.name.clone()),
            method: service.methods.iter().map(|method| self.method(method)).collect(),
            options: None,
        }
    }

    fn method(&self, method: &Method) -> MethodDescriptorProto {
        let input = match method.input_type.as_str() {
            "" => EMPTY.to_owned(),
            name => self.full_name(name),
        };
        let output = match Scalar::named(&method.output_type) {
            Some(_) => self.full_name(&response_name(&method.name)),
            None => self.full_name(&method.output_type),
        };
        let level = if method.is_without_side_effects() {
            Some(IdempotencyLevel::NoSideEffects)
        } else {
            method.is_idempotent().then_some(IdempotencyLevel::Idempotent)
        };
        MethodDescriptorProto {
            name: Some(method.name.clone()),
            input_type: Some(input),
            output_type: Some(output),
            options: level.map(|level| MethodOptions {
                idempotency_level: Some(level as i32),
                ..MethodOptions::default()
            }),
            ..MethodDescriptorProto::default()
        }
    }
}

/// Whether one can tell that it is not there; of a list one never can.
fn is_optional(field: &Field) -> bool {
    !field.required && !field.type_name.starts_with('[')
}

/// The groups of one that protobuf makes for optional fields, under names that no field has.
fn oneofs(optional: &[&str], fields: &[Field]) -> Vec<OneofDescriptorProto> {
    let mut taken: std::collections::BTreeSet<String> =
        fields.iter().map(|field| field.name.clone()).collect();
    let mut oneofs = Vec::new();
    for field in optional {
        let mut name = if field.starts_with('_') { format!("X{field}") } else { format!("_{field}") };
        while !taken.insert(name.clone()) {
            name.insert(0, 'X');
        }
        oneofs.push(OneofDescriptorProto { name: Some(name), options: None });
    }
    oneofs
}

fn enumeration(of: &EnumType) -> EnumDescriptorProto {
    let names =
        std::iter::once(unspecified(&of.name)).chain(of.values.iter().map(|value| value.name.clone()));
    let value = |(number, name): (i32, String)| EnumValueDescriptorProto {
        name: Some(name),
        number: Some(number),
        options: None,
    };
    EnumDescriptorProto {
        name: Some(of.name.clone()),
        value: (0..).zip(names).map(value).collect(),
        ..EnumDescriptorProto::default()
    }
}
