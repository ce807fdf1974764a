//! The head of a request: decoded, checked against RFC 9113 §8.2 and §8.3, and shared.
//!
//! A head carries nothing that belongs to one stream, so a connection may use the same one again for each
//! request with the same header block.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::field::{Class, Field};
use crate::hpack::decoder::Sink;

/// The head of a request that keeps the rules.
pub struct Head {
    method: Field,
    path: Arc<str>,
    scheme: Option<Field>,
    authority: Option<Field>,
    fields: Arc<[Field]>,
    content_length: Option<u64>,
    grpc_type: Option<Field>,
    timeout: Result<Option<Duration>, InvalidTimeout>,
    attached: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A `grpc-timeout` that is not one to eight digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTimeout;

/// What a header block turned out to be.
#[derive(Debug)]
pub(crate) enum Parsed {
    Head(Arc<Head>),
    /// It breaks a rule of the protocol.
    Malformed,
    /// It is larger than the limit; `grpc` if what was read of it says that it is a gRPC call.
    TooLarge {
        grpc: bool,
    },
}

/// Collects the fields of a request's header block.
#[derive(Debug)]
pub(crate) struct HeadBuilder {
    room: usize,
    method: Option<Field>,
    path: Option<Field>,
    scheme: Option<Field>,
    authority: Option<Field>,
    host: Option<Field>,
    fields: Vec<Field>,
    content_length: Option<u64>,
    content_type: Option<Field>,
    timeout: Result<Option<Duration>, InvalidTimeout>,
    malformed: bool,
    too_large: bool,
    regular_seen: bool,
}

/// Collects the fields of a request's trailers.
#[derive(Debug)]
pub(crate) struct TrailersBuilder {
    room: usize,
    fields: Vec<Field>,
    malformed: bool,
    too_large: bool,
}

// === impl Head ===

impl Head {
    /// The method.
    pub fn method(&self) -> &str {
        self.method.value_str().unwrap_or_default()
    }

    /// The path with its query; empty for CONNECT.
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The scheme; none for CONNECT.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_ref()?.value_str()
    }

    /// The authority, or else the `host`.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_ref()?.value_str()
    }

    /// The fields that are no pseudo-header fields, in their order. `cookie` may come in several pieces.
    pub fn fields(&self) -> &Arc<[Field]> {
        &self.fields
    }

    /// The value of the first field of this name, which must be in lower case.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.name() == name.as_bytes()).map(Field::value)
    }

    /// The length that the body must have.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether it is a gRPC call: POST with `application/grpc`, alone or followed by `+` or `;`.
    pub fn is_grpc(&self) -> bool {
        self.grpc_type.is_some()
    }

    /// The content type of a gRPC call.
    pub(crate) fn grpc_type(&self) -> Option<&[u8]> {
        self.grpc_type.as_ref().map(Field::value)
    }

    /// The time that a gRPC client gives the call.
    ///
    /// # Errors
    /// [`InvalidTimeout`] if there is a `grpc-timeout` that is none.
    pub fn grpc_timeout(&self) -> Result<Option<Duration>, InvalidTimeout> {
        self.timeout
    }

    /// A place where the handler may keep what it made of this head, for the next request that has it.
    pub fn attached(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.attached
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method())
            .field("path", &self.path)
            .field("authority", &self.authority())
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

// === impl HeadBuilder ===

impl HeadBuilder {
    /// A builder for a head of at most `limit` bytes, as RFC 9113 §6.5.2 counts them.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            room: limit,
            method: None,
            path: None,
            scheme: None,
            authority: None,
            host: None,
            fields: Vec::with_capacity(EXPECTED_FIELDS),
            content_length: None,
            content_type: None,
            timeout: Ok(None),
            malformed: false,
            too_large: false,
            regular_seen: false,
        }
    }

    pub(crate) fn finish(self) -> Parsed {
        if self.malformed {
            return Parsed::Malformed;
        }
        if self.too_large {
            return Parsed::TooLarge { grpc: self.grpc_type().is_some() };
        }
        match self.head() {
            Some(head) => Parsed::Head(Arc::new(head)),
            None => Parsed::Malformed,
        }
    }

    /// The head, if the fields make one together.
    fn head(self) -> Option<Head> {
        let grpc_type = self.grpc_type().cloned();
        let method = self.method?;
        let path = if method.value() == b"CONNECT" {
            (self.path.is_none() && self.scheme.is_none() && self.authority.is_some()).then_some("")?
        } else {
            self.scheme.as_ref()?;
            let path = self.path.as_ref()?.value_str()?;
            (path.starts_with('/') || (path == "*" && method.value() == b"OPTIONS")).then_some(path)?
        };
        let authority = match (self.authority, self.host) {
            (Some(authority), Some(host)) => {
                authority.value().eq_ignore_ascii_case(host.value()).then_some(Some(authority))?
            }
            (authority, host) => authority.or(host),
        };
        Some(Head {
            path: path.into(),
            method,
            scheme: self.scheme,
            authority,
            fields: self.fields.into(),
            content_length: self.content_length,
            grpc_type,
            timeout: self.timeout,
            attached: OnceLock::new(),
        })
    }

    fn grpc_type(&self) -> Option<&Field> {
        let content_type = self.content_type.as_ref()?;
        let post = self.method.as_ref()?.value() == b"POST";
        (post && is_grpc_type(content_type.value())).then_some(content_type)
    }

    fn pseudo(&mut self, field: &Field, slot: fn(&mut Self) -> &mut Option<Field>) {
        let late = self.regular_seen;
        self.malformed |= slot(self).replace(field.clone()).is_some() || late;
    }

    fn content_length(&mut self, value: &[u8]) {
        let length = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.malformed |=
            length.is_none() || (self.content_length.is_some() && self.content_length != length);
        self.content_length = length;
    }
}

impl Sink for HeadBuilder {
    fn wants(&mut self, size: usize) -> bool {
        take_room(&mut self.room, &mut self.too_large, size)
    }

    fn field(&mut self, field: &Field) {
        match field.class() {
            Class::Method => return self.pseudo(field, |head| &mut head.method),
            Class::Scheme => return self.pseudo(field, |head| &mut head.scheme),
            Class::Authority => return self.pseudo(field, |head| &mut head.authority),
            Class::Path => return self.pseudo(field, |head| &mut head.path),
            Class::Malformed => self.malformed = true,
            Class::Host => self.malformed |= self.host.replace(field.clone()).is_some(),
            Class::ContentLength => self.content_length(field.value()),
            Class::ContentType => self.content_type = Some(field.clone()),
            Class::GrpcTimeout => self.timeout = parse_timeout(field.value()).map(Some),
            Class::Regular => {}
        }
        self.regular_seen = true;
        self.fields.push(field.clone());
    }
}

// === impl TrailersBuilder ===

impl TrailersBuilder {
    /// A builder for trailers of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { room: limit, fields: Vec::new(), malformed: false, too_large: false }
    }

    /// The fields; `None` if they break a rule or the limit.
    pub(crate) fn finish(self) -> Option<Vec<Field>> {
        (!self.malformed && !self.too_large).then_some(self.fields)
    }
}

impl Sink for TrailersBuilder {
    fn wants(&mut self, size: usize) -> bool {
        take_room(&mut self.room, &mut self.too_large, size)
    }

    fn field(&mut self, field: &Field) {
        match field.class() {
            Class::Method | Class::Scheme | Class::Authority | Class::Path | Class::Malformed => {
                self.malformed = true;
            }
            Class::ContentLength | Class::ContentType | Class::GrpcTimeout | Class::Host | Class::Regular => {
                self.fields.push(field.clone())
            }
        }
    }
}

// === impl InvalidTimeout ===

impl fmt::Display for InvalidTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grpc-timeout is not one to eight digits and a unit")
    }
}

impl std::error::Error for InvalidTimeout {}

/// Counts a field of `size` bytes; once one does not fit, none does.
fn take_room(room: &mut usize, too_large: &mut bool, size: usize) -> bool {
    match room.checked_sub(size) {
        Some(left) if !*too_large => *room = left,
        _ => *too_large = true,
    }
    !*too_large
}

fn is_grpc_type(content_type: &[u8]) -> bool {
    let (main, rest) = content_type.split_at(content_type.len().min(GRPC.len()));
    main.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';'))
}

fn parse_timeout(value: &[u8]) -> Result<Duration, InvalidTimeout> {
    let (unit, digits) = value.split_last().ok_or(InvalidTimeout)?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidTimeout);
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Ok(Duration::from_secs(amount * 3600)),
        b'M' => Ok(Duration::from_secs(amount * 60)),
        b'S' => Ok(Duration::from_secs(amount)),
        b'm' => Ok(Duration::from_millis(amount)),
        b'u' => Ok(Duration::from_micros(amount)),
        b'n' => Ok(Duration::from_nanos(amount)),
        _ => Err(InvalidTimeout),
    }
}

const GRPC: &[u8] = b"application/grpc";
/// Fields that most requests have at most, besides the pseudo-header fields.
const EXPECTED_FIELDS: usize = 8;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some head.
    pub(crate) fn any() -> Arc<Head> {
        head(&GET).unwrap()
    }

    fn parsed(fields: &[(&str, &str)]) -> Parsed {
        let mut builder = HeadBuilder::new(16_384);
        for (name, value) in fields {
            let field = Field::from_text(format!("{name}{value}").as_bytes(), name.len());
            assert!(builder.wants(field.size()));
            builder.field(&field);
        }
        builder.finish()
    }

    fn head(fields: &[(&str, &str)]) -> Option<Arc<Head>> {
        match parsed(fields) {
            Parsed::Head(head) => Some(head),
            Parsed::Malformed | Parsed::TooLarge { .. } => None,
        }
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b")];

    #[test]
    fn a_whole_head_is_taken_apart() {
        let fields = [&GET[..], &[(":authority", "h:1"), ("x-a", "1"), ("content-length", "7")]].concat();
        let head = head(&fields).unwrap();
        assert_eq!((head.method(), &**head.path(), head.scheme()), ("GET", "/a?b", Some("http")));
        assert_eq!((head.authority(), head.content_length()), (Some("h:1"), Some(7)));
        assert_eq!(head.field("x-a"), Some(&b"1"[..]));
        assert_eq!(head.fields().len(), 2);
        assert!(!head.is_grpc());
    }

    #[test]
    fn pseudo_header_fields_come_first_once_and_complete() {
        assert!(head(&GET).is_some());
        for (at, field) in GET.into_iter().enumerate() {
            let mut fields = GET.to_vec();
            fields.remove(at);
            assert!(head(&fields).is_none(), "without {}", field.0);
            assert!(head(&[&GET[..], &[field]].concat()).is_none(), "twice {}", field.0);
            fields.push(("x", "1"));
            fields.push(field);
            assert!(head(&fields).is_none(), "late {}", field.0);
        }
    }

    #[test]
    fn fields_must_agree_with_each_other() {
        for (more, legal) in [
            (&[("content-length", "1"), ("content-length", "1")][..], true),
            (&[("content-length", "1"), ("content-length", "2")], false),
            (&[("content-length", "99999999999999999999")], false),
            (&[("host", "a")], true),
            (&[("host", "a"), ("host", "a")], false),
            (&[("connection", "close")], false),
        ] {
            assert_eq!(head(&[&GET[..], more].concat()).is_some(), legal, "{more:?}");
        }
        let with = |host| head(&[&GET[..], &[(":authority", "A"), ("host", host)]].concat());
        assert!(with("a").is_some());
        assert!(with("b").is_none());
    }

    #[test]
    fn paths_are_absolute_but_for_options_and_connect() {
        let with =
            |method, path| head(&[(":method", method), (":scheme", "http"), (":path", path)]).is_some();
        assert!(with("OPTIONS", "*") && with("GET", "/"));
        assert!(!with("GET", "*") && !with("GET", "a") && !with("GET", "http://a/"));
        assert!(head(&[(":method", "CONNECT"), (":authority", "a:1")]).is_some());
        assert!(head(&[(":method", "CONNECT")]).is_none());
        assert!(!with("CONNECT", "/"));
    }

    #[test]
    fn grpc_is_told_by_method_and_exact_type() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
        ] {
            let with = |method| {
                let fields =
                    [(":method", method), (":scheme", "http"), (":path", "/a/b"), ("content-type", kind)];
                head(&fields).unwrap().is_grpc()
            };
            assert_eq!(with("POST"), grpc, "{kind}");
            assert!(!with("GET"));
        }
    }

    #[test]
    fn timeouts_are_eight_digits_and_a_unit() {
        for (text, timeout) in [
            ("1H", Ok(Duration::from_secs(3600))),
            ("2M", Ok(Duration::from_secs(120))),
            ("99999999S", Ok(Duration::from_secs(99_999_999))),
            ("5m", Ok(Duration::from_millis(5))),
            ("6u", Ok(Duration::from_micros(6))),
            ("7n", Ok(Duration::from_nanos(7))),
            ("100000000S", Err(InvalidTimeout)),
            ("S", Err(InvalidTimeout)),
            ("1", Err(InvalidTimeout)),
            ("-1S", Err(InvalidTimeout)),
            ("1s", Err(InvalidTimeout)),
            ("", Err(InvalidTimeout)),
        ] {
            let head = head(&[&GET[..], &[("grpc-timeout", text)]].concat()).unwrap();
            assert_eq!(head.grpc_timeout(), timeout.map(Some), "{text}");
        }
    }

    #[test]
    fn nothing_is_kept_beyond_the_limit() {
        let field = Field::from_text(b"ab", 1);
        let mut builder = HeadBuilder::new(2 * field.size() + 1);
        assert!(builder.wants(field.size()) && builder.wants(field.size()));
        assert!(!builder.wants(field.size()));
        assert!(!builder.wants(1), "a small field after the limit was passed");
        assert!(matches!(builder.finish(), Parsed::TooLarge { grpc: false }));
    }

    #[test]
    fn trailers_have_no_pseudo_header_fields() {
        let trailers = |name: &str| {
            let mut builder = TrailersBuilder::new(1000);
            builder.field(&Field::from_text(format!("{name}v").as_bytes(), name.len()));
            builder.finish()
        };
        assert_eq!(trailers("x").unwrap().len(), 1);
        assert_eq!(trailers(":path"), None);
        assert_eq!(trailers("connection"), None);
    }
}
