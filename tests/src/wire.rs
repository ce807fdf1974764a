//! The five bytes before a gRPC message.

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// A message behind its prefix, uncompressed.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("test messages are far below 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

/// The one message of a body; `None` if the body is empty.
pub(crate) fn unframe(mut body: Bytes) -> anyhow::Result<Option<Bytes>> {
    if body.is_empty() {
        return Ok(None);
    }
    ensure!(body.len() >= PREFIX, "a body of {} bytes is shorter than a prefix", body.len());
    ensure!(body.get_u8() == 0, "a compressed message, though none was allowed");
    let length = usize::try_from(body.get_u32()).context("the length fits")?;
    ensure!(body.len() == length, "a prefix says {length} bytes, {} follow", body.len());
    Ok(Some(body))
}

/// Flag and length.
const PREFIX: usize = 5;
