//! What travels beside a message: metadata as HTTP headers, and the trace.
//!
//! Metadata goes out only by name: a node lists what it passes on, so that a caller's credentials reach
//! an upstream only if the graph says so. In gRPC, values under names that end in `-bin` are bytes and
//! travel in base64; all others are printable ASCII. Names that belong to the wire are never metadata.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use exec_plan::{Metadata, RequestContext, TraceParent};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The names of the metadata that a node passes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedOn(Box<[HeaderName]>);

/// Why a name cannot be passed on, or a header not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("{0:?} is not a lower-case header name")]
    InvalidName(String),
    #[error("the value of {0:?} cannot be sent in a header")]
    InvalidValue(String),
    #[error("{0:?} belongs to the protocol")]
    Reserved(String),
}

/// How values are written into headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As gRPC does: `-bin` values in base64, others printable ASCII.
    Grpc,
    /// As they are.
    Plain,
}

/// The header of the W3C trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that say how a message travels, rather than what it says.
const WIRE_NAMES: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "traceparent",
];

/// gRPC asks that padding be accepted and not sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

// === impl PassedOn ===

impl PassedOn {
    /// Checks the names a node lists; gives every wrong one with its position.
    pub(crate) fn new(names: &[String], spelling: Spelling) -> Result<Self, Vec<(usize, HeaderError)>> {
        let mut errors = Vec::new();
        let mut checked = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            match header_name(name, spelling) {
                Ok(name) => checked.push(name),
                Err(error) => errors.push((i, error)),
            }
        }
        if errors.is_empty() { Ok(Self(checked.into())) } else { Err(errors) }
    }

    /// Whether nothing is passed on.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies the listed names of `metadata`, with all their values, into `headers`.
    pub(crate) fn copy(
        &self,
        metadata: &Metadata,
        headers: &mut HeaderMap,
        spelling: Spelling,
    ) -> Result<(), HeaderError> {
        for name in &self.0 {
            for value in metadata.all(name.as_str()) {
                headers.append(name.clone(), header_value(name.as_str(), value, spelling)?);
            }
        }
        Ok(())
    }
}

/// The header of this name, unless it belongs to the wire.
pub(crate) fn header_name(name: &str, spelling: Spelling) -> Result<HeaderName, HeaderError> {
    if is_reserved(name, spelling) {
        return Err(HeaderError::Reserved(name.to_owned()));
    }
    if !exec_plan::is_valid_name(name) {
        return Err(HeaderError::InvalidName(name.to_owned()));
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidName(name.to_owned()))
}

/// A value as it travels under `name`.
pub(crate) fn header_value(name: &str, value: &[u8], spelling: Spelling) -> Result<HeaderValue, HeaderError> {
    let grpc = spelling == Spelling::Grpc;
    let header = if grpc && name.ends_with("-bin") {
        HeaderValue::try_from(BASE64.encode(value))
    } else if grpc && !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(HeaderError::InvalidValue(name.to_owned()));
    } else {
        HeaderValue::from_bytes(value)
    };
    header.map_err(|_| HeaderError::InvalidValue(name.to_owned()))
}

/// The metadata among the headers of an answer. What is not metadata, or not decodable, is left out.
pub(crate) fn to_metadata(headers: &HeaderMap, spelling: Spelling) -> Arc<Metadata> {
    let mut metadata = Metadata::new();
    for (name, value) in headers {
        let name = name.as_str();
        if is_reserved(name, spelling) || !exec_plan::is_valid_name(name) {
            continue;
        }
        let shared: Arc<str> = name.into();
        let mut append = |value: Bytes| metadata.append(shared.clone(), value);
        let appended = if spelling == Spelling::Grpc && name.ends_with("-bin") {
            // Several binary values may travel in one header, separated by commas.
            value.as_bytes().split(|byte| *byte == b',').filter_map(decode).try_for_each(&mut append)
        } else {
            append(Bytes::copy_from_slice(value.as_bytes()))
        };
        // The name was looked at above.
        debug_assert!(appended.is_ok(), "{name}");
    }
    Arc::new(metadata)
}

/// The bytes behind a `-bin` value.
pub(crate) fn decode(value: &[u8]) -> Option<Bytes> {
    BASE64.decode(value.trim_ascii()).ok().map(Bytes::from)
}

/// Sets `traceparent`: the request's trace with a new span, or a new trace if only this host watches
/// the run. A header that is there already stays.
pub(crate) fn set_trace(headers: &mut HeaderMap, cx: &RequestContext) {
    if headers.contains_key(&TRACEPARENT) {
        return;
    }
    let parent = match cx.environment().trace_parent() {
        Some(parent) => TraceParent { parent_id: random_id(), ..parent },
        None if cx.trace().is_some() => {
            let trace_id = u128::from(random_id()) << 64 | u128::from(random_id());
            TraceParent { trace_id, parent_id: random_id(), flags: SAMPLED }
        }
        None => return,
    };
    // Hex digits and dashes are a valid value.
    if let Ok(value) = HeaderValue::try_from(parent.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A number nobody else has, and not zero. Every [`RandomState`] has keys of its own.
fn random_id() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

fn is_reserved(name: &str, spelling: Spelling) -> bool {
    let grpc = spelling == Spelling::Grpc
        && (name.starts_with("grpc-") || matches!(name, "content-type" | "user-agent"));
    grpc || WIRE_NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_listed_names_are_passed_on_and_binary_values_survive() {
        let mut metadata = Metadata::new();
        for (name, value) in [
            ("x-a", &b"1"[..]),
            ("authorization", b"secret"),
            ("x-a", b"2"),
            ("x-bin", b"\0\xff"),
            ("x-empty-bin", b""),
        ] {
            metadata.append(name, value).unwrap();
        }
        let passed = PassedOn::new(&names(&["x-a", "x-bin", "x-empty-bin"]), Spelling::Grpc).unwrap();
        let mut headers = HeaderMap::new();
        passed.copy(&metadata, &mut headers, Spelling::Grpc).unwrap();
        assert_eq!(headers.len(), 4);
        assert_eq!(headers["x-bin"], "AP8");
        let back = to_metadata(&headers, Spelling::Grpc);
        assert_eq!(back.all("x-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(back.first("x-bin").unwrap(), &b"\0\xff"[..]);
        assert_eq!(back.first("x-empty-bin").unwrap(), "");
        assert_eq!(back.first("authorization"), None);
    }

    #[test]
    fn names_of_the_wire_are_refused() {
        let listed = names(&["ok", "grpc-timeout", "te", "Upper", "traceparent", ":path"]);
        let errors = PassedOn::new(&listed, Spelling::Grpc).unwrap_err();
        let positions: Vec<_> = errors.iter().map(|(i, _)| *i).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5]);
        assert_eq!(errors[0].1, HeaderError::Reserved("grpc-timeout".to_owned()));
        assert_eq!(errors[2].1, HeaderError::InvalidName("Upper".to_owned()));
    }

    #[test]
    fn a_value_that_cannot_be_sent_is_named() {
        for (name, value, spelling) in
            [("x", &b"\xc3\xa9"[..], Spelling::Grpc), ("x", b"a\nb", Spelling::Plain)]
        {
            assert_eq!(header_value(name, value, spelling), Err(HeaderError::InvalidValue("x".to_owned())));
        }
        assert!(header_value("x", b"\xc3\xa9", Spelling::Plain).is_ok());
    }

    #[test]
    fn several_binary_values_may_share_a_header() {
        let mut headers = HeaderMap::new();
        headers.append("x-bin", HeaderValue::from_static("YQ==, Yg"));
        headers.append("x-bin", HeaderValue::from_static("!!"));
        headers.append("grpc-status", HeaderValue::from_static("0"));
        let metadata = to_metadata(&headers, Spelling::Grpc);
        assert_eq!(metadata.all("x-bin").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(metadata.len(), 2);
    }

    #[test]
    fn two_random_ids_differ() {
        assert_ne!(random_id(), random_id());
    }
}
