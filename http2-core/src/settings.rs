//! What we allow: settings told to the peer and limits kept to ourselves; and what the peer allows us.

use std::time::Duration;

use crate::error::Violation;
use crate::frame::{MAX_31, MAX_PAYLOAD};

/// What a connection offers to its client, and how it is guarded. Any value is legal; those told to the
/// client are brought within the bounds of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Concurrent streams, at most 8,192. Default 200.
    pub max_streams: u32,
    /// Bytes that a client may send on a new stream before we grant more; at least 65,535, the default.
    /// A unary message gets the rest of its window as soon as its length is known.
    pub stream_window: u32,
    /// Bytes that a client may have under way on the whole connection; at least 65,535. Default 1 MiB.
    pub connection_window: u32,
    /// Bytes of the table by which a client compresses its header blocks, and of which we keep a copy.
    /// Default 4 KiB.
    pub header_table: u32,
    /// Bytes of one answer taken over from the handler and not yet written, beyond which
    /// [`Connection::room`](crate::Connection::room) is zero. Default 64 KiB.
    pub send_buffer: usize,
    /// Bytes in the output beyond which answers wait for
    /// [`Connection::pump`](crate::Connection::pump). Default 256 KiB.
    pub output_bytes: usize,
    /// Whether header blocks that repeat are recognised. Default on; changes the cost, not the outcome.
    pub header_memo: bool,
    /// The guards.
    pub limits: Limits,
}

/// The guards against peers that are slow, greedy or hostile. Each names the
/// [`Cutoff`](crate::Cutoff) that reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a decoded head as RFC 9113 §6.5.2 counts them (`HeaderListSize`). Default 16 KiB.
    pub header_list_bytes: u32,
    /// Bytes of one header block as sent (`HeaderBlockSize`). Default 64 KiB.
    pub header_block_bytes: usize,
    /// CONTINUATION frames of one header block (`ContinuationFlood`). Default 16.
    pub continuations: u32,
    /// Bytes of one unary message (`MessageSize`). Default 4 MiB.
    pub message_bytes: usize,
    /// Bytes of all unfinished unary messages of a connection (`BodyBudget`). Default 32 MiB.
    pub unfinished_bytes: usize,
    /// Streams that may be reset or refused, by either side (`ResetFlood`). Default 1,000, refilled by 200
    /// per second, and by one for each answer.
    pub reset_budget: Allowance,
    /// Frames that carry nothing: PING, SETTINGS (10 each), PRIORITY, WINDOW_UPDATE, unknown ones, small and
    /// late DATA, oversized heads (20 each) (`ControlFlood`). Default 10,000, refilled by 1,000 per second,
    /// by 8 for each answer and by 2 for each DATA frame that we send.
    pub control_budget: Allowance,
    /// From the start to the end of the client's first SETTINGS (`PrefaceTimeout`). Default 10 s.
    pub preface_timeout: Duration,
    /// From our SETTINGS to their acknowledgement (`SettingsTimeout`). Default 10 s.
    pub settings_timeout: Duration,
    /// From a HEADERS frame to the end of its header block (`HeaderBlockTimeout`). Default 10 s.
    pub header_timeout: Duration,
    /// From a unary head to the end of its message (`BodyTimeout`). Default 30 s.
    pub body_timeout: Duration,
    /// Between two parts of a unary message (`BodyStall`). Default 10 s.
    pub body_stall: Duration,
    /// Between two frames of a plain stream whose request has not ended (`StreamIdle`). Default 300 s.
    pub stream_idle: Duration,
    /// An answer of which the client takes nothing (`AnswerStall`). Default 60 s.
    pub answer_stall: Duration,
    /// A connection without streams (`Idle`). Default 300 s.
    pub idle_timeout: Duration,
    /// Silence after which a PING asks whether the client is there; zero for never. Default 60 s.
    pub keepalive_interval: Duration,
    /// From that PING to its acknowledgement (`KeepaliveTimeout`). Default 20 s.
    pub keepalive_timeout: Duration,
    /// From the first GOAWAY of a drain to the second, unless its PING is acknowledged before. Default 1 s.
    pub drain_ping_timeout: Duration,
}

/// A budget: how much at once, and how much more each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The most that it holds, and what it begins with.
    pub burst: u32,
    /// What comes back each second.
    pub per_second: u32,
}

/// What the peer's SETTINGS allow us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerSettings {
    /// The window of a new stream.
    pub(crate) initial_window: u32,
    /// The longest payload.
    pub(crate) max_frame: usize,
    /// The HPACK table it lets us use; we use none, but must say so if it shrinks.
    pub(crate) header_table: u32,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_streams: 200,
            stream_window: DEFAULT_WINDOW,
            connection_window: 1 << 20,
            header_table: DEFAULT_HEADER_TABLE,
            send_buffer: 64 << 10,
            output_bytes: 256 << 10,
            header_memo: true,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// The same with the values that the client is told within their bounds.
    pub(crate) fn bounded(mut self) -> Self {
        self.max_streams = self.max_streams.min(MOST_STREAMS);
        self.stream_window = self.stream_window.clamp(DEFAULT_WINDOW, MAX_31);
        self.connection_window = self.connection_window.clamp(DEFAULT_WINDOW, MAX_31);
        self
    }

    /// What the client is told.
    pub(crate) fn announced(&self) -> Vec<(u16, u32)> {
        let mut settings = vec![
            (MAX_CONCURRENT_STREAMS, self.max_streams),
            (INITIAL_WINDOW_SIZE, self.stream_window),
            (MAX_HEADER_LIST_SIZE, self.limits.header_list_bytes),
        ];
        if self.header_table != DEFAULT_HEADER_TABLE {
            settings.push((HEADER_TABLE_SIZE, self.header_table));
        }
        settings
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_list_bytes: 16 << 10,
            header_block_bytes: 64 << 10,
            continuations: 16,
            message_bytes: 4 << 20,
            unfinished_bytes: 32 << 20,
            reset_budget: Allowance { burst: 1_000, per_second: 200 },
            control_budget: Allowance { burst: 10_000, per_second: 1_000 },
            preface_timeout: Duration::from_secs(10),
            settings_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_stall: Duration::from_secs(10),
            stream_idle: Duration::from_secs(300),
            answer_stall: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            drain_ping_timeout: Duration::from_secs(1),
        }
    }
}

// === impl PeerSettings ===

impl Default for PeerSettings {
    fn default() -> Self {
        Self { initial_window: DEFAULT_WINDOW, max_frame: MAX_PAYLOAD, header_table: DEFAULT_HEADER_TABLE }
    }
}

impl PeerSettings {
    /// The settings after a SETTINGS frame; of several values for one setting the last holds.
    pub(crate) fn updated(mut self, payload: &[u8]) -> Result<Self, Violation> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Violation::FrameLength);
        }
        for &[i0, i1, v0, v1, v2, v3] in settings {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                HEADER_TABLE_SIZE => self.header_table = self.header_table.min(value),
                ENABLE_PUSH if value > 1 => return Err(Violation::SettingValue),
                INITIAL_WINDOW_SIZE if value > MAX_31 => return Err(Violation::WindowOverflow),
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE => {
                    self.max_frame = usize::try_from(value)
                        .ok()
                        .filter(|size| (MAX_PAYLOAD..1 << 24).contains(size))
                        .ok_or(Violation::SettingValue)?;
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// Whether the peer has ever lowered the table below the size that encoders start with.
    pub(crate) fn lowered_table(&self) -> bool {
        self.header_table < DEFAULT_HEADER_TABLE
    }
}

/// The window that streams and connections start with.
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;
/// The table that encoders start with.
pub(crate) const DEFAULT_HEADER_TABLE: u32 = 4_096;
/// A bound on `max_streams`, so that slots fit their ids.
const MOST_STREAMS: u32 = 8_192;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(settings: &[(u16, u32)]) -> Vec<u8> {
        settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect()
    }

    #[test]
    fn settings_are_read_and_bounded() {
        let base = PeerSettings::default();
        for (settings, outcome) in [
            (&[(4, 10), (4, 20)][..], Ok(PeerSettings { initial_window: 20, ..base })),
            (&[(5, 16_384)], Ok(base)),
            (&[(5, 16_777_215)], Ok(PeerSettings { max_frame: 16_777_215, ..base })),
            (&[(1, 0), (1, 4096)], Ok(PeerSettings { header_table: 0, ..base })),
            (&[(2, 1), (3, 0), (6, 1), (0xff, 9)], Ok(base)),
            (&[(2, 2)], Err(Violation::SettingValue)),
            (&[(4, 1 << 31)], Err(Violation::WindowOverflow)),
            (&[(5, 16_383)], Err(Violation::SettingValue)),
            (&[(5, 1 << 24)], Err(Violation::SettingValue)),
        ] {
            assert_eq!(base.updated(&frame(settings)), outcome, "{settings:?}");
        }
        assert_eq!(base.updated(&[0; 5]), Err(Violation::FrameLength));
    }
}
