//! The primitives of the files that are model-checked, under the names they use.
//!
//! `tests/models` compiles those same files against loom's versions of these names, and runs every
//! interleaving of them.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
