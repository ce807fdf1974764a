//! How a client writes messages. Inside, a message is always protobuf: JSON is translated at the edge, by
//! the schema of the method.
//!
//! Clients get protobuf's own JSON: lowerCamel names, no zero values. Either name of a field is understood.

use bytes::Bytes;
use proto_json::{Message, ReadOptions, WriteOptions};

use crate::grpc::Refusal;
use crate::grpc::framing::FrameError;

/// A way to write messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As they are inside.
    Proto,
    /// As JSON.
    Json,
}

// === impl Codec ===

impl Codec {
    /// The codec of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "proto" => Some(Self::Proto),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A request's message, of at most `limit` bytes, from its JSON.
///
/// # Errors
/// [`Refusal`] if the JSON is not the message, or the message is too large.
pub(crate) fn from_json(message: &Message, json: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let max_output_bytes = limit.saturating_mul(GROWTH);
    let mut wire = Vec::with_capacity(json.len());
    message
        .json_to_proto(json, ReadOptions { max_output_bytes, ..ReadOptions::default() }, &mut wire)
        .map_err(|error| Refusal::NotJson {
            message: message.full_name().to_owned(),
            error: error.to_string(),
        })?;
    if wire.len() > limit {
        return Err(FrameError::TooLarge { length: wire.len(), limit }.into());
    }
    Ok(wire.into())
}

/// The JSON of an answer's message, of at most `limit` bytes.
///
/// # Errors
/// [`Refusal`] if the bytes are not the message, or its JSON is too large.
pub(crate) fn to_json(message: &Message, wire: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let options = WriteOptions { max_output_bytes: limit, ..WriteOptions::default() };
    let mut json = Vec::with_capacity(wire.len().saturating_mul(2).min(limit));
    message.proto_to_json(wire, options, &mut json).map_err(|error| Refusal::NotTheMessage {
        message: message.full_name().to_owned(),
        error: error.to_string(),
    })?;
    Ok(json.into())
}

/// How much larger than its JSON a message can be: `-1` takes ten bytes in a packed list.
const GROWTH: usize = 4;

#[cfg(test)]
mod tests {
    use proto_json::Schema;

    use super::*;

    fn message() -> Message {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.proto");
        let proto = "syntax = \"proto3\"; package a; \
                     message M { string full_name = 1; int32 count = 2; repeated int32 list = 3; }";
        std::fs::write(&path, proto).unwrap();
        let set = prost::Message::encode_to_vec(&protox::compile([path], [folder.path()]).unwrap());
        Schema::parse(set).unwrap().message("a.M").unwrap()
    }

    #[test]
    fn json_becomes_the_message_and_back() {
        let message = message();
        for json in [r#"{"fullName":"Ada","count":0}"#, r#"{"full_name":"Ada"}"#] {
            let wire = from_json(&message, json.as_bytes(), 100).unwrap();
            assert_eq!(wire, &b"\x0a\x03Ada"[..]);
            assert_eq!(to_json(&message, &wire, 100).unwrap(), r#"{"fullName":"Ada"}"#);
        }
    }

    #[test]
    fn what_is_not_the_message_is_refused_with_its_place() {
        let message = message();
        for (json, says) in
            [("", "a.M"), ("{\"count\": 1.5}", "line 1"), ("{\"nme\":1}", "nme"), ("null", "a.M")]
        {
            let refused = from_json(&message, json.as_bytes(), 100).unwrap_err();
            assert!(matches!(refused, Refusal::NotJson { .. }));
            assert!(refused.to_string().contains(says), "{json:?}: {refused}");
        }
        let refused = to_json(&message, b"\xff", 100).unwrap_err();
        assert!(matches!(refused, Refusal::NotTheMessage { .. }));
    }

    #[test]
    fn the_limit_counts_the_message_as_it_is_inside() {
        let message = message();
        let json = r#"{"list":[-1,-1,-1]}"#;
        assert_eq!(from_json(&message, json.as_bytes(), 32).unwrap().len(), 32);
        let refused = from_json(&message, json.as_bytes(), 31).unwrap_err();
        assert!(matches!(refused, Refusal::Frame(FrameError::TooLarge { length: 32, limit: 31 })));
    }
}
