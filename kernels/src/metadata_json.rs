//! Metadata from JSON: an object whose members are text, or arrays of text where a name repeats.
//!
//! The value under a name that ends in `-bin` is base64, as RPC systems carry it; any other is
//! printable ASCII. Names are lower-case. What a particular wire reserves for itself is not known here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use exec_plan::{InvalidName, Metadata, Type, TypeSet, Value};
use serde_json::{Map, Value as Json};

/// The types that [`from_value`] reads.
pub(crate) const READABLE: TypeSet = TypeSet::of(&[Type::Metadata, Type::Json]);

/// Why JSON is not metadata.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMetadata {
    #[error("metadata is an object of text")]
    NotObject,
    #[error(transparent)]
    Name(InvalidName),
    #[error("the metadata under {0:?} is not text")]
    NotText(String),
    #[error("the metadata under {0:?} has characters other than printable ASCII")]
    NotAscii(String),
    #[error("the metadata under {0:?} is not base64")]
    NotBase64(String),
}

/// Metadata from a port's value.
pub(crate) fn from_value(value: Value) -> Result<Arc<Metadata>, NotMetadata> {
    match value {
        Value::Metadata(metadata) => Ok(metadata),
        Value::Json(json) => match &*json {
            Json::Object(members) => from_object(members).map(Arc::new),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Err(NotMetadata::NotObject)
            }
        },
        _ => Err(NotMetadata::NotObject),
    }
}

/// Metadata from a JSON object.
pub(crate) fn from_object(members: &Map<String, Json>) -> Result<Metadata, NotMetadata> {
    let mut metadata = Metadata::new();
    for (name, value) in members {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let text = value.as_str().ok_or_else(|| NotMetadata::NotText(name.clone()))?;
            metadata.append(&**name, wire_value(name, text)?).map_err(NotMetadata::Name)?;
        }
    }
    Ok(metadata)
}

/// The entries of `first`, then those of `second`.
pub(crate) fn concat(first: Option<Arc<Metadata>>, second: Option<Arc<Metadata>>) -> Option<Arc<Metadata>> {
    match (first, second) {
        (Some(first), Some(second)) => {
            let mut all = Arc::unwrap_or_clone(first);
            for (name, value) in second.iter() {
                // The name stands in `second`, so it is valid.
                let appended = all.append(name, value.clone());
                debug_assert!(appended.is_ok());
            }
            Some(Arc::new(all))
        }
        (first, second) => first.or(second),
    }
}

fn wire_value(name: &str, text: &str) -> Result<Bytes, NotMetadata> {
    if name.ends_with("-bin") {
        let decoded = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text));
        return decoded.map(Bytes::from).map_err(|_| NotMetadata::NotBase64(name.to_owned()));
    }
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    } else {
        Err(NotMetadata::NotAscii(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Json) -> Result<String, String> {
        let metadata = from_value(Value::Json(json.into())).map_err(|error| error.to_string())?;
        Ok(metadata
            .iter()
            .map(|(name, value)| format!("{name}={}", value.escape_ascii()))
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn an_object_of_text_is_metadata() {
        for (json, expected) in [
            (json!({}), ""),
            (json!({"b": "1", "a": ["2", "3"]}), "a=2 a=3 b=1"),
            (json!({"k-bin": "AQI="}), r"k-bin=\x01\x02"),
            (json!({"k-bin": "AQI"}), r"k-bin=\x01\x02"),
        ] {
            assert_eq!(read(json).unwrap(), expected);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (json, expected) in [
            (json!([]), "metadata is an object of text"),
            (json!({"a": 1}), r#"the metadata under "a" is not text"#),
            (json!({"a": "é"}), r#"the metadata under "a" has characters other than printable ASCII"#),
            (
                json!({"a": "x\r\ny: z"}),
                r#"the metadata under "a" has characters other than printable ASCII"#,
            ),
            (json!({"a-bin": "!"}), r#"the metadata under "a-bin" is not base64"#),
            (
                json!({"A": "x"}),
                r#"metadata name "A" must be non-empty and made of a-z, 0-9, '-', '_' and '.'"#,
            ),
        ] {
            assert_eq!(read(json).unwrap_err(), expected);
        }
    }
}
