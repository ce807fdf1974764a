//! Connect, unary: what a request's head says, how an answer and an error are written.
//!
//! No stream is spoken here. Statuses and names of codes are chosen in [`error`], each in one match.

pub(crate) mod error;
pub(crate) mod head;
pub(crate) mod reply;
