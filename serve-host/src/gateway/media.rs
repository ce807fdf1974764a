//! Which content types are calls: the spelling of the protocol, and the codec of the message.
//!
//! Types are compared as HTTP says, without regard to case and parameters; what is answered is always the
//! plain form.

use http::HeaderValue;

use super::codec::Codec;

/// What the content type of a POST says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    /// How the call is spelt.
    pub(crate) spelling: Spelling,
    /// How its messages are written.
    pub(crate) codec: Codec,
    /// The content type of its answer.
    pub(crate) reply: &'static str,
}

/// The ways to spell a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Connect, unary: the body is the message.
    Connect,
    /// A content type of Connect's streams. Without an envelope it is taken as unary, as the original
    /// gateway did.
    ConnectStream,
    /// gRPC-Web.
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
    /// gRPC.
    Grpc,
}

/// Reads a content type; without one the body is a protobuf message. `None` if it is no call.
pub(crate) fn parse(value: Option<&HeaderValue>) -> Option<Media> {
    let Some(value) = value else { return Some(BARE) };
    let name = value.as_bytes().split(|b| *b == b';').next()?.trim_ascii();
    let (_, media) = TYPES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(*media)
}

/// What a GET is whose messages are written so.
pub(crate) fn of_get(codec: Codec) -> Media {
    match codec {
        Codec::Proto => BARE,
        Codec::Json => GET,
    }
}

/// What a GET is that does not say how its message is written: it is answered by failures alone.
pub(crate) const GET: Media = media(Spelling::Connect, Codec::Json, "application/json");

/// The value of `Accept-Post`: every type that a call may have.
pub(crate) const ACCEPT_POST: &str = "application/json, application/proto, application/grpc-web+proto, \
     application/grpc-web+json, application/grpc-web-text, application/grpc+proto, application/grpc+json";

/// What a POST without a content type is.
const BARE: Media = media(Spelling::Connect, Codec::Proto, "application/proto");

const fn media(spelling: Spelling, codec: Codec, reply: &'static str) -> Media {
    Media { spelling, codec, reply }
}

/// A type that is answered in kind.
const fn same(spelling: Spelling, codec: Codec, name: &'static str) -> (&'static str, Media) {
    (name, media(spelling, codec, name))
}

const TYPES: [(&str, Media); 14] = [
    same(Spelling::Connect, Codec::Json, "application/json"),
    same(Spelling::Connect, Codec::Proto, "application/proto"),
    ("application/x-protobuf", BARE),
    same(Spelling::ConnectStream, Codec::Json, "application/connect+json"),
    same(Spelling::ConnectStream, Codec::Proto, "application/connect+proto"),
    same(Spelling::GrpcWeb, Codec::Proto, "application/grpc-web"),
    same(Spelling::GrpcWeb, Codec::Proto, "application/grpc-web+proto"),
    same(Spelling::GrpcWeb, Codec::Json, "application/grpc-web+json"),
    same(Spelling::GrpcWebText, Codec::Proto, "application/grpc-web-text"),
    same(Spelling::GrpcWebText, Codec::Proto, "application/grpc-web-text+proto"),
    same(Spelling::GrpcWebText, Codec::Json, "application/grpc-web-text+json"),
    same(Spelling::Grpc, Codec::Proto, "application/grpc"),
    same(Spelling::Grpc, Codec::Proto, "application/grpc+proto"),
    same(Spelling::Grpc, Codec::Json, "application/grpc+json"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(Spelling, Codec, &'static str)> {
        let value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        parse(Some(&value)).map(|media| (media.spelling, media.codec, media.reply))
    }

    #[test]
    fn case_and_parameters_say_nothing() {
        let json = Some((Spelling::Connect, Codec::Json, "application/json"));
        for text in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json ; charset=utf-8",
            "application/json; invalid-param",
            " application/json",
        ] {
            assert_eq!(read(text), json, "{text:?}");
        }
        assert_eq!(
            read("APPLICATION/gRPC-Web+Proto; a=b"),
            Some((Spelling::GrpcWeb, Codec::Proto, "application/grpc-web+proto"))
        );
    }

    #[test]
    fn every_spelling_is_told_from_its_neighbours() {
        for (text, spelling, codec) in [
            ("application/proto", Spelling::Connect, Codec::Proto),
            ("application/x-protobuf", Spelling::Connect, Codec::Proto),
            ("application/connect+json", Spelling::ConnectStream, Codec::Json),
            ("application/grpc-web", Spelling::GrpcWeb, Codec::Proto),
            ("application/grpc-web-text", Spelling::GrpcWebText, Codec::Proto),
            ("application/grpc", Spelling::Grpc, Codec::Proto),
            ("application/grpc+json", Spelling::Grpc, Codec::Json),
        ] {
            assert_eq!(read(text).map(|(spelling, codec, _)| (spelling, codec)), Some((spelling, codec)));
        }
        for text in ["", "json", "application/foo", "application/grpc+foo", "application/jsonx", "image/jpeg"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(parse(None), Some(BARE), "the original took a body without a type as protobuf");
    }

    proptest! {
        #[test]
        fn random_types_never_panic(bytes in proptest::collection::vec(0x20_u8..0x7f, 0..60)) {
            let _ = parse(HeaderValue::from_bytes(&bytes).ok().as_ref());
        }
    }
}
