//! What a stream still has to send: data that waits for windows, and what follows the data.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::hpack::encoder::Fields;

/// The rest of an answer.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    chunks: VecDeque<Bytes>,
    len: usize,
    /// How the answer ends, if that is known.
    pub(crate) ending: Option<Ending>,
    /// Whether the stream stands in the connection's queue.
    pub(crate) queued: bool,
    /// Whether the handler waits until there is room again.
    pub(crate) awaited: bool,
}

/// How an answer ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With its last byte of data.
    Data,
    /// With trailers.
    Trailers(Fields),
}

// === impl Outgoing ===

impl Outgoing {
    /// Bytes of data that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// Moves the next `len` bytes to `out`; the caller has asked for the length.
    pub(crate) fn write(&mut self, mut len: usize, out: &mut Vec<u8>) {
        debug_assert!(len <= self.len);
        self.len -= len;
        while len > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let part = chunk.len().min(len);
            out.extend_from_slice(&chunk[..part]);
            chunk.advance(part);
            len -= part;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}
