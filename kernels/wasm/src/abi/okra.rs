//! The OKRA ABI: `allocate`, `deallocate`, `handle_request` and a packed result.
//!
//! One call is: allocate the method and the input, write both, `handle_request`, copy the result out, free
//! the result, the input and the method. The sequence itself is wasm, the [`Driver`],
//! so that a call enters wasm once. A result is `pointer << 32 | length`; bit 63 marks the guest's own
//! error, `{"error": "text"}`; zero is a failure without a word.

use bytes::Bytes;
use serde::Deserialize;
use wasmtime::{Caller, Engine, Extern, Func, Instance, Linker, Module, ModuleExport, Store, TypedFunc};

use crate::fault::GuestFault;
use crate::state::State;

/// The module that speaks the ABI with a guest.
pub(crate) struct Driver {
    module: Module,
    host: Linker<State>,
    /// Where its one export is, looked up once.
    call: ModuleExport,
}

/// The functions of a guest that the driver calls.
pub(crate) struct Exports {
    pub(crate) allocate: Func,
    pub(crate) deallocate: Func,
    pub(crate) handle_request: Func,
}

/// What `handle_request` gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A result.
    Good(Bytes),
    /// The guest's own error, as it wrote it.
    Error(Bytes),
}

#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// The driver, as `driver.wat` has it.
const DRIVER: &[u8] = include_bytes!("driver.wasm");

/// What a driver without its export would be.
const NO_CALL: GuestFault = GuestFault::Malformed("a driver without `call`");

/// The bit of a result that marks an error.
const ERROR_BIT: u64 = 1 << 63;

/// The most of a guest's own error text that its caller gets, in bytes.
const MESSAGE_BYTES: usize = 4 << 10;

/// How a guest says that it does not know a method.
const UNKNOWN_METHOD: &str = "unknown method: ";

// === impl Driver ===

impl Driver {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut host = Linker::new(engine);
        host.func_wrap("host", "put", put)?;
        host.func_wrap("host", "take", take)?;
        let module = Module::new(engine, DRIVER)?;
        let call = module.get_export_index("call").ok_or(NO_CALL)?;
        Ok(Self { module, host, call })
    }

    /// Connects the driver with a guest; the function it gives makes one call.
    pub(crate) async fn connect(
        &self,
        store: &mut Store<State>,
        guest: Exports,
    ) -> wasmtime::Result<TypedFunc<(u32, u32), ()>> {
        let imports = self.imports(store, guest)?;
        let driver = Instance::new_async(&mut *store, &self.module, &imports).await?;
        self.entry(store, driver)
    }

    /// Connects the driver with a guest that never waits for its host.
    pub(crate) fn connect_in_place(
        &self,
        store: &mut Store<State>,
        guest: Exports,
    ) -> wasmtime::Result<TypedFunc<(u32, u32), ()>> {
        let imports = self.imports(store, guest)?;
        let driver = Instance::new(&mut *store, &self.module, &imports)?;
        self.entry(store, driver)
    }

    fn imports(&self, store: &mut Store<State>, guest: Exports) -> wasmtime::Result<[Extern; 5]> {
        let mut host = |name| self.host.get(&mut *store, "host", name);
        Ok([
            guest.allocate.into(),
            guest.deallocate.into(),
            guest.handle_request.into(),
            host("put")?,
            host("take")?,
        ])
    }

    fn entry(
        &self,
        store: &mut Store<State>,
        driver: Instance,
    ) -> wasmtime::Result<TypedFunc<(u32, u32), ()>> {
        let call = driver.get_module_export(&mut *store, &self.call).and_then(Extern::into_func);
        call.ok_or(NO_CALL)?.typed(&*store)
    }
}

/// Writes the method and the input to where the guest has made room for them.
fn put(mut caller: Caller<'_, State>, method: u32, input: u32) -> wasmtime::Result<()> {
    let (memory, state) = State::with_memory(&mut caller)?;
    let asked = state.call.asked.as_ref().ok_or(GuestFault::GuestSilent)?;
    write(memory, method, asked.method.as_bytes())?;
    write(memory, input, &asked.input)?;
    Ok(())
}

fn write(memory: &mut [u8], ptr: u32, bytes: &[u8]) -> Result<(), GuestFault> {
    if bytes.is_empty() {
        return Ok(());
    }
    if ptr == 0 {
        return Err(GuestFault::InputRefused);
    }
    let room = memory.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    room.ok_or(GuestFault::Malformed("a pointer outside its memory"))?.copy_from_slice(bytes);
    Ok(())
}

/// Copies a result out; gives the pointer to free.
fn take(mut caller: Caller<'_, State>, packed: u64) -> wasmtime::Result<u32> {
    if packed == 0 {
        return Ok(0);
    }
    let (memory, state) = State::with_memory(&mut caller)?;
    let (is_error, place) = (packed & ERROR_BIT != 0, packed & !ERROR_BIT);
    let [a, b, c, d, e, f, g, h] = place.to_be_bytes();
    let (ptr, len) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize);
    let limit = state.call.result_limit;
    if len > limit {
        return Err(GuestFault::ResultTooLarge { limit }.into());
    }
    let bytes = memory.get(ptr as usize..).and_then(|rest| rest.get(..len));
    let bytes = bytes.ok_or(GuestFault::Malformed("a result outside its memory"))?;
    let bytes = Bytes::copy_from_slice(bytes);
    state.call.output = Some(if is_error { Output::Error(bytes) } else { Output::Good(bytes) });
    Ok(ptr)
}

/// The guest's own error as a fault.
pub(crate) fn guest_error(body: &[u8]) -> GuestFault {
    match serde_json::from_slice(body) {
        Ok(ErrorBody { error }) => from_text(error),
        Err(_) => GuestFault::Malformed("an error that is not JSON"),
    }
}

/// The guest's own error text as a fault.
pub(crate) fn from_text(mut text: String) -> GuestFault {
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES));
    match text.strip_prefix(UNKNOWN_METHOD) {
        Some(method) => GuestFault::UnknownMethod(method.to_owned()),
        None => GuestFault::Guest(text),
    }
}

/// A method name as the original's Go wrapper dispatches it.
pub(crate) fn lower_first(method: &str) -> Option<String> {
    let first = method.chars().next().filter(|first| first.is_uppercase())?;
    let rest = &method[first.len_utf8()..];
    Some(first.to_lowercase().chain(rest.chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_what_its_text_says() {
        let text = include_str!("driver.wat");
        let made = wat::parse_str(text).unwrap();
        if std::env::var_os("UPDATE_DRIVER").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/abi/driver.wasm");
            std::fs::write(path, &made).unwrap();
        }
        assert_eq!(made, DRIVER, "bless it with UPDATE_DRIVER=1");
    }

    #[test]
    fn an_error_is_told_in_the_guests_words() {
        assert_eq!(guest_error(br#"{"error":"no"}"#), GuestFault::Guest("no".into()));
        let unknown = guest_error(br#"{"error":"unknown method: Add"}"#);
        assert_eq!(unknown, GuestFault::UnknownMethod("Add".into()));
        assert!(matches!(guest_error(b"no"), GuestFault::Malformed(_)));
        let GuestFault::Guest(long) = from_text("é".repeat(MESSAGE_BYTES)) else { panic!("it is a text") };
        assert_eq!(long.len(), MESSAGE_BYTES);
    }

    #[test]
    fn only_a_capital_is_lowered() {
        assert_eq!(lower_first("GetUser").as_deref(), Some("getUser"));
        assert_eq!(lower_first("Écrire").as_deref(), Some("écrire"));
        assert_eq!(lower_first("add"), None);
        assert_eq!(lower_first(""), None);
    }
}
