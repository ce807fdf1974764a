//! The parameters that calls to upstreams share: their names, defaults and bounds.

use std::time::Duration;

use exec_plan::{BindError, Site};
use http::Uri;

use crate::upstream::headers::{PassedOn, Spelling};

/// A whole number among the parameters, and what it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    key: &'static str,
    default: u32,
    min: u32,
    max: u32,
}

/// How long one call may take, in milliseconds; without it, as long as the request has.
pub(crate) const TIMEOUT_MS: Number = Number::new("timeout_ms", 30_000, 1, 3_600_000);
/// The largest message in either direction, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: Number = Number::new("max_message_bytes", 4 << 20, 1, 64 << 20);
/// The largest body in either direction, in bytes.
pub(crate) const MAX_BODY_BYTES: Number = Number::new("max_body_bytes", 4 << 20, 1, 64 << 20);
/// Calls to one target at a time.
pub(crate) const MAX_IN_FLIGHT: Number = Number::new("max_in_flight", 256, 1, 65_536);
/// Calls that wait for their turn with one target.
pub(crate) const MAX_WAITING: Number = Number::new("max_waiting", 1024, 0, 65_536);
/// How long a call waits for its turn, in milliseconds.
pub(crate) const MAX_WAIT_MS: Number = Number::new("max_wait_ms", 1000, 0, 60_000);
/// How long one attempt to connect may take, in milliseconds.
pub(crate) const CONNECT_TIMEOUT_MS: Number = Number::new("connect_timeout_ms", 5000, 1, 60_000);
/// Items of a list that are worked on at a time.
pub(crate) const CONCURRENCY: Number = Number::new("concurrency", 16, 1, 256);
/// Items in a list.
pub(crate) const MAX_ITEMS: Number = Number::new("max_items", 10_000, 1, 1_000_000);

// === impl Number ===

impl Number {
    const fn new(key: &'static str, default: u32, min: u32, max: u32) -> Self {
        Self { key, default, min, max }
    }

    /// The number given, or the default; one out of bounds is an error.
    pub(crate) fn read(self, given: Option<u32>, errors: &mut Vec<BindError>) -> u32 {
        let value = given.unwrap_or(self.default);
        if !(self.min..=self.max).contains(&value) {
            let message = format!("expected {} to {}, found {value}", self.min, self.max);
            errors.push(BindError::new(Site::Param(format!("/{}", self.key)), message));
        }
        value
    }

    /// The same as a duration in milliseconds.
    pub(crate) fn read_ms(self, given: Option<u32>, errors: &mut Vec<BindError>) -> Duration {
        Duration::from_millis(self.read(given, errors).into())
    }
}

/// Parses `http://host:port` with whatever may follow; `key` is the parameter it stands in.
pub(crate) fn http_uri(key: &str, text: &str) -> Result<Uri, BindError> {
    let refuse = |message: &str| BindError::new(Site::Param(format!("/{key}")), message);
    let uri: Uri = text.parse().map_err(|error| refuse(&format!("not a URL: {error}")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(refuse("TLS to upstreams is not in this release").with_help(
                "use `http://` to a server on a trusted network, or to a local proxy that adds TLS",
            ));
        }
        Some(_) | None => return Err(refuse("expected a URL that begins with `http://`")),
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(refuse("credentials in a URL are not supported"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        Some(_) | None => Err(refuse("the URL names no host")),
    }
}

/// `http://host:port` alone.
pub(crate) fn origin(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    // A scheme, an authority and a path make a URL.
    Uri::from_parts(parts).unwrap_or_default()
}

/// The names under `metadata`: what a node passes on.
pub(crate) fn passed_on(names: &[String], spelling: Spelling, errors: &mut Vec<BindError>) -> PassedOn {
    PassedOn::new(names, spelling).unwrap_or_else(|wrong| {
        let wrong = wrong
            .into_iter()
            .map(|(i, error)| BindError::new(Site::Param(format!("/metadata/{i}")), error.to_string()));
        errors.extend(wrong);
        PassedOn::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_bounds_is_named() {
        let mut errors = Vec::new();
        assert_eq!(CONCURRENCY.read(None, &mut errors), 16);
        assert_eq!(CONCURRENCY.read(Some(256), &mut errors), 256);
        assert!(errors.is_empty());
        CONCURRENCY.read(Some(257), &mut errors);
        assert_eq!(
            errors,
            [BindError::new(Site::Param("/concurrency".to_owned()), "expected 1 to 256, found 257")]
        );
    }

    #[test]
    fn only_plain_http_urls_are_taken() {
        assert_eq!(origin(&http_uri("url", "http://h:1/a?b").unwrap()), "http://h:1/");
        assert!(http_uri("url", "http://[::1]:50051").is_ok());
        for (text, message) in [
            ("https://h", "TLS to upstreams is not in this release"),
            ("ftp://h", "expected a URL that begins with `http://`"),
            ("h:1", "expected a URL that begins with `http://`"),
            ("/path", "expected a URL that begins with `http://`"),
            ("http://user:word@h", "credentials in a URL are not supported"),
            ("http://:80", "the URL names no host"),
        ] {
            assert_eq!(http_uri("url", text).unwrap_err().message, message, "{text}");
        }
        assert!(http_uri("url", "http://").is_err());
        assert!(http_uri("url", "http://a b").is_err());
    }
}
