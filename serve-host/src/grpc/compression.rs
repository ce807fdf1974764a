//! Message compression: gzip and zstd, inflated under a limit.
//!
//! The limit counts inflated bytes while they come out: a bomb costs at most one byte more than a message
//! of the greatest size. A zstd window may not be larger than [`ZSTD_WINDOW_LOG`] allows, whatever the
//! frame asks for.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;
use zstd::zstd_safe::DParameter;

use super::Refusal;

/// A compression of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// When responses are compressed. Only messages of at least [`COMPRESS_FROM`] bytes ever are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseCompression {
    /// Never.
    Never,
    /// As the request was, if the client accepts that.
    #[default]
    Mirror,
    /// Whenever the client accepts an encoding known here.
    Accepted,
}

/// Why a compressed message could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InflateError {
    /// More comes out than the limit allows.
    #[error("request message inflates to more than the limit of {limit} bytes (messages.max_receive)")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not what the encoding promises.
    #[error("the request message is not valid {encoding}")]
    Corrupt {
        /// The encoding's name.
        encoding: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
}

// === impl Encoding ===

impl Encoding {
    /// The value of `grpc-accept-encoding`.
    pub(crate) const ACCEPTED: &'static str = "identity,gzip,zstd";

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|encoding| encoding.name().as_bytes() == name)
    }

    /// The encoding a request's `grpc-encoding` names; `None` for none and `identity`.
    ///
    /// # Errors
    /// [`Refusal::UnknownEncoding`] for any other.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        Self::named(headers.get(GRPC_ENCODING).map(|value| value.as_bytes()))
    }

    /// The encoding of this name; `None` for none and `identity`.
    ///
    /// # Errors
    /// [`Refusal::UnknownEncoding`] for any other.
    pub(crate) fn named(name: Option<&[u8]>) -> Result<Option<Self>, Refusal> {
        match name {
            None | Some(b"identity" | b"") => Ok(None),
            Some(name) => match Self::from_name(name) {
                Some(encoding) => Ok(Some(encoding)),
                None => Err(Refusal::UnknownEncoding {
                    name: String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).into_owned(),
                }),
            },
        }
    }

    /// The encoding of the response to a request that was compressed with `request`, of those that the
    /// header `accept` lists.
    pub(crate) fn of_response(
        policy: ResponseCompression,
        request: Option<Self>,
        headers: &HeaderMap,
        accept: &str,
    ) -> Option<Self> {
        let accepted = || {
            let lists = headers.get_all(accept).into_iter();
            lists.flat_map(|list| list.as_bytes().split(|b| *b == b',')).filter_map(wanted)
        };
        match policy {
            ResponseCompression::Never => None,
            // A client that names nothing can still read what it writes.
            ResponseCompression::Mirror => request.filter(|encoding| {
                accepted().next().is_none() || accepted().any(|name| name == encoding.name().as_bytes())
            }),
            ResponseCompression::Accepted => accepted().find_map(Self::from_name),
        }
    }

    /// Inflates a message to at most `limit` bytes. Nothing is an empty message: some encoders write
    /// nothing for one.
    ///
    /// # Errors
    /// [`InflateError`] if more would come out, or the message is corrupt.
    pub(crate) fn inflate(self, compressed: &[u8], limit: usize) -> Result<Bytes, InflateError> {
        if compressed.is_empty() {
            return Ok(Bytes::new());
        }
        match self {
            Self::Gzip => self.read_to_limit(MultiGzDecoder::new(compressed), compressed.len(), limit),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(compressed).map_err(|e| self.corrupt(e))?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                    .map_err(|e| self.corrupt(e))?;
                self.read_to_limit(decoder, compressed.len(), limit)
            }
        }
    }

    /// A message compressed as `encoding` says, if that makes it smaller and it is not small already; and
    /// the encoding it then has.
    pub(crate) fn applied(encoding: Option<Self>, message: &Bytes) -> (Option<Self>, Bytes) {
        let encoding = encoding.filter(|_| message.len() >= COMPRESS_FROM);
        match encoding.and_then(|encoding| encoding.deflate(message)) {
            Some(smaller) => (encoding, smaller),
            None => (None, message.clone()),
        }
    }

    /// Compresses a message; `None` if that would not make it smaller.
    pub(crate) fn deflate(self, message: &[u8]) -> Option<Bytes> {
        let mut sink = BytesMut::with_capacity(message.len() / 2).writer();
        let written = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(&mut sink, Compression::fast());
                encoder.write_all(message).and_then(|()| encoder.try_finish())
            }
            Self::Zstd => zstd::stream::copy_encode(message, &mut sink, ZSTD_LEVEL),
        };
        let compressed = sink.into_inner();
        (written.is_ok() && compressed.len() < message.len()).then(|| compressed.freeze())
    }

    fn read_to_limit(self, decoder: impl Read, hint: usize, limit: usize) -> Result<Bytes, InflateError> {
        let mut message = Vec::with_capacity(hint.saturating_mul(2).min(limit));
        // One byte past the limit tells "just fits" from "too large".
        decoder.take(limit as u64 + 1).read_to_end(&mut message).map_err(|e| self.corrupt(e))?;
        if message.len() > limit { Err(InflateError::TooLarge { limit }) } else { Ok(Bytes::from(message)) }
    }

    fn corrupt(self, source: io::Error) -> InflateError {
        InflateError::Corrupt { encoding: self.name(), source }
    }
}

/// The name in one entry of an accepting list, unless its weight says that it is not wanted.
fn wanted(entry: &[u8]) -> Option<&[u8]> {
    let mut parts = entry.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    let refused = parts.any(|weight| {
        let digits = weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="));
        digits
            .is_some_and(|digits| digits.starts_with(b"0") && digits.iter().all(|b| matches!(b, b'0' | b'.')))
    });
    (!refused).then_some(name)
}

/// The header that names the encoding of messages.
pub(crate) const GRPC_ENCODING: &str = "grpc-encoding";

/// The header that lists the encodings a peer reads.
pub(crate) const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Responses smaller than this many bytes are never compressed: they fit a packet anyway.
pub(crate) const COMPRESS_FROM: usize = 1024;

/// The largest zstd window that is accepted, as a power of two: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The level responses are compressed with: speed counts more than the last percent.
const ZSTD_LEVEL: i32 = 1;

/// How many bytes of an unknown encoding's name are shown.
const SHOWN: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_message_that_inflates_to_the_limit_is_taken_and_one_byte_more_is_not() {
        let message = vec![b'a'; 10_000];
        for encoding in BOTH {
            let small = encoding.deflate(&message).unwrap();
            assert_eq!(encoding.inflate(&small, 10_000).unwrap(), message);
            let one_less = encoding.inflate(&small, 9_999);
            assert!(matches!(one_less, Err(InflateError::TooLarge { limit: 9_999 })), "{encoding:?}");
        }
    }

    #[test]
    fn nothing_inflates_to_nothing() {
        for encoding in BOTH {
            assert_eq!(encoding.inflate(b"", 0).unwrap(), "", "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = Encoding::Gzip.deflate(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(Encoding::Gzip.inflate(&bomb, 4096), Err(InflateError::TooLarge { .. })));
    }

    #[test]
    fn a_zstd_window_over_eight_mebibytes_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(24)).unwrap();
        encoder.write_all(&vec![1; 20 << 20]).unwrap();
        let compressed = encoder.finish().unwrap();
        assert!(matches!(Encoding::Zstd.inflate(&compressed, 64 << 20), Err(InflateError::Corrupt { .. })));
    }

    #[test]
    fn truncated_messages_are_corrupt() {
        for encoding in BOTH {
            let whole = encoding.deflate(&[b'a'; 5000]).unwrap();
            for cut in [1, whole.len() / 2, whole.len() - 1] {
                let inflated = encoding.inflate(&whole[..cut], 5000);
                assert!(matches!(inflated, Err(InflateError::Corrupt { .. })), "{encoding:?} {cut}");
            }
        }
    }

    #[test]
    fn the_request_encoding_is_known_absent_or_refused() {
        for (value, expected) in
            [("gzip", Some(Encoding::Gzip)), ("zstd", Some(Encoding::Zstd)), ("identity", None)]
        {
            assert_eq!(Encoding::of_request(&headers(&[(GRPC_ENCODING, value)])).unwrap(), expected);
        }
        assert_eq!(Encoding::of_request(&headers(&[])).unwrap(), None);
        for unknown in ["br", "GZIP", "gzip,zstd"] {
            assert!(Encoding::of_request(&headers(&[(GRPC_ENCODING, unknown)])).is_err(), "{unknown}");
        }
    }

    #[test]
    fn responses_are_compressed_as_the_policy_and_the_client_allow() {
        use ResponseCompression::{Accepted, Mirror, Never};
        let gzip = Some(Encoding::Gzip);
        let zstd = Some(Encoding::Zstd);
        for (policy, request, accepts, expected) in [
            (Never, gzip, Some("gzip"), None),
            (Mirror, None, Some("gzip"), None),
            (Mirror, gzip, None, gzip),
            (Mirror, gzip, Some("identity, gzip"), gzip),
            (Mirror, gzip, Some("zstd"), None),
            (Accepted, None, Some("br, zstd,gzip"), zstd),
            (Accepted, gzip, None, None),
            (Accepted, None, Some("gzip;q=0, zstd; q=0.5"), zstd),
            (Accepted, None, Some("gzip;q=0.0,zstd;Q=0"), None),
        ] {
            let headers =
                accepts.map_or_else(HeaderMap::new, |value| headers(&[(GRPC_ACCEPT_ENCODING, value)]));
            assert_eq!(
                Encoding::of_response(policy, request, &headers, GRPC_ACCEPT_ENCODING),
                expected,
                "{policy:?} {request:?} {accepts:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_message_survives_compression(message in proptest::collection::vec(0_u8..4, 0..5000)) {
            for encoding in BOTH {
                if let Some(compressed) = encoding.deflate(&message) {
                    prop_assert!(compressed.len() < message.len());
                    prop_assert_eq!(&encoding.inflate(&compressed, message.len()).unwrap()[..], &message[..]);
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in BOTH {
                let _ = encoding.inflate(&bytes, 1000);
            }
        }
    }
}
