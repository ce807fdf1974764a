//! One instance of a guest: starting it, and serving one call after the other with it.
//!
//! Each call has a fiber of its own, on the stack that the last one left in the store. A fiber that lasted as
//! long as the instance would cost more: the switch to it costs what a new one does, and to wait for the next
//! request in a function of the host comes on top.
//!
//! A call that ends in anything but an answer or the guest's own error leaves the instance in an unknown
//! state; so does a call that is dropped half-way. Whoever owns the instance then drops it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wasmtime::{ExternType, InstancePre, Memory, ModuleExport, Store, Trap, TypedFunc};

use crate::abi::okra::{Exports, Output, guest_error};
use crate::abi::{Entry, Payload, command};
use crate::engine::{Claim, Engine};
use crate::fault::GuestFault;
use crate::lane::Slot;
use crate::limits::{Denied, Limits};
use crate::state::{Asked, State, Turn};
use crate::suspicion::Suspicions;

/// What every instance of a guest is made from.
pub(crate) struct Blueprint {
    pub(crate) engine: Engine,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) payload: Payload,
    pub(crate) entry: Entry,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: ExportPlaces,
}

/// Where the exports of a guest are, looked up once.
pub(crate) struct ExportPlaces {
    pub(crate) memory: Option<ModuleExport>,
    pub(crate) initialize: Option<ModuleExport>,
    pub(crate) start: Option<ModuleExport>,
    pub(crate) allocate: Option<ModuleExport>,
    pub(crate) deallocate: Option<ModuleExport>,
    pub(crate) handle_request: Option<ModuleExport>,
}

/// A live instance.
pub(crate) struct Instance {
    /// Before the claim, so that it is gone when the claim is given back.
    store: Store<State>,
    guest: wasmtime::Instance,
    call: Call,
    memory: Option<Memory>,
    uses: u32,
    _claim: Claim,
}

/// How a call is made.
enum Call {
    HandleRequest(TypedFunc<(u32, u32), ()>),
    Command(TypedFunc<(), ()>),
}

/// How a call of an instance ended.
pub(crate) struct Ended {
    pub(crate) result: Result<Bytes, GuestFault>,
    /// The call ran for longer than a tick.
    pub(crate) overran: bool,
    /// The linear memory of the instance, in bytes.
    pub(crate) memory: usize,
}

/// The code with which a command says that all went well.
const EXIT_SUCCESS: i32 = 0;

// === impl Instance ===

impl Instance {
    /// Starts an instance. `deadline` is that of the call which needs it; the slot is for whoever is suspect.
    ///
    /// # Errors
    /// The guest traps, or takes too long.
    pub(crate) async fn start(
        blueprint: &Blueprint,
        claim: Claim,
        deadline: Option<Instant>,
        (slot, suspicions): (Option<Slot>, &Suspicions),
    ) -> Result<Self, GuestFault> {
        let shared = &blueprint.engine.0;
        let mut state = State::new(&blueprint.name, &blueprint.limits, &shared.lane, &suspicions.starts);
        state.begin(&mut None, Turn { deadline, longest: blueprint.limits.start_time, slot });
        let mut store = Store::new(&shared.wasm, state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().pace.tick(Instant::now())?));
        store.set_epoch_deadline(1);
        match Self::connect(blueprint, &mut store).await {
            Ok((guest, call, memory)) => {
                if !store.data_mut().end() {
                    suspicions.starts.allay();
                }
                store.data_mut().pace.tell(&suspicions.calls);
                Ok(Self { store, guest, call, memory, uses: 0, _claim: claim })
            }
            Err(error) => Err(classify(&error, store.data(), &blueprint.limits)),
        }
    }

    async fn connect(
        blueprint: &Blueprint,
        store: &mut Store<State>,
    ) -> wasmtime::Result<(wasmtime::Instance, Call, Option<Memory>)> {
        let places = &blueprint.exports;
        let guest = blueprint.pre.instantiate_async(&mut *store).await?;
        let export = |store: &mut Store<State>, place: &Option<ModuleExport>| {
            place.as_ref().and_then(|place| guest.get_module_export(store, place))
        };
        let function = |store: &mut Store<State>, place: &Option<ModuleExport>, what| {
            let function = export(store, place).and_then(wasmtime::Extern::into_func);
            function.ok_or(GuestFault::Malformed(what))
        };
        let memory = export(store, &places.memory).and_then(wasmtime::Extern::into_memory);
        store.data_mut().memory = memory;
        if places.initialize.is_some() {
            let initialize = function(store, &places.initialize, "no _initialize")?;
            initialize.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await?;
        }
        let call = match blueprint.entry {
            Entry::Command => {
                Call::Command(function(store, &places.start, "no _start")?.typed::<(), ()>(&*store)?)
            }
            Entry::HandleRequest => {
                let allocate = function(store, &places.allocate, "no allocate")?;
                let exports = Exports {
                    allocate,
                    deallocate: function(store, &places.deallocate, "no deallocate")?,
                    handle_request: function(store, &places.handle_request, "no handle_request")?,
                };
                store.data_mut().allocate = Some(allocate);
                Call::HandleRequest(blueprint.engine.0.driver.connect(store, exports).await?)
            }
        };
        Ok((guest, call, memory))
    }

    /// How many calls it has served.
    pub(crate) fn uses(&self) -> u32 {
        self.uses
    }

    /// The guest's own instance, and where it is.
    pub(crate) fn parts(&mut self) -> (&mut Store<State>, wasmtime::Instance) {
        (&mut self.store, self.guest)
    }

    /// Serves one call. What is `asked` is gone then, unless the guest does not know the method: it may know
    /// it by another name.
    pub(crate) async fn call(
        &mut self,
        blueprint: &Blueprint,
        asked: &mut Option<Asked>,
        turn: Turn,
    ) -> Ended {
        self.uses += 1;
        self.store.data_mut().begin(asked, turn);
        self.store.set_epoch_deadline(1);
        let result = match &self.call {
            Call::HandleRequest(run) => handle_request(blueprint, &mut self.store, run).await,
            Call::Command(start) => command(blueprint, &mut self.store, start).await,
        };
        let state = self.store.data_mut();
        let (overran, served) = (state.end(), &mut state.call.asked);
        match result {
            Err(GuestFault::UnknownMethod(_)) => *asked = served.take(),
            _ => *served = None,
        }
        let memory = self.memory.map_or(0, |memory| memory.data_size(&self.store));
        Ended { result, overran, memory }
    }
}

async fn handle_request(
    blueprint: &Blueprint,
    store: &mut Store<State>,
    run: &TypedFunc<(u32, u32), ()>,
) -> Result<Bytes, GuestFault> {
    let lengths = store.data().call.asked.as_ref().map_or((Ok(0), Ok(0)), |asked| {
        (u32::try_from(asked.method.len()), u32::try_from(asked.input.len()))
    });
    let (Ok(method), Ok(input)) = lengths else { return Err(GuestFault::InputRefused) };
    if let Err(error) = run.call_async(&mut *store, (method, input)).await {
        return Err(classify(&error, store.data(), &blueprint.limits));
    }
    match store.data_mut().call.output.take() {
        // A Go guest marshals a missing result to null.
        Some(Output::Good(result)) if blueprint.payload == Payload::Json && result == "null" => {
            Ok(Bytes::from_static(b"{}"))
        }
        Some(Output::Good(result)) => Ok(result),
        Some(Output::Error(body)) => Err(guest_error(&body)),
        None => Err(GuestFault::GuestSilent),
    }
}

async fn command(
    blueprint: &Blueprint,
    store: &mut Store<State>,
    start: &TypedFunc<(), ()>,
) -> Result<Bytes, GuestFault> {
    let call = &mut store.data_mut().call;
    if let Some(asked) = &call.asked {
        let stdin = command::input(&asked.method, &asked.input)?;
        call.stdio.connect(stdin, call.result_limit + command::FRAME_BYTES);
    }
    let ended = match start.call_async(&mut *store, ()).await {
        Ok(()) => Ok(()),
        Err(error) => Err(classify(&error, store.data(), &blueprint.limits)),
    };
    let output = store.data_mut().call.stdio.collected().unwrap_or_default();
    match ended {
        Ok(()) | Err(GuestFault::Exited(EXIT_SUCCESS)) => command::result(&output),
        // A command that fails may still have said why.
        Err(GuestFault::Exited(code)) => Err(match command::result(&output) {
            Err(said @ (GuestFault::Guest(_) | GuestFault::UnknownMethod(_))) => said,
            _ => GuestFault::Exited(code),
        }),
        Err(fault) => Err(fault),
    }
}

/// What the end of a guest means. The trace within the error is for the log alone.
fn classify(error: &wasmtime::Error, state: &State, limits: &Limits) -> GuestFault {
    tracing::debug!(error = format!("{error:?}"), "a guest ended early");
    let fault = match (error.downcast_ref::<GuestFault>(), error.downcast_ref::<Trap>()) {
        (Some(fault), _) => fault.clone(),
        (None, Some(Trap::StackOverflow)) => GuestFault::StackOverflow,
        (None, Some(Trap::Interrupt)) => GuestFault::Deadline,
        (None, Some(trap)) => {
            let what = trap.to_string();
            GuestFault::Trapped { what: what.strip_prefix("wasm trap: ").unwrap_or(&what).to_owned() }
        }
        (None, None) => GuestFault::Trapped { what: "it cannot be run".to_owned() },
    };
    // A guest that was refused room and then gave up did so because of it.
    match (&fault, state.meter.denied()) {
        (GuestFault::Trapped { .. } | GuestFault::Exited(_) | GuestFault::InputRefused, Some(denied)) => {
            match denied {
                Denied::Memory => GuestFault::MemoryLimit { limit: limits.memory_bytes },
                Denied::Table => GuestFault::TableLimit { limit: limits.table_elements },
            }
        }
        _ => fault,
    }
}

/// Whether an export is a function of this type.
pub(crate) fn is_function(export: &ExternType, params: &[char], results: &[char]) -> bool {
    let letters = |types: &mut dyn Iterator<Item = wasmtime::ValType>| -> Vec<char> {
        types
            .map(|kind| match kind {
                wasmtime::ValType::I32 => 'i',
                wasmtime::ValType::I64 => 'l',
                wasmtime::ValType::F32
                | wasmtime::ValType::F64
                | wasmtime::ValType::V128
                | wasmtime::ValType::Ref(_) => '?',
            })
            .collect()
    };
    export.func().is_some_and(|function| {
        letters(&mut function.params()) == params && letters(&mut function.results()) == results
    })
}
