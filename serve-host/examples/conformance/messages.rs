//! What is needed of the suite's messages, and of those they share with others.

use prost::{Message, Oneof};

/// What the runner wants.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerCompatRequest {
    /// The largest message to be taken, in bytes; 0 for any.
    #[prost(uint32, tag = "6")]
    pub(crate) message_receive_limit: u32,
}

/// Where the server is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerCompatResponse {
    #[prost(string, tag = "1")]
    pub(crate) host: String,
    #[prost(uint32, tag = "2")]
    pub(crate) port: u32,
}

/// `UnaryRequest`, and `IdempotentUnaryRequest`, which is the same.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnaryRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_definition: Option<UnaryResponseDefinition>,
}

/// `UnaryResponse`, and `IdempotentUnaryResponse`, which is the same.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnaryResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<ConformancePayload>,
}

/// What is to be answered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnaryResponseDefinition {
    #[prost(message, repeated, tag = "1")]
    pub(crate) response_headers: Vec<Header>,
    #[prost(oneof = "Told", tags = "2, 3")]
    pub(crate) response: Option<Told>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) response_trailers: Vec<Header>,
    #[prost(uint32, tag = "6")]
    pub(crate) response_delay_ms: u32,
}

/// Data, or an error.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Told {
    #[prost(bytes = "vec", tag = "2")]
    Data(Vec<u8>),
    #[prost(message, tag = "3")]
    Error(Error),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Error {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, optional, tag = "2")]
    pub(crate) message: Option<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConformancePayload {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) request_info: Option<RequestInfo>,
}

/// What arrived.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestInfo {
    #[prost(message, repeated, tag = "1")]
    pub(crate) request_headers: Vec<Header>,
    #[prost(int64, optional, tag = "2")]
    pub(crate) timeout_ms: Option<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) requests: Vec<prost_types::Any>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}
