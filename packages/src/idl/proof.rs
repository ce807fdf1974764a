//! Proves that a schema can become a description and protobuf descriptors, or says what cannot.

mod names;

use std::collections::{BTreeMap, BTreeSet};

use super::error::{IdlErrorCode, Problems};
use super::scalar::{self, Scalar};
use super::syntax::{EnumDef, MethodDef, Schema, ServiceDef, TypeDef, TypeRef, Word};
use crate::descriptors::build::{MAX_FIELDS, response_name};
use crate::identity;

/// What the names of a schema stand for.
struct Scope<'s> {
    types: BTreeSet<&'s str>,
    enums: BTreeSet<&'s str>,
}

pub(super) fn check(schema: &Schema, problems: &mut Problems) {
    let scope = Scope {
        types: schema.types.iter().map(|of| of.name.text.as_str()).collect(),
        enums: schema.enums.iter().map(|of| of.name.text.as_str()).collect(),
    };
    check_meta(schema, problems);
    names::check(schema, problems);
    schema.types.iter().for_each(|of| scope.check_type(of, problems));
    schema.enums.iter().for_each(|of| check_values(of, problems));
    schema.services.iter().for_each(|service| scope.check_service(service, problems));
}

fn check_meta(schema: &Schema, problems: &mut Problems) {
    for (word, value) in schema.meta.iter().flat_map(|mark| &mark.args) {
        let is_known = matches!(word.text.as_str(), "namespace" | "version" | "service");
        if is_known && value.text.is_none() {
            let message = format!("`{}` has to be text", word.text);
            problems.push(IdlErrorCode::MisplacedOkra, value.span.clone(), message);
        }
    }
    let said = |name| schema.meta(name).and_then(|value| Some((value.text.as_deref()?, &value.span)));
    if let Some((namespace, span)) = said("namespace")
        && !namespace.is_empty()
        && !namespace.split('.').all(identity::is_identifier)
    {
        problems.push_with_help(
            IdlErrorCode::InvalidNamespace,
            span.clone(),
            format!("the namespace `{namespace}` cannot be a protobuf package"),
            "write words of letters, digits and `_` with dots between them, like `shop.orders`",
        );
    }
    if let Some((version, span)) = said("version")
        && !version.is_empty()
        && !identity::is_version(version)
    {
        problems.push_with_help(
            IdlErrorCode::InvalidVersion,
            span.clone(),
            format!("the version `{version}` cannot be part of a service id"),
            "write something like `v1` or `v1.2`",
        );
    }
}

// === impl Scope ===

impl Scope<'_> {
    fn check_type(&self, of: &TypeDef, problems: &mut Problems) {
        for field in &of.fields {
            self.check_known(&field.of, problems);
            if field.of.lists > 1 {
                problems.push_with_help(
                    IdlErrorCode::NestedList,
                    field.of.span.clone(),
                    "protobuf has no lists of lists",
                    "make a type with the inner list as its field, and a list of that type",
                );
            }
        }
        names::check_fields(of, problems);
        if let Some(field) = of.fields.get(MAX_FIELDS) {
            let message = format!("`{}` has more than {MAX_FIELDS} fields", of.name.text);
            problems.push(IdlErrorCode::TooManyFields, field.name.span.clone(), message);
        }
    }

    fn check_service(&self, service: &ServiceDef, problems: &mut Problems) {
        for method in &service.methods {
            if let Some(input) = &method.input {
                self.check_input(input, problems);
            }
            self.check_output(method, problems);
        }
        names::check_unique(service.methods.iter().map(|method| &method.name), |word| {
            problems.push(
                IdlErrorCode::DuplicateMethod,
                word.span.clone(),
                format!("`{}` has the method `{}` twice", service.name.text, word.text),
            );
        });
    }

    fn check_input(&self, input: &TypeRef, problems: &mut Problems) {
        let is_known = self.check_known(input, problems);
        if is_known && (input.lists > 0 || !self.types.contains(input.name.text.as_str())) {
            problems.push_with_help(
                IdlErrorCode::ArgumentNotMessage,
                input.span.clone(),
                format!("a method takes a type with fields, and {} is none", kind(input)),
                "make an input type with this as its field",
            );
        }
    }

    fn check_output(&self, method: &MethodDef, problems: &mut Problems) {
        let output = &method.output;
        let is_known = self.check_known(output, problems);
        let is_enum = self.enums.contains(output.name.text.as_str());
        if is_known && (output.lists > 0 || is_enum) {
            problems.push_with_help(
                IdlErrorCode::ResultNotMessage,
                output.span.clone(),
                format!(
                    "a method gives a type with fields or a plain value, and {} is neither",
                    kind(output)
                ),
                format!("make a type `{}` with this as its field", response_name(&method.name.text)),
            );
        }
    }

    /// Whether a type is defined; says so if not.
    fn check_known(&self, of: &TypeRef, problems: &mut Problems) -> bool {
        let name = of.name.text.as_str();
        let is_known =
            Scalar::named(name).is_some() || self.types.contains(name) || self.enums.contains(name);
        if !is_known {
            let message = format!("there is no type `{name}`");
            let span = of.name.span.clone();
            match self.help(name) {
                Some(help) => problems.push_with_help(IdlErrorCode::UnknownType, span, message, help),
                None => problems.push(IdlErrorCode::UnknownType, span, message),
            }
        }
        is_known
    }

    fn help(&self, name: &str) -> Option<String> {
        if matches!(name, "Void" | "void" | "Unit" | "Empty") {
            return Some("a method gives something: make a type without fields, `type Done {}`".to_owned());
        }
        if let Some(scalar) = scalar::instead_of(name) {
            return Some(format!("did you mean `{scalar}`?"));
        }
        let defined = self.types.iter().chain(&self.enums).chain(&scalar::NAMES);
        let near = defined.filter(|known| names::are_near(name, known)).min_by_key(|known| known.len());
        let plain = || format!("types that need no definition: {}", scalar::NAMES.join(", "));
        Some(near.map_or_else(plain, |known| format!("did you mean `{known}`?")))
    }
}

/// A type as a sentence names it.
fn kind(of: &TypeRef) -> String {
    if of.lists > 0 { format!("a list of `{}`", of.name.text) } else { format!("`{}`", of.name.text) }
}

fn check_values(of: &EnumDef, problems: &mut Problems) {
    let mut seen: BTreeMap<String, &Word> = BTreeMap::new();
    for value in &of.values {
        let alike = names::without_prefix(&of.name.text, &value.name.text);
        if let Some(other) = seen.get(&alike) {
            let message = if other.text == value.name.text {
                format!("`{}` has the value `{}` twice", of.name.text, value.name.text)
            } else {
                format!(
                    "protobuf takes the values `{}` and `{}` of `{}` for the same",
                    other.text, value.name.text, of.name.text
                )
            };
            problems.push(IdlErrorCode::DuplicateValue, value.name.span.clone(), message);
        } else {
            seen.insert(alike, &value.name);
        }
    }
}
