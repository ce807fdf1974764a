//! The answers that the host gives itself: refusals, failed runs, expired calls.
//!
//! Every cause is a value, and every status is chosen here, in one exhaustive match per kind of cause.
//! Nothing here sends anything: a call takes one answer at most, and its type sees to that.

use std::sync::Arc;

use bytes::Bytes;
use exec_plan::{Code, ExecPlan, Metadata, RunError, Unresolved, Version};
use kernels::Answer;

use crate::stats::RejectReason;

/// The trailer that names the plan which ran, for callers who ask for it by sending the same name.
pub const PLAN_KEY: &str = "okra-plan";

/// The trailer that names the node whose failure ended a call.
pub const NODE_KEY: &str = "okra-node";

/// The trailer by which a client learns how long to wait before it tries again, in milliseconds.
pub const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

/// What a refused client is told to wait: long enough for a full line to move, short enough to matter.
const PUSHBACK_MS: &str = "100";

/// Why a call is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The deadline had passed on arrival.
    #[error("the deadline had passed when the call arrived")]
    DeadlineExpired,
    /// The host is going away.
    #[error("the host is draining; try another instance")]
    Draining,
    /// Nothing answers this method.
    #[error(
        "no graph answers {method}: none serves its service, the metadata names none \
         (okra-graph), and there is no default graph"
    )]
    NoGraph {
        /// The full method.
        method: Arc<str>,
    },
    /// The service has a schema, and the method is not in it.
    #[error("there is no method {method}: the schema of its service has none of this name")]
    NoMethod {
        /// The full method.
        method: Arc<str>,
    },
    /// The metadata names a graph, or a version, that cannot be had.
    #[error("the metadata asks for graph {graph}{}: {why}", at_version(version.as_ref()))]
    Unresolved {
        /// The graph.
        graph: String,
        /// The version, if one was named.
        version: Option<Version>,
        /// What is missing.
        why: Unresolved,
    },
    /// The metadata names a version that is none.
    #[error("the metadata asks for version {version:?}: expected an integer or MAJOR.MINOR.PATCH")]
    InvalidVersion {
        /// The text as sent.
        version: String,
    },
    /// No permit is free, and the line is full or there is none.
    #[error(
        "at capacity: {max_inflight} calls in flight (max_inflight), {capacity} waiting (queue_capacity)"
    )]
    QueueFull {
        /// How many may run.
        max_inflight: usize,
        /// How many may wait.
        capacity: usize,
    },
}

/// Why an accepted call ends without an answer of its graph.
#[derive(Debug)]
pub enum Failure<'a> {
    /// A node failed, or the run ended between nodes.
    Run(&'a RunError),
    /// The run ended well, yet nothing answered.
    Unanswered,
    /// Its time was up.
    Expired,
    /// Its client left.
    Cancelled,
    /// It waited in line as long as anyone may.
    WaitedTooLong,
    /// The host closed the line in which it waited.
    Drained,
}

// === impl Rejection ===

impl Rejection {
    /// The status of each refusal.
    pub fn code(&self) -> Code {
        match self {
            Self::DeadlineExpired => Code::DeadlineExceeded,
            Self::Draining => Code::Unavailable,
            Self::NoGraph { .. } | Self::NoMethod { .. } => Code::Unimplemented,
            Self::Unresolved { why, .. } => match why {
                Unresolved::UnknownGraph | Unresolved::UnknownVersion => Code::NotFound,
                Unresolved::NotServing | Unresolved::VersionNotServing => Code::Unavailable,
                Unresolved::Inner => Code::Unimplemented,
            },
            Self::InvalidVersion { .. } => Code::InvalidArgument,
            Self::QueueFull { .. } => Code::ResourceExhausted,
        }
    }

    /// What it counts as.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::DeadlineExpired => RejectReason::DeadlineExpired,
            Self::Draining => RejectReason::Draining,
            Self::NoGraph { .. }
            | Self::NoMethod { .. }
            | Self::Unresolved { .. }
            | Self::InvalidVersion { .. } => RejectReason::NoGraph,
            Self::QueueFull { .. } => RejectReason::QueueFull,
        }
    }

    /// The answer to the client.
    pub fn answer(&self) -> Answer {
        let mut answer = Answer::failed(self.code(), self.to_string());
        if matches!(self, Self::QueueFull { .. }) {
            answer.trailers = with_entry(None, PUSHBACK_KEY, Bytes::from_static(PUSHBACK_MS.as_bytes()));
        }
        answer
    }
}

// === impl Failure ===

impl Failure<'_> {
    /// The status of each failure.
    pub fn code(&self) -> Code {
        match self {
            // A node may fail with any code but success.
            Self::Run(error) if error.fault.code() == Code::Ok => Code::Internal,
            Self::Run(error) => error.fault.code(),
            Self::Unanswered => Code::Internal,
            Self::Expired => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::WaitedTooLong => Code::ResourceExhausted,
            Self::Drained => Code::Unavailable,
        }
    }

    /// The answer to the client. It names graph and node, unless the graph chose the words itself.
    pub fn answer(&self, plan: &ExecPlan) -> Answer {
        let graph = plan.name();
        match self {
            Self::Run(error) => {
                let mut answer = Answer::from(&error.fault);
                answer.code = self.code();
                if let Some(node) = &error.node {
                    if !error.fault.is_verbatim() {
                        answer.message = format!("node {node} of graph {graph}: {}", error.fault.message());
                    }
                    answer.trailers = with_entry(
                        answer.trailers.as_ref(),
                        NODE_KEY,
                        Bytes::from(format!("{graph}/{node}")),
                    );
                } else if !error.fault.is_verbatim() {
                    answer.message = format!("graph {graph}: {}", error.fault.message());
                }
                answer
            }
            Self::Unanswered => Answer::failed(self.code(), format!("graph {graph} ended without an answer")),
            Self::Expired => Answer::failed(self.code(), "the deadline of the call has passed"),
            Self::Cancelled => Answer::failed(self.code(), "the call was cancelled"),
            Self::WaitedTooLong => {
                let message = "waited in line as long as a call may (max_queue_wait)";
                let mut answer = Answer::failed(self.code(), message);
                answer.trailers = with_entry(None, PUSHBACK_KEY, Bytes::from_static(PUSHBACK_MS.as_bytes()));
                answer
            }
            Self::Drained => Answer::failed(self.code(), "the host is draining; try another instance"),
        }
    }
}

/// Names the plan in an answer's trailers.
pub fn name_plan(answer: &mut Answer, plan: &ExecPlan) {
    answer.trailers = with_entry(answer.trailers.as_ref(), PLAN_KEY, Bytes::from(plan.label().to_string()));
}

fn at_version(version: Option<&Version>) -> String {
    version.map_or_else(String::new, |version| format!("@{version}"))
}

fn with_entry(metadata: Option<&Arc<Metadata>>, name: &'static str, value: Bytes) -> Option<Arc<Metadata>> {
    let mut metadata = metadata.map_or_else(Metadata::new, |metadata| Metadata::clone(metadata));
    // The names are constants of this file, and legal.
    metadata.append(name, value).ok()?;
    Some(Arc::new(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unresolved(version: Option<Version>, why: Unresolved) -> Rejection {
        Rejection::Unresolved { graph: "x".into(), version, why }
    }

    #[test]
    fn every_refusal_has_its_status_and_says_why() {
        let method: Arc<str> = "/a.B/C".into();
        let table = [
            (Rejection::DeadlineExpired, Code::DeadlineExceeded, "deadline"),
            (Rejection::Draining, Code::Unavailable, "draining"),
            (Rejection::NoGraph { method: method.clone() }, Code::Unimplemented, "/a.B/C"),
            (Rejection::NoMethod { method }, Code::Unimplemented, "no method /a.B/C"),
            (unresolved(None, Unresolved::UnknownGraph), Code::NotFound, "graph x: no such graph"),
            (
                unresolved(Some(Version::ZERO), Unresolved::UnknownVersion),
                Code::NotFound,
                "x@0.0.0: the graph has",
            ),
            (unresolved(None, Unresolved::NotServing), Code::Unavailable, "does not serve"),
            (unresolved(None, Unresolved::Inner), Code::Unimplemented, "does not answer"),
            (Rejection::InvalidVersion { version: "v?".into() }, Code::InvalidArgument, "\"v?\""),
            (
                Rejection::QueueFull { max_inflight: 2, capacity: 3 },
                Code::ResourceExhausted,
                "2 calls in flight",
            ),
        ];
        for (rejection, code, says) in table {
            let answer = rejection.answer();
            assert_eq!(answer.code, code);
            assert!(answer.message.contains(says), "{}", answer.message);
        }
    }

    #[test]
    fn a_full_host_tells_when_to_come_back() {
        let answer = Rejection::QueueFull { max_inflight: 1, capacity: 0 }.answer();
        assert_eq!(answer.trailers.unwrap().first(PUSHBACK_KEY).unwrap(), "100");
    }
}
