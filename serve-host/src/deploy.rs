//! Deploying OKRA packages: a package becomes a service that is called, reflected and healthy at once.
//!
//! ```text
//! source ──► read, check ──► compile, warm ──► graph ──► blob, intent ──► publish ──► outcome
//!  file, S3,  the package     off the request    `in → wasm_invoke     the plan store's    the ledger
//!  upload     as a whole      threads            → out`, its own        flip
//! ```
//!
//! The plan store's publish is the one moment at which a service changes. All before it leaves no trace
//! when it fails; all after it can be done again.

mod books;
mod error;
mod graph;
mod guest;
mod ledger;
mod line;
mod pipeline;
mod progress;
mod shelf;
mod source;

pub use self::books::{BooksError, Standing};
pub use self::error::{DeployError, UndeployError};
pub use self::pipeline::{
    DeployParts, DeployRequest, DeploySettings, Deployed, Deployer, LoadedPackages, Origin, PackageStatus,
    QueuedDeploy,
};
pub(crate) use self::progress::STEPS;
pub use self::progress::{DeployProgress, DeployStep};
pub use self::shelf::{PackageFinding, ShelfError};
pub use self::source::{InvalidDigest, PackageDigest, S3Settings, SourceError, SourceSettings};
