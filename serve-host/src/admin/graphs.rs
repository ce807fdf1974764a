//! The routes of graphs: one function each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use exec_plan::{GraphName, GraphSource, PlanStore, PublishError, SwapReceipt, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::input::{At, Document, Input, Parameters, graph_name, path_version};
use super::problem::{Problem, ProblemDocument};
use super::view::{GraphDetailView, GraphListView, ReceiptView, StagedView, ValidView};

/// How a document is taken.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StageQuery {
    /// Publish it at once.
    #[serde(default)]
    publish: bool,
    /// Replace the content that the version has already.
    #[serde(default)]
    force: bool,
    /// The graph's name, if the document gives none.
    #[param(value_type = Option<NameText>, inline)]
    name: Option<GraphName>,
}

/// How a document is looked at.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ValidateQuery {
    /// The graph's name, if the document gives none.
    #[param(value_type = Option<NameText>, inline)]
    name: Option<GraphName>,
}

/// Which plan is explained, and how.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The form of the answer.
    #[serde(default)]
    #[param(inline)]
    format: ExplainFormat,
    /// The version; what is active if none is named.
    #[param(value_type = Option<VersionText>, inline)]
    version: Option<Version>,
}

/// The forms of an explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExplainFormat {
    /// For tools.
    #[default]
    Json,
    /// A picture in Markdown.
    Mermaid,
    /// A picture.
    Svg,
    /// For people.
    Text,
}

/// The version to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishBody {
    #[schema(value_type = VersionText)]
    version: Version,
}

/// The version to hold a graph at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PinBody {
    /// `null` lets the graph go.
    #[schema(value_type = Option<VersionText>, required = true)]
    #[serde(deserialize_with = "Option::deserialize")]
    version: Option<Version>,
}

/// List graphs.
#[utoipa::path(
    get, path = "/api/v1/graphs", tag = "graphs", operation_id = "listGraphs",
    responses((status = 200, description = "Every graph.", body = GraphListView))
)]
pub(super) async fn list(State(state): State<Shared>) -> Json<GraphListView> {
    let read_only = state.store.read_only().map(|reason| reason.to_string());
    Json(GraphListView::new(state.store.list(), read_only))
}

/// Stage a graph, and publish it if asked.
///
/// The same content of a version may be staged any number of times. Other content is refused unless
/// `force` replaces it.
#[utoipa::path(
    post, path = "/api/v1/graphs", tag = "graphs", operation_id = "stageGraph",
    params(StageQuery),
    request_body(content = serde_json::Value, description = "A graph document.", content_type = "application/json"),
    responses(
        (status = 200, description = "This content was there already.", body = StagedView),
        (status = 201, description = "It is staged.", body = StagedView, headers(("location" = String, description = "The graph."))),
        (status = 400, description = "The query is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The version has other content, or it cannot be published.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The document is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "It was not sent as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The document does not compile; every mistake is listed.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stage(
    State(state): State<Shared>,
    Parameters(query): Parameters<StageQuery>,
    Document(text): Document,
) -> Result<Response, Problem> {
    let source = source(text, query.name);
    let store = state.store.clone();
    let view = state.changes.make(move || {
        let staged = store.stage(&source, query.force)?;
        let receipt = match query.publish {
            false => None,
            true => Some(store.publish(&staged.graph, &staged.release.version)?),
        };
        tracing::info!(
            graph = %staged.graph, version = %staged.release.version, hash = %staged.release.hash.short(),
            is_new = staged.is_new, published = query.publish, "staged over the control plane"
        );
        let location = format!("/api/v1/graphs/{}", staged.graph);
        Ok((staged.is_new, location, StagedView::new(&staged, receipt)))
    });
    let (is_new, location, view) = view.await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(view)).into_response())
}

/// Check a graph without keeping it.
#[utoipa::path(
    post, path = "/api/v1/graphs:validate", tag = "graphs", operation_id = "validateGraph",
    params(ValidateQuery),
    request_body(content = serde_json::Value, description = "A graph document.", content_type = "application/json"),
    responses(
        (status = 200, description = "It compiles.", body = ValidView),
        (status = 400, description = "The query is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The document is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "It was not sent as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "It does not compile; every mistake is listed.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn validate(
    State(state): State<Shared>,
    Parameters(query): Parameters<ValidateQuery>,
    Document(text): Document,
) -> Result<Json<ValidView>, Problem> {
    let source = source(text, query.name);
    let store = state.store.clone();
    // It changes nothing, but it compiles: the same few may do so at a time.
    let plan = state.changes.make(move || Ok(store.check(&source)?)).await?;
    Ok(Json(ValidView {
        valid: true,
        graph: plan.name().to_string(),
        version: plan.version().to_string(),
        hash: plan.hash().to_string(),
        answers: plan.answers(),
        serves: plan.serves().iter().map(ToString::to_string).collect(),
    }))
}

/// Show a graph, its versions and its latest swaps.
#[utoipa::path(
    get, path = "/api/v1/graphs/{name}", tag = "graphs", operation_id = "getGraph",
    params(("name" = String, Path, description = "The graph.")),
    responses(
        (status = 200, description = "The graph.", body = GraphDetailView),
        (status = 404, description = "There is no such graph.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<Shared>,
    At(name): At<String>,
) -> Result<Json<GraphDetailView>, Problem> {
    let name = graph_name(&name)?;
    let status = state.store.get(&name).ok_or_else(|| unknown(&name))?;
    let receipts = state.store.receipts().into_iter().filter(|receipt| receipt.graph == name);
    Ok(Json(GraphDetailView::new(status, receipts)))
}

/// Get the document of a version, as it was staged.
#[utoipa::path(
    get, path = "/api/v1/graphs/{name}/versions/{version}", tag = "graphs", operation_id = "getGraphDocument",
    params(("name" = String, Path, description = "The graph."), ("version" = String, Path, description = "The version.")),
    responses(
        (status = 200, description = "The document.", body = serde_json::Value, headers(("etag" = String, description = "The hash of its content."))),
        (status = 404, description = "There is no such graph or version.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn document(
    State(state): State<Shared>,
    At((name, version)): At<(String, String)>,
) -> Result<Response, Problem> {
    let name = graph_name(&name)?;
    let version = path_version(&name, &version)?;
    let plan = state
        .store
        .inspect(&name, Some(&version))
        .ok_or_else(|| Problem::not_found(format!("no version {version} of {name} is staged")))?;
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (ETAG, format!("\"{}\"", plan.hash()))];
    Ok((headers, plan.source_text().clone()).into_response())
}

/// Explain the plan of a graph.
#[utoipa::path(
    get, path = "/api/v1/graphs/{name}/explain", tag = "graphs", operation_id = "explainGraph",
    params(("name" = String, Path, description = "The graph."), ExplainQuery),
    responses(
        (status = 200, description = "The explanation.", content(
            (serde_json::Value = "application/json"), (String = "text/plain"), (String = "image/svg+xml"),
        )),
        (status = 400, description = "The query is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such graph or version.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn explain(
    State(state): State<Shared>,
    At(name): At<String>,
    Parameters(query): Parameters<ExplainQuery>,
) -> Result<Response, Problem> {
    let name = graph_name(&name)?;
    let plan = state.store.inspect(&name, query.version.as_ref()).ok_or_else(|| match &query.version {
        Some(version) => Problem::not_found(format!("no version {version} of {name} is staged")),
        None => Problem::not_found(format!("no version of {name} is active")),
    })?;
    let explain = plan.explain();
    let text = "text/plain; charset=utf-8";
    Ok(match query.format {
        ExplainFormat::Json => Json(explain).into_response(),
        ExplainFormat::Mermaid => ([(CONTENT_TYPE, text)], explain.to_mermaid()).into_response(),
        ExplainFormat::Text => ([(CONTENT_TYPE, text)], explain.to_string()).into_response(),
        ExplainFormat::Svg => {
            // A picture runs nothing, whatever a graph is called.
            let policy = "default-src 'none'; style-src 'unsafe-inline'";
            let headers = [(CONTENT_TYPE, "image/svg+xml"), (CONTENT_SECURITY_POLICY, policy)];
            (headers, explain.to_svg()).into_response()
        }
    })
}

/// Publish a version: calls that come later run on it.
#[utoipa::path(
    post, path = "/api/v1/graphs/{name}/publish", tag = "graphs", operation_id = "publishGraph",
    params(("name" = String, Path, description = "The graph.")),
    request_body = PublishBody,
    responses(
        (status = 200, description = "It is published.", body = ReceiptView),
        (status = 400, description = "The body is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such graph or version.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be published.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "It was not sent as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn publish(
    State(state): State<Shared>,
    At(name): At<String>,
    Input(body): Input<PublishBody>,
) -> Result<Json<ReceiptView>, Problem> {
    let name = graph_name(&name)?;
    swap(&state, move |store| store.publish(&name, &body.version)).await
}

/// Go back to the version that was active before.
#[utoipa::path(
    post, path = "/api/v1/graphs/{name}/rollback", tag = "graphs", operation_id = "rollbackGraph",
    params(("name" = String, Path, description = "The graph.")),
    responses(
        (status = 200, description = "The version before is active.", body = ReceiptView),
        (status = 404, description = "There is no such graph.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "There is nothing to go back to.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rollback(
    State(state): State<Shared>,
    At(name): At<String>,
) -> Result<Json<ReceiptView>, Problem> {
    let name = graph_name(&name)?;
    swap(&state, move |store| store.rollback(&name)).await
}

/// Hold a graph at a version, or let it go.
#[utoipa::path(
    post, path = "/api/v1/graphs/{name}/pin", tag = "graphs", operation_id = "pinGraph",
    params(("name" = String, Path, description = "The graph.")),
    request_body = PinBody,
    responses(
        (status = 200, description = "It is held, or let go.", body = ReceiptView),
        (status = 400, description = "The body is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such graph or version.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be held there.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "It was not sent as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pin(
    State(state): State<Shared>,
    At(name): At<String>,
    Input(body): Input<PinBody>,
) -> Result<Json<ReceiptView>, Problem> {
    let name = graph_name(&name)?;
    swap(&state, move |store| store.pin(&name, body.version.as_ref())).await
}

/// Serve nothing of a graph any more; its versions stay, and a rollback brings it back.
#[utoipa::path(
    post, path = "/api/v1/graphs/{name}/withdraw", tag = "graphs", operation_id = "withdrawGraph",
    params(("name" = String, Path, description = "The graph.")),
    responses(
        (status = 200, description = "It does not serve.", body = ReceiptView),
        (status = 404, description = "There is no such graph.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "It did not serve.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn withdraw(
    State(state): State<Shared>,
    At(name): At<String>,
) -> Result<Json<ReceiptView>, Problem> {
    let name = graph_name(&name)?;
    swap(&state, move |store| store.withdraw(&name)).await
}

/// Forget a version. Calls that run on it go on.
#[utoipa::path(
    delete, path = "/api/v1/graphs/{name}/versions/{version}", tag = "graphs", operation_id = "evictGraphVersion",
    params(("name" = String, Path, description = "The graph."), ("version" = String, Path, description = "The version.")),
    responses(
        (status = 204, description = "It is forgotten."),
        (status = 404, description = "There is no such graph or version.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "It is in use.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn evict(
    State(state): State<Shared>,
    At((name, version)): At<(String, String)>,
) -> Result<StatusCode, Problem> {
    let name = graph_name(&name)?;
    let version = path_version(&name, &version)?;
    let store = state.store.clone();
    state.changes.make(move || Ok(store.evict(&name, &version)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A version: SemVer, or an integer for its major number alone.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(0|[1-9]\d{0,17})(\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})(-(0|[1-9]\d{0,17}|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d{0,17}|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?)?$",
    example = "1.2.0"
)]
#[expect(dead_code, reason = "only its schema is used")]
struct VersionText(String);

/// The name of a graph.
#[derive(ToSchema)]
#[schema(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$", example = "shop")]
#[expect(dead_code, reason = "only its schema is used")]
struct NameText(String);

/// Makes a change to what serves.
async fn swap(
    state: &Shared,
    change: impl FnOnce(&PlanStore) -> Result<SwapReceipt, PublishError> + Send + 'static,
) -> Result<Json<ReceiptView>, Problem> {
    let store = state.store.clone();
    let receipt = state.changes.make(move || Ok(change(&store)?)).await?;
    tracing::info!(
        graph = %receipt.graph, cause = ?receipt.cause, in_flight_at_flip = receipt.in_flight_at_flip,
        to = receipt.to.as_ref().map(|to| tracing::field::display(&to.version)),
        "swapped over the control plane"
    );
    Ok(Json(receipt.into()))
}

fn source(text: bytes::Bytes, name: Option<GraphName>) -> GraphSource {
    GraphSource { origin: Arc::from("request body"), stem: name.map(|name| name.to_string()), text }
}

fn unknown(name: &GraphName) -> Problem {
    Problem::not_found(format!("no graph named {name} is staged"))
}
