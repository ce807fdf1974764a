//! Statuses as graphs write them: a code by name or number, and what explains it to programs.
//!
//! The explanation on the wire is a serialized `google.rpc.Status`. A graph may bring one as bytes, or
//! write a `google.rpc.ErrorInfo` as `{"reason": …, "domain": …, "metadata": {…}}`, which is encoded
//! here by hand: three small messages need no protobuf library.

use std::collections::BTreeMap;

use bytes::Bytes;
use exec_plan::{Code, Fault, Type, TypeSet, Value};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The types that carry a code.
pub(crate) const CODE: TypeSet = TypeSet::of(&[Type::String, Type::I64]);
/// The types that carry details.
pub(crate) const DETAILS: TypeSet = TypeSet::of(&[Type::Bytes, Type::Json]);

/// A code as parameters spell it: `"NOT_FOUND"` or `5`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeParam(pub(crate) Code);

/// Why a call failed, for programs: a `google.rpc.ErrorInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorInfo {
    /// What went wrong, as a constant of the domain: `OUT_OF_STOCK`.
    pub(crate) reason: String,
    /// Whose constant it is: `shop.example.com`.
    #[serde(default)]
    pub(crate) domain: String,
    /// Particulars.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The code a port carries.
///
/// # Errors
/// INTERNAL if it is none: the graph is wrong, not its caller.
pub(crate) fn code(value: &Value) -> Result<Code, Fault> {
    let found = match value {
        Value::Str(name) => name.parse().ok(),
        Value::I64(number) => u8::try_from(*number).ok().and_then(Code::from_number),
        _ => None,
    };
    found.ok_or_else(|| Fault::new(Code::Internal, format!("the graph gives {value:?} as a status code")))
}

/// The serialized `google.rpc.Status` for what a port carries as details.
///
/// # Errors
/// INTERNAL if it is neither bytes nor an error info.
pub(crate) fn details(value: Value, code: Code, message: &str) -> Result<Bytes, Fault> {
    match value {
        Value::Bytes(status) => Ok(status),
        Value::Json(json) => match ErrorInfo::deserialize(&*json) {
            Ok(info) => Ok(info.encode(code, message)),
            Err(error) => {
                let message = format!("the graph gives details that are no error info: {error}");
                Err(Fault::new(Code::Internal, message))
            }
        },
        other => Err(Fault::new(Code::Internal, format!("the graph gives {} as details", other.kind()))),
    }
}

// === impl CodeParam ===

impl<'de> Deserialize<'de> for CodeParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CodeVisitor)
    }
}

struct CodeVisitor;

impl Visitor<'_> for CodeVisitor {
    type Value = CodeParam;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a status code like \"NOT_FOUND\", or its number")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<CodeParam, E> {
        name.parse().map(CodeParam).map_err(|_| E::invalid_value(Unexpected::Str(name), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<CodeParam, E> {
        let code = u8::try_from(number).ok().and_then(Code::from_number);
        code.map(CodeParam).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }
}

// === impl ErrorInfo ===

impl ErrorInfo {
    const TYPE_URL: &'static str = "type.googleapis.com/google.rpc.ErrorInfo";

    /// A `google.rpc.Status` whose one detail is this.
    pub(crate) fn encode(&self, code: Code, message: &str) -> Bytes {
        let mut info = Vec::new();
        put_bytes(&mut info, 1, self.reason.as_bytes());
        put_bytes(&mut info, 2, self.domain.as_bytes());
        for (key, value) in &self.metadata {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut info, 3, &entry);
        }
        let mut detail = Vec::new();
        put_bytes(&mut detail, 1, Self::TYPE_URL.as_bytes());
        put_bytes(&mut detail, 2, &info);
        let mut status = Vec::new();
        put_varint(&mut status, 1 << 3);
        put_varint(&mut status, u64::from(code.number()));
        put_bytes(&mut status, 2, message.as_bytes());
        put_bytes(&mut status, 3, &detail);
        status.into()
    }
}

/// A length-delimited field.
fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    const LENGTH_DELIMITED: u64 = 2;
    put_varint(out, field << 3 | LENGTH_DELIMITED);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Info {
        #[prost(string, tag = "1")]
        reason: String,
        #[prost(string, tag = "2")]
        domain: String,
        #[prost(btree_map = "string, string", tag = "3")]
        metadata: BTreeMap<String, String>,
    }

    #[test]
    fn another_protobuf_library_reads_what_is_written() {
        let long = "x".repeat(300);
        let metadata = BTreeMap::from([("id".to_owned(), "7".to_owned()), (long.clone(), String::new())]);
        let info =
            ErrorInfo { reason: "OUT_OF_STOCK".into(), domain: "shop".into(), metadata: metadata.clone() };
        let status = Status::decode(info.encode(Code::NotFound, &long)).unwrap();
        assert_eq!((status.code, status.message, status.details.len()), (5, long, 1));
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
        let read = Info::decode(&*status.details[0].value).unwrap();
        assert_eq!(read, Info { reason: "OUT_OF_STOCK".into(), domain: "shop".into(), metadata });
    }

    #[test]
    fn codes_go_by_name_or_number() {
        for (value, expected) in [
            (Value::Str("NOT_FOUND".into()), Some(Code::NotFound)),
            (Value::I64(0), Some(Code::Ok)),
            (Value::I64(16), Some(Code::Unauthenticated)),
            (Value::I64(17), None),
            (Value::I64(-1), None),
            (Value::I64(261), None),
            (Value::Str("not_found".into()), None),
        ] {
            assert_eq!(code(&value).ok(), expected, "{value:?}");
        }
        for (text, expected) in
            [("\"ABORTED\"", Some(Code::Aborted)), ("10", Some(Code::Aborted)), ("-1", None)]
        {
            assert_eq!(serde_json::from_str::<CodeParam>(text).ok().map(|code| code.0), expected, "{text}");
        }
    }
}
