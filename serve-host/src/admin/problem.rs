//! How the control plane says no: `application/problem+json` (RFC 9457), with every mistake of a graph
//! at its place.

use std::io;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use exec_plan::{DiskError, EvictError, GraphErrors, PublishError, StageError};
use serde::Serialize;
use utoipa::ToSchema;

use super::packages::DEPLOY_PATH;

/// A refusal, or a failure.
#[derive(Clone, Debug)]
pub struct Problem(Box<ProblemDocument>);

/// What is sent of a [`Problem`].
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument {
    /// What kind of problem it is, as a URN that does not change.
    #[serde(rename = "type")]
    #[schema(example = "urn:okra:problem:not-found")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The detail again, under the name that older clients read.
    error: String,
    /// The mistakes of a graph or a body, each at its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemError>,
    /// Headers that belong to it.
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One mistake in a document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemError {
    /// The JSON pointer of the value that is wrong.
    #[schema(example = "/nodes/2/kernel")]
    pub pointer: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What kind of mistake it is; the name does not change.
    #[schema(example = "unknown-kernel")]
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    BadRequest,
    Conflict,
    Forbidden,
    Internal,
    InvalidGraph,
    InvalidPackage,
    MethodNotAllowed,
    NotFound,
    NotSaved,
    ReadOnly,
    StorageFull,
    TimedOut,
    TooLarge,
    TooMany,
    Unauthorized,
    Unfetched,
    UnsupportedType,
}

// === impl Kind ===

impl Kind {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "urn:okra:problem:bad-request", "bad request"),
            Self::Conflict => (StatusCode::CONFLICT, "urn:okra:problem:conflict", "conflict"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "urn:okra:problem:forbidden", "forbidden"),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "urn:okra:problem:internal", "internal error")
            }
            Self::InvalidGraph => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:okra:problem:invalid-graph", "invalid graph")
            }
            Self::InvalidPackage => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:okra:problem:invalid-package", "invalid package")
            }
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "urn:okra:problem:method-not-allowed", "method not allowed")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "urn:okra:problem:not-found", "not found"),
            Self::NotSaved => {
                (StatusCode::INTERNAL_SERVER_ERROR, "urn:okra:problem:not-saved", "the change was not saved")
            }
            Self::ReadOnly => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:okra:problem:read-only", "no changes are accepted")
            }
            Self::StorageFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "urn:okra:problem:storage-full", "the disk is full")
            }
            Self::TimedOut => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:okra:problem:timed-out", "it took too long")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "urn:okra:problem:too-large", "too large"),
            Self::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, "urn:okra:problem:too-many", "too many requests")
            }
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "urn:okra:problem:unauthorized", "a token is needed")
            }
            Self::Unfetched => {
                (StatusCode::UNPROCESSABLE_ENTITY, "urn:okra:problem:unfetched", "the source cannot be read")
            }
            Self::UnsupportedType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "urn:okra:problem:unsupported-type", "unsupported type")
            }
        }
    }
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, kind, title) = kind.describe();
        let detail = detail.into();
        let error = detail.clone();
        let (status, errors, headers) = (status.as_u16(), Vec::new(), Vec::new());
        Self(Box::new(ProblemDocument { kind, title, status, detail, error, errors, headers }))
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    pub(super) fn with_errors(mut self, errors: Vec<ProblemError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds a sentence.
    pub(super) fn and(mut self, sentence: &str) -> Self {
        self.0.detail = format!("{}; {sentence}", self.0.detail);
        self.0.error.clone_from(&self.0.detail);
        self
    }

    /// Says how to mend it. The words that older clients read stay as they are.
    pub(super) fn with_help(mut self, sentence: &str) -> Self {
        self.0.detail = format!("{}; {sentence}", self.0.detail);
        self
    }

    /// Says the same in other words.
    pub(super) fn saying(mut self, text: String) -> Self {
        self.0.detail.clone_from(&text);
        self.0.error = text;
        self
    }

    /// Gives older clients the words that they know for it.
    pub(super) fn known_as(mut self, error: &str) -> Self {
        error.clone_into(&mut self.0.error);
        self
    }

    pub(super) fn into_document(self) -> Box<ProblemDocument> {
        self.0
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, what)
    }

    pub(super) fn internal() -> Self {
        Self::new(Kind::Internal, "the request failed in a way that is not its fault; the log knows more")
    }

    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(Kind::TooMany, detail).with_header(RETRY_AFTER, "1")
    }

    pub(super) fn too_many_changes() -> Self {
        Self::too_many("too many changes wait already")
    }

    pub(super) fn too_many_failures() -> Self {
        Self::new(Kind::TooMany, "too many wrong tokens from this address").with_header(RETRY_AFTER, "60")
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(Kind::Unauthorized, detail).with_header(WWW_AUTHENTICATE, "Bearer realm=\"okra\"")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.0.headers.iter().cloned());
        // Strings and numbers always serialize.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, headers, body).into_response()
    }
}

// === from the store's errors, one match each ===

impl From<GraphErrors> for Problem {
    fn from(found: GraphErrors) -> Self {
        let errors: Vec<ProblemError> = found
            .errors()
            .iter()
            .map(|error| ProblemError {
                pointer: error.pointer.clone(),
                line: error.line,
                column: error.column,
                code: error.code.name().to_owned(),
                message: error.message.clone(),
                help: error.help.clone(),
            })
            .collect();
        let detail = match (errors.len(), found.omitted()) {
            (1, 0) => "the graph has 1 mistake".to_owned(),
            (count, 0) => format!("the graph has {count} mistakes"),
            (count, omitted) => {
                format!("the graph has {} mistakes, of which these are the first", count + omitted)
            }
        };
        Self::new(Kind::InvalidGraph, detail).with_errors(errors)
    }
}

impl From<DiskError> for Problem {
    fn from(error: DiskError) -> Self {
        let detail = chain(&error);
        match error {
            DiskError::Failed { source, .. } if is_full(source.kind()) => {
                Self::new(Kind::StorageFull, detail)
            }
            DiskError::ReadOnly { .. } => Self::new(Kind::ReadOnly, detail),
            DiskError::Failed { .. } | _ => Self::new(Kind::NotSaved, detail),
        }
    }
}

impl From<StageError> for Problem {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Conflict { .. } => Self::new(Kind::Conflict, error.to_string())
                .and("raise the version, or replace the content with ?force=true"),
            StageError::Disk(error) => error.into(),
            StageError::Invalid(errors) => errors.into(),
            _ => Self::internal(),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Disk(error) => error.into(),
            PublishError::UnknownGraph { .. } | PublishError::UnknownVersion { .. } => {
                Self::not_found(error.to_string())
            }
            PublishError::Inner { .. }
            | PublishError::NotPublished { .. }
            | PublishError::NoPrevious { .. }
            | PublishError::ServiceTaken { .. }
            | PublishError::Unusable { .. } => Self::new(Kind::Conflict, error.to_string()),
            _ => Self::internal(),
        }
    }
}

impl From<EvictError> for Problem {
    fn from(error: EvictError) -> Self {
        match error {
            EvictError::Disk(error) => error.into(),
            EvictError::InUse { .. } => Self::new(Kind::Conflict, error.to_string()),
            EvictError::UnknownGraph { .. } | EvictError::UnknownVersion { .. } => {
                Self::not_found(error.to_string())
            }
            _ => Self::internal(),
        }
    }
}

/// Whether there is no room: on the disk, in a quota, or in the largest file that may be.
pub(super) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

// === what answers where no route does ===

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path())).and("see /openapi.json")
}

pub(super) async fn method_not_allowed(uri: Uri) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{} does not take this method", uri.path()))
}

/// Answers for a handler that takes too long.
pub(super) async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    if request.uri().path() == DEPLOY_PATH {
        // A deploy has limits of its own for each of its parts.
        return next.run(request).await;
    }
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::TimedOut, "the request was not answered in time").into_response(),
    }
}

/// Answers are of the moment, and are what they say they are.
pub(super) async fn never_cached(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
