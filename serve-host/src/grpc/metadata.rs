//! Metadata on the wire: which names belong to it, and how bytes become header values and back.
//!
//! Requests are read lazily: [`HeaderSource`] keeps the headers as they came and converts what is asked
//! for. Names that belong to the wire never reach a graph, and a graph cannot set them: they are left out
//! both ways. Everything else that a graph sets is sent, or the answer says why it could not be.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use exec_plan::Metadata;
use http::{HeaderMap, HeaderName, HeaderValue};
use kernels::MetadataSource;

/// The headers of a request, as they came.
#[derive(Debug)]
pub(crate) struct HeaderSource(pub(crate) HeaderMap);

/// Why metadata of an answer cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsendable {
    /// The value has bytes that no text header can carry.
    #[error("the value of {name:?} is not printable ASCII; a name that ends in -bin takes any bytes")]
    Value {
        /// The entry's name.
        name: String,
    },
    /// Clients would refuse so much.
    #[error("it takes {bytes} bytes of header list, and the limit is {METADATA_LIMIT}")]
    TooLarge {
        /// The size, counted as HTTP/2 counts header lists.
        bytes: usize,
    },
}

/// Whether a name belongs to the wire, not to the application.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(':')
        || name.starts_with("grpc-")
        || matches!(
            name,
            "te" | "connection"
                | "keep-alive"
                | "proxy-connection"
                | "transfer-encoding"
                | "upgrade"
                | "trailer"
                | "host"
                | "content-type"
                | "content-length"
        )
}

/// Adds metadata to the headers or trailers of a response, without the names that belong to the wire.
///
/// # Errors
/// [`Unsendable`] if a value cannot stand in a header, or all of it is too large; `headers` then holds a
/// part of it.
pub(crate) fn append(metadata: &Metadata, headers: &mut HeaderMap) -> Result<(), Unsendable> {
    append_as(metadata, headers, |name| Some(Cow::Borrowed(name)))
}

/// The same under the names that `rename` gives; what gets none is left out, too.
///
/// # Errors
/// As for [`append`].
pub(crate) fn append_as(
    metadata: &Metadata,
    headers: &mut HeaderMap,
    rename: impl Fn(&str) -> Option<Cow<'_, str>>,
) -> Result<(), Unsendable> {
    let mut bytes = 0;
    for (name, value) in metadata.iter() {
        if is_reserved(name) && name != RETRY_PUSHBACK {
            continue;
        }
        let Some(sent) = rename(name) else { continue };
        let unsendable = || Unsendable::Value { name: name.to_owned() };
        let key = HeaderName::from_bytes(sent.as_bytes()).map_err(|_| unsendable())?;
        let value =
            if is_binary(name) { encode_binary(value) } else { text(value).ok_or_else(unsendable)? };
        bytes += sent.len() + value.len() + ENTRY_OVERHEAD;
        headers.append(key, value);
    }
    if bytes > METADATA_LIMIT { Err(Unsendable::TooLarge { bytes }) } else { Ok(()) }
}

/// Bytes as the value of a `-bin` header: base64 without padding.
pub(crate) fn encode_binary(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(BASE64.encode(bytes)))
        .expect("base64 is made of characters that headers may carry")
}

/// The bytes in one value of a `-bin` header, padded or not; `None` if it is not base64.
pub(crate) fn decode_binary(text: &[u8]) -> Option<Bytes> {
    BASE64.decode(text.trim_ascii()).ok().map(Bytes::from)
}

// === impl HeaderSource ===

impl MetadataSource for HeaderSource {
    fn first(&self, name: &str) -> Option<Bytes> {
        value(name, self.0.get(name)?.as_bytes())
    }

    fn to_metadata(&self) -> Arc<Metadata> {
        Arc::new(collect(self.0.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))))
    }
}

/// The first value of a header line, decoded as its name says.
pub(crate) fn value(name: &str, line: &[u8]) -> Option<Bytes> {
    if is_binary(name) {
        decode_binary(line.split(|b| *b == b',').next()?)
    } else {
        Some(Bytes::copy_from_slice(line))
    }
}

/// The metadata in header lines. What cannot be expressed is left out: names that belong to the wire or
/// have odd characters, `-bin` values that are no base64.
pub(crate) fn collect<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, line) in lines.filter(|(name, _)| !is_reserved(name)) {
        let name: Arc<str> = name.into();
        if is_binary(&name) {
            // Proxies may join repeated headers with commas, which base64 never contains.
            for part in line.split(|b| *b == b',').filter_map(decode_binary) {
                let _ = metadata.append(name.clone(), part);
            }
        } else {
            let _ = metadata.append(name, Bytes::copy_from_slice(line));
        }
    }
    metadata
}

fn is_binary(name: &str) -> bool {
    name.ends_with("-bin")
}

/// Text as a header value. HTTP/2 forbids blanks at its ends, and gRPC allows that they go.
fn text(value: &Bytes) -> Option<HeaderValue> {
    let printable = value.iter().all(|b| (b' '..=b'~').contains(b));
    let trimmed = value.slice_ref(value.trim_ascii());
    printable.then(|| HeaderValue::from_maybe_shared(trimmed).ok()).flatten()
}

/// The most that the metadata of one header or trailer block may take, in bytes of header list. Most
/// clients refuse more than 8 to 16 KiB.
pub(crate) const METADATA_LIMIT: usize = 16 << 10;

/// The one `grpc-` trailer that belongs to whoever answers: when a client may try again.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What HTTP/2 adds to each entry's length (RFC 9113, 6.5.2).
const ENTRY_OVERHEAD: usize = 32;

/// Written without padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(pairs: &[(&'static str, &'static str)]) -> HeaderSource {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        HeaderSource(headers)
    }

    fn entries(metadata: &Metadata) -> Vec<(&str, &[u8])> {
        metadata.iter().map(|(name, value)| (name, &value[..])).collect()
    }

    #[test]
    fn a_graph_sees_neither_the_wire_s_names_nor_broken_binary_values() {
        let source = source(&[
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", "1S"),
            ("grpc-encoding", "gzip"),
            ("connection", "close"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-bin", "aGk,aG8="),
            ("x-bin", "!!!"),
            ("x-bin", "aGE"),
            ("x$odd", "left out"),
        ]);
        let metadata = source.to_metadata();
        let expected: [(&str, &[u8]); 5] =
            [("x-a", b"1"), ("x-a", b"2"), ("x-bin", b"hi"), ("x-bin", b"ho"), ("x-bin", b"ha")];
        assert_eq!(entries(&metadata), expected);
    }

    #[test]
    fn the_first_value_is_found_without_converting_the_rest() {
        let source = source(&[
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-bin", "aGk=,aG8"),
            ("content-type", "application/grpc"),
        ]);
        assert_eq!(source.first("x-a").unwrap(), "1");
        assert_eq!(source.first("x-bin").unwrap(), "hi");
        assert_eq!(source.first("content-type").unwrap(), "application/grpc");
        assert_eq!(source.first("x-none"), None);
    }

    #[test]
    fn blanks_at_the_ends_of_text_are_left_out_as_http2_has_no_such_values() {
        let (mut metadata, mut headers) = (Metadata::new(), HeaderMap::new());
        metadata.append("x-a", " a b ").unwrap();
        metadata.append("x-b", "  ").unwrap();
        append(&metadata, &mut headers).unwrap();
        assert_eq!((&headers["x-a"], &headers["x-b"]), (&"a b".parse().unwrap(), &"".parse().unwrap()));
    }

    #[test]
    fn an_answer_cannot_set_the_wire_s_names() {
        let mut metadata = Metadata::new();
        for name in
            ["grpc-status", "grpc-message", "grpc-status-details-bin", "te", "content-type", "connection"]
        {
            metadata.append(name, "forged").unwrap();
        }
        metadata.append(RETRY_PUSHBACK, "250").unwrap();
        metadata.append("x-a", "1").unwrap();
        metadata.append("x-a", "2").unwrap();
        metadata.append("x-bin", Bytes::from_static(b"\0\xff\x10")).unwrap();
        let mut headers = HeaderMap::new();
        append(&metadata, &mut headers).unwrap();
        let mut sent: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(sent, [(RETRY_PUSHBACK, "250"), ("x-a", "1"), ("x-a", "2"), ("x-bin", "AP8Q")]);
    }

    #[test]
    fn what_no_header_can_carry_is_named() {
        for value in ["line\r\nbreak", "tab\t", "naïve", "\x7f"] {
            let mut metadata = Metadata::new();
            metadata.append("x-a", value).unwrap();
            let refused = append(&metadata, &mut HeaderMap::new());
            assert_eq!(refused, Err(Unsendable::Value { name: "x-a".into() }), "{value:?}");
        }
    }

    #[test]
    fn metadata_up_to_the_limit_is_sent_and_one_byte_more_is_not() {
        let filling = METADATA_LIMIT - ENTRY_OVERHEAD - "x-a".len();
        for (length, sent) in [(filling, true), (filling + 1, false)] {
            let mut metadata = Metadata::new();
            metadata.append("x-a", vec![b'x'; length]).unwrap();
            assert_eq!(append(&metadata, &mut HeaderMap::new()).is_ok(), sent);
        }
    }

    proptest! {
        #[test]
        fn binary_values_survive_the_wire(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            let encoded = encode_binary(&value);
            prop_assert!(!encoded.as_bytes().contains(&b'='));
            prop_assert_eq!(&decode_binary(encoded.as_bytes()).unwrap()[..], &value[..]);
            let padded = base64::engine::general_purpose::STANDARD.encode(&value);
            prop_assert_eq!(&decode_binary(padded.as_bytes()).unwrap()[..], &value[..]);
        }

        #[test]
        fn random_headers_never_panic(name in "[a-z0-9$-]{1,12}(-bin)?", value in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            let source = HeaderSource(headers);
            let _ = (source.first(&name), source.to_metadata());
        }
    }
}
