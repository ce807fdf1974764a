//! What became of connections: counters by named reason, and a log that cannot be flooded.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::logs::paced::PacedCount;

/// Why the host ended a connection, or a stream of one, that its client would have kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// There were as many connections as there may be.
    TooManyConnections,
    /// There were as many from that address as there may be.
    TooManyFromAddress,
    /// The process could not open another file.
    NoFiles,
    /// No full preface or first request head came in time.
    HandshakeTimeout,
    /// A later HTTP/1 request head did not come in time.
    HeaderTimeout,
    /// There was no call for too long.
    Idle,
    /// The peer did not answer a PING.
    KeepAlive,
    /// The connection was as old as it may become.
    MaxAge,
    /// It was asked to go and did not.
    Overstayed,
    /// The peer did not read what it had asked for.
    WriteStall,
    /// The peer broke the rules of HTTP.
    Protocol,
    /// The peer stayed within the rules and wore the connection out: resets, empty frames, continuations.
    Flood,
    /// The head of a request was too large.
    HeadTooLarge,
    /// It was still there when the time for draining was over.
    Drained,
    /// Serving it panicked.
    Panicked,
}

/// Counters of the connections of one server. Each only grows.
#[derive(Debug)]
pub struct ConnectionStats {
    accepted: AtomicU64,
    ended: AtomicU64,
    accept_errors: AtomicU64,
    cuts: [PacedCount; Cut::ALL.len()],
}

// === impl Cut ===

impl Cut {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::TooManyConnections,
        Self::TooManyFromAddress,
        Self::NoFiles,
        Self::HandshakeTimeout,
        Self::HeaderTimeout,
        Self::Idle,
        Self::KeepAlive,
        Self::MaxAge,
        Self::Overstayed,
        Self::WriteStall,
        Self::Protocol,
        Self::Flood,
        Self::HeadTooLarge,
        Self::Drained,
        Self::Panicked,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::NoFiles => "no_files",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::Idle => "idle",
            Self::KeepAlive => "keepalive",
            Self::MaxAge => "max_age",
            Self::Overstayed => "overstayed",
            Self::WriteStall => "write_stall",
            Self::Protocol => "protocol",
            Self::Flood => "flood",
            Self::HeadTooLarge => "head_too_large",
            Self::Drained => "drained",
            Self::Panicked => "panicked",
        }
    }

    /// Whether it is nothing worth a line: every long-lived server sees it all day.
    fn is_routine(self) -> bool {
        matches!(self, Self::Idle | Self::MaxAge)
    }
}

// === impl ConnectionStats ===

impl ConnectionStats {
    pub(crate) fn new() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            cuts: std::array::from_fn(|_| PacedCount::default()),
        }
    }

    /// Connections taken from the listeners, those refused at the door included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were served and came to their end before any drain ran out of time.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// How often the system had no connection to give although one was waiting.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// How often the host cut something off for this reason.
    pub fn cut(&self, reason: Cut) -> u64 {
        self.cuts[reason as usize].get()
    }

    /// How often, for every reason.
    pub fn cuts(&self) -> impl Iterator<Item = (Cut, u64)> {
        Cut::ALL.into_iter().map(|reason| (reason, self.cut(reason)))
    }

    pub(crate) fn note_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a cut, and says so unless this reason has had its line this second.
    pub(crate) fn note_cut(&self, reason: Cut, peer: Option<SocketAddr>) {
        let due = self.cuts[reason as usize].note();
        let peer = peer.map(tracing::field::display);
        if reason.is_routine() {
            tracing::debug!(reason = reason.name(), peer, "closing");
        } else if let Some(since_last_line) = due {
            tracing::warn!(reason = reason.name(), peer, count = since_last_line, "cut off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_name_of_its_own() {
        for (number, reason) in Cut::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Cut::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }

    #[test]
    fn every_cut_of_a_flood_is_counted() {
        let stats = ConnectionStats::new();
        for _ in 0..1000 {
            stats.note_cut(Cut::Flood, None);
        }
        assert_eq!(stats.cut(Cut::Flood), 1000);
    }
}
