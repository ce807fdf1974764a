//! What is wrong with an archive: one name for each fault.

use tar::EntryType;

/// Why an archive was refused. The text keeps the fragments by which others recognise it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive itself is too large.
    #[error("the archive has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most allowed.
        limit: u64,
    },
    /// It does not begin as gzip does.
    #[error("failed to create gzip reader: the first bytes are not those of gzip")]
    NotGzip,
    /// The compressed data make no sense.
    #[error("failed to read tar entry: the gzip data are corrupt")]
    GzipCorrupt,
    /// The unpacked bytes are not those that were packed.
    #[error("failed to read tar entry: the checksum of the gzip data does not match")]
    GzipChecksum,
    /// It breaks off.
    #[error("failed to read tar entry: unexpected end within {}", .0.name())]
    Truncated(Part),
    /// Something follows the compressed data.
    #[error("failed to read tar entry: {bytes} bytes follow the end of the gzip data")]
    DataAfterGzip {
        /// How much.
        bytes: u64,
    },
    /// Something follows the end marker of the tar.
    #[error("failed to read tar entry: data follow the end of the tar")]
    DataAfterTar,
    /// It unpacks to too much.
    #[error("failed to read tar entry: it unpacks to more than the {limit} bytes that are allowed")]
    UnpackedTooLarge {
        /// The most allowed.
        limit: u64,
    },
    /// It unpacks to too much for its size.
    #[error("failed to read tar entry: it unpacks to more than {limit} times its size")]
    Ratio {
        /// The most allowed.
        limit: u32,
    },
    /// It has too many entries.
    #[error("failed to read tar entry: there are more than the {limit} entries that are allowed")]
    TooManyEntries {
        /// The most allowed.
        limit: u32,
    },
    /// An entry is too large.
    #[error("failed to read tar entry: {name} has {bytes} bytes, more than the {limit} that are allowed")]
    EntryTooLarge {
        /// Its name.
        name: String,
        /// The size it states.
        bytes: u64,
        /// The most allowed.
        limit: u64,
    },
    /// The checksum of a header is wrong: this is no tar, or a damaged one.
    #[error("failed to read tar entry: the checksum of a header does not match")]
    HeaderChecksum,
    /// A number in a header is none.
    #[error("failed to read tar entry: a header has a size that is no number")]
    HeaderInvalid,
    /// An entry has a name that leads elsewhere or nowhere.
    #[error("invalid file name in package: {name}: {}", .fault.reason())]
    Name {
        /// The name, made legible.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// An entry is not a regular file.
    #[error("failed to read tar entry: {name} is {}", .kind.name())]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        kind: EntryKind,
    },
    /// A directory is said to hold bytes.
    #[error("failed to read tar entry: {0} is a directory and has data")]
    DirectoryWithData(String),
    /// Two entries have one name.
    #[error("failed to read tar entry: {0} is there twice")]
    Duplicate(String),
    /// The two sizes of an entry differ.
    #[error(
        "failed to read tar entry: {name} has {header} bytes by its header and {stated} by its PAX record"
    )]
    PaxSize {
        /// Its name.
        name: String,
        /// The size in the header.
        header: u64,
        /// The size in the record.
        stated: String,
    },
    /// A PAX record is malformed.
    #[error("failed to read tar entry: a PAX record is malformed")]
    PaxInvalid,
    /// Two headers say the same of one entry, or one says it of all entries.
    #[error("failed to read tar entry: extended headers contradict each other")]
    ExtensionConflict,
    /// An extended header is too large.
    #[error("failed to read tar entry: an extended header has {bytes} bytes, more than the {limit} allowed")]
    ExtensionTooLarge {
        /// The size it states.
        bytes: u64,
        /// The most allowed.
        limit: u64,
    },
    /// An extended header is followed by no entry.
    #[error("failed to read tar entry: an extended header is the last entry")]
    ExtensionOfNothing,
}

/// Where an archive breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// In the compressed data.
    Gzip,
    /// In the header of an entry.
    Header,
    /// In what an entry holds.
    Content,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameFault {
    /// There is none.
    Empty,
    /// It has `..` in it.
    Traversal,
    /// It begins with `/`.
    Absolute,
    /// It has a NUL in it.
    Nul,
    /// It has a backslash in it.
    Backslash,
    /// It is not UTF-8.
    NotUtf8,
    /// It lies in a directory.
    Nested,
    /// It is longer than any path.
    TooLong,
}

/// What an entry is instead of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Hardlink,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
    /// A file with holes.
    Sparse,
    /// Something else, by the letter of its type.
    Other(u8),
}

// === impl ArchiveError ===

impl ArchiveError {
    /// The name of the fault, for machines. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "archive_too_large",
            Self::NotGzip => "not_gzip",
            Self::GzipCorrupt => "gzip_corrupt",
            Self::GzipChecksum => "gzip_checksum",
            Self::Truncated(_) => "truncated",
            Self::DataAfterGzip { .. } => "data_after_gzip",
            Self::DataAfterTar => "data_after_tar",
            Self::UnpackedTooLarge { .. } => "unpacked_too_large",
            Self::Ratio { .. } => "compression_ratio",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::EntryTooLarge { .. } => "entry_too_large",
            Self::HeaderChecksum => "header_checksum",
            Self::HeaderInvalid => "header_invalid",
            Self::Name { fault, .. } => fault.code(),
            Self::Kind { kind, .. } => kind.code(),
            Self::DirectoryWithData(_) => "directory_with_data",
            Self::Duplicate(_) => "duplicate_entry",
            Self::PaxSize { .. } => "pax_size_mismatch",
            Self::PaxInvalid => "pax_invalid",
            Self::ExtensionConflict => "extension_conflict",
            Self::ExtensionTooLarge { .. } => "extension_too_large",
            Self::ExtensionOfNothing => "extension_of_nothing",
        }
    }
}

// === impl Part ===

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "the gzip data",
            Self::Header => "a header",
            Self::Content => "an entry",
        }
    }
}

// === impl NameFault ===

impl NameFault {
    fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty_name",
            Self::Traversal => "path_traversal",
            Self::Absolute => "absolute_path",
            Self::Nul => "nul_in_name",
            Self::Backslash => "backslash_in_name",
            Self::NotUtf8 => "name_not_utf8",
            Self::Nested => "nested_path",
            Self::TooLong => "name_too_long",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it names nothing",
            Self::Traversal => "it leads out of the package",
            Self::Absolute => "it is absolute",
            Self::Nul => "it has a NUL in it",
            Self::Backslash => "it has a backslash in it",
            Self::NotUtf8 => "it is not UTF-8",
            Self::Nested => "packages have no directories",
            Self::TooLong => "it is too long",
        }
    }
}

// === impl EntryKind ===

impl EntryKind {
    /// What is refused about an entry of this type.
    pub(super) fn unwelcome(kind: EntryType) -> Option<Self> {
        match kind.as_byte() {
            b'0' | 0 => None,
            b'1' => Some(Self::Hardlink),
            b'2' => Some(Self::Symlink),
            b'3' | b'4' => Some(Self::Device),
            b'6' => Some(Self::Fifo),
            b'S' => Some(Self::Sparse),
            other => Some(Self::Other(other)),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::Hardlink => "hardlink",
            Self::Device => "device",
            Self::Fifo => "fifo",
            Self::Sparse => "sparse_file",
            Self::Other(_) => "unknown_entry_type",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Symlink => "a symbolic link",
            Self::Hardlink => "a hard link",
            Self::Device => "a device",
            Self::Fifo => "a named pipe",
            Self::Sparse => "a sparse file",
            Self::Other(_) => "of a type that packages do not have",
        }
    }
}
