//! Values to CEL and back. Text and bytes are lent to CEL, not copied.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelType, CelUInt,
};
use cel::common::value::Val;
use exec_plan::{Code, Fault, Value};
use serde_json::{Map, Number, Value as Json};

/// A value as CEL sees it; `None` for what it cannot see.
pub(super) fn to_cel<'v>(value: &'v Value) -> Option<Box<dyn Val + 'v>> {
    Some(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::I64(number) => Box::new(CelInt::from(*number)),
        Value::F64(number) => Box::new(CelDouble::from(*number)),
        Value::Str(text) => Box::new(CelString::from(&**text)),
        Value::Bytes(bytes) => Box::new(CelBytes::from(&**bytes)),
        Value::Json(json) => json_to_cel(json),
        Value::List(items) => Box::new(CelList::from(items.iter().map(to_cel).collect::<Option<Vec<_>>>()?)),
        Value::Metadata(metadata) => {
            let mut map = HashMap::with_capacity(metadata.len());
            for (name, value) in metadata.iter() {
                map.entry(CelMapKey::from(name)).or_insert_with(|| metadata_to_cel(value));
            }
            Box::new(CelMap::from(map))
        }
        _ => return None,
    })
}

pub(super) fn json_to_cel(json: &Json) -> Box<dyn Val + '_> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(truth) => Box::new(CelBool::from(*truth)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) => Box::new(CelList::from(items.iter().map(json_to_cel).collect::<Vec<_>>())),
        Json::Object(members) => {
            let entries = members.iter().map(|(key, value)| (CelMapKey::from(&**key), json_to_cel(value)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

/// A metadata value: text if it is, else bytes.
pub(super) fn metadata_to_cel(value: &Bytes) -> Box<dyn Val + '_> {
    match std::str::from_utf8(value) {
        Ok(text) => Box::new(CelString::from(text)),
        Err(_) => Box::new(CelBytes::from(&**value)),
    }
}

/// What an expression gave: scalars and bytes as themselves, lists and maps as JSON.
pub(super) fn from_cel(value: &dyn Val) -> Result<Value, Fault> {
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return Ok(Value::Bytes(Bytes::copy_from_slice(bytes.inner())));
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Ok(Value::F64(*number.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return i64::try_from(*number.inner())
            .map(Value::I64)
            .map_err(|_| Fault::new(Code::OutOfRange, format!("CEL: {} does not fit i64", number.inner())));
    }
    json_from_cel(value).map(Value::from)
}

fn json_from_cel(value: &dyn Val) -> Result<Json, Fault> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        Ok(Json::String(text.inner().to_owned()))
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        Ok(Json::from(*number.inner()))
    } else if let Some(truth) = value.downcast_ref::<CelBool>() {
        Ok(Json::Bool(*truth.inner()))
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        let finite = Number::from_f64(*number.inner()).map(Json::Number);
        finite.ok_or_else(|| Fault::new(Code::OutOfRange, format!("CEL: {} in JSON", number.inner())))
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().map(|item| json_from_cel(&**item)).collect::<Result<_, _>>().map(Json::Array)
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let members = map.inner().iter();
        members
            .map(|(key, value)| Ok((key_text(key).into_owned(), json_from_cel(&**value)?)))
            .collect::<Result<Map<_, _>, _>>()
            .map(Json::Object)
    } else if value.downcast_ref::<CelNull>().is_some() {
        Ok(Json::Null)
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        Ok(Json::from(*number.inner()))
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        Ok(Json::String(STANDARD.encode(bytes.inner())))
    } else if let Some(kind) = value.downcast_ref::<CelType>() {
        Ok(Json::String(kind.name().to_owned()))
    } else {
        let kind = value.get_type().name().to_owned();
        Err(Fault::new(Code::InvalidArgument, format!("CEL: {kind} has no form outside CEL")))
    }
}

/// Roughly the bytes a value occupies.
pub(super) fn weigh(value: &dyn Val) -> u64 {
    const WORD: u64 = 16;
    let own = if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        text.inner().len() as u64
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        bytes.inner().len() as u64
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().map(|item| weigh(&**item)).sum()
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner().iter().map(|(key, value)| weigh(key.inner()) + weigh(&**value)).sum()
    } else {
        0
    };
    own + WORD
}

/// A map key as text.
fn key_text<'k>(key: &'k CelMapKey<'_>) -> Cow<'k, str> {
    match key {
        CelMapKey::String(text) => Cow::Borrowed(text.inner()),
        CelMapKey::Int(number) => number.inner().to_string().into(),
        CelMapKey::UInt(number) => number.inner().to_string().into(),
        CelMapKey::Bool(truth) => truth.inner().to_string().into(),
    }
}
