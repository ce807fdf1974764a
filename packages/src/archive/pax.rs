//! Headers that extend another entry's: PAX records and the long names of GNU tar.
//!
//! Only a longer name is taken from them. A size that differs from the header's is refused, because
//! readers disagree on which one counts; so is everything about sparse files.

use tar::{EntryType, Header};

use super::error::ArchiveError;
use super::name::EntryName;
use crate::legible::legible;

/// The most one of them may hold.
pub(super) const MAX_BYTES: u64 = 64 * 1024;

/// What an entry extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extends {
    /// PAX records for the next entry.
    Next,
    /// PAX records for all that follow.
    All,
    /// The name of the next entry.
    Name,
    /// The target of the next entry, which is a link.
    LinkTarget,
}

/// What the headers before an entry say of it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    has_long_link: bool,
}

/// The records that matter.
#[derive(Debug, Default)]
struct Records {
    path: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    is_sparse: bool,
}

// === impl Extends ===

impl Extends {
    pub(super) fn of(kind: EntryType) -> Option<Self> {
        match kind.as_byte() {
            b'x' => Some(Self::Next),
            b'g' => Some(Self::All),
            b'L' => Some(Self::Name),
            b'K' => Some(Self::LinkTarget),
            _ => None,
        }
    }

    pub(super) fn is_global(self) -> bool {
        self == Self::All
    }
}

// === impl Extensions ===

impl Extensions {
    pub(super) fn add(&mut self, extends: Extends, data: &[u8]) -> Result<(), ArchiveError> {
        let is_first = match extends {
            Extends::Next => self.records.replace(Records::parse(data)?).is_none(),
            Extends::Name => {
                // GNU tar ends it with a NUL.
                let name = data.strip_suffix(&[0]).unwrap_or(data);
                self.long_name.replace(name.to_vec()).is_none()
            }
            Extends::LinkTarget => !std::mem::replace(&mut self.has_long_link, true),
            Extends::All => {
                let records = Records::parse(data)?;
                let is_harmless = records.path.is_none() && records.size.is_none() && !records.is_sparse;
                // Between another extension and its entry it would be read in different ways.
                is_harmless && self.records.is_none() && self.long_name.is_none() && !self.has_long_link
            }
        };
        if is_first { Ok(()) } else { Err(ArchiveError::ExtensionConflict) }
    }

    /// The name of the entry with this header.
    pub(super) fn name(&self, header: &Header) -> Result<EntryName, ArchiveError> {
        let longer = self.records.as_ref().and_then(|records| records.path.as_deref());
        match longer.or(self.long_name.as_deref()) {
            Some(name) => EntryName::parse(name),
            None => EntryName::parse(&name_in(header)),
        }
    }

    /// Refuses what would make readers disagree on where the entry ends.
    pub(super) fn check(&self, size: u64, name: &str) -> Result<(), ArchiveError> {
        let Some(records) = &self.records else { return Ok(()) };
        if records.is_sparse {
            return Err(ArchiveError::Kind { name: name.to_owned(), kind: super::EntryKind::Sparse });
        }
        match &records.size {
            Some(stated) if *stated != size.to_string().as_bytes() => {
                Err(ArchiveError::PaxSize { name: name.to_owned(), header: size, stated: legible(stated) })
            }
            _ => Ok(()),
        }
    }
}

// === impl Records ===

impl Records {
    /// Reads records of the form `<length> <key>=<value>\n`.
    fn parse(mut data: &[u8]) -> Result<Self, ArchiveError> {
        let mut records = Self::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or(ArchiveError::PaxInvalid)?;
            let place = match key {
                b"path" => Some(&mut records.path),
                b"size" => Some(&mut records.size),
                _ => None,
            };
            records.is_sparse |= key.starts_with(b"GNU.sparse.");
            if let Some(place) = place
                && place.replace(value.to_vec()).is_some()
            {
                return Err(ArchiveError::ExtensionConflict);
            }
            data = rest;
        }
        Ok(records)
    }
}

/// The first record, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = data.get(..space).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair.get(..equals)?, pair.get(equals + 1..)?, rest))
}

/// The name that a header itself holds. Bytes behind its end stay, so that they are found and refused.
fn name_in(header: &Header) -> Vec<u8> {
    let field = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.get(..end).unwrap_or_default().to_vec()
    };
    let name = field(&header.as_old().name);
    match header.as_ustar().map(|ustar| field(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [&prefix[..], b"/", &name].concat(),
        _ => name,
    }
}
