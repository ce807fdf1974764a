//! `okra.json`: what a package is called, how it was built, how it wants to be run.
//!
//! Keys of the original are read as leniently as it does. The keys it does not know, `abi`, `calls`,
//! `limits`, `primed` and `service_version`, are optional; the first four are read strictly, because a
//! misspelt limit would be no limit.

mod calls;
mod primed;

use serde::Deserialize;
use serde::de::Error as _;

pub use self::calls::{CallRule, CallRules};
pub use self::primed::{JsonText, Primed, PrimedCall};
use crate::legible::legible;
use crate::lenient::{JsonFault, lenient, parse};

/// The configuration of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageConfig {
    /// The name, which has to be that of the service.
    pub name: String,
    /// The version of the package, not of the service.
    pub version: String,
    /// The language it is written in.
    pub language: String,
    /// Where the schema lies in the project.
    pub schema: String,
    /// The version of the service, if its interface is compiled from `.proto` files; else the schema says it.
    pub service_version: String,
    /// Where the source lies in the project.
    pub source: String,
    /// How it is built.
    pub build: BuildConfig,
    /// How the guest is spoken to.
    pub abi: Abi,
    /// The services it may call.
    pub calls: CallRules,
    /// The limits it asks for itself.
    pub limits: GuestLimits,
    /// How it is primed, if it is.
    pub primed: Option<Primed>,
}

/// Where the interface of a service lies in its project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfacePath<'c> {
    /// A schema.
    Schema(&'c str),
    /// A descriptor set.
    Descriptors(&'c str),
}

/// How a package is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConfig {
    /// Where the guest lies in the project.
    pub output: String,
}

/// How a guest is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abi {
    /// The form of messages.
    pub payload: Payload,
    /// Whether a message comes with its metadata, deadline and the like, wrapped in `okra.guest.v1`.
    pub envelope: bool,
}

/// The form in which a guest takes and gives messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// JSON, as the original does.
    #[default]
    Json,
    /// Protobuf.
    Protobuf,
}

/// Limits a package sets for its guest. They only ever lower the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestLimits {
    /// Linear memory of an instance, in bytes.
    pub memory_bytes: Option<u64>,
    /// Elements of a table.
    pub table_elements: Option<u64>,
    /// Instances at a time.
    pub instances: Option<u64>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Bytes of a result.
    pub result_bytes: Option<u64>,
    /// Calls of the host by one request.
    pub host_calls: Option<u64>,
}

/// What the original takes for granted when a project does not say.
pub(crate) const DEFAULT_SCHEMA: &str = "./service.okra.gql";
/// What takes its place in a project that has none.
pub(crate) const DEFAULT_DESCRIPTORS: &str = "./service.pb.desc";
/// What the names of descriptor sets end in; a name that ends in anything else is that of a schema.
const DESCRIPTOR_EXTENSIONS: [&str; 4] = ["binpb", "desc", "pb", "protoset"];
/// Likewise, for the guest.
pub(crate) const DEFAULT_OUTPUT: &str = "./build/service.wasm";

lenient!(tolerant PackageConfig {
    "name" => name, "version" => version, "language" => language, "schema" => schema, "source" => source,
    "build" => build, "abi" => abi, "calls" => calls, "limits" => limits,
    "primed" => primed, "service_version" => service_version,
});
lenient!(tolerant BuildConfig { "output" => output });
lenient!(strict Abi { "payload" => payload, "envelope" => envelope });
lenient!(strict Limits {
    "memory_bytes" => memory_bytes, "table_elements" => table_elements, "instances" => instances,
    "timeout_ms" => timeout_ms, "result_bytes" => result_bytes, "host_calls" => host_calls,
});

/// A limit as it is read: at least one.
#[derive(Debug, Default)]
struct Limits {
    memory_bytes: Option<AtLeastOne>,
    table_elements: Option<AtLeastOne>,
    instances: Option<AtLeastOne>,
    timeout_ms: Option<AtLeastOne>,
    result_bytes: Option<AtLeastOne>,
    host_calls: Option<AtLeastOne>,
}

#[derive(Debug)]
struct AtLeastOne(u64);

// === impl PackageConfig ===

impl PackageConfig {
    /// Reads a document.
    ///
    /// # Errors
    /// The place where it stops being one.
    pub fn parse(text: &[u8]) -> Result<Self, JsonFault> {
        parse(text)
    }

    /// Where the service's interface lies in the project: what `schema` names, or the first of these places
    /// at which there is something.
    pub fn interface_paths(&self) -> Vec<InterfacePath<'_>> {
        if self.schema.is_empty() {
            return vec![
                InterfacePath::Schema(DEFAULT_SCHEMA),
                InterfacePath::Descriptors(DEFAULT_DESCRIPTORS),
            ];
        }
        let extension = self.schema.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_compiled = DESCRIPTOR_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
        let path = self.schema.as_str();
        vec![if is_compiled { InterfacePath::Descriptors(path) } else { InterfacePath::Schema(path) }]
    }

    /// Where the guest lies in the project, also if it does not say.
    pub fn output_path(&self) -> &str {
        if self.build.output.is_empty() { DEFAULT_OUTPUT } else { &self.build.output }
    }
}

// === impl Payload ===

impl Payload {
    /// As it stands in `okra.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = [Self::Json, Self::Protobuf].into_iter().find(|payload| payload.name() == name);
        known.ok_or_else(|| {
            D::Error::custom(format_args!(
                "`abi.payload` is \"json\" or \"protobuf\", not {:?}",
                legible(name.as_bytes())
            ))
        })
    }
}

// === impl GuestLimits ===

impl<'de> Deserialize<'de> for GuestLimits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limits = Limits::deserialize(deserializer)?;
        let plain = |limit: Option<AtLeastOne>| limit.map(|limit| limit.0);
        Ok(Self {
            memory_bytes: plain(limits.memory_bytes),
            table_elements: plain(limits.table_elements),
            instances: plain(limits.instances),
            timeout_ms: plain(limits.timeout_ms),
            result_bytes: plain(limits.result_bytes),
            host_calls: plain(limits.host_calls),
        })
    }
}

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            0 => Err(D::Error::custom("a limit is at least 1")),
            limit => Ok(Self(limit)),
        }
    }
}

#[cfg(test)]
mod tests;
