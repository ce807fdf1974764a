//! Why the store refuses what it was asked for.

use std::path::PathBuf;
use std::sync::Arc;

use super::disk::DiskError;
use super::ledger::Role;
use super::release::ReleaseId;
use crate::diagnostic::GraphErrors;
use crate::identity::{ContentHash, GraphName, Version};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process has the directory open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The state was written by a later release of this program.
    #[error("{} has format {format}, and this program reads no later one than {known}", path.display())]
    LaterFormat {
        /// The state file.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// The latest format that is read here.
        known: u64,
    },
}

/// Why a document was not staged. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The version is there with other content.
    #[error("{graph}@{version} is there already with other content: {}, not {}", held.short(), refused.short())]
    Conflict {
        /// The graph.
        graph: GraphName,
        /// The version.
        version: Version,
        /// The content it has.
        held: ContentHash,
        /// The content that was refused.
        refused: ContentHash,
    },
    /// The document could not be saved.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The document does not compile.
    #[error(transparent)]
    Invalid(#[from] GraphErrors),
}

/// Why what serves was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The change could not be saved.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The host's default graph must answer calls, and this one is run by other graphs.
    #[error("{graph} is the host's default graph, so it must answer calls")]
    Inner {
        /// The graph.
        graph: GraphName,
    },
    /// Only a graph that is published can be held or withdrawn.
    #[error("no version of {graph} is published")]
    NotPublished {
        /// The graph.
        graph: GraphName,
    },
    /// There is nothing to go back to.
    #[error("{graph} has no earlier version to go back to")]
    NoPrevious {
        /// The graph.
        graph: GraphName,
    },
    /// Two graphs cannot answer the same service.
    #[error("{graph} and {by} both serve {service:?}")]
    ServiceTaken {
        /// The graph that was to serve.
        graph: GraphName,
        /// The service.
        service: Arc<str>,
        /// The graph that serves it.
        by: GraphName,
    },
    /// No graph of this name is staged.
    #[error("no graph named {graph} is staged")]
    UnknownGraph {
        /// The graph.
        graph: GraphName,
    },
    /// No such version of this graph is staged.
    #[error("no version {version} of {graph} is staged")]
    UnknownVersion {
        /// The graph.
        graph: GraphName,
        /// The version.
        version: Version,
    },
    /// Of this release only the record is left.
    #[error("{graph}@{release} cannot serve: {reason}")]
    Unusable {
        /// The graph.
        graph: GraphName,
        /// The release.
        release: ReleaseId,
        /// What became of it.
        reason: Arc<str>,
    },
}

/// Why a version was not evicted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvictError {
    /// The change could not be saved.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The version must stay.
    #[error("{graph}@{version} is {role}")]
    InUse {
        /// The graph.
        graph: GraphName,
        /// The version.
        version: Version,
        /// Why it must stay.
        role: Role,
    },
    /// No graph of this name is staged.
    #[error("no graph named {graph} is staged")]
    UnknownGraph {
        /// The graph.
        graph: GraphName,
    },
    /// No such version of this graph is staged.
    #[error("no version {version} of {graph} is staged")]
    UnknownVersion {
        /// The graph.
        graph: GraphName,
        /// The version.
        version: Version,
    },
}

/// Why a request did not get the graph it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The graph is run by other graphs and answers no calls.
    #[error("the graph does not answer calls")]
    Inner,
    /// Nothing of this graph is published, or what is cannot serve.
    #[error("the graph does not serve")]
    NotServing,
    /// There is no graph of this name.
    #[error("no such graph")]
    UnknownGraph,
    /// The graph has no such version.
    #[error("the graph has no such version")]
    UnknownVersion,
    /// The version is staged but was never published, or cannot serve.
    #[error("the version does not serve")]
    VersionNotServing,
}
