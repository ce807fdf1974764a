//! Writes an archive: the same files give the same bytes, whoever packs them and when.

use std::io;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

use crate::file::PackageFile;

/// Packs these files in this order.
pub(crate) fn write(files: &[(PackageFile, &[u8])]) -> io::Result<Bytes> {
    // No name, no time and a fixed system byte: nothing of the machine is in it.
    let gzip = GzBuilder::new().operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (file, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, file.name(), *data)?;
    }
    Ok(tar.into_inner()?.finish()?.into())
}

/// How gzip says that it does not matter.
const UNKNOWN_SYSTEM: u8 = 255;
