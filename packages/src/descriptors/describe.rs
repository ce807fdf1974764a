//! Describes a service of a descriptor set, as a schema of the same would be described.
//!
//! Types have the names they have in protobuf, without the package that the service is in. What a schema
//! cannot say keeps protobuf's words: the plain types that it lacks are `uint32` and the like, a map is a
//! list of its entries. Comments are not taken over: where they were compiled in, the descriptors have them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
};

use super::{Descriptors, build};
use crate::description::{
    Description, Directive, EnumType, EnumValue, Field, Metadata, Method, NO_SIDE_EFFECTS, ObjectType,
    Service,
};

/// A message or an enum of the set.
#[derive(Clone, Copy)]
enum Named<'s> {
    /// Whether fields of plain types are always there is a matter of the file's syntax.
    Message {
        message: &'s DescriptorProto,
        is_proto3: bool,
    },
    Enum(&'s EnumDescriptorProto),
}

/// The types of a set, by the names they are referred to with.
struct Census<'s> {
    named: BTreeMap<String, Named<'s>>,
    /// What the names of the service's own package begin with.
    scope: String,
}

/// Describes the service, its methods, and the types they need.
pub(super) fn describe(found: &Descriptors, version: &str) -> Description {
    let census = Census::take(&found.set, &found.package);
    let mut description = Description {
        meta: Metadata {
            namespace: found.package.clone(),
            version: version.to_owned(),
            service: String::new(),
        },
        ..Description::default()
    };
    let methods = &found.service.method;
    let mut waiting: VecDeque<&str> =
        methods.iter().flat_map(|method| [method.input_type(), method.output_type()]).collect();
    let mut seen = BTreeSet::from([build::EMPTY, build::TIMESTAMP]);
    while let Some(name) = waiting.pop_front() {
        if !seen.insert(name) {
            continue;
        }
        match census.named.get(name) {
            Some(Named::Message { message, is_proto3 }) => {
                waiting.extend(message.field.iter().map(FieldDescriptorProto::type_name));
                let fields = message.field.iter().map(|field| census.field(field, *is_proto3)).collect();
                description.types.push(ObjectType { name: census.name(name), doc: String::new(), fields });
            }
            Some(Named::Enum(of)) => description.enums.push(census.enumeration(name, of)),
            // The name of a plain type, which is empty.
            None => {}
        }
    }
    description.services.push(Service {
        name: found.service.name().to_owned(),
        methods: methods.iter().map(|method| census.method(method)).collect(),
        ..Service::default()
    });
    description
}

// === impl Census ===

impl<'s> Census<'s> {
    fn take(set: &'s FileDescriptorSet, package: &str) -> Self {
        let scope = if package.is_empty() { ".".to_owned() } else { format!(".{package}.") };
        let mut census = Self { named: BTreeMap::new(), scope };
        for file in &set.file {
            let scope =
                if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
            let is_proto3 = file.syntax() == "proto3";
            file.message_type.iter().for_each(|message| census.add(&scope, message, is_proto3));
            file.enum_type.iter().for_each(|of| census.add_enum(&scope, of));
        }
        census
    }

    fn add(&mut self, scope: &str, message: &'s DescriptorProto, is_proto3: bool) {
        let name = format!("{scope}.{}", message.name());
        message.nested_type.iter().for_each(|nested| self.add(&name, nested, is_proto3));
        message.enum_type.iter().for_each(|of| self.add_enum(&name, of));
        self.named.insert(name, Named::Message { message, is_proto3 });
    }

    fn add_enum(&mut self, scope: &str, of: &'s EnumDescriptorProto) {
        self.named.insert(format!("{scope}.{}", of.name()), Named::Enum(of));
    }

    /// What a type is called in the description.
    fn name(&self, full: &str) -> String {
        full.strip_prefix(&self.scope).unwrap_or(full.trim_start_matches('.')).to_owned()
    }

    fn field(&self, field: &FieldDescriptorProto, is_proto3: bool) -> Field {
        let is_list = field.label() == Label::Repeated;
        let is_message = matches!(field.r#type(), Type::Message | Type::Group);
        let is_plain = is_proto3 && !is_list && !is_message && field.oneof_index.is_none();
        let element = match scalar(field) {
            Some(scalar) => scalar.to_owned(),
            None => self.name(field.type_name()),
        };
        Field {
            name: field.name().to_owned(),
            type_name: if is_list { format!("[{element}]") } else { element },
            required: is_plain || field.label() == Label::Required,
            ..Field::default()
        }
    }

    /// The value that is made for an enum of a schema says nothing.
    fn enumeration(&self, full: &str, of: &EnumDescriptorProto) -> EnumType {
        let name = self.name(full);
        let made = build::unspecified(&name);
        let values = of.value.iter().filter(|value| value.number() != 0 || value.name() != made);
        let values = values.map(|value| EnumValue { name: value.name().to_owned(), doc: String::new() });
        EnumType { values: values.collect(), name, doc: String::new() }
    }

    fn method(&self, method: &MethodDescriptorProto) -> Method {
        let input = method.input_type();
        Method {
            name: method.name().to_owned(),
            input_type: if input == build::EMPTY { String::new() } else { self.name(input) },
            output_type: self.name(method.output_type()),
            directives: promise(method).into_iter().collect(),
            doc: String::new(),
        }
    }
}

/// What a method's option promises, as a directive.
fn promise(method: &MethodDescriptorProto) -> Option<Directive> {
    let level = match method.options.as_ref()?.idempotency_level() {
        IdempotencyLevel::IdempotencyUnknown => return None,
        IdempotencyLevel::Idempotent => None,
        IdempotencyLevel::NoSideEffects => Some(("level".to_owned(), NO_SIDE_EFFECTS.to_owned())),
    };
    Some(Directive { name: "idempotent".to_owned(), args: level.into_iter().collect(), doc: String::new() })
}

/// The name of a plain type, and of a moment: a schema's if it has one, else protobuf's.
fn scalar(field: &FieldDescriptorProto) -> Option<&'static str> {
    let name = match field.r#type() {
        Type::String => "String",
        Type::Int32 => "Int",
        Type::Int64 => "Long",
        Type::Float => "Float",
        Type::Double => "Double",
        Type::Bool => "Boolean",
        Type::Bytes => "Bytes",
        Type::Uint32 => "uint32",
        Type::Uint64 => "uint64",
        Type::Sint32 => "sint32",
        Type::Sint64 => "sint64",
        Type::Fixed32 => "fixed32",
        Type::Fixed64 => "fixed64",
        Type::Sfixed32 => "sfixed32",
        Type::Sfixed64 => "sfixed64",
        Type::Message if field.type_name() == build::TIMESTAMP => "Time",
        Type::Message | Type::Group | Type::Enum => return None,
    };
    Some(name)
}
