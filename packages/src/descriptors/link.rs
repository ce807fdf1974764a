//! Whether every type that a descriptor set names is in it.

use std::collections::BTreeSet;

use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::DescriptorError;
use crate::legible::legible;

/// The full names of the types of a set, each with the dot it is referred to with.
#[derive(Debug, Default)]
struct Types {
    messages: BTreeSet<String>,
    enums: BTreeSet<String>,
}

pub(super) fn check(set: &FileDescriptorSet) -> Result<(), DescriptorError> {
    let mut types = Types::default();
    for file in &set.file {
        let scope = if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
        types.enums.extend(file.enum_type.iter().map(|of| format!("{scope}.{}", of.name())));
        file.message_type.iter().for_each(|message| types.add(&scope, message));
    }
    for file in &set.file {
        file.extension.iter().try_for_each(|field| types.check_field(file.name(), field))?;
        file.message_type.iter().try_for_each(|message| types.check_message(message))?;
        for method in file.service.iter().flat_map(|service| &service.method) {
            for name in [method.input_type(), method.output_type()] {
                if !types.messages.contains(name) {
                    return Err(unknown(method.name(), name));
                }
            }
        }
    }
    Ok(())
}

// === impl Types ===

impl Types {
    fn add(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        self.enums.extend(message.enum_type.iter().map(|of| format!("{name}.{}", of.name())));
        message.nested_type.iter().for_each(|nested| self.add(&name, nested));
        self.messages.insert(name);
    }

    fn check_message(&self, message: &DescriptorProto) -> Result<(), DescriptorError> {
        let mut fields = message.field.iter().chain(&message.extension);
        fields.try_for_each(|field| self.check_field(message.name(), field))?;
        message.nested_type.iter().try_for_each(|nested| self.check_message(nested))
    }

    fn check_field(&self, owner: &str, field: &FieldDescriptorProto) -> Result<(), DescriptorError> {
        let name = field.type_name();
        let is_known = name.is_empty() || self.messages.contains(name) || self.enums.contains(name);
        if is_known { Ok(()) } else { Err(unknown(&format!("{owner}.{}", field.name()), name)) }
    }
}

fn unknown(by: &str, name: &str) -> DescriptorError {
    let name = legible(name.trim_start_matches('.').as_bytes());
    DescriptorError::UnknownType { by: legible(by.as_bytes()), name }
}
