//! Over which protocol a call came, as figures and access lines tell it.

/// A protocol of the service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web, binary or text.
    GrpcWeb,
    /// Connect, POST or GET.
    Connect,
}

// === impl Protocol ===

impl Protocol {
    /// Every protocol, in declaration order.
    pub const ALL: [Self; 3] = [Self::Grpc, Self::GrpcWeb, Self::Connect];

    /// The label in metrics, listings and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc_web",
            Self::Connect => "connect",
        }
    }
}
