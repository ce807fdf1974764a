//! Which content types are gRPC, and which message codec they name.

/// What a `content-type` says to a gRPC server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentType<'a> {
    /// gRPC, with the codec that the suffix names; `proto` if it has none.
    Grpc {
        /// The codec: what stands behind the `+`.
        codec: &'a str,
        /// Whether the suffix was left out.
        bare: bool,
    },
    /// Anything else, gRPC-Web included.
    Other,
}

/// Reads a `content-type`. Parameters behind a `;` are ignored.
pub(crate) fn parse(value: Option<&[u8]>) -> ContentType<'_> {
    let Some(rest) = value
        .filter(|value| value.is_ascii())
        .and_then(|value| str::from_utf8(value).ok())
        .and_then(|value| value.strip_prefix(GRPC))
    else {
        return ContentType::Other;
    };
    match rest.as_bytes().first() {
        None | Some(b';') => ContentType::Grpc { codec: PROTO, bare: true },
        Some(b'+') => {
            let suffix = rest[1..].split(';').next().unwrap_or_default().trim_end();
            ContentType::Grpc { codec: suffix, bare: false }
        }
        Some(_) => ContentType::Other,
    }
}

/// The content type of every gRPC message without a named codec.
pub(crate) const GRPC: &str = "application/grpc";

/// The codec of a content type that names none.
pub(crate) const PROTO: &str = "proto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_from_what_only_begins_like_it() {
        let grpc = |codec, bare| ContentType::Grpc { codec, bare };
        for (value, expected) in [
            ("application/grpc", grpc("proto", true)),
            ("application/grpc;charset=utf-8", grpc("proto", true)),
            ("application/grpc+proto", grpc("proto", false)),
            ("application/grpc+json; charset=utf-8", grpc("json", false)),
            ("application/grpc+", grpc("", false)),
            ("application/grpc-web", ContentType::Other),
            ("application/grpc-web+proto", ContentType::Other),
            ("application/grpcx", ContentType::Other),
            ("application/json", ContentType::Other),
        ] {
            assert_eq!(parse(Some(value.as_bytes())), expected, "{value}");
        }
        assert_eq!(parse(None), ContentType::Other);
    }
}
