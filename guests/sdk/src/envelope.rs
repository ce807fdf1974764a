//! Whole calls: the payload with its metadata, deadline and status. `guests/okra_guest.proto` is the format.

use prost::Message;

/// A call.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// `/package.Service/Method`, or the method alone.
    #[prost(string, tag = "1")]
    pub method: String,
    /// The input.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
    /// The request's metadata, in its order.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<Entry>,
    /// Milliseconds until the deadline; −1 if the client set none.
    #[prost(int64, tag = "4")]
    pub deadline_ms: i64,
    /// The client's address.
    #[prost(string, tag = "5")]
    pub peer: String,
}

/// An answer.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// The output, if the code is 0.
    #[prost(bytes = "vec", tag = "1")]
    pub payload: Vec<u8>,
    /// The gRPC status code.
    #[prost(int32, tag = "2")]
    pub code: i32,
    /// The status message.
    #[prost(string, tag = "3")]
    pub message: String,
    /// A `google.rpc.Status`, for its details; may be empty.
    #[prost(bytes = "vec", tag = "4")]
    pub details: Vec<u8>,
    /// Metadata before the message.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<Entry>,
    /// Metadata after the message.
    #[prost(message, repeated, tag = "6")]
    pub trailers: Vec<Entry>,
}

/// One entry of metadata. The value of a name that ends in `-bin` is any bytes.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The name, in lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

// === impl Response ===

impl Response {
    /// Success.
    pub fn ok(payload: Vec<u8>) -> Self {
        Self { payload, ..Self::default() }
    }

    /// A failure with this gRPC status code.
    pub fn failed(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::default() }
    }
}

/// Takes a call out of its bytes, and puts the answer into its own.
#[doc(hidden)]
pub fn answer(handle: fn(Request) -> Response, input: &[u8]) -> Result<Vec<u8>, String> {
    let request = Request::decode(input).map_err(|error| format!("the envelope is broken: {error}"))?;
    Ok(handle(request).encode_to_vec())
}
