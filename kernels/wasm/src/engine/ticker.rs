//! The clock that interrupts guests: a thread that advances the epoch each [`TICK`].
//!
//! It starts with the first guest and ends within a tick of the engine: the thread holds the engine
//! weakly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use wasmtime::{Engine, EngineWeak};

/// How often a running guest looks up.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The clock of one engine.
pub(super) struct Ticker {
    engine: EngineWeak,
    started: AtomicBool,
}

// === impl Ticker ===

impl Ticker {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { engine: engine.weak(), started: AtomicBool::new(false) }
    }

    /// Starts the thread, unless it runs already.
    pub(super) fn start(&self) -> io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let engine = self.engine.clone();
        let started = thread::Builder::new().name("okra-wasm-clock".to_owned()).spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        });
        if started.is_err() {
            self.started.store(false, Ordering::Release);
        }
        started.map(drop)
    }
}
