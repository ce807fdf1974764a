//! The files of a package, in the order in which they are written and looked for.

use std::fmt;

use crate::limits::PackageLimits;

/// A file that a package may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageFile {
    /// The guest.
    Wasm,
    /// The service's types and methods, as JSON.
    Description,
    /// The package's configuration.
    Config,
    /// The service's types and methods, as a `FileDescriptorSet`.
    Descriptors,
    /// The text that the two above were made from. Carried along, never needed.
    Idl,
}

// === impl PackageFile ===

impl PackageFile {
    /// All of them; the required ones first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Wasm, Self::Description, Self::Config, Self::Descriptors, Self::Idl];

    /// Its name in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "service.wasm",
            Self::Description => "service.description.json",
            Self::Config => "okra.json",
            Self::Descriptors => "service.pb.desc",
            Self::Idl => "service.okra.gql",
        }
    }

    /// The file of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }

    /// The most bytes it may have.
    pub(crate) fn limit(self, limits: &PackageLimits) -> u64 {
        match self {
            Self::Wasm => limits.wasm_bytes.min(limits.entry_bytes),
            Self::Description | Self::Config | Self::Idl => limits.text_bytes.min(limits.entry_bytes),
            Self::Descriptors => limits.descriptor_bytes.min(limits.entry_bytes),
        }
    }
}

impl fmt::Display for PackageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
