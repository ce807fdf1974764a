//! `service.description.json`: the types and methods of a service, for people and for tools.
//!
//! Read tolerantly, every key optional; written in the exact shape and key order of the original.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lenient::{JsonFault, lenient, parse};

/// The types and services of a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The object types, inputs among them.
    pub types: Vec<ObjectType>,
    /// The enums.
    pub enums: Vec<EnumType>,
    /// The services. Only the first is served.
    pub services: Vec<Service>,
    /// What `@okra(...)` says.
    pub meta: Metadata,
}

/// What `@okra(...)` says, each empty if it does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The namespace, which is the protobuf package.
    pub namespace: String,
    /// The version of the service.
    pub version: String,
    /// A name for the service, which nothing uses.
    pub service: String,
}

/// A type with fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ObjectType {
    /// Its name.
    pub name: String,
    /// Its description.
    pub doc: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// A field of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type: a name, or a type in brackets.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it has to be there.
    pub required: bool,
    /// Its directives, in order.
    pub directives: Vec<Directive>,
    /// Its description.
    pub doc: String,
}

/// A type with values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnumType {
    /// Its name.
    pub name: String,
    /// Its description.
    pub doc: String,
    /// Its values, in order.
    pub values: Vec<EnumValue>,
}

/// A value of an enum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnumValue {
    /// Its name.
    pub name: String,
    /// Its description.
    pub doc: String,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its description.
    pub doc: String,
    /// Always empty: see [`Metadata`].
    pub namespace: String,
    /// Always empty: see [`Metadata`].
    pub version: String,
    /// Its methods, in order.
    pub methods: Vec<Method>,
}

/// A method of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// Its name.
    pub name: String,
    /// The type it takes, empty if it takes nothing.
    pub input_type: String,
    /// The type it gives.
    pub output_type: String,
    /// Its directives, in order.
    pub directives: Vec<Directive>,
    /// Its description.
    pub doc: String,
}

/// A directive of a field or a method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directive {
    /// Its name, without `@`.
    pub name: String,
    /// Its arguments as text; empty for `null`, lists and objects.
    pub args: BTreeMap<String, String>,
    /// Always empty.
    pub doc: String,
}

lenient!(tolerant Description { "types" => types, "enums" => enums, "services" => services, "meta" => meta });
lenient!(tolerant Metadata { "namespace" => namespace, "version" => version, "service" => service });
lenient!(tolerant ObjectType { "name" => name, "doc" => doc, "fields" => fields });
lenient!(tolerant Field {
    "name" => name, "type" => type_name, "required" => required, "directives" => directives, "doc" => doc,
});
lenient!(tolerant EnumType { "name" => name, "doc" => doc, "values" => values });
lenient!(tolerant EnumValue { "name" => name, "doc" => doc });
lenient!(tolerant Service {
    "name" => name, "doc" => doc, "namespace" => namespace, "version" => version, "methods" => methods,
});
lenient!(tolerant Method {
    "name" => name, "inputType" => input_type, "outputType" => output_type, "directives" => directives,
    "doc" => doc,
});
lenient!(tolerant Directive { "name" => name, "args" => args, "doc" => doc });

// === impl Description ===

impl Description {
    /// Reads a document.
    ///
    /// # Errors
    /// The place where it stops being one.
    pub fn parse(text: &[u8]) -> Result<Self, JsonFault> {
        parse(text)
    }

    /// Writes the document, as the original's tools do to the byte.
    pub fn to_json(&self) -> String {
        // Strings and lists of them always have a JSON form.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        // These stand only within strings, where the original escapes them.
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                other => escaped.push(other),
            }
        }
        escaped
    }
}

impl Method {
    /// Whether its directives promise that it changes nothing: `@readonly`, or
    /// `@idempotent(level: "NO_SIDE_EFFECTS")`.
    pub fn is_without_side_effects(&self) -> bool {
        self.directives.iter().any(|directive| match directive.name.as_str() {
            "readonly" => true,
            "idempotent" => directive.args.get("level").is_some_and(|level| level == NO_SIDE_EFFECTS),
            _ => false,
        })
    }

    /// Whether its directives promise that calling it twice does what calling it once does.
    pub fn is_idempotent(&self) -> bool {
        self.is_without_side_effects()
            || self.directives.iter().any(|directive| directive.name == "idempotent")
    }
}

/// The level of a method that changes nothing.
pub(crate) const NO_SIDE_EFFECTS: &str = "NO_SIDE_EFFECTS";
