//! Which names of a schema cannot stand beside each other in protobuf.

use std::collections::BTreeMap;

use crate::descriptors::build::{json_name, response_name, unspecified};
use crate::idl::error::{IdlErrorCode, Problems};
use crate::idl::scalar::Scalar;
use crate::idl::syntax::{Schema, TypeDef, Word};

/// Names longer than this are not compared for likeness.
const MAX_COMPARED: usize = 64;

/// Types, services, values of enums and what is made for methods all share one scope.
pub(super) fn check(schema: &Schema, problems: &mut Problems) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    let types = schema.types.iter().map(|of| (&of.name, "type"));
    let enums = schema.enums.iter().map(|of| (&of.name, "enum"));
    let services = schema.services.iter().map(|of| (&of.name, "service"));
    for (name, kind) in types.chain(enums).chain(services) {
        if kind != "service" && Scalar::named(&name.text).is_some() {
            let message = format!("`{}` is a type that needs no definition", name.text);
            problems.push_with_help(
                IdlErrorCode::ReservedName,
                name.span.clone(),
                message,
                "choose another name",
            );
        }
        if let Some(other) = taken.insert(&name.text, kind) {
            let message = format!("there is {} {other} `{}` already", article(other), name.text);
            let help = "types, enums and services share their names: choose another";
            problems.push_with_help(IdlErrorCode::DuplicateName, name.span.clone(), message, help);
        }
    }
    check_values(schema, &taken, problems);
    check_responses(schema, taken, problems);
}

/// The values of an enum stand beside it, not in it.
fn check_values(schema: &Schema, taken: &BTreeMap<&str, &str>, problems: &mut Problems) {
    let made: Vec<String> = schema.enums.iter().map(|of| unspecified(&of.name.text)).collect();
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for (of, made) in schema.enums.iter().zip(&made) {
        let clash = taken.get(made.as_str()).copied().map(str::to_owned);
        let clash = clash.or_else(|| values.get(made.as_str()).map(|other| format!("value of `{other}`")));
        if let Some(clash) = clash {
            let message =
                format!("`{}` gets the value `{made}`, and there is a {clash} of that name", of.name.text);
            problems.push(IdlErrorCode::EnumValueClash, of.name.span.clone(), message);
        }
        values.insert(made, &of.name.text);
    }
    for of in &schema.enums {
        for value in &of.values {
            let name = value.name.text.as_str();
            let other = values.get(name).copied();
            let clash = match (taken.get(name), other) {
                (Some(kind), _) => Some(format!("the {kind} `{name}`")),
                (None, Some(other)) if other != of.name.text => Some(format!("a value of `{other}`")),
                (None, Some(_)) if unspecified(&of.name.text) == name => {
                    Some("the value that stands for \"not set\"".to_owned())
                }
                (None, _) => None,
            };
            match clash {
                Some(clash) => problems.push_with_help(
                    IdlErrorCode::EnumValueClash,
                    value.name.span.clone(),
                    format!("the value `{name}` of `{}` is called like {clash}", of.name.text),
                    format!(
                        "protobuf has the values of all enums in one scope: write `{}_{name}`, say",
                        upper(&of.name.text)
                    ),
                ),
                None => drop(values.insert(name, &of.name.text)),
            }
        }
    }
}

/// What is made for methods that give a plain value.
fn check_responses<'s>(schema: &'s Schema, taken: BTreeMap<&'s str, &'s str>, problems: &mut Problems) {
    let mut made: BTreeMap<String, &Word> = BTreeMap::new();
    for service in &schema.services {
        for method in &service.methods {
            if method.output.lists > 0 || Scalar::named(&method.output.name.text).is_none() {
                continue;
            }
            let name = response_name(&method.name.text);
            let clash = match (taken.get(name.as_str()), made.get(&name)) {
                (Some(kind), _) => Some(format!("there is {} {kind} of that name", article(kind))),
                (None, Some(other)) if other.text == method.name.text => {
                    Some("another service's method of the same name does, too".to_owned())
                }
                (None, Some(other)) => Some(format!("so does `{}`", other.text)),
                (None, None) => None,
            };
            if let Some(clash) = clash {
                problems.push_with_help(
                    IdlErrorCode::ResponseNameClash,
                    method.name.span.clone(),
                    format!("the result of `{}` becomes a message `{name}`, and {clash}", method.name.text),
                    "give the method a type of its own as its result",
                );
            }
            made.insert(name, &method.name);
        }
    }
}

/// Fields must differ in more than underscores and capitals: in JSON they have others than in protobuf,
/// and some readers of either don't look at capitals.
pub(super) fn check_fields(of: &TypeDef, problems: &mut Problems) {
    let mut seen: BTreeMap<String, &Word> = BTreeMap::new();
    for field in &of.fields {
        let name = &field.name.text;
        let alike = name.replace('_', "").to_ascii_lowercase();
        let span = field.name.span.clone();
        match seen.get(&alike) {
            Some(other) if other.text == *name => {
                let message = format!("`{}` has the field `{name}` twice", of.name.text);
                problems.push(IdlErrorCode::DuplicateField, span, message);
            }
            Some(other) => {
                let (first, second) = (json_name(&other.text), json_name(name));
                let message = if first == second {
                    format!("`{}` and `{name}` are both `{first}` in JSON", other.text)
                } else {
                    format!("protobuf takes the names `{}` and `{name}` for the same", other.text)
                };
                let help = "choose names that differ in more than underscores and capitals";
                problems.push_with_help(IdlErrorCode::JsonNameClash, span, message, help);
            }
            None => drop(seen.insert(alike, &field.name)),
        }
    }
}

/// Calls back for each name that was there before.
pub(super) fn check_unique<'w>(words: impl Iterator<Item = &'w Word>, mut twice: impl FnMut(&Word)) {
    let mut seen = std::collections::BTreeSet::new();
    for word in words {
        if !seen.insert(&word.text) {
            twice(word);
        }
    }
}

/// A value's name as protobuf compares it: without that of its enum, in one spelling.
pub(super) fn without_prefix(of: &str, value: &str) -> String {
    let mut rest = value.chars().peekable();
    let mut prefix = of.chars().filter(|character| *character != '_').peekable();
    while prefix.peek().is_some() {
        match rest.next() {
            Some('_') => {}
            Some(character) if prefix.peek().is_some_and(|next| next.eq_ignore_ascii_case(&character)) => {
                prefix.next();
            }
            _ => return spelling(value),
        }
    }
    let rest: String = rest.skip_while(|character| *character == '_').collect();
    if rest.is_empty() { spelling(value) } else { spelling(&rest) }
}

/// The words of a name, each with a capital and run together.
fn spelling(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect::<String>()
        })
        .collect()
}

/// Whether one name may have been meant by the other: all but a letter or two are the same.
pub(super) fn are_near(name: &str, known: &str) -> bool {
    if name.len().max(known.len()) > MAX_COMPARED {
        return false;
    }
    let (name, known) = (name.to_ascii_lowercase(), known.to_ascii_lowercase());
    let (name, known) = (name.as_bytes(), known.as_bytes());
    let allowed = if name.len() > 3 { 2 } else { 1 };
    let same_start = name.iter().zip(known).take_while(|(a, b)| a == b).count();
    let (name, known) =
        (name.get(same_start..).unwrap_or_default(), known.get(same_start..).unwrap_or_default());
    let same_end = name.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    name.len().max(known.len()) - same_end <= allowed
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase()
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with('e') { "an" } else { "a" }
}
