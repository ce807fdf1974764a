//! A descriptor set that a compiler made of a project's `.proto` files, as the interface of its service.
//!
//! Picks the service out of all that was compiled with it, leaves out its methods that stream, which a
//! package cannot have, and describes the rest. Whatever else is in the set stays in it.

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

use super::{DescriptorError, Descriptors, census, describe};
use crate::description::Description;
use crate::legible::legible;
use crate::limits::PackageLimits;

/// What a package has of a compiled set.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) descriptors: Vec<u8>,
    pub(crate) description: Description,
    /// Methods that were left out because they stream.
    pub(crate) left_out: Vec<String>,
}

/// What becomes of a field when a message is copied.
enum Edit {
    Keep,
    Drop,
    Replace(Vec<u8>),
}

/// The field of a file in which its services are.
const FILE_SERVICE: u64 = 6;
/// The field of a file in which its comments are, by the places of what they are about.
const FILE_SOURCE: u64 = 9;
/// The field of a service in which its methods are.
const SERVICE_METHOD: u64 = 2;
/// The field of a set in which its files are.
const SET_FILE: u64 = 1;

// === impl Compiled ===

impl Compiled {
    /// Reads a set and finds the service with this short name, whose version is this.
    pub(crate) fn read(
        bytes: &[u8],
        service: &str,
        version: &str,
        limits: &PackageLimits,
    ) -> Result<Self, DescriptorError> {
        let set = super::decode(bytes, limits)?;
        let package = package_of(&set, service)?;
        let is_it = |file: &str, candidate: &str| file == package && candidate == service;
        let methods = set.file.iter().flat_map(|file| {
            let its = file.service.iter().filter(|candidate| is_it(file.package(), candidate.name()));
            its.flat_map(|service| &service.method)
        });
        let (left_out, served): (Vec<_>, Vec<_>) = methods.partition(|method| streams(method));
        if served.is_empty() && !left_out.is_empty() {
            return Err(DescriptorError::OnlyStreams(legible(service.as_bytes())));
        }
        let left_out: Vec<_> = left_out.iter().map(|method| legible(method.name().as_bytes())).collect();
        let descriptors =
            if left_out.is_empty() { bytes.to_vec() } else { without_streams(bytes, &package, service) };
        let found = Descriptors::read(&descriptors, service, &package, limits)?;
        let description = describe::describe(&found, version);
        Ok(Self { descriptors, description, left_out })
    }
}

/// The protobuf package of the one service of this name.
fn package_of(set: &FileDescriptorSet, service: &str) -> Result<String, DescriptorError> {
    let services = || {
        set.file.iter().flat_map(|file| file.service.iter().map(|service| (file.package(), service.name())))
    };
    let mut packages: Vec<_> =
        services().filter(|(_, name)| *name == service).map(|(package, _)| package).collect();
    match (packages.pop(), packages.as_slice()) {
        (Some(package), []) => Ok(package.to_owned()),
        (Some(last), others) => Err(DescriptorError::Ambiguous {
            service: legible(service.as_bytes()),
            packages: others.iter().chain([&last]).map(|package| legible(package.as_bytes())).collect(),
        }),
        (None, _) => Err(DescriptorError::NotAmong {
            service: legible(service.as_bytes()),
            services: services().map(|(_, name)| legible(name.as_bytes())).take(NAMED_SERVICES).collect(),
        }),
    }
}

fn streams(method: &MethodDescriptorProto) -> bool {
    method.client_streaming() || method.server_streaming()
}

/// The set as it is, byte for byte, but for the service's methods that stream, and the comments of its
/// file: they are kept by the places of methods, which are no longer the same.
fn without_streams(set: &[u8], package: &str, service: &str) -> Vec<u8> {
    let has_it = |bytes: &[u8]| {
        let file = FileDescriptorProto::decode(bytes).unwrap_or_default();
        file.package() == package && file.service.iter().any(|found| found.name() == service)
    };
    let is_it =
        |bytes: &[u8]| ServiceDescriptorProto::decode(bytes).is_ok_and(|found| found.name() == service);
    let in_file = |number, part: &[u8]| match number {
        FILE_SOURCE => Edit::Drop,
        FILE_SERVICE if is_it(part) => Edit::Replace(copy(part, unary)),
        _ => Edit::Keep,
    };
    copy(set, |number, file| {
        if number == SET_FILE && has_it(file) { Edit::Replace(copy(file, in_file)) } else { Edit::Keep }
    })
}

fn unary(number: u64, part: &[u8]) -> Edit {
    let is_stream = || MethodDescriptorProto::decode(part).is_ok_and(|method| streams(&method));
    if number == SERVICE_METHOD && is_stream() { Edit::Drop } else { Edit::Keep }
}

/// Copies a message, whose fields with a length may be edited.
fn copy(message: &[u8], edit: impl Fn(u64, &[u8]) -> Edit) -> Vec<u8> {
    let mut copied = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some((number, payload, after)) = census::field(rest) {
        let whole = rest.get(..rest.len() - after.len()).unwrap_or_default();
        match payload.map_or(Edit::Keep, |payload| edit(number, payload)) {
            Edit::Keep => copied.extend_from_slice(whole),
            Edit::Drop => {}
            Edit::Replace(payload) => {
                // With a length, as it was.
                prost::encoding::encode_varint(number << 3 | 2, &mut copied);
                prost::encoding::encode_varint(payload.len() as u64, &mut copied);
                copied.extend_from_slice(&payload);
            }
        }
        rest = after;
    }
    copied
}

/// The most services that an error names.
const NAMED_SERVICES: usize = 8;
