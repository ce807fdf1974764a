//! Makes a package of a configuration, a schema and a guest.
//!
//! The same parts give the same bytes. What was made is read back before it is handed out, so that whoever
//! packs learns what whoever deploys would.

use bytes::Bytes;
use prost::Message;

use crate::archive;
use crate::config::PackageConfig;
use crate::error::PackageError;
use crate::file::PackageFile;
use crate::idl::{Idl, IdlErrors};
use crate::lenient::JsonFault;
use crate::limits::PackageLimits;
use crate::package::Package;

/// What a package is made of.
#[derive(Clone, Debug)]
pub struct PackageParts<'a> {
    /// `okra.json`, which is packed as it is.
    pub config: &'a [u8],
    /// The schema, `service.okra.gql`.
    pub idl: &'a [u8],
    /// The guest.
    pub wasm: &'a [u8],
}

/// Why a package cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// `okra.json` cannot be read.
    #[error("failed to parse config: {0}")]
    Config(JsonFault),
    /// The schema has mistakes.
    #[error("the schema has mistakes\n{0}")]
    Idl(IdlErrors),
    /// The schema has no service.
    #[error("no services defined in schema")]
    NoService,
    /// The archive cannot be written.
    #[error("the archive cannot be written: {0}")]
    Archive(String),
    /// It would be refused.
    #[error("the package would be refused: {0}")]
    Refused(PackageError),
}

/// Makes a package: its archive, ready to be stored and deployed.
///
/// # Errors
/// Whatever would make [`Package::read`] refuse it, and mistakes in the schema.
pub fn pack(parts: &PackageParts<'_>) -> Result<Bytes, PackError> {
    PackageConfig::parse(parts.config).map_err(PackError::Config)?;
    let idl = Idl::parse(parts.idl).map_err(PackError::Idl)?;
    if idl.description().services.is_empty() {
        return Err(PackError::NoService);
    }
    let description = idl.description().to_json();
    let descriptors = idl.descriptor_set().encode_to_vec();
    let bytes = archive::write(&[
        (PackageFile::Wasm, parts.wasm),
        (PackageFile::Description, description.as_bytes()),
        (PackageFile::Config, parts.config),
        (PackageFile::Descriptors, &descriptors),
        (PackageFile::Idl, parts.idl),
    ])
    .map_err(|error| PackError::Archive(error.to_string()))?;
    match Package::read(bytes.clone(), &PackageLimits::default()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(PackError::Refused(error)),
    }
}

#[cfg(test)]
mod tests;
