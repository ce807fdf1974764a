//! Cross-origin calls: which pages may call, and what their browsers may show them.
//!
//! Without allowed origins nothing is said, and every browser keeps its pages away. Credentials are never
//! allowed: no cookie means anything here. A preflight is answered here and runs nothing.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::unserved::Unserved;
use crate::transport::tonic::UnaryBody;

/// Which pages may call.
#[derive(Clone, Debug)]
pub struct CorsConfig {
    /// The origins of these pages, `https://app.example.com` for example; `*` is any. None by default.
    pub allowed_origins: Vec<String>,
    /// How long a browser may remember the answer to a preflight. Default 2 h.
    pub max_age: Duration,
}

/// What the page that calls is told.
#[derive(Debug)]
pub(crate) struct Allowed {
    origin: HeaderValue,
    /// Whether another page would be told otherwise.
    varies: bool,
}

// === impl CorsConfig ===

impl CorsConfig {
    /// Whether this request's page may call; `None` if it may not, or no page sent it.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> Option<Allowed> {
        let origin = headers.get(header::ORIGIN)?;
        if self.allowed_origins.iter().any(|allowed| allowed == ANY) {
            return Some(Allowed { origin: HeaderValue::from_static(ANY), varies: false });
        }
        // Browsers write an origin in one way only.
        let known = self.allowed_origins.iter().any(|allowed| origin == allowed.as_str());
        known.then(|| Allowed { origin: origin.clone(), varies: true })
    }

    /// The answer to a preflight, if this request is one and some page may call at all.
    pub(crate) fn preflight(&self, head: &Parts) -> Option<Response<UnaryBody>> {
        let wanted = head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if head.method != Method::OPTIONS || !wanted || self.allowed_origins.is_empty() {
            return None;
        }
        let Some(allowed) = self.allow(&head.headers) else { return Some(Unserved::Origin.response()) };
        let mut response = Response::new(UnaryBody::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        allowed.mark(headers);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        // Metadata may have any name, so whatever is asked for is allowed.
        if let Some(names) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        Some(response)
    }
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self { allowed_origins: Vec::new(), max_age: Duration::from_secs(2 * 3600) }
    }
}

// === impl Allowed ===

impl Allowed {
    /// Lets the page see the response, with all its headers.
    pub(crate) fn expose(&self, headers: &mut HeaderMap) {
        let exposed: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        let exposed = HeaderValue::from_str(&exposed.join(", "));
        if let Some(exposed) = exposed.ok().filter(|exposed| !exposed.is_empty()) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        self.mark(headers);
    }

    fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.varies {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

/// The word for every origin.
const ANY: &str = "*";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: Method, pairs: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/a.B/C");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn allowing(origins: &[&str]) -> CorsConfig {
        CorsConfig {
            allowed_origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            ..CorsConfig::default()
        }
    }

    const PREFLIGHT: [(&str, &str); 3] = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,connect-protocol-version"),
    ];

    #[test]
    fn nothing_is_said_unless_it_is_configured() {
        let cors = CorsConfig::default();
        assert!(cors.preflight(&parts(Method::OPTIONS, &PREFLIGHT)).is_none());
        assert!(cors.allow(&parts(Method::POST, &PREFLIGHT).headers).is_none());
    }

    #[test]
    fn an_allowed_page_is_told_so() {
        for (origins, said, vary) in [
            (&["https://b.example", "https://a.example"][..], "https://a.example", Some("origin")),
            (&["*"], "*", None),
        ] {
            let response = allowing(origins).preflight(&parts(Method::OPTIONS, &PREFLIGHT)).unwrap();
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            let header =
                |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            assert_eq!(header("access-control-allow-origin"), Some(said));
            assert_eq!(header("access-control-allow-headers"), Some("content-type,connect-protocol-version"));
            assert_eq!(header("access-control-allow-methods"), Some("GET, POST"));
            assert_eq!(header("access-control-max-age"), Some("7200"));
            assert_eq!(header("vary"), vary);
        }
    }

    #[test]
    fn any_other_page_is_not() {
        let cors = allowing(&["https://a.example.org"]);
        let refused = cors.preflight(&parts(Method::OPTIONS, &PREFLIGHT)).unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert!(refused.headers().get("access-control-allow-origin").is_none());
        assert!(cors.allow(&parts(Method::POST, &PREFLIGHT).headers).is_none());
        assert!(cors.preflight(&parts(Method::POST, &PREFLIGHT)).is_none(), "no preflight");
        assert!(cors.preflight(&parts(Method::OPTIONS, &PREFLIGHT[..1])).is_none(), "no preflight");
    }

    #[test]
    fn a_page_sees_every_header_of_its_answer() {
        let allowed = allowing(&["*"]).allow(&parts(Method::POST, &PREFLIGHT).headers).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["content-type", "x-a", "trailer-x-b"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        allowed.expose(&mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_EXPOSE_HEADERS], "content-type, x-a, trailer-x-b");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }
}
