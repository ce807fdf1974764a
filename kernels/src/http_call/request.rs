//! The request that `http_call` makes of its inputs.
//!
//! Inputs may be a stranger's words. Nothing in them can leave the path of the URL, add a header of the
//! connection, or end a line.

use std::fmt::Write;

use bytes::Bytes;
use exec_plan::{Code, Fault, Type, Value};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use crate::json;
use crate::upstream::headers::{PassedOn, Spelling, header_name, header_value};

/// What is encoded in a path given as text.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What is encoded in a query that is one already: what no URL may hold.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// What is encoded in the names and values of a query.
const IN_PAIR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The body, and the content type if its kind implies one.
pub(super) fn body(input: Option<&Value>) -> Result<(Bytes, Option<HeaderValue>), Fault> {
    let Some(value) = input else { return Ok((Bytes::new(), None)) };
    let as_it_is = matches!(value.kind(), Type::Bytes | Type::String);
    let content_type = (!as_it_is).then_some(HeaderValue::from_static("application/json"));
    Ok((json::to_text(value.clone())?, content_type))
}

/// Adds the headers of the input to those of the node; a name of the input replaces the node's.
pub(super) fn add_headers(
    headers: &mut HeaderMap,
    input: Option<&Value>,
    passed_on: &PassedOn,
) -> Result<(), Fault> {
    match input {
        None => Ok(()),
        Some(Value::Metadata(metadata)) => {
            let mut passed = HeaderMap::new();
            passed_on
                .copy(metadata, &mut passed, Spelling::Plain)
                .map_err(|error| invalid(error.to_string()))?;
            headers.extend(passed);
            Ok(())
        }
        Some(Value::Json(json)) => {
            let object = json.as_object().ok_or_else(|| invalid("headers: expected an object".to_owned()))?;
            let mut given = HeaderMap::new();
            for (name, value) in object {
                for value in one_or_many(value) {
                    let text = scalar(value).ok_or_else(|| {
                        invalid(format!("header {name:?}: expected a string, a number or a list of them"))
                    })?;
                    let name =
                        header_name(name, Spelling::Plain).map_err(|error| invalid(error.to_string()))?;
                    let value = header_value(name.as_str(), text.as_bytes(), Spelling::Plain)
                        .map_err(|error| invalid(error.to_string()))?;
                    given.append(name, value);
                }
            }
            headers.extend(given);
            Ok(())
        }
        Some(other) => Err(invalid(format!("headers: expected an object, found {}", other.kind()))),
    }
}

/// The URL with the path and the query of the inputs.
pub(super) fn uri(url: &Uri, path: Option<&str>, query: Option<&Value>) -> Result<Uri, Fault> {
    if path.is_none() && query.is_none() {
        return Ok(url.clone());
    }
    let mut text = url.path().to_owned();
    if let Some(path) = path {
        append_path(&mut text, path)?;
    }
    let given = query.map(query_text).transpose()?;
    let queries = url.query().into_iter().chain(given.as_deref()).filter(|query| !query.is_empty());
    for (i, query) in queries.enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        text.push_str(query);
    }
    let mut parts = url.clone().into_parts();
    let path_and_query = PathAndQuery::try_from(text);
    parts.path_and_query =
        Some(path_and_query.map_err(|error| invalid(format!("the path or query: {error}")))?);
    Uri::from_parts(parts).map_err(|error| invalid(format!("the URL: {error}")))
}

fn append_path(text: &mut String, path: &str) -> Result<(), Fault> {
    if path.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err(invalid("a path may not have segments `.` or `..`".to_owned()));
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    if !text.ends_with('/') {
        text.push('/');
    }
    text.extend(utf8_percent_encode(path, IN_PATH));
    Ok(())
}

fn query_text(query: &Value) -> Result<String, Fault> {
    let refuse =
        || invalid("query: expected a string, or an object of strings, numbers and lists of them".to_owned());
    if let Value::Str(text) = query {
        return Ok(utf8_percent_encode(text, IN_QUERY).to_string());
    }
    let Value::Json(json) = query else { return Err(refuse()) };
    let mut text = String::new();
    for (name, value) in json.as_object().ok_or_else(refuse)? {
        for value in one_or_many(value) {
            let value = scalar(value).ok_or_else(refuse)?;
            let separator = if text.is_empty() { "" } else { "&" };
            let name = utf8_percent_encode(name, IN_PAIR);
            let value = utf8_percent_encode(&value, IN_PAIR);
            // Writing to a string does not fail.
            let _written = write!(text, "{separator}{name}={value}");
        }
    }
    Ok(text)
}

fn one_or_many(value: &Json) -> &[Json] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exec_plan::Metadata;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_cannot_leave_the_path_of_the_url() {
        let check = |url: &'static str, path, expected: &str| {
            assert_eq!(uri(&Uri::from_static(url), Some(path), None).unwrap(), expected);
        };
        check("http://h:1/a", "b", "http://h:1/a/b");
        check("http://h:1/a/", "/b/c", "http://h:1/a/b/c");
        check("http://h:1", "b?c#d%2e\r\n\\é", "http://h:1/b%3Fc%23d%252e%0D%0A%5C%C3%A9");
        check("http://h:1/a?x=1", "b", "http://h:1/a/b?x=1");
        check("http://h:1/a", "//evil.example/b", "http://h:1/a//evil.example/b");
        for path in ["..", "a/../b", "./a", "a/..", "..\\a"] {
            let fault = uri(&Uri::from_static("http://h:1/a"), Some(path), None).unwrap_err();
            assert_eq!(fault.code(), Code::InvalidArgument, "{path}");
        }
    }

    #[test]
    fn a_query_is_text_or_pairs() {
        let check = |query: Value, expected: &str| {
            assert_eq!(uri(&Uri::from_static("http://h:1/a?x=1"), None, Some(&query)).unwrap(), expected);
        };
        check(Value::Str("y=2&z=%20 #".into()), "http://h:1/a?x=1&y=2&z=%20%20%23");
        check(Value::Str("".into()), "http://h:1/a?x=1");
        check(json!({"y": ["a&b", 2], "z=": true}).into(), "http://h:1/a?x=1&y=a%26b&y=2&z%3D=true");
        let nested: Value = json!({"y": {"z": 1}}).into();
        assert!(uri(&Uri::from_static("http://h:1"), None, Some(&nested)).is_err());
    }

    #[test]
    fn headers_of_the_connection_are_refused() {
        for name in ["host", "content-length", "transfer-encoding", "Host", "a b", ""] {
            let input: Value = json!({ name: "x" }).into();
            let fault = add_headers(&mut HeaderMap::new(), Some(&input), &PassedOn::default()).unwrap_err();
            assert_eq!(fault.code(), Code::InvalidArgument, "{name:?}");
        }
        let smuggled: Value = json!({ "x": "a\r\nhost: b" }).into();
        assert!(add_headers(&mut HeaderMap::new(), Some(&smuggled), &PassedOn::default()).is_err());
    }

    #[test]
    fn a_header_of_the_input_replaces_the_nodes_and_may_repeat() {
        let mut headers = HeaderMap::new();
        headers.insert("x", HeaderValue::from_static("node"));
        headers.insert("y", HeaderValue::from_static("node"));
        let input: Value = json!({ "x": ["1", 2] }).into();
        add_headers(&mut headers, Some(&input), &PassedOn::default()).unwrap();
        assert_eq!(headers.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers["y"], "node");
    }

    #[test]
    fn of_metadata_only_listed_names_pass() {
        let mut metadata = Metadata::new();
        metadata.append("x", "1").unwrap();
        metadata.append("authorization", "secret").unwrap();
        let passed = PassedOn::new(&["x".to_owned()], Spelling::Plain).unwrap();
        let mut headers = HeaderMap::new();
        add_headers(&mut headers, Some(&Value::Metadata(Arc::new(metadata))), &passed).unwrap();
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_body_is_bytes_text_or_json() {
        let check = |value: Value, text: &str, is_json: bool| {
            let (body, content_type) = body(Some(&value)).unwrap();
            assert_eq!((&body[..], content_type.is_some()), (text.as_bytes(), is_json));
        };
        check(Value::Bytes(Bytes::from_static(b"\0")), "\0", false);
        check(Value::Str("a".into()), "a", false);
        check(json!({"a": [1]}).into(), r#"{"a":[1]}"#, true);
        check(Value::I64(3), "3", true);
        check(Value::Null, "null", true);
        check(Value::List([Value::Bool(true), Value::F64(0.5)].into()), "[true,0.5]", true);
        let nan = body(Some(&Value::F64(f64::NAN))).unwrap_err();
        assert_eq!(nan.code(), Code::InvalidArgument);
    }
}
