//! Reads, checks and writes OKRA packages.
//!
//! A package is an archive of a WebAssembly guest and what is known of its service: its configuration, its
//! types and methods for people (a description) and for protobuf (descriptors). [`Package::read`] is the
//! only way to one, and refuses whatever is not whole and consistent; [`pack`] makes one from an interface,
//! a schema or compiled `.proto` files, and a guest.
//!
//! Nothing here touches a network or a disk, or runs a guest. No input makes it panic, and the memory it
//! takes is bounded by [`PackageLimits`].

mod archive;
mod config;
mod description;
mod descriptors;
mod error;
mod file;
mod identity;
mod idl;
mod legible;
mod lenient;
mod limits;
mod module;
mod package;
mod sample;
mod writer;

pub use self::archive::{ArchiveError, EntryKind, NameFault, Part};
pub use self::config::{
    Abi, BuildConfig, CallRule, CallRules, GuestLimits, InterfacePath, JsonText, PackageConfig, Payload,
    Primed, PrimedCall,
};
pub use self::description::{
    Description, Directive, EnumType, EnumValue, Field, Metadata, Method, ObjectType, Service,
};
pub use self::descriptors::DescriptorError;
pub use self::error::{PackageError, WasmFault};
pub use self::file::PackageFile;
pub use self::idl::{Idl, IdlError, IdlErrorCode, IdlErrors};
pub use self::lenient::JsonFault;
pub use self::limits::PackageLimits;
pub use self::module::ModuleNames;
pub use self::package::{Package, PackageMethod};
pub use self::sample::{MAX_SAMPLE_BYTES, Sample, SampleError, SampleFault};
pub use self::writer::{Interface, PackError, PackageParts, Packed, pack};
