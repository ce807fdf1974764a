//! The routes of packages: deploy, list, show, undeploy.
//!
//! Bodies and answers are those of the first okra, with more keys. A deploy says what it is doing while it
//! does it to whoever asks for `application/x-ndjson`; once that has begun the status is sent, so the last
//! line says how it ended.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::input::{At, Input, Parameters};
use super::probes::rfc3339;
use super::problem::{Kind, Problem, ProblemDocument};
use super::view::ReceiptView;
use crate::deploy::{
    DeployError, DeployProgress, DeployRequest, Deployed, Deployer, Origin, PackageStatus, QueuedDeploy,
    STEPS, SourceError, Standing,
};

/// The path of deploys, which take longer than other requests may.
pub(super) const DEPLOY_PATH: &str = "/api/v1/packages/deploy";

/// What is to be deployed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DeployBody {
    /// A `file://` or `s3://` URL.
    #[serde(default)]
    #[schema(example = "file:///srv/packages/orders.okra.pkg")]
    source: Option<String>,
    /// Whether the package may replace what is deployed under its id.
    #[serde(default, rename = "override")]
    replaces: Option<bool>,
    /// The SHA-256 that the package must have, in hexadecimal digits.
    #[serde(default)]
    sha256: Option<String>,
}

/// How a package is deployed, for those whose body has no room to say it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeployQuery {
    /// Whether the package may replace what is deployed under its id.
    #[serde(default, rename = "override")]
    replaces: bool,
    /// The SHA-256 that the package must have, in hexadecimal digits.
    #[serde(default)]
    sha256: Option<String>,
}

/// What a deploy did.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployed)]
pub(super) struct DeployedView {
    /// `{namespace}.{Service}.{version}`.
    #[schema(example = "shop.Orders.v1")]
    service_id: String,
    /// `deployed`; or `staged`, if the route is served by a graph that somebody published himself.
    status: &'static str,
    /// The paths of the methods, in the order of their declaration.
    #[schema(example = json!(["/shop.Orders/Place"]))]
    endpoints: Vec<String>,
    /// The SHA-256 of the package.
    digest: String,
    /// The graph that was made for it.
    graph: String,
    /// The version of that graph.
    version: String,
    /// What the swap did to calls, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptView>,
    /// What is odd but does no harm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

/// Every deployed service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PackageList)]
pub(super) struct PackageListView {
    services: Vec<PackageView>,
}

/// A deployed service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Package)]
pub(super) struct PackageView {
    /// `{namespace}.{Service}.{version}`.
    #[schema(example = "shop.Orders.v1")]
    id: String,
    /// Where its package came from.
    source: String,
    /// When it was deployed, as RFC 3339.
    #[schema(example = "2026-01-31T12:00:00Z")]
    deployed_at: String,
    /// The SHA-256 of the package.
    digest: String,
    /// The graph that was made for it.
    graph: String,
    /// The version of that graph.
    version: String,
    /// Whether calls of the plain route run on it.
    active: bool,
    /// How it serves.
    state: PackageState,
    /// Why it does not, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The paths of its methods, in the order of their declaration.
    endpoints: Vec<String>,
}

/// How a deployed service serves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PackageState {
    /// On the plain route.
    Active,
    /// For calls that ask for its version.
    ByVersion,
    /// Not yet: the route is served by a graph that somebody published himself.
    Staged,
    /// Not at all: its package or its graph cannot be used.
    Unserved,
}

/// A line of what a deploy tells while it runs.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Step(DeployProgress),
    Result { result: Box<DeployedView> },
    Problem { problem: Box<ProblemDocument> },
}

/// Deploy a package.
///
/// The package is named by a source, or is the body itself. With `Accept: application/x-ndjson` the answer
/// is a line of JSON for each step as it begins, `{"step", "at_ms"}`, and a last one that has `result` or
/// `problem`.
#[utoipa::path(
    post, path = "/api/v1/packages/deploy", tag = "packages", operation_id = "deployPackage",
    params(DeployQuery),
    request_body(content(
        (DeployBody = "application/json"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "It is deployed, or staged if the route is served by a graph of one's own.", content(
            (DeployedView = "application/json"), (String = "application/x-ndjson"),
        )),
        (status = 400, description = "The body, the query or the source is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "The source has no such package.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The service is deployed already, or its route or version is another's.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The package is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "It was sent neither as JSON nor as bytes.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be fetched, or is not a package that runs here.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn deploy(
    State(state): State<Shared>,
    Parameters(query): Parameters<DeployQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let (wants_lines, is_upload) = (accepts_lines(headers), is_bytes(headers));
    // A place before the body: whoever finds none need not send it.
    let queued = state.deployer.queue()?;
    let request = match is_upload {
        true => upload(query, request, &state.deployer).await?,
        false => named(query, request).await?,
    };
    if !wants_lines {
        let deployed = queued.run(request, None).await?;
        return Ok(Json(DeployedView::from(deployed)).into_response());
    }
    lines(queued, request).await
}

async fn named(query: DeployQuery, request: Request) -> Result<DeployRequest, Problem> {
    let body = Input::from_request(request, &()).await;
    let Input(DeployBody { source, replaces, sha256 }) = body.map_err(|problem: Problem| {
        let is_unread = problem.status() == StatusCode::BAD_REQUEST.as_u16();
        if is_unread { problem.known_as("invalid request body") } else { problem }
    })?;
    let source = source.unwrap_or_default();
    Ok(DeployRequest {
        origin: Origin::Source(source),
        replaces: replaces.unwrap_or(query.replaces),
        sha256: sha256.or(query.sha256),
    })
}

async fn upload(query: DeployQuery, request: Request, deployer: &Deployer) -> Result<DeployRequest, Problem> {
    let settings = deployer.settings();
    let limit = settings.sources.max_package;
    let reading = axum::body::to_bytes(request.into_body(), limit);
    let read = tokio::time::timeout(settings.timeout, reading).await;
    let bytes: Bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error);
            return Err(match source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                true => DeployError::Source(SourceError::TooLarge { limit }).into(),
                false => Problem::new(Kind::BadRequest, "the body ended before it was complete"),
            });
        }
        Err(_) => return Err(DeployError::TooSlow { limit: settings.timeout }.into()),
    };
    Ok(DeployRequest { origin: Origin::Upload(bytes), replaces: query.replaces, sha256: query.sha256 })
}

/// Answers with a line for each step. What fails before the first step has a status of its own.
async fn lines(queued: QueuedDeploy, request: DeployRequest) -> Result<Response, Problem> {
    let (told, mut steps) = mpsc::channel(STEPS);
    let (done, ended) = oneshot::channel();
    tokio::spawn(async move {
        // Whoever asked may have left.
        let _heard = done.send(queued.run(request, Some(told)).await);
    });
    let Some(first) = steps.recv().await else {
        let deployed = ended.await.map_err(|_| Problem::internal())??;
        return Ok(Json(DeployedView::from(deployed)).into_response());
    };
    let lines = stream::unfold((Some(first), steps, Some(ended)), |(first, mut steps, ended)| async move {
        let next = match first {
            Some(first) => Some(first),
            None => steps.recv().await,
        };
        if let Some(step) = next {
            return Some((Line::Step(step), (None, steps, ended)));
        }
        let line = match ended?.await.unwrap_or(Err(DeployError::Lost)) {
            Ok(deployed) => Line::Result { result: Box::new(deployed.into()) },
            Err(error) => Line::Problem { problem: Problem::from(error).into_document() },
        };
        Some((line, (None, steps, None)))
    });
    let text = futures_util::StreamExt::map(lines, |line| {
        // Strings and numbers always serialize.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(text)
    });
    Ok(([(CONTENT_TYPE, LINES)], Body::from_stream(text)).into_response())
}

/// List the deployed services.
#[utoipa::path(
    get, path = "/api/v1/packages", tag = "packages", operation_id = "listPackages",
    responses((status = 200, description = "Every deployed service, by id.", body = PackageListView))
)]
pub(super) async fn list(State(state): State<Shared>) -> Json<PackageListView> {
    Json(PackageListView { services: state.deployer.list().into_iter().map(Into::into).collect() })
}

/// Show a deployed service.
#[utoipa::path(
    get, path = "/api/v1/packages/{id}", tag = "packages", operation_id = "getPackage",
    params(("id" = String, Path, description = "The service.")),
    responses(
        (status = 200, description = "The service.", body = PackageView),
        (status = 404, description = "There is no such service.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<Shared>,
    At(id): At<String>,
) -> Result<Json<PackageView>, Problem> {
    let status = state.deployer.get(&id).ok_or_else(|| Problem::not_found("service not found"))?;
    Ok(Json(status.into()))
}

/// Undeploy a service.
///
/// Calls that come later find nothing of it; those in flight go on. If another version of its route is
/// deployed, the one deployed last takes its place.
#[utoipa::path(
    delete, path = "/api/v1/packages/{id}", tag = "packages", operation_id = "undeployPackage",
    params(("id" = String, Path, description = "The service.")),
    responses(
        (status = 204, description = "It is undeployed."),
        (status = 404, description = "There is no such service.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "What would take its place cannot serve.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn undeploy(State(state): State<Shared>, At(id): At<String>) -> Result<StatusCode, Problem> {
    state.deployer.undeploy(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Say that a service must be named.
#[utoipa::path(
    delete, path = "/api/v1/packages/", tag = "packages", operation_id = "undeployNothing",
    responses((status = 400, description = "No service is named.", body = ProblemDocument, content_type = "application/problem+json"))
)]
pub(super) async fn undeploy_nothing() -> Problem {
    Problem::new(Kind::BadRequest, "service ID required")
}

/// The media type of one JSON document a line.
const LINES: &str = "application/x-ndjson";

fn accepts_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| media_type(range).eq_ignore_ascii_case(LINES))
}

/// Whether the body is the package. A form that a page of another site can send is not.
fn is_bytes(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(media_type);
    kind.is_some_and(|kind| {
        let known = ["application/octet-stream", "application/gzip", "application/x-gzip"];
        known.iter().any(|known| kind.eq_ignore_ascii_case(known))
    })
}

fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

// === from what the deployer says ===

impl From<Deployed> for DeployedView {
    fn from(deployed: Deployed) -> Self {
        let Deployed { status, receipt, notes, took_ms } = deployed;
        let (is_published, mut notes) = (receipt.is_some(), notes);
        if is_published && status.standing != Standing::Active {
            notes.push(format!(
                "{} is held at another version by a pin; unpin it to serve this one",
                status.graph
            ));
        }
        if !is_published {
            notes.push(format!(
                "{} is served by a graph of one's own, which stays active; publish {}@{} to serve this one",
                status.graph, status.graph, status.version
            ));
        }
        Self {
            service_id: status.id,
            status: if is_published { "deployed" } else { "staged" },
            endpoints: status.endpoints,
            digest: status.digest.to_string(),
            graph: status.graph,
            version: status.version,
            receipt: receipt.map(Into::into),
            notes,
            took_ms,
        }
    }
}

impl From<PackageStatus> for PackageView {
    fn from(status: PackageStatus) -> Self {
        let deployed_at = SystemTime::UNIX_EPOCH + Duration::from_millis(status.deployed_at_ms);
        Self {
            id: status.id,
            source: status.source,
            deployed_at: rfc3339(deployed_at),
            digest: status.digest.to_string(),
            graph: status.graph,
            version: status.version,
            active: status.standing == Standing::Active,
            state: match status.standing {
                Standing::Active => PackageState::Active,
                Standing::ByVersion => PackageState::ByVersion,
                Standing::Staged => PackageState::Staged,
                Standing::Unserved => PackageState::Unserved,
            },
            reason: status.reason,
            endpoints: status.endpoints,
        }
    }
}
