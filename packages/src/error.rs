//! Why a package was refused.

use crate::archive::ArchiveError;
use crate::descriptors::DescriptorError;
use crate::file::PackageFile;
use crate::lenient::JsonFault;
use crate::sample::{SampleError, SampleFault};

/// Why a package was refused. The texts keep the fragments by which tools of the original recognise them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The archive cannot be read.
    #[error("failed to extract package: {0}")]
    Archive(ArchiveError),
    /// A file that every package has is not there.
    #[error("invalid package: missing required file: {0}")]
    MissingFile(PackageFile),
    /// The guest is not WebAssembly.
    #[error("invalid package: invalid WASM file: {0}")]
    Wasm(WasmFault),
    /// `okra.json` cannot be read.
    #[error("failed to parse config: {0}")]
    Config(JsonFault),
    /// `service.description.json` cannot be read.
    #[error("failed to parse schema: {0}")]
    Description(JsonFault),
    /// The description has no service.
    #[error("failed to create service package: schema must contain at least one service")]
    NoService,
    /// Configuration and description name different services.
    #[error("service name mismatch: config has '{config}', schema has '{schema}'")]
    NameMismatch {
        /// The name in `okra.json`.
        config: String,
        /// The name of the first service of the description.
        schema: String,
    },
    /// A name of which the service's id is made cannot be part of one.
    #[error("invalid package: the {part} '{value}' cannot be part of a service id: {reason}")]
    Identity {
        /// Which name.
        part: &'static str,
        /// The name, made legible.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The descriptor set cannot be used.
    #[error("failed to load protobuf descriptors: {0}")]
    Descriptors(DescriptorError),
    /// Description and descriptor set have different methods.
    #[error("invalid package: method {method} is in {} but not in {}", .found.name(), .missing.name())]
    MethodsDisagree {
        /// The method, made legible.
        method: String,
        /// Where it is.
        found: PackageFile,
        /// Where it is not.
        missing: PackageFile,
    },
    /// A call of `primed` is none of the service's.
    #[error("invalid package: okra.json: {0}")]
    Sample(SampleError),
}

/// What is wrong with a guest, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WasmFault {
    /// It has not even the four bytes every module begins with.
    #[error("file too small")]
    TooSmall,
    /// It begins with others.
    #[error("incorrect magic number")]
    Magic,
}

// === impl PackageError ===

impl PackageError {
    /// The name of the fault, for machines. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.code(),
            Self::MissingFile(_) => "missing_file",
            Self::Wasm(_) => "invalid_wasm",
            Self::Config(_) => "invalid_config",
            Self::Description(_) => "invalid_description",
            Self::NoService => "no_service",
            Self::NameMismatch { .. } => "name_mismatch",
            Self::Identity { .. } => "invalid_identity",
            Self::Descriptors(error) => error.code(),
            Self::MethodsDisagree { .. } => "methods_disagree",
            Self::Sample(_) => "invalid_sample",
        }
    }

    /// The file it is about, if it is about one.
    pub fn file(&self) -> Option<PackageFile> {
        match self {
            Self::Archive(_) => None,
            Self::MissingFile(file) => Some(*file),
            Self::Wasm(_) => Some(PackageFile::Wasm),
            Self::Config(_) | Self::NameMismatch { .. } | Self::Sample(_) => Some(PackageFile::Config),
            Self::Description(_) | Self::NoService | Self::Identity { .. } => Some(PackageFile::Description),
            Self::Descriptors(_) => Some(PackageFile::Descriptors),
            Self::MethodsDisagree { missing, .. } => Some(*missing),
        }
    }

    /// How to mend it, where that is not plain.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NameMismatch { .. } => {
                Some("`name` in okra.json has to be that of the first service of the schema")
            }
            Self::MissingFile(_) => Some(
                "a package holds service.wasm, service.description.json, okra.json and service.pb.desc; `okra package pack` makes it",
            ),
            Self::MethodsDisagree { .. } => {
                Some("both files are made from the same schema: build the package anew")
            }
            Self::Descriptors(error) => error.help(),
            Self::Sample(error) => match error.fault {
                SampleFault::Interface(_) | SampleFault::Form(_) => None,
                SampleFault::TooLarge => Some("fewer calls prime a guest as well, or shorter ones"),
                SampleFault::Method => Some("`method` is a method of the schema, by its name alone"),
                SampleFault::Payload { .. } => {
                    Some("`payload` is a request in JSON, as a client of the service sends it")
                }
            },
            Self::Archive(ArchiveError::NotGzip) => Some("a package is a tar compressed by gzip"),
            Self::Archive(_)
            | Self::Wasm(_)
            | Self::Config(_)
            | Self::Description(_)
            | Self::NoService
            | Self::Identity { .. } => None,
        }
    }
}
