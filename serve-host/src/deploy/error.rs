//! Why a package was not deployed, or a service not undeployed.
//!
//! The texts keep the fragments that clients of the first okra look for.

use std::time::Duration;

use exec_plan::{GraphErrors, InvalidGraphName};
use kernels_wasm::{CompileError, LoadError};
use packages::PackageError;
use proto_json::SchemaError;

use super::books::BooksError;
use super::source::SourceError;

/// Why a package was not deployed. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The package could not be fetched.
    #[error("{}{}", load_prefix(.0), .0)]
    Source(SourceError),
    /// It is not a package, or one that contradicts itself.
    #[error("failed to load package: {0}")]
    Package(PackageError),
    /// Its descriptors cannot be used.
    #[error("failed to load package: failed to load protobuf descriptors: {0}")]
    Schema(SchemaError),
    /// Its guest does not compile, or does not start.
    #[error("{}{}", guest_prefix(.0), .0)]
    Guest(LoadError),
    /// The id is deployed, and the request does not say that it may be replaced.
    #[error("failed to deploy to runtime: service {id} already deployed")]
    AlreadyDeployed {
        /// The id.
        id: String,
    },
    /// Another id has the same version of the same route.
    #[error("{id} would be {route}@{version}, which {other} is already")]
    SameVersion {
        /// The id that was to be deployed.
        id: String,
        /// Its route.
        route: String,
        /// The version of its graph.
        version: String,
        /// The id that is deployed.
        other: String,
    },
    /// The route is no name for a graph.
    #[error("failed to load package: its route is no name for a graph: {0}")]
    Route(InvalidGraphName),
    /// The graph that was made of it does not compile.
    #[error("failed to deploy to runtime: the graph of the service does not compile: {0}")]
    Graph(Box<GraphErrors>),
    /// It could not be written down or published.
    #[error("failed to deploy to runtime: {0}")]
    Books(#[from] BooksError),
    /// It took too long.
    #[error("the deploy took longer than packages.timeout ({limit:?})")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// Too many deploys wait already.
    #[error("too many deploys wait already")]
    Busy,
    /// The work ended without a result.
    #[error("the deploy ended without a result; the log knows more")]
    Lost,
}

/// Why a service was not undeployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndeployError {
    /// No such service is deployed.
    #[error("service not found")]
    NotFound,
    /// It could not be written down or retired.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Too many changes wait already.
    #[error("too many deploys wait already")]
    Busy,
    /// The work ended without a result.
    #[error("the change ended without a result; the log knows more")]
    Lost,
}

/// The words of the original before what it says of a source.
fn load_prefix(error: &SourceError) -> &'static str {
    if matches!(error, SourceError::Required) { "" } else { "failed to load package: " }
}

/// The words of the original before what it says of a guest.
fn guest_prefix(error: &LoadError) -> &'static str {
    if matches!(error, LoadError::Compile(CompileError::Priming(_))) {
        "failed to deploy to runtime: failed to prime: "
    } else if matches!(error, LoadError::Compile(_)) {
        "failed to load package: failed to compile WASM module: "
    } else {
        "failed to deploy to runtime: failed to initialize: "
    }
}
