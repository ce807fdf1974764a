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
mod ledger;
mod shelf;
mod source;

pub use self::shelf::{PackageFinding, ShelfError};
pub use self::source::{InvalidDigest, PackageDigest, S3Settings, SourceError, SourceSettings};
