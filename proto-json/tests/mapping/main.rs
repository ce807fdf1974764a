//! Whole schemas and messages: golden cases, an independent implementation as oracle, hostile input.

#![expect(clippy::unwrap_used, reason = "a test whose premise fails must fail")]

mod compiled;
mod golden;
mod hostile;
mod merging;
mod oracle;
mod paths;
mod random;
mod schemas;
