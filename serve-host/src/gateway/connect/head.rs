//! The head of a Connect request: version, deadline, encodings; of a GET the message, too.
//!
//! Pure functions over headers and query. What makes no sense is refused, never ignored: a client whose
//! deadline was dropped would wait for ever.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use url::form_urlencoded;

use crate::gateway::codec::Codec;
use crate::grpc::Refusal;
use crate::grpc::compression::{Encoding, ResponseCompression};

/// What the head of a Connect request asks for.
#[derive(Debug)]
pub(crate) struct Head {
    /// How the message is compressed.
    pub(crate) encoding: Option<Encoding>,
    /// How the answer is to be, if it is worth it.
    pub(crate) reply_encoding: Option<Encoding>,
    /// How long the client waits.
    pub(crate) timeout: Option<Duration>,
}

/// The query of a GET.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// How the messages are written; `None` if the query names nothing that is known.
    pub(crate) codec: Option<Codec>,
    /// The message.
    pub(crate) message: Bytes,
    /// The name of its compression.
    pub(crate) compression: Option<String>,
}

/// What makes no sense about the head of a Connect request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Another version of the protocol.
    #[error("connect-protocol-version must be 1, not {value:?}")]
    Version {
        /// The value, cut if it is long.
        value: String,
    },
    /// The value is not a timeout.
    #[error("connect-timeout-ms must be 1 to {MAX_DIGITS} digits, not {value:?}")]
    Timeout {
        /// The value, cut if it is long.
        value: String,
    },
    /// A GET of another version.
    #[error("the query parameter connect must be v1, not {value:?}")]
    QueryVersion {
        /// The value, cut if it is long.
        value: String,
    },
    /// A GET without a message.
    #[error("a GET needs the query parameter message")]
    NoMessage,
    /// A GET whose message is not what it says.
    #[error("the query parameter message is not URL-safe base64, though base64=1 says so")]
    Base64,
    /// An envelope where a bare message belongs.
    #[error("the body is an envelope, as streams have it; a unary call has a bare message")]
    Envelope,
}

// === impl Head ===

impl Head {
    /// Reads the head of a request; the message of a GET has no `content-encoding`.
    ///
    /// # Errors
    /// [`Refusal`] for a version, a timeout or an encoding that cannot be honoured.
    pub(crate) fn read(headers: &HeaderMap, policy: ResponseCompression) -> Result<Self, Refusal> {
        let encoding = Encoding::named(headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes))?;
        Self::with_encoding(headers, policy, encoding)
    }

    /// Reads the head of a request whose message has this encoding, whatever the headers say.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(crate) fn with_encoding(
        headers: &HeaderMap,
        policy: ResponseCompression,
        encoding: Option<Encoding>,
    ) -> Result<Self, Refusal> {
        if let Some(version) = headers.get(VERSION)
            && version != "1"
        {
            return Err(HeadError::Version { value: shown(version.as_bytes()) }.into());
        }
        let timeout = headers.get(TIMEOUT).map(|value| timeout(value.as_bytes())).transpose()?;
        let accept = header::ACCEPT_ENCODING.as_str();
        let reply_encoding = Encoding::of_response(policy, encoding, headers, accept);
        Ok(Self { encoding, reply_encoding, timeout })
    }
}

// === impl Query ===

impl Query {
    /// Reads the query of a GET.
    ///
    /// # Errors
    /// [`HeadError`] for a version that is not known, or a message that is not there.
    pub(crate) fn read(query: &str) -> Result<Self, HeadError> {
        let (mut codec, mut message, mut compression, mut base64) = (None, None, None, false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "connect" if value != "v1" => {
                    return Err(HeadError::QueryVersion { value: shown(value.as_bytes()) });
                }
                "encoding" => codec = Codec::named(&value),
                "message" => message = Some(value),
                "compression" => compression = Some(value.into_owned()),
                "base64" => base64 = value == "1",
                // Whatever else is in an URL is no business of ours.
                _ => {}
            }
        }
        let message = message.ok_or(HeadError::NoMessage)?;
        let message = if base64 {
            BASE64.decode(message.as_bytes()).map_err(|_| HeadError::Base64)?.into()
        } else {
            raw(query)
        };
        Ok(Self { codec, message, compression })
    }
}

/// The bytes of the message parameter as they were escaped: they need not be text.
fn raw(query: &str) -> Bytes {
    let value = query.split('&').filter_map(|pair| pair.strip_prefix("message=")).next_back();
    let spaced: Vec<u8> =
        value.unwrap_or_default().bytes().map(|b| if b == b'+' { b' ' } else { b }).collect();
    percent_encoding::percent_decode(&spaced).collect::<Vec<_>>().into()
}

/// Reads the value of a `connect-timeout-ms`.
fn timeout(value: &[u8]) -> Result<Duration, HeadError> {
    let fits = (1..=MAX_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if !fits {
        return Err(HeadError::Timeout { value: shown(value) });
    }
    let millis = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Duration::from_millis(millis))
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned()
}

/// Whether a name belongs to the wire of Connect or gRPC-Web, beside those that every protocol reserves.
pub(crate) fn is_wire(name: &str) -> bool {
    name.starts_with("connect-")
        || matches!(name, "content-encoding" | "accept-encoding" | "accept-post" | "x-grpc-web")
}

/// The header that names the protocol's version.
const VERSION: &str = "connect-protocol-version";

/// The header that brings the deadline.
const TIMEOUT: &str = "connect-timeout-ms";

/// The most digits the specification allows.
const MAX_DIGITS: usize = 10;

/// How many bytes of a malformed value are shown.
const SHOWN: usize = 16;

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Head, Refusal> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Head::read(&headers.collect(), ResponseCompression::Mirror)
    }

    #[test]
    fn a_head_says_version_deadline_and_encodings() {
        let head = read(&[]).unwrap();
        assert!(head.encoding.is_none() && head.timeout.is_none() && head.reply_encoding.is_none());
        let head = read(&[
            ("connect-protocol-version", "1"),
            ("connect-timeout-ms", "0000000250"),
            ("content-encoding", "gzip"),
            ("accept-encoding", "br;q=1, gzip;q=0.8"),
        ]);
        let head = head.unwrap();
        assert_eq!((head.encoding, head.reply_encoding), (Some(Encoding::Gzip), Some(Encoding::Gzip)));
        assert_eq!(head.timeout, Some(Duration::from_millis(250)));
        assert_eq!(read(&[("connect-timeout-ms", "0")]).unwrap().timeout, Some(Duration::ZERO));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for version in ["", "2", "1.0", "v1"] {
            assert!(read(&[("connect-protocol-version", version)]).is_err(), "{version:?}");
        }
        for timeout in ["", "-1", "+1", "1s", "1.5", " 1", "12345678901", "soon"] {
            assert!(read(&[("connect-timeout-ms", timeout)]).is_err(), "{timeout:?}");
        }
        assert!(matches!(read(&[("content-encoding", "br")]), Err(Refusal::UnknownEncoding { .. })));
    }

    #[test]
    fn a_query_brings_a_message() {
        let query = Query::read("connect=v1&encoding=json&message=%7B%22a%22%3A1%7D").unwrap();
        assert_eq!((query.codec, &query.message[..]), (Some(Codec::Json), &b"{\"a\":1}"[..]));
        let query = Query::read("message=CAE&base64=1&encoding=proto&compression=gzip").unwrap();
        assert_eq!((query.codec, &query.message[..]), (Some(Codec::Proto), &b"\x08\x01"[..]));
        assert_eq!(query.compression.as_deref(), Some("gzip"));
        assert_eq!(Query::read("message=_-8%3D&base64=1").unwrap().message, &b"\xff\xef"[..]);
        assert_eq!(Query::read("encoding=proto&message=%08%ff+").unwrap().message, &b"\x08\xff "[..]);
        assert_eq!(Query::read("message=").unwrap().message, "");
        assert_eq!(Query::read("message=&encoding=xml").unwrap().codec, None);
    }

    #[test]
    fn a_query_that_makes_no_sense_is_refused() {
        for (query, error) in [
            ("", HeadError::NoMessage),
            ("connect=v1&encoding=json", HeadError::NoMessage),
            ("connect=v2&message=", HeadError::QueryVersion { value: "v2".into() }),
            ("message=a$&base64=1", HeadError::Base64),
            ("message=%2F%2F%2F&base64=1", HeadError::Base64),
        ] {
            assert_eq!(Query::read(query), Err(error), "{query}");
        }
    }

    proptest! {
        #[test]
        fn random_heads_and_queries_never_panic(query in ".{0,80}", value in "[ -~]{0,30}") {
            let _ = Query::read(&query);
            for name in [VERSION, TIMEOUT, "content-encoding", "accept-encoding"] {
                let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
                let _ = Head::read(&headers, ResponseCompression::Accepted);
            }
        }

        #[test]
        fn a_message_survives_a_query(message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let encoded = BASE64.encode(&message);
            prop_assert_eq!(&Query::read(&format!("base64=1&message={encoded}")).unwrap().message[..], &message[..]);
            let escaped = percent_encoding::percent_encode(&message, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(&Query::read(&format!("message={escaped}")).unwrap().message[..], &message[..]);
        }
    }
}
