//! Loom's primitives under the names that the product's files use.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A mutex whose `lock` gives the guard itself, as the product's does.
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
