//! What the runner of the suite and a server under test say to each other.

use prost::Message;

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
