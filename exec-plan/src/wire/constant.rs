//! The constants of a document as values of the type their port wants.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::document::{Item, Kind, Span, Tree};
use crate::value::{Type, TypeSet, Value};

/// Why a constant cannot feed a port.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The port accepts no value of this type.
    Type(Type),
    /// The constant is wrong in itself.
    Invalid { span: Span, message: String },
}

/// The value of a constant. A scalar takes the type of its own if the port accepts that, else the
/// nearest one it accepts; anything may also become JSON. `{"$base64": "..."}` is bytes, and
/// `{"$string": "..."}` is text that would otherwise be read as a reference.
pub(super) fn constant(tree: &Tree<'_>, item: Item, accepts: TypeSet) -> Result<Value, Refusal> {
    let kind = tree.kind(item);
    match kind {
        Kind::Null => pick(accepts, Type::Null, || Value::Null, tree, item),
        Kind::False | Kind::True => pick(accepts, Type::Bool, || Value::Bool(kind == Kind::True), tree, item),
        Kind::Number => number(tree, item, accepts),
        Kind::Plain | Kind::Escaped => text(tree, item, accepts),
        Kind::Object => object(tree, item, accepts),
        Kind::Array if !accepts.contains(Type::Json) && accepts.contains(Type::List) => {
            let elements: Vec<serde_json::Value> = parse(tree, item)?;
            Ok(Value::List(elements.into_iter().map(Value::from).collect()))
        }
        Kind::Array => json(tree, item, accepts, Type::List),
        Kind::Hole => Err(Refusal::Invalid { span: tree.head(item), message: "this is no constant".into() }),
    }
}

fn pick(
    accepts: TypeSet,
    own: Type,
    value: impl FnOnce() -> Value,
    tree: &Tree<'_>,
    item: Item,
) -> Result<Value, Refusal> {
    if accepts.contains(own) { Ok(value()) } else { json(tree, item, accepts, own) }
}

fn number(tree: &Tree<'_>, item: Item, accepts: TypeSet) -> Result<Value, Refusal> {
    let raw = tree.raw(item);
    let integer = raw.parse::<i64>().ok();
    match (integer, raw.parse::<f64>()) {
        (Some(integer), _) if accepts.contains(Type::I64) => Ok(Value::I64(integer)),
        (_, Ok(float)) if accepts.contains(Type::F64) => Ok(Value::F64(float)),
        (integer, _) => json(tree, item, accepts, if integer.is_some() { Type::I64 } else { Type::F64 }),
    }
}

fn text(tree: &Tree<'_>, item: Item, accepts: TypeSet) -> Result<Value, Refusal> {
    let text = tree.key(item).text;
    if accepts.contains(Type::String) {
        Ok(Value::Str(text.into()))
    } else if accepts.contains(Type::Bytes) {
        Ok(Value::Bytes(Bytes::copy_from_slice(text.as_bytes())))
    } else {
        json(tree, item, accepts, Type::String)
    }
}

fn object(tree: &Tree<'_>, item: Item, accepts: TypeSet) -> Result<Value, Refusal> {
    let mut members = tree.members(item);
    if let (Some((key, value)), None) = (members.next(), members.next()) {
        match (tree.key(key).text, tree.word(value)) {
            ("$string", Some(_)) => return text(tree, value, accepts),
            ("$base64", Some(word)) => {
                let bytes = STANDARD.decode(word.text).map_err(|error| Refusal::Invalid {
                    span: word.span,
                    message: format!("this is not base64: {error}"),
                })?;
                return pick(
                    accepts.intersection(Type::Bytes.into()),
                    Type::Bytes,
                    || Value::Bytes(bytes.into()),
                    tree,
                    item,
                );
            }
            (name @ ("$string" | "$base64"), None) => {
                let message = format!("`{name}` must be a string, not {}", tree.kind(value).noun());
                return Err(Refusal::Invalid { span: tree.head(value), message });
            }
            _ => {}
        }
    }
    json(tree, item, accepts, Type::Json)
}

fn json(tree: &Tree<'_>, item: Item, accepts: TypeSet, own: Type) -> Result<Value, Refusal> {
    if accepts.contains(Type::Json) {
        Ok(Value::Json(Arc::new(parse(tree, item)?)))
    } else {
        Err(Refusal::Type(own))
    }
}

fn parse<T: serde::de::DeserializeOwned>(tree: &Tree<'_>, item: Item) -> Result<T, Refusal> {
    serde_json::from_str(tree.raw(item)).map_err(|error| Refusal::Invalid {
        span: tree.head(item),
        message: format!("this is no constant: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Problems;

    fn typed(text: &str, accepts: &[Type]) -> String {
        let mut problems = Problems::default();
        let tree = Tree::read(text, &mut problems);
        match constant(&tree, tree.root().unwrap(), TypeSet::of(accepts)) {
            Ok(value) => format!("{}: {value:?}", value.kind()),
            Err(Refusal::Type(own)) => format!("no: {own}"),
            Err(Refusal::Invalid { message, .. }) => message,
        }
    }

    #[test]
    fn a_scalar_keeps_its_own_type_if_it_may() {
        let any: Vec<Type> = Type::ALL.to_vec();
        assert_eq!(typed("null", &any), "null: null");
        assert_eq!(typed("true", &any), "bool: true");
        assert_eq!(typed("-7", &any), "i64: -7");
        assert_eq!(typed("1.5", &any), "f64: 1.5");
        assert_eq!(typed(r#""a\n""#, &any), r#"string: "a\n""#);
        assert_eq!(typed("[1]", &any), "json: json([1])");
    }

    #[test]
    fn a_constant_becomes_what_the_port_accepts() {
        assert_eq!(typed("7", &[Type::F64]), "f64: 7.0");
        assert_eq!(typed("9223372036854775808", &[Type::I64, Type::F64]), "f64: 9.223372036854776e18");
        assert_eq!(typed(r#""hé""#, &[Type::Bytes]), "bytes: bytes(3)");
        assert_eq!(typed("[1, \"a\", {}]", &[Type::List]), r#"list: [1, "a", json({})]"#);
        assert_eq!(typed("true", &[Type::Json]), "json: json(true)");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(typed("1.5", &[Type::I64]), "no: f64");
        assert_eq!(typed("{}", &[Type::String]), "no: json");
        assert_eq!(typed("[]", &[Type::String]), "no: list");
        assert_eq!(typed("null", &[Type::Call]), "no: null");
    }

    #[test]
    fn marked_objects_are_bytes_and_text() {
        assert_eq!(typed(r#"{"$base64": "aGk="}"#, &Type::ALL), "bytes: bytes(2)");
        assert_eq!(typed(r#"{"$base64": "aGk="}"#, &[Type::Json]), "no: bytes");
        assert_eq!(typed(r#"{"$string": "a.b"}"#, &Type::ALL), r#"string: "a.b""#);
        assert_eq!(typed(r#"{"$base64": 1}"#, &Type::ALL), "`$base64` must be a string, not a number");
        assert!(typed(r#"{"$base64": "a"}"#, &Type::ALL).starts_with("this is not base64"));
        assert_eq!(
            typed(r#"{"$base64": "aGk=", "b": 1}"#, &Type::ALL),
            r#"json: json({"$base64":"aGk=","b":1})"#
        );
    }
}
