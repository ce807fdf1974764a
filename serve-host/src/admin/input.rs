//! What comes in: bodies and queries, read strictly, and refused as problems.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use exec_plan::{GraphName, Version};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem, ProblemError};

/// A JSON document as it was sent.
pub(super) struct Document(pub(super) Bytes);

/// A JSON body of a known form; unknown keys are refused.
pub(super) struct Input<T>(pub(super) T);

/// The parts of the path.
pub(super) struct At<T>(pub(super) T);

/// The query; unknown parameters are refused.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        must_be_json(request.headers())?;
        Bytes::from_request(request, state).await.map(Self).map_err(unreadable)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Document(bytes) = Document::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let place = ProblemError {
                pointer: String::new(),
                line: error.line().max(1),
                column: error.column().max(1),
                code: "invalid-body".to_owned(),
                message: error.to_string(),
                help: None,
            };
            Problem::new(Kind::BadRequest, format!("the body is not what is expected: {error}"))
                .with_errors(vec![place])
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path))
            .map_err(|_: PathRejection| Problem::not_found("nothing has a name that is not UTF-8"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error: QueryRejection| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(Kind::BadRequest, format!("the query is not what is expected: {cause}"))
        })
    }
}

/// A name from the path. One that could not be a graph's is no graph's.
pub(super) fn graph_name(text: &str) -> Result<GraphName, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("no graph named {text:?} is staged")))
}

/// A version from the path.
pub(super) fn path_version(graph: &GraphName, text: &str) -> Result<Version, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("no version {text:?} of {graph} is staged")))
}

/// A form that a page of another site can send is none of these.
fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedType, "the body must be sent as application/json"))
}

fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(Kind::TooLarge, "the body is larger than admin.max_document or admin.max_body allows")
    } else {
        Problem::new(Kind::BadRequest, "the body ended before it was complete")
    }
}
