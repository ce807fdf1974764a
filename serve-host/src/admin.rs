//! The control plane: graphs over REST, figures, metrics and probes, on a port of their own.
//!
//! ```text
//! server ──► access ──► input ──► graphs, probes ──► changes ──► the store
//!  accepts,   token,     bodies    one function       one at
//!  bounds     origin     bounded   per route          a time
//! ```
//!
//! Routes and their OpenAPI document come from the same declarations. Every failure is a [`Problem`]
//! (RFC 9457); which status it has is decided in one match per kind of error. Nothing here serves
//! calls, and no call waits for anything here: changes compile on a thread of their own, which gives way.

mod access;
mod changes;
mod graphs;
mod input;
mod openapi;
mod packages;
mod probes;
mod problem;
mod readiness;
mod refused;
mod server;
mod view;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use exec_plan::PlanStore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::access::Guard;
pub use self::access::{AdminToken, TokenError};
use self::changes::Changes;
pub use self::problem::{Problem, ProblemError};
pub use self::readiness::{Phase, Readiness};
pub use self::server::AdminServer;
use crate::config;
use crate::deploy::Deployer;
use crate::metrics::Metrics;
use crate::stats::StatsSnapshot;

/// What the control plane speaks for.
pub struct ControlPlane {
    /// The graphs.
    pub store: Arc<PlanStore>,
    /// Who deploys packages.
    pub deployer: Deployer,
    /// Where the figures come from.
    pub stats: StatsSource,
    /// What `/metrics` renders.
    pub metrics: Arc<Metrics>,
    /// Whether the host takes calls.
    pub readiness: Readiness,
    /// The token that is asked for; `None` lets whoever reaches the port do everything.
    pub token: Option<AdminToken>,
    /// The limits of the admin port.
    pub limits: config::Admin,
}

/// Gives the figures of the moment.
pub type StatsSource = Arc<dyn Fn() -> StatsSnapshot + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
struct Shared(Arc<SharedState>);

struct SharedState {
    store: Arc<PlanStore>,
    deployer: Deployer,
    stats: StatsSource,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    changes: Changes,
    document: String,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// The routes, ready to be served.
    pub fn into_router(self) -> Router {
        let (routes, document) = Self::routes(&self.limits);
        let state = Shared(Arc::new(SharedState {
            changes: Changes::new(self.limits.max_waiting_changes),
            store: self.store,
            deployer: self.deployer,
            stats: self.stats,
            metrics: self.metrics,
            readiness: self.readiness,
            document: openapi::render(&document),
        }));
        let guard = Guard::new(self.token, &self.limits);
        routes
            .method_not_allowed_fallback(problem::method_not_allowed)
            .fallback(problem::no_such_path)
            // The innermost first: whoever is refused at the door costs no more than that.
            .layer(axum::middleware::from_fn(problem::never_cached))
            .layer(from_fn_with_state(self.limits.request_timeout, problem::in_time))
            .layer(from_fn_with_state(Arc::new(guard), access::check))
            .with_state(state)
    }

    /// The OpenAPI 3.1 document of the routes.
    pub fn openapi() -> String {
        openapi::render(&Self::routes(&config::Admin::default()).1)
    }

    fn routes(limits: &config::Admin) -> (Router<Shared>, OpenApi) {
        let documents = OpenApiRouter::new()
            .routes(routes!(graphs::list, graphs::stage))
            .routes(routes!(graphs::validate))
            .layer(axum::extract::DefaultBodyLimit::max(limits.max_document.len()));
        OpenApiRouter::with_openapi(openapi::head())
            .routes(routes!(graphs::show))
            .routes(routes!(graphs::explain))
            .routes(routes!(graphs::publish))
            .routes(routes!(graphs::rollback))
            .routes(routes!(graphs::pin))
            .routes(routes!(graphs::withdraw))
            .routes(routes!(graphs::document, graphs::evict))
            .routes(routes!(packages::list))
            .routes(routes!(packages::deploy))
            .routes(routes!(packages::undeploy_nothing))
            .routes(routes!(packages::show, packages::undeploy))
            .routes(routes!(probes::stats))
            .routes(routes!(probes::health))
            .routes(routes!(probes::alive))
            .routes(routes!(probes::ready))
            .routes(routes!(probes::metrics))
            .routes(routes!(openapi::serve))
            .layer(axum::extract::DefaultBodyLimit::max(limits.max_body.len()))
            .merge(documents)
            .split_for_parts()
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("readiness", &self.readiness)
            .field("guarded", &self.token.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl std::ops::Deref for Shared {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        &self.0
    }
}

#[cfg(test)]
mod tests;
