//! What must hold for any bytes of strangers: each target is a function that panics if it does not.
//!
//! `fuzz/libfuzzer` feeds them with a fuzzer, `tests/short.rs` with the corpus and its mutations; the
//! README says how. Targets use the public API alone, as an embedder would.

mod configuration;
mod gateway_request;
mod graph_document;
mod grpc_request;
mod grpc_timeout;
mod package_archive;
mod package_contents;
mod package_idl;

/// A target: takes any bytes, panics if something that must hold does not.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("configuration", configuration::check),
    ("gateway_request", gateway_request::check),
    ("graph_document", graph_document::check),
    ("grpc_request", grpc_request::check),
    ("grpc_timeout", grpc_timeout::check),
    ("package_archive", package_archive::check),
    ("package_contents", package_contents::check),
    ("package_idl", package_idl::check),
];
