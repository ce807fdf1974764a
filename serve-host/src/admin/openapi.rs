//! The OpenAPI document of the control plane.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response as ResponseSpec, ResponseBuilder};

use super::Shared;
use super::problem::{ProblemDocument, ProblemError};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "okra control plane",
        description = "Graphs are deployed and replaced while calls are running. Every failure is a \
                       problem of RFC 9457.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDocument, ProblemError)),
    tags(
        (name = "graphs", description = "Graphs, their versions and which of them serves."),
        (name = "packages", description = "Deployed packages, and the services they are."),
        (name = "figures", description = "What the host counts."),
        (name = "probes", description = "Whether the host lives and takes calls.")
    )
)]
struct Head;

/// The document before any route is added.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    let mut head = Head::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut head.info.version);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    head.components.get_or_insert_default().add_security_scheme("token", bearer);
    head
}

/// The document as JSON, with what holds for every route written into each.
pub(super) fn render(document: &utoipa::openapi::OpenApi) -> String {
    let mut document = document.clone();
    for (path, item) in &mut document.paths.paths {
        let open = super::access::is_open(path);
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            complete(operation, open);
        }
    }
    // Strings, numbers and maps with string keys always serialize.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// Adds the refusals that the door and the bounds give on any route.
fn complete(operation: &mut Operation, open: bool) {
    let door = [
        ("401", "The token is missing or wrong."),
        (
            "429",
            "Too many wrong tokens came from this address, or too many changes or deploys wait; try again later.",
        ),
    ];
    let everywhere = [
        ("403", "The request comes from a page of another site, or calls the host by a strange name."),
        ("500", "It failed in a way that is not the request's fault."),
        ("503", "It took too long, or no changes are accepted."),
        ("507", "The disk is full."),
    ];
    for (status, description) in door.into_iter().filter(|_| !open).chain(everywhere) {
        let response = || RefOr::T(problem_response(description));
        operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
    }
    if !open {
        let token = SecurityRequirement::new::<_, _, String>("token", []);
        operation.security = Some(vec![token, SecurityRequirement::default()]);
    }
}

fn problem_response(description: &str) -> ResponseSpec {
    let content = Content::new(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name("Problem"))));
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "probes", operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value))
)]
pub(super) async fn serve(State(state): State<Shared>) -> Response {
    ([(CONTENT_TYPE, "application/json")], state.document.clone()).into_response()
}
