//! Requests that are no calls: what HTTP says to them, with a body that says why.
//!
//! Only a path that leads nowhere is told in JSON, as Connect has it. What is wrong about a method or a
//! content type is no protocol's to tell: clients take the HTTP status.

use http::{HeaderValue, Response, StatusCode, header};

use super::media::ACCEPT_POST;
use crate::transport::tonic::UnaryBody;

/// Why a request is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// The path is no method's.
    Path,
    /// The HTTP method does not call; these do.
    Method {
        /// Whether a GET does.
        get: bool,
    },
    /// The content type, or the `encoding` of a GET, is none that a call has.
    MediaType,
    /// gRPC over HTTP/1.
    Grpc1,
    /// A preflight from a place that is not allowed.
    Origin,
}

// === impl Unserved ===

impl Unserved {
    /// What is answered.
    pub(crate) fn response(self) -> Response<UnaryBody> {
        let (status, content_type, body) = match self {
            Self::Path => (
                StatusCode::NOT_FOUND,
                "application/json",
                "{\"code\":\"unimplemented\",\"message\":\"nothing here: calls are POST /package.Service/Method; \
                 GET /healthz says that the host is up\"}",
            ),
            Self::Method { get: false } => {
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, "this method is called by POST\n")
            }
            Self::Method { get: true } => {
                (StatusCode::METHOD_NOT_ALLOWED, TEXT, "this method is called by POST or GET\n")
            }
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                TEXT,
                "no RPC protocol with this content type is served here; the header accept-post lists those that are\n",
            ),
            Self::Grpc1 => (
                StatusCode::UPGRADE_REQUIRED,
                TEXT,
                "gRPC needs HTTP/2: connect with prior knowledge (h2c); HTTP/1.1 carries Connect and gRPC-Web\n",
            ),
            Self::Origin => {
                (StatusCode::FORBIDDEN, TEXT, "pages of this origin may not call (cors.allowed_origins)\n")
            }
        };
        let mut response = Response::new(UnaryBody::text(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        match self {
            Self::Method { get } => {
                let allow = if get { "GET, POST" } else { "POST" };
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::MediaType => {
                headers.insert("accept-post", HeaderValue::from_static(ACCEPT_POST));
            }
            Self::Grpc1 => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Self::Path | Self::Origin => {}
        }
        response
    }
}

/// The content type of what people read.
const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn every_answer_says_what_would_do() {
        for (unserved, status, header) in [
            (Unserved::Path, 404, None),
            (Unserved::Method { get: false }, 405, Some(("allow", "POST"))),
            (Unserved::Method { get: true }, 405, Some(("allow", "GET, POST"))),
            (Unserved::MediaType, 415, Some(("accept-post", ACCEPT_POST))),
            (Unserved::Grpc1, 426, Some(("upgrade", "h2c"))),
            (Unserved::Origin, 403, None),
        ] {
            let response = unserved.response();
            assert_eq!(response.status().as_u16(), status);
            if let Some((name, value)) = header {
                assert_eq!(response.headers()[name], value);
            }
            let is_json = response.headers()["content-type"] == "application/json";
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(is_json, status == 404);
            assert_eq!(is_json, serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }
}
