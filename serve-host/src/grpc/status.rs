//! The status of an answer as trailers: `grpc-status`, `grpc-message`, `grpc-status-details-bin`.

use std::borrow::Cow;

use exec_plan::Code;
use http::{HeaderMap, HeaderName, HeaderValue};
use kernels::Answer;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::metadata::{self, METADATA_LIMIT, Unsendable};

/// Writes the status of an answer, and its trailing metadata, into `trailers`.
///
/// # Errors
/// [`Unsendable`] if the trailing metadata or the details cannot be sent; `trailers` then holds a part of
/// what was meant and must be thrown away. Without metadata and details it never fails.
pub(crate) fn write(answer: &Answer, trailers: &mut HeaderMap) -> Result<(), Unsendable> {
    trailers.insert(GRPC_STATUS, status_value(answer.code));
    if !answer.message.is_empty() {
        trailers.insert(GRPC_MESSAGE, message_value(&answer.message));
    }
    if let Some(details) = &answer.details {
        let value = metadata::encode_binary(details);
        if value.len() > METADATA_LIMIT {
            return Err(Unsendable::TooLarge { bytes: value.len() });
        }
        trailers.insert(GRPC_STATUS_DETAILS, value);
    }
    match answer.trailers.as_deref() {
        Some(trailing) => metadata::append(trailing, trailers),
        None => Ok(()),
    }
}

/// The number of a code as a header value. The seventeen codes are gRPC's own, number for number.
pub(crate) fn status_value(code: Code) -> HeaderValue {
    HeaderValue::from_static(NUMBERS[usize::from(code.number())])
}

/// A status message as gRPC writes it: percent-encoded, cut to [`MESSAGE_LIMIT`] bytes before that. Blanks at its
/// ends, which HTTP/2 forbids there, are encoded, too.
pub(crate) fn message_value(message: &str) -> HeaderValue {
    let message = &message[..message.floor_char_boundary(MESSAGE_LIMIT)];
    let inner = message.trim_matches(' ');
    let encoded = Cow::from(utf8_percent_encode(inner, ESCAPED));
    let encoded = if inner.len() == message.len() {
        encoded
    } else {
        let blanks = |count: usize| BLANK.repeat(count);
        let leading = message.len() - message.trim_start_matches(' ').len();
        let trailing = message.len() - inner.len() - leading;
        Cow::from(format!("{}{encoded}{}", blanks(leading), blanks(trailing)))
    };
    HeaderValue::from_str(&encoded).expect("percent-encoding leaves printable ASCII only")
}

/// The trailer that carries the status.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The trailer that carries the status message.
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The trailer that carries the serialized `google.rpc.Status`.
pub(crate) const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// How many bytes of a status message are sent: clients refuse header lists far over this.
pub(crate) const MESSAGE_LIMIT: usize = 4096;

/// gRPC escapes everything but printable ASCII, and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A blank, percent-encoded.
const BLANK: &str = "%20";

const NUMBERS: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use exec_plan::Metadata;
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_is_written_as_its_number() {
        for code in Code::ALL {
            assert_eq!(status_value(code), code.number().to_string());
        }
    }

    #[test]
    fn messages_are_escaped_as_grpc_does() {
        for (message, expected) in [
            ("plain: text!", "plain: text!"),
            ("100%", "100%25"),
            ("a\r\nb\x7f", "a%0D%0Ab%7F"),
            (" two  words ", "%20two  words%20"),
            ("  ", "%20%20"),
            ("grüß ☺", "gr%C3%BC%C3%9F %E2%98%BA"),
        ] {
            assert_eq!(message_value(message), expected);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let value = message_value(&"☺".repeat(5000));
        let decoded = percent_decode_str(value.to_str().unwrap()).decode_utf8().unwrap().into_owned();
        assert_eq!(decoded.len(), MESSAGE_LIMIT / 3 * 3);
    }

    #[test]
    fn a_failed_answer_carries_message_details_and_metadata() {
        let mut trailing = Metadata::new();
        trailing.append("okra-plan", "a@1.0.0#abc").unwrap();
        trailing.append("grpc-status", "0").unwrap();
        let answer = Answer {
            details: Some(Bytes::from_static(b"\x08\x05")),
            trailers: Some(Arc::new(trailing)),
            ..Answer::failed(Code::NotFound, "no such thing")
        };
        let mut trailers = HeaderMap::new();
        write(&answer, &mut trailers).unwrap();
        let expected = [
            ("grpc-status", "5"),
            ("grpc-message", "no such thing"),
            ("grpc-status-details-bin", "CAU"),
            ("okra-plan", "a@1.0.0#abc"),
        ];
        let sent: Vec<_> = trailers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(sent, expected);
    }

    proptest! {
        #[test]
        fn a_message_survives_escaping(message in ".{0,200}") {
            let value = message_value(&message);
            prop_assert!(value.as_bytes().iter().all(|b| (b' '..=b'~').contains(b)));
            prop_assert_eq!(percent_decode_str(value.to_str().unwrap()).decode_utf8().unwrap(), message);
        }
    }
}
