//! The connection from outside: rules of the protocol, guards, answers, properties over random connections,
//! and conversations with a client that is not ours.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

mod answers;
mod guards;
mod loopback;
mod model;
mod peer;
mod plain;
mod properties;
mod rules;
mod script;
mod whole;
