//! The gzip layer: one member, its checksum and length proved, nothing behind it.
//!
//! Hands out bytes as they are asked for and stops as soon as more would come than the limits allow, so a
//! bomb costs what was read of it and no more.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::error::{ArchiveError, Part};
use crate::limits::{PackageLimits, RATIO_APPLIES_BEYOND};

/// A gzip member that is being read.
pub(super) struct Inflate<'a> {
    input: &'a [u8],
    raw: Decompress,
    crc: Crc,
    produced: u64,
    is_ended: bool,
    unpacked_limit: u64,
    ratio_limit: u64,
    ratio: u32,
}

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

// === impl Inflate ===

impl<'a> Inflate<'a> {
    pub(super) fn open(bytes: &'a [u8], limits: &PackageLimits) -> Result<Self, ArchiveError> {
        let size = bytes.len() as u64;
        if size > limits.compressed_bytes {
            return Err(ArchiveError::TooLarge { bytes: size, limit: limits.compressed_bytes });
        }
        Ok(Self {
            input: skip_header(bytes)?,
            raw: Decompress::new(false),
            crc: Crc::new(),
            produced: 0,
            is_ended: false,
            unpacked_limit: limits.unpacked_bytes,
            ratio_limit: size.saturating_mul(u64::from(limits.ratio)).max(RATIO_APPLIES_BEYOND),
            ratio: limits.ratio,
        })
    }

    /// Bytes that came out so far.
    pub(super) fn produced(&self) -> u64 {
        self.produced
    }

    /// Fills a buffer; less than full only at the end, which is proved by then.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty() && !self.is_ended) {
            let (consumed, produced) = (self.raw.total_in(), self.raw.total_out());
            let status = self.raw.decompress(self.input, rest, FlushDecompress::None);
            let status = status.map_err(|_| ArchiveError::GzipCorrupt)?;
            let consumed = usize::try_from(self.raw.total_in() - consumed).unwrap_or(usize::MAX);
            let produced = usize::try_from(self.raw.total_out() - produced).unwrap_or(usize::MAX);
            self.input = self.input.get(consumed..).unwrap_or_default();
            self.crc.update(rest.get(..produced).unwrap_or_default());
            filled += produced;
            self.count(produced as u64)?;
            match status {
                Status::StreamEnd => self.finish()?,
                Status::Ok | Status::BufError if consumed == 0 && produced == 0 => {
                    return Err(ArchiveError::Truncated(Part::Gzip));
                }
                Status::Ok | Status::BufError => {}
            }
        }
        Ok(filled)
    }

    fn count(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.produced += bytes;
        if self.produced > self.unpacked_limit {
            return Err(ArchiveError::UnpackedTooLarge { limit: self.unpacked_limit });
        }
        if self.produced > self.ratio_limit {
            return Err(ArchiveError::Ratio { limit: self.ratio });
        }
        Ok(())
    }

    /// Compares checksum and length with what came.
    fn finish(&mut self) -> Result<(), ArchiveError> {
        self.is_ended = true;
        let (trailer, after) =
            self.input.split_first_chunk::<8>().ok_or(ArchiveError::Truncated(Part::Gzip))?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        let is_whole = u32::from_le_bytes([c0, c1, c2, c3]) == self.crc.sum()
            && u32::from_le_bytes([l0, l1, l2, l3]) == self.crc.amount();
        if !is_whole {
            return Err(ArchiveError::GzipChecksum);
        }
        if after.is_empty() { Ok(()) } else { Err(ArchiveError::DataAfterGzip { bytes: after.len() as u64 }) }
    }
}

/// What follows the header of a gzip member.
fn skip_header(bytes: &[u8]) -> Result<&[u8], ArchiveError> {
    let truncated = ArchiveError::Truncated(Part::Gzip);
    if !bytes.starts_with(&[0x1f, 0x8b, 8]) {
        // A start of it is a package that broke off; anything else never was one.
        let is_start = !bytes.is_empty() && [0x1f, 0x8b, 8].starts_with(bytes);
        return Err(if is_start { truncated } else { ArchiveError::NotGzip });
    }
    let (fixed, mut rest) = bytes.split_first_chunk::<10>().ok_or(truncated.clone())?;
    let flags = fixed[3];
    if flags & FLAGS_RESERVED != 0 {
        return Err(ArchiveError::NotGzip);
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(truncated.clone())?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or(truncated.clone())?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(truncated.clone())?;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let header = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
        let (sum, after) = rest.split_first_chunk::<2>().ok_or(truncated)?;
        let mut crc = Crc::new();
        crc.update(header);
        let [b0, b1, ..] = crc.sum().to_le_bytes();
        if *sum != [b0, b1] {
            return Err(ArchiveError::GzipChecksum);
        }
        rest = after;
    }
    Ok(rest)
}
