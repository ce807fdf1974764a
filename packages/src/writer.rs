//! Makes a package of a configuration, an interface and a guest.
//!
//! The same parts give the same bytes. What was made is read back before it is handed out, so that whoever
//! packs learns what whoever deploys would.

use bytes::Bytes;
use prost::Message;

use crate::archive;
use crate::config::PackageConfig;
use crate::descriptors::DescriptorError;
use crate::descriptors::compiled::Compiled;
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
    /// What the service's methods and types are.
    pub interface: Interface<'a>,
    /// The guest.
    pub wasm: &'a [u8],
}

/// What says which methods and types a service has.
#[derive(Clone, Copy, Debug)]
pub enum Interface<'a> {
    /// A schema, `service.okra.gql`. Its first service is the one.
    Schema(&'a [u8]),
    /// A descriptor set, compiled from `.proto` files with all that they import. The service of the
    /// configuration's name is the one; its methods that stream are left out. The protobuf package is its
    /// namespace, and the configuration says its version.
    Descriptors(&'a [u8]),
}

/// A package that was made.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its archive, ready to be stored and deployed.
    pub archive: Bytes,
    /// The methods that were left out because they stream, in their order.
    pub left_out: Vec<String>,
}

/// Why a package cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// `okra.json` cannot be read.
    #[error("failed to parse config: {0}")]
    Config(JsonFault),
    /// `okra.json` has a version for a service whose schema says it.
    #[error("`service_version` of okra.json is for interfaces of descriptors; a schema says it itself")]
    VersionTwice,
    /// The schema has mistakes.
    #[error("the schema has mistakes\n{0}")]
    Idl(IdlErrors),
    /// The schema has no service.
    #[error("no services defined in schema")]
    NoService,
    /// The descriptor set cannot be used.
    #[error("failed to load protobuf descriptors: {0}")]
    Descriptors(DescriptorError),
    /// The archive cannot be written.
    #[error("the archive cannot be written: {0}")]
    Archive(String),
    /// It would be refused.
    #[error("the package would be refused: {0}")]
    Refused(PackageError),
}

/// Makes a package.
///
/// # Errors
/// Whatever would make [`Package::read`] refuse it, and mistakes in the interface.
pub fn pack(parts: &PackageParts<'_>) -> Result<Packed, PackError> {
    let config = PackageConfig::parse(parts.config).map_err(PackError::Config)?;
    match parts.interface {
        Interface::Schema(text) => {
            if !config.service_version.is_empty() {
                return Err(PackError::VersionTwice);
            }
            let idl = Idl::parse(text).map_err(PackError::Idl)?;
            if idl.description().services.is_empty() {
                return Err(PackError::NoService);
            }
            let description = idl.description().to_json();
            let descriptors = idl.descriptor_set().encode_to_vec();
            let archive = write(parts, &description, &descriptors, Some(text))?;
            Ok(Packed { archive, left_out: Vec::new() })
        }
        Interface::Descriptors(set) => {
            let (name, version) = (&config.name, &config.service_version);
            let compiled = Compiled::read(set, name, version, &PackageLimits::default());
            let Compiled { descriptors, description, left_out } = compiled.map_err(PackError::Descriptors)?;
            let archive = write(parts, &description.to_json(), &descriptors, None)?;
            Ok(Packed { archive, left_out })
        }
    }
}

fn write(
    parts: &PackageParts<'_>,
    description: &str,
    descriptors: &[u8],
    idl: Option<&[u8]>,
) -> Result<Bytes, PackError> {
    let mut files = vec![
        (PackageFile::Wasm, parts.wasm),
        (PackageFile::Description, description.as_bytes()),
        (PackageFile::Config, parts.config),
        (PackageFile::Descriptors, descriptors),
    ];
    files.extend(idl.map(|idl| (PackageFile::Idl, idl)));
    let bytes = archive::write(&files).map_err(|error| PackError::Archive(error.to_string()))?;
    match Package::read(bytes.clone(), &PackageLimits::default()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(PackError::Refused(error)),
    }
}

// === impl PackError ===

impl PackError {
    /// How to mend it, where that is not plain.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::VersionTwice => Some("leave it out, and write @okra(version: \"…\") in the schema"),
            Self::Descriptors(error) => error.help(),
            Self::Refused(error) => error.help(),
            Self::Config(_) | Self::Idl(_) | Self::NoService | Self::Archive(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
