//! Accepts requests, admits or refuses them, runs plans, answers.

mod accept;
mod drain;
mod grpc;
mod transport;

pub use crate::accept::port::{BoxError, Fallback, FallbackBody, FallbackRequestBody};
pub use crate::accept::stats::{ConnectionStats, Cut};
pub use crate::accept::{BindError, Server, ServerConfig};
pub use crate::drain::{Drain, DrainReport, Phase};
pub use crate::grpc::RefusalReason;
pub use crate::grpc::compression::ResponseCompression;
pub use crate::transport::limits::{
    ConnectionLimits, Http1Limits, Http2Limits, MessageLimits, TransportLimits,
};
pub use crate::transport::paced::{BodyError, Pace, PacedBody};
pub use crate::transport::tonic::{GrpcService, UnaryBody, UnaryCall};
pub use crate::transport::{Begun, PendingAnswer, UnaryHost};
