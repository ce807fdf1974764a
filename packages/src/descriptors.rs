//! `service.pb.desc`: the service as a `FileDescriptorSet`, as a protobuf compiler gives it.
//!
//! Reads and links a set as far as a package needs: the service is there, its methods do not stream, and
//! every type that anything names is in the set. Made from a [`Description`](crate::Description) by
//! [`build`], or [`compiled`] from `.proto` files, and then described.

pub(crate) mod build;
mod census;
pub(crate) mod compiled;
mod describe;
mod link;

use prost::Message;
use prost_types::{FileDescriptorSet, ServiceDescriptorProto};

use crate::legible::legible;
use crate::limits::PackageLimits;

/// What is wrong with a descriptor set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It is not one.
    #[error("not a descriptor set: {0}")]
    Malformed(String),
    /// It has too many elements.
    #[error("it has more than the {limit} elements that are allowed")]
    TooManyElements {
        /// The most allowed.
        limit: u32,
    },
    /// The service is not in it.
    #[error("service {0} not found in descriptors")]
    ServiceNotFound(String),
    /// The service is not in the one that it is to be picked out of.
    #[error("service {service} is not among the services of the descriptors: {}", listed(.services))]
    NotAmong {
        /// The service.
        service: String,
        /// The first of those that are.
        services: Vec<String>,
    },
    /// Several services have this name.
    #[error("service {service} is in more than one package: {}", listed(.packages))]
    Ambiguous {
        /// The service.
        service: String,
        /// The packages.
        packages: Vec<String>,
    },
    /// All methods of the service stream.
    #[error("all methods of the service {0} stream, which packages cannot")]
    OnlyStreams(String),
    /// A method streams.
    #[error("method {0} streams, which packages cannot")]
    Streaming(String),
    /// Two methods have one name.
    #[error("method {0} is there twice")]
    DuplicateMethod(String),
    /// A type is named that is not in it.
    #[error("{by} names the type {name}, which is not in the descriptors")]
    UnknownType {
        /// Who names it.
        by: String,
        /// The type.
        name: String,
    },
}

/// A set in which the service was found.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    pub(crate) set: FileDescriptorSet,
    /// The protobuf package of the service; empty if it has none.
    pub(crate) package: String,
    pub(crate) service: ServiceDescriptorProto,
}

// === impl Descriptors ===

impl Descriptors {
    /// Reads a set and finds the service with this short name, first of all in the package that its
    /// namespace leads one to expect.
    pub(crate) fn read(
        bytes: &[u8],
        service: &str,
        namespace: &str,
        limits: &PackageLimits,
    ) -> Result<Self, DescriptorError> {
        let set = decode(bytes, limits)?;
        let expected = build::package_of(namespace);
        let mut found = set.file.iter().flat_map(|file| {
            let named = file.service.iter().filter(|candidate| candidate.name() == service);
            named.map(move |service| (file.package(), service))
        });
        let first = found.next();
        let best = first.filter(|(package, _)| *package == expected);
        let best = best.or_else(|| found.find(|(package, _)| *package == expected)).or(first);
        let (package, service) =
            best.ok_or_else(|| DescriptorError::ServiceNotFound(legible(service.as_bytes())))?;
        let (package, service) = (package.to_owned(), service.clone());
        check_methods(&service)?;
        link::check(&set)?;
        Ok(Self { set, package, service })
    }
}

/// Decodes a set that is not too large.
fn decode(bytes: &[u8], limits: &PackageLimits) -> Result<FileDescriptorSet, DescriptorError> {
    if census::elements(bytes) > u64::from(limits.descriptor_elements) {
        return Err(DescriptorError::TooManyElements { limit: limits.descriptor_elements });
    }
    FileDescriptorSet::decode(bytes).map_err(|error| DescriptorError::Malformed(error.to_string()))
}

fn check_methods(service: &ServiceDescriptorProto) -> Result<(), DescriptorError> {
    let mut names = std::collections::BTreeSet::new();
    for method in &service.method {
        let shown = || legible(method.name().as_bytes());
        if method.client_streaming() || method.server_streaming() {
            return Err(DescriptorError::Streaming(shown()));
        }
        if !names.insert(method.name()) {
            return Err(DescriptorError::DuplicateMethod(shown()));
        }
    }
    Ok(())
}

// === impl DescriptorError ===

impl DescriptorError {
    /// The name of the fault, for machines. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "descriptors_malformed",
            Self::TooManyElements { .. } => "descriptors_too_large",
            Self::ServiceNotFound(_) | Self::NotAmong { .. } => "service_not_in_descriptors",
            Self::Ambiguous { .. } => "ambiguous_service",
            Self::Streaming(_) | Self::OnlyStreams(_) => "streaming_method",
            Self::DuplicateMethod(_) => "duplicate_method",
            Self::UnknownType { .. } => "unknown_type",
        }
    }

    /// How to mend it, where that is not plain.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NotAmong { .. } => Some("`name` in okra.json is the name of one of them"),
            Self::Ambiguous { .. } => Some("compile the files of one of them only"),
            Self::UnknownType { .. } => Some(
                "a descriptor set has to have all that its files import: `protoc --include_imports` makes such a one",
            ),
            Self::Malformed(_)
            | Self::TooManyElements { .. }
            | Self::ServiceNotFound(_)
            | Self::OnlyStreams(_)
            | Self::Streaming(_)
            | Self::DuplicateMethod(_) => None,
        }
    }
}

/// Names for an error.
fn listed(names: &[String]) -> String {
    let shown = |name: &String| if name.is_empty() { "the empty one".to_owned() } else { name.clone() };
    if names.is_empty() {
        return "there are none".to_owned();
    }
    names.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
