//! One instance of a guest: starting it, and serving one call after the other with it.
//!
//! A call that may have to give its thread up has a fiber of its own, on the stack that the last one left in the
//! store. A fiber that lasted as long as the instance would cost more: the switch to it costs what a new one does,
//! and to wait for the next request in a function of the host comes on top.
//!
//! A call in place has none: it runs on the stack of its thread, and is cut short where it would have to give way.
//!
//! A call that ends in anything but an answer or the guest's own error leaves the instance in an unknown
//! state; so does a call that is dropped half-way. Whoever owns the instance then drops it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wasmtime::{ExternType, Func, InstancePre, Memory, ModuleExport, Store, Trap, TypedFunc};

use crate::abi::okra::{Exports, Output, guest_error};
use crate::abi::{Entry, Payload, command};
use crate::engine::{Claim, Engine};
use crate::fault::GuestFault;
use crate::lane::Slot;
use crate::limits::{Denied, Limits};
use crate::state::{Asked, State, Turn, Way};
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

// === impl Blueprint ===

impl Blueprint {
    /// What is to be called once the guest is instantiated, before all else. Its memory is known from here on.
    fn initializer(
        &self,
        store: &mut Store<State>,
        guest: wasmtime::Instance,
    ) -> wasmtime::Result<Option<TypedFunc<(), ()>>> {
        let memory =
            self.exports.memory.as_ref().and_then(|place| guest.get_module_export(&mut *store, place));
        store.data_mut().memory = memory.and_then(wasmtime::Extern::into_memory);
        let place = &self.exports.initialize;
        let initialize = place.as_ref().map(|_| function(store, guest, place, "no _initialize"));
        initialize.map(|found| found?.typed(&*store)).transpose()
    }

    fn command(
        &self,
        store: &mut Store<State>,
        guest: wasmtime::Instance,
    ) -> wasmtime::Result<TypedFunc<(), ()>> {
        function(store, guest, &self.exports.start, "no _start")?.typed(&*store)
    }

    fn exports(&self, store: &mut Store<State>, guest: wasmtime::Instance) -> wasmtime::Result<Exports> {
        let places = &self.exports;
        let exports = Exports {
            allocate: function(store, guest, &places.allocate, "no allocate")?,
            deallocate: function(store, guest, &places.deallocate, "no deallocate")?,
            handle_request: function(store, guest, &places.handle_request, "no handle_request")?,
        };
        store.data_mut().allocate = Some(exports.allocate);
        Ok(exports)
    }
}

// === impl Ended ===

impl Ended {
    /// Whether the instance is as good as before.
    pub(crate) fn is_orderly(&self) -> bool {
        self.result.as_ref().err().is_none_or(GuestFault::is_orderly)
    }
}

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
        let mut store = Self::store(blueprint, deadline, Way::Fiber(slot), suspicions);
        let connected = Self::connect(blueprint, &mut store).await;
        Self::started(blueprint, claim, store, connected, suspicions)
    }

    /// Starts an instance as [`start`](Self::start) does, but here and now. `None` if that takes so long that it
    /// must give way.
    ///
    /// # Errors
    /// The guest traps, or takes too long.
    pub(crate) fn start_in_place(
        blueprint: &Blueprint,
        claim: Claim,
        deadline: Option<Instant>,
        suspicions: &Suspicions,
    ) -> Result<Option<Self>, GuestFault> {
        let mut store = Self::store(blueprint, deadline, Way::InPlace, suspicions);
        let connected = Self::connect_in_place(blueprint, &mut store);
        if connected.is_err() && store.data().pace.is_ousted() {
            store.data_mut().abandon();
            return Ok(None);
        }
        Self::started(blueprint, claim, store, connected, suspicions).map(Some)
    }

    fn store(
        blueprint: &Blueprint,
        deadline: Option<Instant>,
        way: Way,
        suspicions: &Suspicions,
    ) -> Store<State> {
        let shared = &blueprint.engine.0;
        let mut state = State::new(&blueprint.name, &blueprint.limits, &shared.lane, &suspicions.starts);
        state.begin(&mut None, Turn { deadline, longest: blueprint.limits.start_time, way });
        let mut store = Store::new(&shared.wasm, state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().pace.tick(Instant::now())?));
        store.set_epoch_deadline(1);
        store
    }

    fn started(
        blueprint: &Blueprint,
        claim: Claim,
        mut store: Store<State>,
        connected: wasmtime::Result<(wasmtime::Instance, Call)>,
        suspicions: &Suspicions,
    ) -> Result<Self, GuestFault> {
        let overran = store.data_mut().end();
        match connected {
            Ok((guest, call)) => {
                if !overran {
                    suspicions.starts.allay();
                }
                store.data_mut().pace.tell(&suspicions.calls);
                let memory = store.data().memory;
                Ok(Self { store, guest, call, memory, uses: 0, _claim: claim })
            }
            Err(error) => Err(classify(&error, store.data(), &blueprint.limits)),
        }
    }

    async fn connect(
        blueprint: &Blueprint,
        store: &mut Store<State>,
    ) -> wasmtime::Result<(wasmtime::Instance, Call)> {
        let guest = blueprint.pre.instantiate_async(&mut *store).await?;
        if let Some(initialize) = blueprint.initializer(store, guest)? {
            initialize.call_async(&mut *store, ()).await?;
        }
        let call = match blueprint.entry {
            Entry::Command => Call::Command(blueprint.command(store, guest)?),
            Entry::HandleRequest => {
                let exports = blueprint.exports(store, guest)?;
                Call::HandleRequest(blueprint.engine.0.driver.connect(store, exports).await?)
            }
        };
        Ok((guest, call))
    }

    fn connect_in_place(
        blueprint: &Blueprint,
        store: &mut Store<State>,
    ) -> wasmtime::Result<(wasmtime::Instance, Call)> {
        let guest = blueprint.pre.instantiate(&mut *store)?;
        if let Some(initialize) = blueprint.initializer(store, guest)? {
            initialize.call(&mut *store, ())?;
        }
        let call = match blueprint.entry {
            Entry::Command => Call::Command(blueprint.command(store, guest)?),
            Entry::HandleRequest => {
                let exports = blueprint.exports(store, guest)?;
                Call::HandleRequest(blueprint.engine.0.driver.connect_in_place(store, exports)?)
            }
        };
        Ok((guest, call))
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
        self.begin(asked, turn);
        let result = match &self.call {
            Call::HandleRequest(run) => handle_request(blueprint, &mut self.store, run).await,
            Call::Command(start) => command(blueprint, &mut self.store, start).await,
        };
        self.end(asked, result)
    }

    /// Serves one call as [`call`](Self::call) does, but here and now, without a fiber. `None` if the call ran
    /// for so long that it must give way: what was `asked` is there again, and whoever is to serve it is
    /// another instance.
    pub(crate) fn call_in_place(
        &mut self,
        blueprint: &Blueprint,
        asked: &mut Option<Asked>,
        turn: Turn,
    ) -> Option<Ended> {
        self.begin(asked, turn);
        let store = &mut self.store;
        let result = match (&self.call, lengths(store)) {
            (Call::HandleRequest(run), Some(lengths)) => {
                let ran = run.call(&mut *store, lengths);
                replied(blueprint, store, ran)
            }
            (Call::HandleRequest(_), None) => Err(GuestFault::InputRefused),
            (Call::Command(_), _) => Err(GuestFault::Malformed("a command is not called in place")),
        };
        if result.is_err() && self.store.data().pace.is_ousted() {
            *asked = self.store.data_mut().abandon();
            return None;
        }
        Some(self.end(asked, result))
    }

    fn begin(&mut self, asked: &mut Option<Asked>, turn: Turn) {
        self.uses += 1;
        self.store.data_mut().begin(asked, turn);
        self.store.set_epoch_deadline(1);
    }

    fn end(&mut self, asked: &mut Option<Asked>, result: Result<Bytes, GuestFault>) -> Ended {
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
    let Some(lengths) = lengths(store) else { return Err(GuestFault::InputRefused) };
    let ran = run.call_async(&mut *store, lengths).await;
    replied(blueprint, store, ran)
}

/// The function that a guest exports at this place.
fn function(
    store: &mut Store<State>,
    guest: wasmtime::Instance,
    place: &Option<ModuleExport>,
    missing: &'static str,
) -> Result<Func, GuestFault> {
    let export = place.as_ref().and_then(|place| guest.get_module_export(store, place));
    export.and_then(wasmtime::Extern::into_func).ok_or(GuestFault::Malformed(missing))
}

/// How long the method and the input are, if the guest can be told.
fn lengths(store: &Store<State>) -> Option<(u32, u32)> {
    let Some(asked) = &store.data().call.asked else { return Some((0, 0)) };
    Some((u32::try_from(asked.method.len()).ok()?, u32::try_from(asked.input.len()).ok()?))
}

/// What a guest whose call ended so has answered.
fn replied(
    blueprint: &Blueprint,
    store: &mut Store<State>,
    ran: wasmtime::Result<()>,
) -> Result<Bytes, GuestFault> {
    if let Err(error) = ran {
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
