//! Frames: the nine bytes before each payload, read and written.
//!
//! Knows lengths and layouts only; what a frame means is the connection's business.

use crate::error::{ErrorCode, Violation};

/// What every client sends first.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
pub(crate) const HEAD_LEN: usize = 9;
/// The longest payload taken, in bytes: the protocol's default, which we never raise.
pub(crate) const MAX_PAYLOAD: usize = 16_384;
/// The largest stream id, and the largest window.
pub(crate) const MAX_31: u32 = 0x7fff_ffff;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
    pub(crate) stream: u32,
}

/// The types of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

/// The flags of a frame; their meaning depends on its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

// === impl FrameHead ===

impl FrameHead {
    /// Reads a head; every nine bytes are one.
    pub(crate) fn parse(bytes: &[u8; HEAD_LEN]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            10..=255 => Kind::Unknown,
        };
        Self {
            len: usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2),
            kind,
            flags: Flags(flags),
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & MAX_31,
        }
    }

    /// The payload without its padding; `payload` is that of a DATA or HEADERS frame.
    pub(crate) fn unpadded<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Violation> {
        if !self.flags.padded() {
            return Ok(payload);
        }
        let (&pad, rest) = payload.split_first().ok_or(Violation::FrameLength)?;
        let len = rest.len().checked_sub(usize::from(pad)).ok_or(Violation::Padding)?;
        Ok(&rest[..len])
    }
}

// === impl Flags ===

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ACK: Self = Self(0x1);
    pub(crate) const END_STREAM: Self = Self(0x1);
    pub(crate) const END_HEADERS: Self = Self(0x4);
    pub(crate) const END_BOTH: Self = Self(0x5);

    pub(crate) const fn ack(self) -> bool {
        self.0 & 0x1 != 0
    }

    pub(crate) const fn end_stream(self) -> bool {
        self.0 & 0x1 != 0
    }

    pub(crate) const fn end_headers(self) -> bool {
        self.0 & 0x4 != 0
    }

    pub(crate) const fn padded(self) -> bool {
        self.0 & 0x8 != 0
    }

    pub(crate) const fn priority(self) -> bool {
        self.0 & 0x20 != 0
    }
}

// === impl Kind ===

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown => 0xff,
        }
    }
}

/// The nine bytes before a payload of `len` bytes, which must be below 2^24.
pub(crate) const fn head(len: usize, kind: Kind, flags: Flags, stream: u32) -> [u8; HEAD_LEN] {
    debug_assert!(len < 1 << 24);
    let [.., l0, l1, l2] = len.to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [l0, l1, l2, kind.byte(), flags.0, s0, s1, s2, s3]
}

/// Writes RST_STREAM.
pub(crate) fn put_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    out.extend_from_slice(&head(4, Kind::Reset, Flags::NONE, stream));
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Writes WINDOW_UPDATE; stream 0 is the connection.
pub(crate) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    debug_assert!(increment > 0 && increment <= MAX_31);
    out.extend_from_slice(&head(4, Kind::WindowUpdate, Flags::NONE, stream));
    out.extend_from_slice(&increment.to_be_bytes());
}

/// Writes PING or its acknowledgement.
pub(crate) fn put_ping(out: &mut Vec<u8>, flags: Flags, payload: [u8; 8]) {
    out.extend_from_slice(&head(8, Kind::Ping, flags, 0));
    out.extend_from_slice(&payload);
}

/// Writes SETTINGS with these (id, value) pairs.
pub(crate) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    out.extend_from_slice(&head(settings.len() * 6, Kind::Settings, Flags::NONE, 0));
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes the acknowledgement of the peer's SETTINGS.
pub(crate) fn put_settings_ack(out: &mut Vec<u8>) {
    out.extend_from_slice(&head(0, Kind::Settings, Flags::ACK, 0));
}

/// Writes GOAWAY.
pub(crate) fn put_goaway(out: &mut Vec<u8>, last: u32, code: ErrorCode, debug: &str) {
    out.extend_from_slice(&head(8 + debug.len(), Kind::GoAway, Flags::NONE, 0));
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug.as_bytes());
}

/// Writes a header block as HEADERS and, if it is longer than the peer's frames may be, CONTINUATION.
pub(crate) fn put_header_block(
    out: &mut Vec<u8>,
    stream: u32,
    block: &[u8],
    end_stream: bool,
    max_frame: usize,
) {
    let (first, mut rest) = block.split_at(block.len().min(max_frame));
    let flags = match (rest.is_empty(), end_stream) {
        (true, true) => Flags::END_BOTH,
        (true, false) => Flags::END_HEADERS,
        (false, true) => Flags::END_STREAM,
        (false, false) => Flags::NONE,
    };
    out.extend_from_slice(&head(first.len(), Kind::Headers, flags, stream));
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let (part, tail) = rest.split_at(rest.len().min(max_frame));
        let flags = if tail.is_empty() { Flags::END_HEADERS } else { Flags::NONE };
        out.extend_from_slice(&head(part.len(), Kind::Continuation, flags, stream));
        out.extend_from_slice(part);
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_a_round_trip() {
        for kind in [Kind::Data, Kind::Headers, Kind::Reset, Kind::WindowUpdate, Kind::Continuation] {
            let written = head(0x01_02_03, kind, Flags::END_BOTH, MAX_31);
            let read = FrameHead::parse(&written);
            assert_eq!(read, FrameHead { len: 0x01_02_03, kind, flags: Flags::END_BOTH, stream: MAX_31 });
        }
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        let mut bytes = head(0, Kind::Ping, Flags::NONE, 7);
        bytes[5] |= 0x80;
        assert_eq!(FrameHead::parse(&bytes).stream, 7);
    }

    #[test]
    fn padding_is_cut_off_and_may_not_exceed_the_frame() {
        let padded = FrameHead { len: 0, kind: Kind::Data, flags: Flags(0x8), stream: 1 };
        assert_eq!(padded.unpadded(&[2, b'a', b'b', 0, 0]), Ok(&b"ab"[..]));
        assert_eq!(padded.unpadded(&[2, 0, 0]), Ok(&b""[..]));
        assert_eq!(padded.unpadded(&[3, 0, 0]), Err(Violation::Padding));
        assert_eq!(padded.unpadded(&[]), Err(Violation::FrameLength));
    }

    #[test]
    fn a_long_header_block_goes_on_in_continuation_frames() {
        let mut out = Vec::new();
        put_header_block(&mut out, 5, &[7; 25], true, 10);
        let mut kinds = Vec::new();
        let mut rest = &out[..];
        while let Some((bytes, tail)) = rest.split_first_chunk::<HEAD_LEN>() {
            let head = FrameHead::parse(bytes);
            kinds.push((head.kind, head.flags, head.len));
            rest = &tail[head.len..];
        }
        assert_eq!(
            kinds,
            [
                (Kind::Headers, Flags::END_STREAM, 10),
                (Kind::Continuation, Flags::NONE, 10),
                (Kind::Continuation, Flags::END_HEADERS, 5),
            ]
        );
    }
}
