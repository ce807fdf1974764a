//! The archive: a tar in gzip, read whole and only in memory.
//!
//! Nothing is ever unpacked to a disk. An entry is a regular file at the top level or it is refused by the
//! name of its fault; directories are passed over, and so are files that nobody asked for, but both count
//! towards the limits. Memory stays below what the limits allow for the files that are kept, whatever the
//! archive claims: sizes are checked before bytes are read, and no buffer is made larger than what came.

mod error;
mod inflate;
mod name;
mod pax;
mod write;

use std::collections::BTreeSet;

use bytes::Bytes;
use tar::{EntryType, Header};

pub use self::error::{ArchiveError, EntryKind, NameFault, Part};
use self::inflate::Inflate;
use self::name::EntryName;
use self::pax::Extensions;
pub(crate) use self::write::write;
use crate::file::PackageFile;
use crate::limits::PackageLimits;

/// What an archive holds that matters.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    files: [Option<Bytes>; PackageFile::ALL.len()],
    /// The names of files that were passed over.
    pub(crate) ignored: Vec<String>,
    /// Bytes that the archive unpacked to.
    pub(crate) unpacked_bytes: u64,
}

/// A walk over the blocks of a tar.
struct Reader<'a> {
    inflate: Inflate<'a>,
    limits: &'a PackageLimits,
    contents: Contents,
    seen: BTreeSet<String>,
    entries: u32,
}

/// The unit of a tar.
const BLOCK: usize = 512;
/// Read at a time.
const CHUNK: usize = 64 * 1024;

// === impl Contents ===

impl Contents {
    /// Reads an archive.
    pub(crate) fn read(bytes: &[u8], limits: &PackageLimits) -> Result<Self, ArchiveError> {
        let inflate = Inflate::open(bytes, limits)?;
        let contents = Self::default();
        let mut reader = Reader { inflate, limits, contents, seen: BTreeSet::new(), entries: 0 };
        while let Some(header) = reader.header()? {
            reader.entry(&header)?;
        }
        reader.contents.unpacked_bytes = reader.inflate.produced();
        Ok(reader.contents)
    }

    /// The bytes of a file, if the archive has it.
    pub(crate) fn take(&mut self, file: PackageFile) -> Option<Bytes> {
        self.files.get_mut(file as usize)?.take()
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// The next header, or nothing at the end, behind which there is nothing but zeros.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        match self.inflate.fill(block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(ArchiveError::Truncated(Part::Header)),
        }
        if block.iter().all(|byte| *byte == 0) {
            self.only_zeros_follow()?;
            return Ok(None);
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ArchiveError::TooManyEntries { limit: self.limits.entries });
        }
        // The checksum is taken with spaces in its own place.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let expected = sum(&header.as_bytes()[..148]) + 8 * u32::from(b' ') + sum(&header.as_bytes()[156..]);
        if header.cksum().ok() != Some(expected) {
            return Err(ArchiveError::HeaderChecksum);
        }
        Ok(Some(header))
    }

    /// One entry, with the headers that extend its own.
    fn entry(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let mut extensions = Extensions::default();
        let mut next;
        let mut header = header;
        while let Some(extends) = pax::Extends::of(header.entry_type()) {
            let size = size_of(header)?;
            if size > pax::MAX_BYTES {
                return Err(ArchiveError::ExtensionTooLarge { bytes: size, limit: pax::MAX_BYTES });
            }
            let data = self.content(size, true)?;
            extensions.add(extends, &data)?;
            if extends.is_global() {
                return Ok(());
            }
            next = self.header()?.ok_or(ArchiveError::ExtensionOfNothing)?;
            header = &next;
        }
        let size = size_of(header)?;
        let name = extensions.name(header)?;
        let kind = header.entry_type();
        if kind == EntryType::Directory || (kind == EntryType::Regular && name.is_directory()) {
            return if size == 0 { Ok(()) } else { Err(ArchiveError::DirectoryWithData(name.into_text())) };
        }
        if let Some(kind) = EntryKind::unwelcome(kind) {
            return Err(ArchiveError::Kind { name: name.into_text(), kind });
        }
        extensions.check(size, name.text())?;
        self.file(name, size)
    }

    fn file(&mut self, name: EntryName, size: u64) -> Result<(), ArchiveError> {
        let name = name.into_top_level()?;
        if !self.seen.insert(name.clone()) {
            return Err(ArchiveError::Duplicate(name));
        }
        let file = PackageFile::named(&name);
        let limit = file.map_or(self.limits.entry_bytes, |file| file.limit(self.limits));
        if size > limit {
            return Err(ArchiveError::EntryTooLarge { name, bytes: size, limit });
        }
        let data = self.content(size, file.is_some())?;
        match file.and_then(|file| self.contents.files.get_mut(file as usize)) {
            Some(place) => *place = Some(data.into()),
            None => self.contents.ignored.push(name),
        }
        Ok(())
    }

    /// Reads what an entry holds and its padding.
    fn content(&mut self, size: u64, keep: bool) -> Result<Vec<u8>, ArchiveError> {
        let mut data = Vec::new();
        let mut chunk = [0; CHUNK];
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let Some(part) = chunk.get_mut(..want) else { break };
            if self.inflate.fill(part)? < want {
                return Err(ArchiveError::Truncated(Part::Content));
            }
            if keep {
                data.extend_from_slice(part);
            }
            left -= want as u64;
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        let padding = usize::try_from(padding).unwrap_or(0);
        if let Some(part) = chunk.get_mut(..padding)
            && self.inflate.fill(part)? < padding
        {
            return Err(ArchiveError::Truncated(Part::Content));
        }
        data.shrink_to_fit();
        Ok(data)
    }

    /// Reads what follows the end marker. Tools fill the last record up with zeros.
    fn only_zeros_follow(&mut self) -> Result<(), ArchiveError> {
        let mut chunk = [0; CHUNK];
        loop {
            let count = self.inflate.fill(&mut chunk)?;
            let read = chunk.get(..count).unwrap_or_default();
            if read.iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::DataAfterTar);
            }
            if count < CHUNK {
                return Ok(());
            }
        }
    }
}

/// The size a header states.
fn size_of(header: &Header) -> Result<u64, ArchiveError> {
    let size = header.entry_size().map_err(|_| ArchiveError::HeaderInvalid)?;
    // So that rounding up to blocks cannot overflow.
    if size > i64::MAX as u64 { Err(ArchiveError::HeaderInvalid) } else { Ok(size) }
}

#[cfg(test)]
mod tests;
