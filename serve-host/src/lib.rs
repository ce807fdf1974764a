//! Accepts requests, admits or refuses them, runs plans, answers.
//!
//! A request's seven steps, one file each:
//!
//! ```text
//! accept ──► admit ──► queue ──► pool ──► executor ──► kernel ──► respond
//! ```
//!
//! `executor` is `exec-plan/src/executor.rs` and `kernel` is any file of `kernels/src`. A [`ServeHost`]
//! takes a call through all of them; a transport turns what comes over a wire into a
//! [`kernels::RequestEnvelope`] and an answer back into what goes over it.

mod accept;
pub mod admin;
pub mod admit;
mod background;
mod causes;
pub mod config;
pub mod deploy;
pub mod discovery;
pub mod drain;
mod gateway;
mod grpc;
pub mod host;
pub mod logs;
pub mod metrics;
pub mod pool;
mod protocol;
pub mod queue;
pub mod respond;
pub mod schemas;
pub mod shards;
pub mod stats;
mod sync;
mod transport;
pub mod watch;

pub use crate::accept::port::{BoxError, Fallback, FallbackBody, FallbackRequestBody};
pub use crate::accept::stats::{ConnectionStats, Cut};
pub use crate::accept::{BindError, Server, ServerConfig};
pub use crate::admit::MaxInflight;
pub use crate::drain::{Drain, DrainReport, Phase};
pub use crate::gateway::{CorsConfig, Gateway};
pub use crate::grpc::RefusalReason;
pub use crate::grpc::compression::ResponseCompression;
pub use crate::host::batch::Batch;
pub use crate::host::{HostConfig, ServeHost};
pub use crate::pool::PoolThreads;
pub use crate::protocol::Protocol;
pub use crate::queue::QueueCapacity;
pub use crate::respond::{NODE_KEY, PLAN_KEY, PUSHBACK_KEY};
pub use crate::stats::{
    CallCount, GraphSnapshot, LatencySnapshot, MAX_METHODS, OTHER_METHOD, RejectReason, StatsSnapshot,
};
pub use crate::transport::limits::{
    ConnectionLimits, Http1Limits, Http2Limits, MessageLimits, TransportLimits,
};
pub use crate::transport::paced::{BodyError, Pace, PacedBody};
pub use crate::transport::request_body::{RequestBody, RequestBodyError};
pub use crate::transport::tonic::{GrpcService, UnaryBody, UnaryCall};
pub use crate::transport::{Arrival, Begun, PendingAnswer, TransportKind, UnaryHost};
