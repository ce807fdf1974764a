//! The clock that interrupts guests: a thread that advances the epoch each [`TICK`].
//!
//! It starts with the first guest and ends within a tick of the engine: the thread holds the engine
//! weakly. Now and then it also has idle instances dropped that nobody needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{io, thread};

use wasmtime::{Engine, EngineWeak};

use super::Budget;

/// How often a running guest looks up.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The ticks between two looks for idle instances: half a minute.
const TICKS_BETWEEN_TRIMS: u32 = 3_000;

/// The clock of one engine.
pub(super) struct Ticker {
    engine: EngineWeak,
    budget: Weak<Budget>,
    started: AtomicBool,
}

// === impl Ticker ===

impl Ticker {
    pub(super) fn new(engine: &Engine, budget: &Arc<Budget>) -> Self {
        let budget = Arc::downgrade(budget);
        Self { engine: engine.weak(), budget, started: AtomicBool::new(false) }
    }

    /// Starts the thread, unless it runs already.
    pub(super) fn start(&self) -> io::Result<()> {
        if self.started.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let (engine, budget) = (self.engine.clone(), self.budget.clone());
        let started = thread::Builder::new().name("okra-wasm-clock".to_owned()).spawn(move || {
            let mut ticks = 0_u32;
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(TICKS_BETWEEN_TRIMS)
                    && let Some(budget) = budget.upgrade()
                {
                    budget.trim();
                }
                thread::sleep(TICK);
            }
        });
        if started.is_err() {
            self.started.store(false, Ordering::Release);
        }
        started.map(drop)
    }
}
