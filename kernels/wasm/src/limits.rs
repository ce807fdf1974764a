//! What one guest may use, and the meter that enforces the part that concerns its store.

use std::num::NonZeroU32;
use std::time::Duration;

use wasmtime::ResourceLimiter;

/// What one guest may use. Every value has a default and a bound; [`Limits::clamped`] applies the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes: 64 MiB, which is also the most.
    pub memory_bytes: usize,
    /// Elements of one table: 10,000, which is also the most.
    pub table_elements: usize,
    /// The longest a call may run, whatever its deadline: 30 s.
    pub call_time: Duration,
    /// The longest that instantiation and `_initialize` may take: 5 s.
    pub start_time: Duration,
    /// The largest result, in bytes: 16 MiB.
    pub result_bytes: usize,
    /// Calls to functions of module `okra` that one call may make: 1,000.
    pub okra_calls: u32,
    /// Calls to WASI functions that one call may make: 1,000,000.
    pub wasi_calls: u32,
    /// Lines that one call may log: 64, of up to 8 KiB each.
    pub log_lines: u32,
    /// Instances that are kept ready: 1.
    pub min_instances: u32,
    /// Instances that run at a time: 64. Nested calls may go beyond; the engine's total always holds.
    pub max_instances: NonZeroU32,
    /// Calls that wait for an instance: 1,024.
    pub max_waiting: u32,
    /// How long each waits: 1 s.
    pub max_wait: Duration,
    /// Calls that an instance serves before a new one takes its place: 1,024. Each start costs what some calls cost.
    pub reuses: NonZeroU32,
}

/// Says yes or no to growth, and remembers a no.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    memory_bytes: usize,
    table_elements: usize,
    denied: Option<Denied>,
}

/// What a guest asked for and did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Memory,
    Table,
}

/// The most linear memory an instance can have, in bytes.
pub(crate) const MEMORY_BYTES: usize = 64 << 20;

/// The most elements a table can have.
pub(crate) const TABLE_ELEMENTS: usize = 10_000;

/// The most tables an instance can have.
pub(crate) const TABLES: u32 = 4;

/// The most stack that wasm code can use, in bytes.
pub(crate) const WASM_STACK: usize = 512 << 10;

/// The longest line of a guest's output that reaches the log whole, in bytes.
pub(crate) const LOG_LINE_BYTES: usize = 8 << 10;

/// The largest module, in bytes.
pub(crate) const MODULE_BYTES: usize = 32 << 20;

/// The largest request or reply of one call to a function of module `okra`, in bytes.
pub(crate) const OKRA_MESSAGE_BYTES: usize = 10 << 20;

/// The most random bytes a guest gets at a time.
pub(crate) const RANDOM_BYTES: usize = 1 << 20;

// === impl Limits ===

impl Limits {
    /// The same limits, none above what the engine has room for.
    #[must_use]
    pub fn clamped(mut self) -> Self {
        self.memory_bytes = self.memory_bytes.min(MEMORY_BYTES);
        self.table_elements = self.table_elements.min(TABLE_ELEMENTS);
        self.min_instances = self.min_instances.min(self.max_instances.get());
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        const ONE: NonZeroU32 = NonZeroU32::MIN;
        Self {
            memory_bytes: MEMORY_BYTES,
            table_elements: TABLE_ELEMENTS,
            call_time: Duration::from_secs(30),
            start_time: Duration::from_secs(5),
            result_bytes: 16 << 20,
            okra_calls: 1_000,
            wasi_calls: 1_000_000,
            log_lines: 64,
            min_instances: 1,
            max_instances: ONE.saturating_add(63),
            max_waiting: 1_024,
            max_wait: Duration::from_secs(1),
            reuses: ONE.saturating_add(1_023),
        }
    }
}

// === impl Meter ===

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory_bytes: limits.memory_bytes, table_elements: limits.table_elements, denied: None }
    }

    /// What was last denied since the call began.
    pub(crate) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Forgets what was denied, for the next call.
    pub(crate) fn begin(&mut self) {
        self.denied = None;
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes;
        if !granted {
            self.denied = Some(Denied::Memory);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.table_elements;
        if !granted {
            self.denied = Some(Denied::Table);
        }
        Ok(granted)
    }

    /// The guest's and the driver's that calls it.
    fn instances(&self) -> usize {
        2
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}
