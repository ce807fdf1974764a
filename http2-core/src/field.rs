//! One header field, checked and classified once: when it enters a table, not each time it is used.

use std::fmt;
use std::sync::Arc;

/// A field of a request: a name in lower case and a value. Cheap to clone.
#[derive(Clone)]
pub struct Field {
    text: Text,
    class: Class,
}

/// What a field is to a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `content-length`, all digits
    ContentLength,
    /// `content-type`
    ContentType,
    /// `grpc-timeout`
    GrpcTimeout,
    /// `host`
    Host,
    /// Any other legal field
    Regular,
    /// A field that makes its message malformed
    Malformed,
}

/// Entries of the static table are never counted, so that connections on different cores share nothing.
#[derive(Clone)]
enum Text {
    Static { name: &'static str, value: &'static str },
    Shared { name_len: usize, text: Arc<[u8]> },
}

// === impl Field ===

impl Field {
    /// A field of the static table.
    pub(crate) fn from_static(name: &'static str, value: &'static str) -> Self {
        let class = classify(name.as_bytes(), value.as_bytes());
        Self { text: Text::Static { name, value }, class }
    }

    /// The field whose name is the first `name_len` bytes of `text`, and whose value is the rest.
    pub(crate) fn from_text(text: &[u8], name_len: usize) -> Self {
        let (name, value) = text.split_at(name_len);
        let class = classify(name, value);
        Self { text: Text::Shared { name_len, text: text.into() }, class }
    }

    /// The name, in lower case.
    pub fn name(&self) -> &[u8] {
        match &self.text {
            Text::Static { name, .. } => name.as_bytes(),
            Text::Shared { name_len, text } => &text[..*name_len],
        }
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        match &self.text {
            Text::Static { value, .. } => value.as_bytes(),
            Text::Shared { name_len, text } => &text[*name_len..],
        }
    }

    /// The value if it is UTF-8, as all but the oddest are.
    pub fn value_str(&self) -> Option<&str> {
        str::from_utf8(self.value()).ok()
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// The size by which RFC 7541 §4.1 and RFC 9113 §6.5.2 count.
    pub(crate) fn size(&self) -> usize {
        let text = match &self.text {
            Text::Static { name, value } => name.len() + value.len(),
            Text::Shared { text, .. } => text.len(),
        };
        text + FIELD_OVERHEAD
    }
}

/// Bytes that every field counts besides its name and value.
pub(crate) const FIELD_OVERHEAD: usize = 32;

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.value() == other.value()
    }
}

impl Eq for Field {}

impl fmt::Debug for Field {
    /// Shows the name and the length of the value: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.name().escape_ascii(), self.value().len())
    }
}

/// Whether the field may be sent in a response: a legal name and value, neither a pseudo-header field nor
/// one of those that belong to a connection of HTTP/1.
pub(crate) fn is_sendable(name: &[u8], value: &[u8]) -> bool {
    is_name(name) && is_value(value) && !is_connection_specific(name)
}

fn classify(name: &[u8], value: &[u8]) -> Class {
    if !is_value(value) {
        return Class::Malformed;
    }
    match name {
        b":method" if is_token(value) => Class::Method,
        b":scheme" if is_visible(value) => Class::Scheme,
        b":authority" if value.is_empty() || is_authority(value) => Class::Authority,
        b":path" if is_visible(value) => Class::Path,
        b"content-length" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
            Class::ContentLength
        }
        b"content-length" => Class::Malformed,
        b"content-type" => Class::ContentType,
        b"grpc-timeout" => Class::GrpcTimeout,
        b"host" if value.is_empty() || is_authority(value) => Class::Host,
        b"host" => Class::Malformed,
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Class::Malformed,
        _ if is_connection_specific(name) || !is_name(name) => Class::Malformed,
        _ => Class::Regular,
    }
}

fn is_connection_specific(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade")
}

/// A token without upper-case letters. A pseudo-header field is none, as `:` is not part of tokens.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)] && !byte.is_ascii_uppercase())
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

fn is_visible(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

/// Visible, and without the user information that RFC 9113 §8.3.1 forbids.
fn is_authority(text: &[u8]) -> bool {
    is_visible(text) && !text.contains(&b'@')
}

/// No control characters but tab, and no space or tab at either end (RFC 9113 §8.2.1).
fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first())
        && !blank(value.last())
        && value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}

/// The characters of tokens (RFC 9110 §5.6.2).
static TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        token[marks[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0u8;
    while byte < 0x80 {
        token[byte as usize] = token[byte as usize] || byte.is_ascii_alphanumeric();
        byte += 1;
    }
    token
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_classified_by_name_and_value() {
        for (name, value, class) in [
            (":method", "POST", Class::Method),
            (":method", "PO ST", Class::Malformed),
            (":scheme", "http", Class::Scheme),
            (":path", "/a", Class::Path),
            (":path", "", Class::Malformed),
            (":authority", "a:1", Class::Authority),
            (":authority", "me@a:1", Class::Malformed),
            (":status", "200", Class::Malformed),
            (":protocol", "websocket", Class::Malformed),
            (":", "", Class::Malformed),
            ("", "", Class::Malformed),
            ("x", "", Class::Regular),
            ("x", "a b\tc", Class::Regular),
            ("x", " a", Class::Malformed),
            ("x", "a\t", Class::Malformed),
            ("x", "a\r\nb", Class::Malformed),
            ("x", "a\0b", Class::Malformed),
            ("X", "a", Class::Malformed),
            ("x y", "a", Class::Malformed),
            ("te", "trailers", Class::Regular),
            ("te", "gzip", Class::Malformed),
            ("connection", "close", Class::Malformed),
            ("transfer-encoding", "chunked", Class::Malformed),
            ("content-length", "12", Class::ContentLength),
            ("content-length", "-1", Class::Malformed),
            ("content-length", "", Class::Malformed),
            ("content-type", "a/b", Class::ContentType),
            ("grpc-timeout", "1S", Class::GrpcTimeout),
            ("host", "a", Class::Host),
        ] {
            let text = format!("{name}{value}");
            assert_eq!(Field::from_text(text.as_bytes(), name.len()).class(), class, "{name}: {value:?}");
        }
    }

    #[test]
    fn debug_output_keeps_values_secret() {
        let field = Field::from_text(b"authorizationBearer x", 13);
        assert_eq!(format!("{field:?}"), "authorization: 8 bytes");
    }

    #[test]
    fn what_belongs_to_a_connection_is_not_sent() {
        assert!(is_sendable(b"x-a", b"1"));
        for (name, value) in [("upgrade", "x"), (":status", "200"), ("X", "1"), ("x", "1\n")] {
            assert!(!is_sendable(name.as_bytes(), value.as_bytes()), "{name}");
        }
    }
}
