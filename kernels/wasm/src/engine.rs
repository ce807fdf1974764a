//! The engine: one per process, it holds what all guests share.
//!
//! It owns wasmtime's engine with every limit of the house set, the clock that interrupts guests (a tick
//! each 10 ms), the lane for calls that overrun, and the budget of live instances. Guests of one engine
//! may call each other; guests of two engines must not meet.
//!
//! Memory comes from a pool that reserves address space once. Where a process may not reserve that much
//! (`ulimit -v`), instances are allocated one by one instead: slower to start, the same limits.

mod budget;
mod ticker;

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use parking_lot::Mutex;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, Linker, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

pub(crate) use self::budget::{Budget, Claim, Evict};
pub(crate) use self::ticker::TICK;
use self::ticker::Ticker;
use crate::abi::okra::Driver;
use crate::cache::Cache;
use crate::compile::CompilerCommand;
use crate::lane::Lane;
use crate::limits::{MEMORY_BYTES, TABLE_ELEMENTS, TABLES, WASM_STACK};
use crate::state::State;
use crate::wasi;

/// What all guests of a process share. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Shared>);

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How many calls that ran longer than a tick may run at a time, at least 1: the threads that run
    /// calls, less one, so that one is always left for short calls.
    pub overrun_slots: usize,
    /// Live instances of all guests together, 1 to 4,096: 256.
    pub max_instances: u32,
    /// The folder for compiled code; without one each load compiles anew.
    pub cache: Option<PathBuf>,
    /// The program that compiles, limited and apart from this process. It needs `cache`; without one
    /// modules are compiled in this process.
    pub compiler: Option<CompilerCommand>,
}

/// Where instances get their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocation {
    /// From a pool of reserved address space.
    Pooled,
    /// One by one, because the pool could not be had.
    OnDemand {
        /// What stood in the way.
        why: String,
    },
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The cache folder cannot be used.
    #[error("the folder for compiled code cannot be used")]
    Cache(#[source] io::Error),
    /// This machine or build does not support what the engine needs.
    #[error("the WebAssembly engine cannot be set up: {0}")]
    Setup(String),
    /// The thread that ticks could not be started.
    #[error("the thread that interrupts guests cannot be started")]
    Ticker(#[source] io::Error),
}

/// What clones of an engine share.
pub(crate) struct Shared {
    pub(crate) wasm: wasmtime::Engine,
    pub(crate) lane: Lane,
    pub(crate) budget: Arc<Budget>,
    pub(crate) cache: Option<Cache>,
    pub(crate) compiler: Option<CompilerCommand>,
    /// Held while a module is compiled: one at a time.
    pub(crate) compiling: Mutex<()>,
    pub(crate) driver: Driver,
    /// The functions of WASI, linked once for all guests.
    pub(crate) wasi: Linker<State>,
    allocation: Allocation,
    ticker: Ticker,
}

/// The most live instances an engine can be set up for.
const MOST_INSTANCES: u32 = 4_096;

/// Dirty memory of an instance that is wiped by hand rather than given back to the system, in bytes, where the
/// system (Linux from 6.7 on) tells which pages are dirty: room for what a guest in Go writes from its start to its first answer.
const KEEP_DIRTY_RESIDENT: usize = 1 << 20;

/// The same where it does not: the first so many bytes are wiped, whether they are dirty or not.
const KEEP_RESIDENT: usize = 256 << 10;

/// The same for its tables.
const TABLE_KEEP_RESIDENT: usize = 16 << 10;

/// The stack of a call: that of wasm, and what the host's own functions need on top of it.
const ASYNC_STACK: usize = 2 << 20;

/// The guard behind the memory of a guest that is primed, in bytes.
const PRIMING_GUARD: u64 = 64 << 10;

// === impl Engine ===

impl Engine {
    /// An engine of this setup.
    ///
    /// # Errors
    /// [`EngineError`] says what this machine refuses.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let (wasm, allocation) = pooled_or_not(options.instances())?;
        Self::around(wasm, allocation, options)
    }

    /// An engine for one instance, which runs a guest that is to be primed: compiled in haste, and with little
    /// reserved, for a process that may not have much.
    pub(crate) fn for_priming() -> Result<Self, EngineError> {
        let mut config = config();
        config
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .parallel_compilation(false)
            .cranelift_opt_level(OptLevel::None)
            .memory_reservation(MEMORY_BYTES as u64)
            .memory_reservation_for_growth(0)
            .memory_guard_size(PRIMING_GUARD);
        let wasm = wasmtime::Engine::new(&config);
        let wasm = wasm.map_err(|error| EngineError::Setup(format!("{error:#}")))?;
        let allocation = Allocation::OnDemand { why: "a guest is primed".to_owned() };
        Self::around(wasm, allocation, EngineOptions { max_instances: 1, ..EngineOptions::default() })
    }

    fn around(
        wasm: wasmtime::Engine,
        allocation: Allocation,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let setup = |error: wasmtime::Error| EngineError::Setup(format!("{error:#}"));
        let driver = Driver::new(&wasm).map_err(setup)?;
        let mut linker = Linker::new(&wasm);
        wasi::link(&mut linker).map_err(setup)?;
        let budget = Budget::new(options.instances());
        let cache = options.cache.map(|dir| Cache::open(dir, &wasm)).transpose();
        Ok(Self(Arc::new(Shared {
            lane: Lane::new(options.overrun_slots.max(1)),
            ticker: Ticker::new(&wasm, &budget),
            budget,
            cache: cache.map_err(EngineError::Cache)?,
            compiler: options.compiler,
            compiling: Mutex::new(()),
            driver,
            wasi: linker,
            allocation,
            wasm,
        })))
    }

    /// Where instances get their memory.
    pub fn allocation(&self) -> &Allocation {
        &self.0.allocation
    }

    /// How many instances of all guests are live.
    pub fn live_instances(&self) -> usize {
        self.0.budget.live()
    }

    /// How many calls run now that ran longer than a tick.
    pub fn overrunning(&self) -> usize {
        self.0.lane.taken()
    }

    /// Removes the compiled code of all modules but those with these SHA-256 digests, and what was left
    /// half-written. Guests that are loaded go on. Waits until nothing is being compiled.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn keep_compiled(&self, modules: &[[u8; 32]]) -> io::Result<()> {
        let _nothing_compiles = self.0.compiling.lock();
        self.0.cache.as_ref().map_or(Ok(()), |cache| cache.keep_only(modules))
    }

    /// Starts the clock, which runs from the first guest on.
    pub(crate) fn start_clock(&self) -> Result<(), EngineError> {
        self.0.ticker.start().map_err(EngineError::Ticker)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("allocation", &self.0.allocation)
            .field("live_instances", &self.live_instances())
            .finish_non_exhaustive()
    }
}

// === impl EngineOptions ===

impl EngineOptions {
    fn instances(&self) -> u32 {
        self.max_instances.clamp(1, MOST_INSTANCES)
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { overrun_slots: 1, max_instances: 256, cache: None, compiler: None }
    }
}

fn pooled_or_not(instances: u32) -> Result<(wasmtime::Engine, Allocation), EngineError> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    match wasmtime::Engine::new(&config) {
        Ok(wasm) => Ok((wasm, Allocation::Pooled)),
        Err(error) => {
            let why = format!("{error:#}");
            tracing::warn!(why, "no pool for WebAssembly instances; each is allocated by itself");
            let wasm = on_demand().map_err(|error| EngineError::Setup(format!("{error:#}")))?;
            Ok((wasm, Allocation::OnDemand { why }))
        }
    }
}

/// An engine that reserves nothing: it compiles the same code as one with a pool.
pub(crate) fn on_demand() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    wasmtime::Engine::new(&config)
}

/// [`on_demand`], compiling on the calling thread alone.
pub(crate) fn on_one_thread() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.parallel_compilation(false);
    wasmtime::Engine::new(&config)
}

/// Every setting that compiled code depends on.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let finds_dirty_pages = PoolingAllocationConfig::is_pagemap_scan_available();
    let keep_resident = if finds_dirty_pages { KEEP_DIRTY_RESIDENT } else { KEEP_RESIDENT };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(instances)
        // Each guest has a driver beside it, an instance without memory or tables.
        .total_core_instances(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(TABLES))
        // A call of a guest's allocator from within a host function needs a stack of its own.
        .total_stacks(instances.saturating_mul(2))
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES)
        .max_memory_size(MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(keep_resident)
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(TABLE_KEEP_RESIDENT);
    pool
}
