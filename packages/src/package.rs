//! A package that was read and checked: whoever holds one need not ask again.
//!
//! Checked is all that can be checked without compiling the guest: the archive, the four files, the names,
//! and that description and descriptors speak of the same methods.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;
use semver::Version;
use sha2::{Digest, Sha256};

use crate::archive::Contents;
use crate::config::{Abi, PackageConfig};
use crate::description::{Description, Service};
use crate::descriptors::Descriptors;
use crate::error::{PackageError, WasmFault};
use crate::file::PackageFile;
use crate::identity::Identity;
use crate::legible::legible;
use crate::limits::PackageLimits;
use crate::sample::{Sample, samples};

/// A package, whole and consistent.
#[derive(Clone, Debug)]
pub struct Package {
    identity: Identity,
    route: String,
    digest: String,
    archive_bytes: u64,
    unpacked_bytes: u64,
    wasm: Bytes,
    descriptor_bytes: Bytes,
    idl: Option<Bytes>,
    config: PackageConfig,
    description: Description,
    descriptor_set: FileDescriptorSet,
    methods: Vec<PackageMethod>,
    samples: Option<Vec<Sample>>,
    notes: Vec<String>,
}

/// A method that a package serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageMethod {
    /// Its name, as in the schema.
    pub name: String,
    /// The full name of the message it takes.
    pub input: String,
    /// The full name of the message it gives.
    pub output: String,
    /// Whether it promises to change nothing: by its option in the descriptors, or by a directive.
    pub is_without_side_effects: bool,
}

/// The first bytes of a module.
const WASM_MAGIC: &[u8] = b"\0asm";

// === impl Package ===

impl Package {
    /// Reads a package from the bytes of its archive.
    ///
    /// # Errors
    /// The first fault, in the order in which the original's tools look.
    pub fn read(archive: Bytes, limits: &PackageLimits) -> Result<Self, PackageError> {
        let mut contents = Contents::read(&archive, limits).map_err(PackageError::Archive)?;
        let mut required = |file: PackageFile| contents.take(file).ok_or(PackageError::MissingFile(file));
        let wasm = required(PackageFile::Wasm)?;
        let description = required(PackageFile::Description)?;
        let config = required(PackageFile::Config)?;
        let descriptor_bytes = required(PackageFile::Descriptors)?;
        let idl = contents.take(PackageFile::Idl);

        check_magic(&wasm).map_err(PackageError::Wasm)?;
        let config = PackageConfig::parse(&config).map_err(PackageError::Config)?;
        let description = Description::parse(&description).map_err(PackageError::Description)?;
        let service = description.services.first().ok_or(PackageError::NoService)?;
        if config.name != service.name {
            return Err(PackageError::NameMismatch {
                config: legible(config.name.as_bytes()),
                schema: legible(service.name.as_bytes()),
            });
        }
        let identity = Identity::of(&service.name, &description)?;
        let namespace = &description.meta.namespace;
        let descriptors = Descriptors::read(&descriptor_bytes, &service.name, namespace, limits)
            .map_err(PackageError::Descriptors)?;
        let methods = methods(service, &descriptors)?;
        let route = route(&descriptors.package, &service.name);
        let samples = config
            .primed
            .as_ref()
            .map(|primed| samples(primed, &descriptor_bytes, &route, config.abi.payload));
        let samples = samples.transpose().map_err(PackageError::Sample)?;
        let mut notes: Vec<String> =
            contents.ignored.iter().map(|name| format!("{} is ignored", legible(name.as_bytes()))).collect();
        if !namespace.is_empty() && descriptors.package != *namespace {
            let package = legible(descriptors.package.as_bytes());
            notes.push(format!("the namespace is {namespace}, the route has the protobuf package {package}"));
        }
        Ok(Self {
            route,
            identity,
            digest: digest(&archive),
            archive_bytes: archive.len() as u64,
            unpacked_bytes: contents.unpacked_bytes,
            wasm,
            descriptor_bytes,
            idl,
            config,
            methods,
            samples,
            notes,
            descriptor_set: descriptors.set,
            description,
        })
    }

    /// `{namespace or "default"}.{service}.{version or "v1"}`.
    pub fn service_id(&self) -> &str {
        &self.identity.id
    }

    /// The service's name, without its namespace.
    pub fn service(&self) -> &str {
        &self.identity.service
    }

    /// The service as clients call it: `{protobuf package}.{service}`.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The version of the service as its schema has it, `v1` if it has none.
    pub fn version(&self) -> &str {
        &self.identity.version
    }

    /// The version of the service as graphs have it: `v1` is 1.0.0, `v1.2` is 1.2.0, other text comes
    /// after `0.0.0-`.
    pub fn semver(&self) -> Version {
        self.identity.semver()
    }

    /// The SHA-256 of the archive, in 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes of the archive.
    pub fn archive_bytes(&self) -> u64 {
        self.archive_bytes
    }

    /// Bytes of what was in it.
    pub fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// The guest.
    pub fn wasm(&self) -> &Bytes {
        &self.wasm
    }

    /// The configuration.
    pub fn config(&self) -> &PackageConfig {
        &self.config
    }

    /// How the guest is spoken to.
    pub fn abi(&self) -> Abi {
        self.config.abi
    }

    /// The types and methods, for people and tools.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The types and methods, for protobuf. The service is found in it by its name, never by that of a file.
    pub fn descriptor_set(&self) -> &FileDescriptorSet {
        &self.descriptor_set
    }

    /// The same, as it came, with the options that nobody here knows.
    pub fn descriptor_bytes(&self) -> &Bytes {
        &self.descriptor_bytes
    }

    /// The text the two were made from, if it came along.
    pub fn idl(&self) -> Option<&Bytes> {
        self.idl.as_ref()
    }

    /// The methods that are served, in the order of the description.
    pub fn methods(&self) -> &[PackageMethod] {
        &self.methods
    }

    /// The calls that prime the guest, if it is to be primed.
    pub fn samples(&self) -> Option<&[Sample]> {
        self.samples.as_deref()
    }

    /// What is odd about it but does no harm.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The SHA-256 of an archive, in hexadecimal digits.
fn digest(archive: &[u8]) -> String {
    Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_magic(wasm: &[u8]) -> Result<(), WasmFault> {
    match wasm.first_chunk::<4>() {
        None => Err(WasmFault::TooSmall),
        Some(magic) if magic == WASM_MAGIC => Ok(()),
        Some(_) => Err(WasmFault::Magic),
    }
}

fn route(package: &str, service: &str) -> String {
    if package.is_empty() { service.to_owned() } else { format!("{package}.{service}") }
}

/// The methods, which both files have to know.
fn methods(service: &Service, descriptors: &Descriptors) -> Result<Vec<PackageMethod>, PackageError> {
    let disagree = |method: &str, found, missing| PackageError::MethodsDisagree {
        method: legible(method.as_bytes()),
        found,
        missing,
    };
    let described: BTreeMap<&str, _> =
        descriptors.service.method.iter().map(|method| (method.name(), method)).collect();
    let mut methods: Vec<PackageMethod> = Vec::new();
    let mut places = BTreeMap::new();
    for method in &service.methods {
        let name = method.name.as_str();
        let described = described
            .get(name)
            .ok_or_else(|| disagree(name, PackageFile::Description, PackageFile::Descriptors))?;
        let level = described.options.as_ref().map(|options| options.idempotency_level());
        let served = PackageMethod {
            name: name.to_owned(),
            input: described.input_type().trim_start_matches('.').to_owned(),
            output: described.output_type().trim_start_matches('.').to_owned(),
            is_without_side_effects: level == Some(IdempotencyLevel::NoSideEffects)
                || method.is_without_side_effects(),
        };
        // Of equal names, the last one counts.
        let place = *places.entry(name).or_insert(methods.len());
        match methods.get_mut(place) {
            Some(known) => *known = served,
            None => methods.push(served),
        }
    }
    match described.keys().find(|name| !places.contains_key(*name)) {
        Some(name) => Err(disagree(name, PackageFile::Descriptors, PackageFile::Description)),
        None => Ok(methods),
    }
}

#[cfg(test)]
mod tests;
