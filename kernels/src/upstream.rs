//! Calls to other servers: what `rpc_unary_call`, `rpc_unary_call_batch` and `http_call` share.
//!
//! ```text
//! params ──► Target ──► Gate ──► Connector ──► grpc or http ──► Failure
//!  what a     shared by   at most    one TCP      one exchange    which code
//!  node says  its nodes   n calls    connection                   it gets
//! ```
//!
//! [`Upstreams`] owns every connection. A [`Target`] lives as long as some plan has a node that names
//! it, so publishing a new version of a graph reconnects nothing, and dropping the last plan closes the
//! connections. Nothing here repeats a call that may have reached the upstream: that is the business of
//! a node's `retry`.
//!
//! # The status a failure gets
//! The message is what a caller of the service reads; addresses and causes are for the log.
//!
//! | what happened | code | message |
//! |---|---|---|
//! | the upstream answered a gRPC status | that code; a number gRPC does not know is UNKNOWN | the upstream's own, with its details and trailers |
//! | the time for the call ran out, wherever it was: the upstream is silent, hangs, or stops within its answer | DEADLINE_EXCEEDED | `the upstream did not answer in time` |
//! | `max_waiting` calls wait already | RESOURCE_EXHAUSTED | `too many calls wait for the upstream` |
//! | it waited for `max_wait_ms` | RESOURCE_EXHAUSTED | `the upstream is busy: …` |
//! | no connection: refused, unreachable, no such name, `connect_timeout_ms` | UNAVAILABLE | `cannot connect to the upstream` |
//! | the connection ended or broke: killed, reset, closed, GOAWAY, bytes that are no HTTP/2 (or, of `http_call`, no HTTP/1.1) | UNAVAILABLE | `the connection to the upstream broke` |
//! | RST_STREAM | NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR, CONNECT_ERROR, HTTP_1_1_REQUIRED: INTERNAL; REFUSED_STREAM: UNAVAILABLE; CANCEL: CANCELLED; ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED; INADEQUATE_SECURITY: PERMISSION_DENIED; others: UNKNOWN | `the upstream reset the call` |
//! | an HTTP status without a gRPC status | 400 INTERNAL; 401 UNAUTHENTICATED; 403 PERMISSION_DENIED; 404 UNIMPLEMENTED; 429, 502, 503, 504 UNAVAILABLE; others UNKNOWN | `the upstream answered HTTP …` |
//! | HTTP 200 with a content type that is not gRPC | UNKNOWN | `the upstream does not speak gRPC` |
//! | no message or two, a torn or compressed one, another flag | INTERNAL | `the upstream's answer is malformed: …` |
//! | no status at the end | INTERNAL | `the upstream ended the call without a status` |
//! | a header list over 16 KiB in gRPC; in HTTP/1.1, a head over 64 KiB or more than 100 headers | INTERNAL | `the upstream's answer is malformed or its headers are too large` |
//! | a message or body over its limit | RESOURCE_EXHAUSTED | that it is larger than so many bytes |
//! | metadata or a method name that cannot be sent | INVALID_ARGUMENT | what is wrong with it |
//!
//! CANCELLED within 10 ms of the deadline counts as the deadline: that is how some servers end a call
//! whose time is up, and the two must not race.

mod connect;
mod failure;
mod frame;
pub(crate) mod grpc;
pub(crate) mod headers;
mod limit;
pub(crate) mod params;
mod target;
pub(crate) mod unary;

#[cfg(test)]
pub(crate) mod servers;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use exec_plan::RequestContext;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use crate::upstream::failure::{Failure, bounded_by};
pub(crate) use crate::upstream::target::{Settings, Target};

/// Every server that the nodes of a process call, with the connections to it. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Upstreams {
    targets: Arc<Mutex<HashMap<Settings, Weak<Target>>>>,
}

/// How long a call may take if neither its request nor its node says.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What this host calls itself.
pub(crate) const USER_AGENT: &str = concat!("okra/", env!("CARGO_PKG_VERSION"));

// === impl Upstreams ===

impl Upstreams {
    /// No servers yet: nodes add those that they name.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The target with these settings, shared by all who name it.
    pub(crate) fn target(&self, settings: Settings) -> Arc<Target> {
        let mut targets = self.targets.lock();
        if let Some(target) = targets.get(&settings).and_then(Weak::upgrade) {
            return target;
        }
        // Targets that no plan names any more leave when another comes.
        targets.retain(|_, target| target.strong_count() > 0);
        let target = Arc::new(Target::new(settings.clone()));
        targets.insert(settings, Arc::downgrade(&target));
        target
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("targets", &self.targets.lock().len()).finish()
    }
}

/// When a call that begins now must be over.
pub(crate) fn deadline(cx: &RequestContext, timeout: Option<Duration>) -> Instant {
    let now = Instant::now();
    let own = timeout.map(|timeout| now + timeout);
    let request = cx.deadline().map(Instant::from_std);
    own.into_iter().chain(request).min().unwrap_or(now + DEFAULT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_in_flight: u32) -> Settings {
        Settings {
            uri: http::Uri::from_static("http://127.0.0.1:9"),
            max_in_flight,
            max_waiting: 1,
            connect_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn nodes_that_name_the_same_target_share_it_as_long_as_one_is_left() {
        let upstreams = Upstreams::new();
        let first = upstreams.target(settings(1));
        let again = upstreams.clone().target(settings(1));
        assert!(Arc::ptr_eq(&first, &again));
        let other = upstreams.target(settings(2));
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, again));
        drop(upstreams.target(settings(3)));
        assert_eq!(upstreams.targets.lock().len(), 2);
        drop(other);
        drop(upstreams.target(settings(4)));
        assert_eq!(upstreams.targets.lock().len(), 1);
    }
}
