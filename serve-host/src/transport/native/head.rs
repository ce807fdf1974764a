//! Heads of `http2-core` as metadata, as HTTP requests, and responses as heads.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::Metadata;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use http2_core::{Field, Fields, Head, InvalidField, ResponseHead};
use kernels::MetadataSource;

use crate::grpc::metadata;

/// The fields of a head as metadata: nothing is converted before it is asked for. Made once for a head that
/// repeats, so it must not hold the head that it is kept with.
#[derive(Debug)]
pub(super) struct FieldSource {
    fields: Arc<[Field]>,
    for_host: bool,
}

// === impl FieldSource ===

impl FieldSource {
    pub(super) fn new(fields: &Arc<[Field]>) -> Self {
        let for_host = |field: &Field| HOSTS_OWN.iter().any(|own| field.name().starts_with(own));
        Self { fields: fields.clone(), for_host: fields.iter().any(for_host) }
    }
}

impl MetadataSource for FieldSource {
    fn first(&self, name: &str) -> Option<Bytes> {
        let field = self.fields.iter().find(|field| field.name() == name.as_bytes())?;
        metadata::value(name, field.value())
    }

    fn may_be_for_host(&self) -> bool {
        self.for_host
    }

    fn to_metadata(&self) -> Arc<Metadata> {
        Arc::new(metadata::collect(
            self.fields.iter().filter_map(|field| Some((str::from_utf8(field.name()).ok()?, field.value()))),
        ))
    }
}

/// The HTTP request that has this head.
///
/// # Errors
/// [`http::Error`] for a target that no `Uri` can hold.
pub(super) fn request<B>(head: &Head, body: B) -> Result<Request<B>, http::Error> {
    let uri = match (head.scheme(), head.authority()) {
        _ if head.path().is_empty() => Uri::try_from(head.authority().unwrap_or_default())?,
        (Some(scheme), Some(authority)) if head.path().starts_with('/') && !authority.is_empty() => {
            Uri::builder().scheme(scheme).authority(authority).path_and_query(&**head.path()).build()?
        }
        _ => Uri::try_from(&**head.path())?,
    };
    let mut request =
        Request::builder().method(head.method()).uri(uri).version(Version::HTTP_2).body(body)?;
    *request.headers_mut() = headers(head.fields());
    Ok(request)
}

/// Fields as a header map. All that `http2-core` lets through are legal.
pub(super) fn headers(fields: &[Field]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name()), HeaderValue::from_bytes(field.value()))
        {
            headers.append(name, value);
        }
    }
    headers
}

/// The head of a response; `length` is told if the response says nothing about it.
///
/// # Errors
/// [`InvalidField`] for a status that HTTP/2 does not have.
pub(super) fn response_head(
    response: &http::response::Parts,
    length: Option<u64>,
) -> Result<ResponseHead, InvalidField> {
    let mut head = ResponseHead::new(response.status.as_u16())?;
    each_sendable(&response.headers, |name, value| head.push(name, value));
    if let Some(length) = length.filter(|_| !response.headers.contains_key(http::header::CONTENT_LENGTH)) {
        head.push(b"content-length", length.to_string().as_bytes())?;
    }
    Ok(head)
}

/// Trailers as fields.
pub(super) fn trailers(trailers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    each_sendable(trailers, |name, value| fields.push(name, value));
    fields
}

/// Leaves out what belongs to connections of HTTP/1, and the blanks at the ends of values.
fn each_sendable(headers: &HeaderMap, mut push: impl FnMut(&[u8], &[u8]) -> Result<(), InvalidField>) {
    for (name, value) in headers {
        if push(name.as_str().as_bytes(), value.as_bytes().trim_ascii()).is_err() {
            tracing::debug!(name = name.as_str(), "HTTP/2 has no such response field; left out");
        }
    }
}

/// How the names begin that are for the host.
const HOSTS_OWN: [&[u8]; 2] = [b"okra-", b"sr-graph-"];
