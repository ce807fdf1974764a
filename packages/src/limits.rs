//! How large a package may be: every bound of the reader, with its default.

/// The bounds of reading a package. The defaults suit packages of tens of megabytes and let no stranger's
/// archive take more memory than a few times its own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageLimits {
    /// Bytes of the archive itself.
    pub compressed_bytes: u64,
    /// Bytes of everything in the archive, headers and padding included.
    pub unpacked_bytes: u64,
    /// Entries, those that only extend another's header or are ignored included.
    pub entries: u32,
    /// Bytes of one entry.
    pub entry_bytes: u64,
    /// Bytes of `service.wasm`.
    pub wasm_bytes: u64,
    /// Bytes of `okra.json`, of `service.description.json` and of `service.okra.gql`, each.
    pub text_bytes: u64,
    /// Bytes of `service.pb.desc`.
    pub descriptor_bytes: u64,
    /// Elements of the descriptor set: files, messages, fields, values, methods, comments and the like.
    pub descriptor_elements: u32,
    /// How many times its own size an archive may unpack to, once that is more than a mebibyte.
    pub ratio: u32,
}

/// What may be unpacked whatever the ratio: small text packs very well.
pub(crate) const RATIO_APPLIES_BEYOND: u64 = MIB;

const MIB: u64 = 1 << 20;

// === impl PackageLimits ===

impl Default for PackageLimits {
    fn default() -> Self {
        Self {
            compressed_bytes: 64 * MIB,
            unpacked_bytes: 256 * MIB,
            entries: 64,
            entry_bytes: 64 * MIB,
            wasm_bytes: 32 * MIB,
            text_bytes: MIB,
            descriptor_bytes: 4 * MIB,
            descriptor_elements: 100_000,
            ratio: 200,
        }
    }
}
