//! How a guest and the host speak: which functions it exports and what its payloads are.

pub(crate) mod command;
pub(crate) mod envelope;
pub(crate) mod okra;

/// What a package declares of its guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Abi {
    /// The form of requests and results. The engine room passes either on as it is, and names it only
    /// where it must write a value of its own.
    pub payload: Payload,
    /// Whether a request and its result stand in an envelope with metadata and status.
    pub envelope: bool,
}

/// The form of requests and results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Payload {
    /// The JSON mapping of protobuf messages, as the original OKRA has it.
    #[default]
    Json,
    /// Protobuf's own form.
    Protobuf,
}

/// How a module is called, as its exports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `handle_request`, again and again.
    HandleRequest,
    /// `_start`, once an instance: standard input to standard output.
    Command,
}
