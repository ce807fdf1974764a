//! Loading a guest: everything that can be refused before its first call is refused here.

use std::borrow::Cow;
use std::sync::Arc;

use wasmtime::{ExternType, Linker, Module};

use super::{Guest, Inner};
use crate::abi::{Abi, Entry};
use crate::compile::{CompileError, Task};
use crate::engine::{Engine, EngineError};
use crate::fault::GuestFault;
use crate::host::{EXPECTED, Form, Function};
use crate::instance::{Blueprint, ExportPlaces, is_function};
use crate::limits::{Limits, MEMORY_BYTES};
use crate::pool::{Pool, Wish};
use crate::primed::{Job, Priming};
use crate::state::State;
use crate::{host, wasi};

/// How a guest is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A name for logs: the service's id.
    pub name: Arc<str>,
    /// What the package declares.
    pub abi: Abi,
    /// What the guest may use; values beyond what the engine has room for are lowered.
    pub limits: Limits,
}

/// Why a guest was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The module does not compile.
    #[error(transparent)]
    Compile(CompileError),
    /// What the package declares does not fit the module.
    #[error("a command guest speaks JSON without an envelope")]
    CommandAbi,
    /// The engine's clock does not start.
    #[error(transparent)]
    Engine(EngineError),
    /// An export has another type than the ABI says.
    #[error("{name} must be {expected}")]
    ExportType {
        /// The export.
        name: &'static str,
        /// The type it must have.
        expected: &'static str,
    },
    /// An import has another type than the host offers.
    #[error("import {name} must be {expected}")]
    ImportType {
        /// Module and name of the import.
        name: String,
        /// The type it must have.
        expected: String,
    },
    /// The memory that the module begins with is over the limit.
    #[error("the module begins with {bytes} bytes of memory, more than {limit}")]
    Memory {
        /// What it begins with.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// An export that the ABI needs is not there.
    #[error("{0} function not found")]
    MissingExport(&'static str),
    /// The module's memory is not exported.
    #[error("memory not found")]
    MissingMemory,
    /// The instance that was to prove the guest did not start.
    #[error("the guest does not start: {0}")]
    Start(GuestFault),
    /// No host offers these imports.
    #[error("unknown imports: {}", .0.join(", "))]
    UnknownImports(Vec<String>),
}

/// The bytes of a page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

impl Engine {
    /// Loads a guest: compiles it, or finds it compiled; checks what it imports and exports; starts its
    /// first instances. Compiling happens on a thread of its own; dropping the future abandons the load,
    /// but a compiler that runs comes to its end first.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with the module.
    pub async fn load(
        &self,
        wasm: impl Into<bytes::Bytes>,
        options: LoadOptions,
    ) -> Result<Guest, LoadError> {
        self.load_task(Task::Plain(wasm.into()), options).await
    }

    /// Loads a guest as it is once it was primed: it is started and answers the samples when it is compiled,
    /// and all its instances begin there.
    ///
    /// # Errors
    /// As for [`load`](Self::load); [`CompileError::Priming`] if it cannot be primed.
    pub async fn load_primed(
        &self,
        wasm: impl Into<bytes::Bytes>,
        priming: Priming,
        options: LoadOptions,
    ) -> Result<Guest, LoadError> {
        let limits = options.limits.clone().clamped();
        let job = Job { wasm: wasm.into(), abi: options.abi, limits, priming };
        self.load_task(Task::Primed(Box::new(job)), options).await
    }

    /// Loads a guest from the code that an earlier engine kept under this digest: that of the module, or of the module
    /// and its priming. `None` if there is none, or none that is whole; the guest is to be loaded anew then.
    ///
    /// Whoever remembers the digest saves the time of taking it, which is most of the time that a load from the
    /// cache takes. It is believed: it has to come from where only this program writes.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub async fn load_kept(&self, code: [u8; 32], options: LoadOptions) -> Result<Option<Guest>, LoadError> {
        let kept = self.0.cache.as_ref().and_then(|cache| cache.find(&self.0.wasm, code.into()));
        match kept {
            Some(module) => self.start(module, options).await.map(Some),
            None => Ok(None),
        }
    }

    async fn load_task(&self, task: Task, options: LoadOptions) -> Result<Guest, LoadError> {
        let module = self.compiled(task).await.map_err(LoadError::Compile)?;
        self.start(module, options).await
    }

    /// The guest of a compiled module, with its first instances.
    async fn start(&self, module: Module, options: LoadOptions) -> Result<Guest, LoadError> {
        self.start_clock().map_err(LoadError::Engine)?;
        let abi = options.abi;
        let imports_host = module.imports().any(|import| import.module() == host::MODULE);
        let waits = imports_host || module.imports().any(|import| wasi::waits(import.name()));
        let blueprint = self.blueprint(&module, options)?;
        // A command has an instance of its own for each call, and writes its result where others write their log.
        let runs_in_place = blueprint.entry == Entry::HandleRequest && !waits;
        let guest = Guest(Arc::new(Inner::new(Pool::new(blueprint), abi, imports_host, runs_in_place)));
        guest.warm().await.map_err(LoadError::Start)?;
        Ok(guest)
    }

    /// What instances of a compiled module are made from, once its imports and exports were checked.
    pub(crate) fn blueprint(&self, module: &Module, options: LoadOptions) -> Result<Blueprint, LoadError> {
        let LoadOptions { name, abi, limits } = options;
        let limits = limits.clamped();
        let entry = check_exports(module, &limits)?;
        if entry == Entry::Command && abi != Abi::default() {
            return Err(LoadError::CommandAbi);
        }
        let linker = self.link(module)?;
        let pre = linker.instantiate_pre(module).map_err(|error| wrong_import(module, &error))?;
        let place = |name| module.get_export_index(name);
        let exports = ExportPlaces {
            memory: place("memory"),
            initialize: place("_initialize"),
            start: place("_start"),
            allocate: place("allocate"),
            deallocate: place("deallocate"),
            handle_request: place("handle_request"),
        };
        let payload = abi.payload;
        Ok(Blueprint { engine: self.clone(), name, limits, payload, entry, pre, exports })
    }

    async fn compiled(&self, task: Task) -> Result<Module, CompileError> {
        if let Some(module) = self.0.find(&task) {
            return Ok(module);
        }
        let (shared, (done, compiled)) = (self.0.clone(), tokio::sync::oneshot::channel());
        // Nobody waits for a load that was abandoned; its module is in the cache then, for the next.
        let spawned = std::thread::Builder::new().name("okra-compile".to_owned()).spawn(move || {
            drop(done.send(shared.compile(&task)));
        });
        spawned.map_err(CompileError::Run)?;
        let gone = || CompileError::Run(std::io::Error::other("the compiler's thread ended"));
        compiled.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The functions of the host, in the forms that this module imports. A copy of the linker that all guests share
    /// is made only for a module that imports more than WASI.
    fn link(&self, module: &Module) -> Result<Cow<'_, Linker<State>>, LoadError> {
        let mut linker = Cow::Borrowed(&self.0.wasi);
        let (mut linked, mut unknown) = (Vec::new(), Vec::new());
        for import in module.imports() {
            let name = format!("{}.{}", import.module(), import.name());
            let function = Function::named(import.name()).filter(|_| import.module() == host::MODULE);
            match (function, import.ty()) {
                (Some(function), ExternType::Func(declared)) => {
                    let Some(form) = Form::of(&declared) else {
                        return Err(LoadError::ImportType { name, expected: EXPECTED.to_owned() });
                    };
                    match linked.iter().find(|(linked, _)| *linked == import.name()) {
                        Some((_, as_form)) if *as_form == form => {}
                        // One function in both forms at once is more than a linker can offer.
                        Some(_) => return Err(LoadError::ImportType { name, expected: EXPECTED.to_owned() }),
                        None => {
                            let added = function.link(linker.to_mut(), import.name(), form);
                            added.map_err(|_| LoadError::UnknownImports(vec![name]))?;
                            linked.push((import.name(), form));
                        }
                    }
                }
                _ if import.module() == wasi::MODULE && wasi::offers(import.name()) => {}
                _ => unknown.push(name),
            }
        }
        if unknown.is_empty() { Ok(linker) } else { Err(LoadError::UnknownImports(unknown)) }
    }
}

impl Guest {
    /// Starts the instances that are kept ready, and one at least.
    async fn warm(&self) -> Result<(), GuestFault> {
        let pool = &self.0.pool;
        let mut ready = Vec::new();
        for _ in 0..pool.blueprint.limits.min_instances.max(1) {
            let wish = Wish { deadline: None, fresh: true, nested: false };
            let mut lease = pool.check_out(wish).await?;
            lease.is_sound();
            ready.push(lease);
        }
        Ok(())
    }
}

/// The first import whose type is not the one offered.
fn wrong_import(module: &Module, error: &wasmtime::Error) -> LoadError {
    let name = module
        .imports()
        .map(|import| format!("{}::{}", import.module(), import.name()))
        .find(|name| error.to_string().contains(name.as_str()))
        .map_or_else(|| "of the module".to_owned(), |name| name.replace("::", "."));
    let expected = error.chain().last().map_or_else(String::new, |cause| cause.to_string());
    LoadError::ImportType { name, expected }
}

/// How a module is called, if it exports what that takes.
fn check_exports(module: &Module, limits: &Limits) -> Result<Entry, LoadError> {
    let pages = module.resources_required().max_initial_memory_size.unwrap_or(0);
    let (bytes, limit) = (pages.saturating_mul(PAGE_BYTES), limits.memory_bytes.min(MEMORY_BYTES));
    if bytes > limit as u64 {
        return Err(LoadError::Memory { bytes, limit });
    }
    let function = |name, params: &str, results: &str, expected| match module.get_export(name) {
        None => Ok(false),
        Some(export) => {
            let (params, results): (Vec<_>, Vec<_>) = (params.chars().collect(), results.chars().collect());
            match is_function(&export, &params, &results) {
                true => Ok(true),
                false => Err(LoadError::ExportType { name, expected }),
            }
        }
    };
    function("_initialize", "", "", "a function () -> ()")?;
    let start = function("_start", "", "", "a function () -> ()")?;
    let handle = "a function (i32, i32, i32, i32) -> i64";
    let handles = function("handle_request", "iiii", "l", handle)?;
    let entry = match (handles, start) {
        (true, _) => Entry::HandleRequest,
        (false, true) => Entry::Command,
        (false, false) => return Err(LoadError::MissingExport("handle_request")),
    };
    if entry == Entry::HandleRequest {
        for (name, results, expected) in
            [("allocate", "i", "a function (i32) -> i32"), ("deallocate", "", "a function (i32) -> ()")]
        {
            if !function(name, "i", results, expected)? {
                return Err(LoadError::MissingExport(name));
            }
        }
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(entry),
        _ => Err(LoadError::MissingMemory),
    }
}
