//! Accepts requests, admits or refuses them, runs plans, answers.
//!
//! A request's seven steps, one file each:
//!
//! ```text
//! accept ──► admit ──► queue ──► pool ──► executor ──► kernel ──► respond
//! ```
//!
//! `executor` is `exec-plan/src/executor.rs` and `kernel` is any file of `kernels/src`. [`ServeHost`]
//! takes a call through all of them; transports turn what comes over a wire into a
//! [`kernels::RequestEnvelope`] and an answer back into what goes over it.

pub mod admit;
pub mod config;
pub mod logs;
pub mod pool;
pub mod queue;
pub mod stats;
