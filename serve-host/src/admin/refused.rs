//! What the deployer refuses, as problems: every status is chosen here.
//!
//! `error` keeps the words by which clients of the first okra recognise a refusal; how to mend it stands
//! in `detail` alone.

use exec_plan::InstallError;
use kernels_wasm::{CompileError, LoadError};
use packages::PackageError;

use super::problem::{Kind, Problem, ProblemError, is_full};
use crate::deploy::{BooksError, DeployError, SourceError, UndeployError};

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let text = error.to_string();
        match error {
            DeployError::Source(error) => source(&error, text),
            DeployError::Package(error) => package(&error, text),
            DeployError::Schema(_) | DeployError::Route(_) => Self::new(Kind::InvalidPackage, text),
            DeployError::Guest(error) => guest(&error, text),
            DeployError::AlreadyDeployed { .. } => Self::new(Kind::Conflict, text)
                .with_help("undeploy it first, or replace it: `\"override\": true`"),
            DeployError::SameVersion { .. } => Self::new(Kind::Conflict, text)
                .with_help("undeploy the other, or give this one another version"),
            DeployError::Graph(errors) => Self::from(*errors).saying(text),
            DeployError::Books(error) => Self::from(error).saying(text),
            DeployError::TooSlow { .. } => Self::new(Kind::TimedOut, text),
            DeployError::Busy => Self::too_many(text),
            DeployError::Lost => Self::internal(),
        }
    }
}

impl From<UndeployError> for Problem {
    fn from(error: UndeployError) -> Self {
        let text = error.to_string();
        match error {
            UndeployError::NotFound => Self::not_found(text),
            UndeployError::Books(error) => Self::from(error),
            UndeployError::Busy => Self::too_many(text),
            UndeployError::Lost => Self::internal(),
        }
    }
}

impl From<BooksError> for Problem {
    fn from(error: BooksError) -> Self {
        match error {
            BooksError::Disk(error) => error.into(),
            BooksError::Install(InstallError::Stage(error)) => (*error).into(),
            BooksError::Install(InstallError::Publish(error)) => (*error).into(),
            BooksError::Install(_) => Self::internal(),
            BooksError::Retire(error) => (*error).into(),
        }
    }
}

fn source(error: &SourceError, text: String) -> Problem {
    let kind = match error {
        SourceError::Required
        | SourceError::Invalid { .. }
        | SourceError::Scheme { .. }
        | SourceError::NoRoots
        | SourceError::OutsideRoots { .. }
        | SourceError::NotAFile { .. }
        | SourceError::NoS3
        | SourceError::BucketNotAllowed { .. } => Kind::BadRequest,
        SourceError::FileNotFound { .. } | SourceError::ObjectNotFound { .. } => Kind::NotFound,
        SourceError::TooLarge { .. } => Kind::TooLarge,
        SourceError::Unreadable { .. }
        | SourceError::Credentials { .. }
        | SourceError::Download { .. }
        | SourceError::TooSlow { .. } => Kind::Unfetched,
        SourceError::Digest { .. } => Kind::InvalidPackage,
    };
    Problem::new(kind, text)
}

fn package(error: &PackageError, text: String) -> Problem {
    let place = ProblemError {
        pointer: error.file().map_or_else(String::new, |file| format!("/{file}")),
        line: 1,
        column: 1,
        code: error.code().replace('_', "-"),
        message: error.to_string(),
        help: error.help().map(str::to_owned),
    };
    Problem::new(Kind::InvalidPackage, text).with_errors(vec![place])
}

fn guest(error: &LoadError, text: String) -> Problem {
    let kind = match error {
        LoadError::Compile(CompileError::Cache(error)) if is_full(error.kind()) => Kind::StorageFull,
        LoadError::Compile(CompileError::Cache(_)) => Kind::NotSaved,
        LoadError::Compile(CompileError::Overdue) => Kind::TimedOut,
        LoadError::Compile(CompileError::Run(_)) | LoadError::Engine(_) => Kind::Internal,
        LoadError::Compile(_)
        | LoadError::CommandAbi
        | LoadError::ExportType { .. }
        | LoadError::ImportType { .. }
        | LoadError::Memory { .. }
        | LoadError::MissingExport(_)
        | LoadError::MissingMemory
        | LoadError::Start(_)
        | LoadError::UnknownImports(_)
        | _ => Kind::InvalidPackage,
    };
    Problem::new(kind, text)
}
