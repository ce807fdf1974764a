//! Values as JSON: documents that arrive as text are parsed, every other value has a JSON form.
//!
//! The JSON form of bytes is base64 text, as in protobuf's JSON; that of metadata is an object of
//! text, or of arrays where a name repeats. Messages and calls have none.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use exec_plan::{Code, Fault, Metadata, Type, TypeSet, Value};
use serde::Deserialize;
use serde_json::{Map, Number, Value as Json};

/// The types that [`document`] reads.
pub(crate) const DOCUMENT: TypeSet = TypeSet::JSON_LIKE.union(TypeSet::of(&[Type::Bytes]));

/// A type that a parameter asks a result to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ResultType {
    Bool,
    I64,
    F64,
    String,
    Bytes,
    Json,
    List,
}

/// Parses a JSON text.
///
/// # Errors
/// INVALID_ARGUMENT if it is none.
pub(crate) fn parse(text: &[u8]) -> Result<Json, Fault> {
    serde_json::from_slice(text).map_err(|error| not_json(&error))
}

#[cold]
pub(crate) fn not_json(error: &serde_json::Error) -> Fault {
    Fault::new(Code::InvalidArgument, format!("not JSON: {error}"))
}

/// The document a value stands for: text and bytes are parsed, anything else is converted.
///
/// # Errors
/// INVALID_ARGUMENT if the text is not JSON or the value has no JSON form.
pub(crate) fn document(value: Value) -> Result<Arc<Json>, Fault> {
    match value {
        Value::Json(json) => Ok(json),
        Value::Str(text) => parse(text.as_bytes()).map(Arc::new),
        Value::Bytes(text) => parse(&text).map(Arc::new),
        other => to_json(&other).map(Arc::new),
    }
}

/// The JSON form of a value; text becomes a JSON string.
///
/// # Errors
/// INVALID_ARGUMENT if it has none.
pub(crate) fn to_json(value: &Value) -> Result<Json, Fault> {
    let none = |what: &str| Fault::new(Code::InvalidArgument, format!("{what} has no JSON form"));
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::I64(number) => Json::from(*number),
        Value::F64(number) => {
            Json::Number(Number::from_f64(*number).ok_or_else(|| none(&number.to_string()))?)
        }
        Value::Str(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Json(json) => Json::clone(json),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Metadata(metadata) => metadata_to_json(metadata),
        other => return Err(none(other.kind().name())),
    })
}

/// The text a value is sent as: bytes and text as they are, anything else as compact JSON.
///
/// # Errors
/// INVALID_ARGUMENT if it has no JSON form.
pub(crate) fn to_text(value: Value) -> Result<Bytes, Fault> {
    let json = match value {
        Value::Bytes(bytes) => return Ok(bytes),
        Value::Str(text) => return Ok(Bytes::copy_from_slice(text.as_bytes())),
        Value::Json(json) => json,
        other => Arc::new(to_json(&other)?),
    };
    let text = serde_json::to_vec(&*json);
    text.map(Bytes::from)
        .map_err(|error| Fault::new(Code::Internal, "JSON cannot be written").with_source(error))
}

fn metadata_to_json(metadata: &Metadata) -> Json {
    let mut object = Map::new();
    for (name, value) in metadata.iter() {
        let value = match std::str::from_utf8(value) {
            Ok(text) if !name.ends_with("-bin") => Json::String(text.to_owned()),
            _ => Json::String(STANDARD.encode(value)),
        };
        match object.get_mut(name) {
            None => {
                object.insert(name.to_owned(), value);
            }
            Some(Json::Array(values)) => values.push(value),
            Some(first) => *first = Json::Array(vec![first.take(), value]),
        }
    }
    Json::Object(object)
}

// === impl ResultType ===

impl ResultType {
    /// The type of a port that gives it.
    pub(crate) fn port(self) -> Type {
        match self {
            Self::Bool => Type::Bool,
            Self::I64 => Type::I64,
            Self::F64 => Type::F64,
            Self::String => Type::String,
            Self::Bytes => Type::Bytes,
            Self::Json => Type::Json,
            Self::List => Type::List,
        }
    }

    /// `value` as this type, if nothing is lost by it: numbers convert where they are exact, text
    /// becomes bytes by base64, JSON arrays become lists, and everything has a JSON form.
    pub(crate) fn convert(self, value: Value) -> Result<Value, Value> {
        let list = |items: &[Json]| Value::List(items.iter().map(|item| Value::from(item.clone())).collect());
        match (self, value) {
            (Self::I64, Value::F64(number)) => exact_i64(number).map(Value::I64).ok_or(Value::F64(number)),
            (Self::F64, Value::I64(number)) => exact_f64(number).map(Value::F64).ok_or(Value::I64(number)),
            (Self::Bytes, Value::Str(text)) => STANDARD
                .decode(text.as_bytes())
                .map(|bytes| Value::Bytes(bytes.into()))
                .map_err(|_| Value::Str(text)),
            (Self::List, Value::Json(json)) => {
                json.as_array().map(|items| list(items)).ok_or(Value::Json(json.clone()))
            }
            (Self::Json, value) if value.kind() != Type::Json => {
                to_json(&value).map(|json| Value::Json(Arc::new(json))).map_err(|_| value)
            }
            (wanted, value) if value.kind() == wanted.port() => Ok(value),
            (_, value) => Err(value),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and the value is whole")]
fn exact_i64(number: f64) -> Option<i64> {
    // 2^63 itself is past the largest i64.
    const END: f64 = 9_223_372_036_854_775_808.0;
    (number.fract() == 0.0 && (-END..END).contains(&number)).then_some(number as i64)
}

fn exact_f64(number: i64) -> Option<f64> {
    let float = number as f64;
    (exact_i64(float) == Some(number)).then_some(float)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_a_document_and_a_scalar_is_itself() {
        for (value, expected) in [
            (Value::Str(r#"{"a":1}"#.into()), json!({"a": 1})),
            (Value::Bytes("[1, 2]".into()), json!([1, 2])),
            (Value::I64(7), json!(7)),
            (Value::List([Value::Str("a".into()), Value::Bytes("b".into())].into()), json!(["a", "Yg=="])),
        ] {
            assert_eq!(*document(value).unwrap(), expected);
        }
        for text in ["", "{", "nul", "1 2", "\"\u{1}\""] {
            assert_eq!(
                document(Value::Str(text.into())).unwrap_err().code(),
                Code::InvalidArgument,
                "{text:?}"
            );
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in
            ["982100048.3671173", "0.1", "1e300", "5e-324", "18446744073709551615", "-9223372036854775808"]
        {
            let document = document(Value::Str(text.into())).unwrap();
            let written = to_text(Value::Json(document)).unwrap();
            let read: f64 = std::str::from_utf8(&written).unwrap().parse().unwrap();
            assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn nesting_past_the_parsers_limit_is_refused() {
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn a_value_without_a_json_form_says_so() {
        assert_eq!(to_json(&Value::F64(f64::NAN)).unwrap_err().message(), "NaN has no JSON form");
        assert_eq!(to_json(&Value::Call(Arc::new(()))).unwrap_err().message(), "call has no JSON form");
    }

    #[test]
    fn repeated_metadata_names_become_an_array() {
        let mut metadata = Metadata::new();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("k-bin", "\u{1}")] {
            metadata.append(name, value).unwrap();
        }
        let json = to_json(&Value::Metadata(Arc::new(metadata))).unwrap();
        assert_eq!(json, json!({"a": ["1", "3", "4"], "b": "2", "k-bin": "AQ=="}));
    }

    #[test]
    fn a_result_converts_only_where_nothing_is_lost() {
        let check = |to: ResultType, value: Value, expected: &str| {
            let converted = to.convert(value.clone());
            let text = converted.map_or_else(|kept| format!("kept {kept:?}"), |value| format!("{value:?}"));
            assert_eq!(text, expected, "{value:?} to {to:?}");
        };
        check(ResultType::I64, Value::F64(3.0), "3");
        check(ResultType::I64, Value::F64(3.5), "kept 3.5");
        check(ResultType::I64, Value::F64(9_223_372_036_854_775_808.0), "kept 9.223372036854776e18");
        check(ResultType::I64, Value::F64(f64::NAN), "kept NaN");
        check(ResultType::F64, Value::I64(3), "3.0");
        check(ResultType::F64, Value::I64(i64::MAX), "kept 9223372036854775807");
        check(ResultType::Bytes, Value::Str("AQI=".into()), "bytes(2)");
        check(ResultType::Bytes, Value::Str("?".into()), r#"kept "?""#);
        check(ResultType::List, Value::Json(json!([1, "a"]).into()), r#"[1, "a"]"#);
        check(ResultType::List, Value::Json(json!({}).into()), "kept json({})");
        check(ResultType::Json, Value::Str("a".into()), r#"json("a")"#);
        check(ResultType::Json, Value::Json(json!({}).into()), "json({})");
        check(ResultType::String, Value::I64(1), "kept 1");
        check(ResultType::Bool, Value::Bool(true), "true");
    }
}
