//! What a guest may ask of its host: the functions of import module `okra`.
//!
//! `call_service` (also named `call`) calls another service; `run_host_api` runs one of the host's own
//! functions; `next` would go on with a stream, and there are none yet. Each takes a JSON request by
//! pointer and length and gives a JSON reply that the guest frees: as two results, or packed into one,
//! `pointer << 32 | length`, whichever the module's import declares. `(0, 0)` means that the request
//! could not be read or the reply not be written.
//!
//! What is called is the embedder's: this file knows the forms and the limits.

mod api;
mod json;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use wasmtime::{AsContextMut as _, Caller, FuncType, Linker, ValType};

pub(crate) use self::api::sleep;
pub use self::json::{ServiceCall, ServiceError, ServiceErrorCode};
use crate::fault::GuestFault;
use crate::limits::OKRA_MESSAGE_BYTES;
use crate::state::State;

/// Who answers the calls that a guest makes while it serves one.
pub trait Host: Send + Sync {
    /// Calls another service; gives its answer as JSON text. Dropping the future abandons the call.
    ///
    /// # Errors
    /// [`ServiceError`] is told to the guest.
    fn call_service<'a>(&'a self, call: ServiceCall) -> BoxFuture<'a, Result<String, ServiceError>>;
}

/// The host of a call, if it has one.
pub(crate) type MaybeHost = Option<Arc<dyn Host>>;

/// The import module of these functions.
pub(crate) const MODULE: &str = "okra";

/// What a function of the module does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    CallService,
    Next,
    RunHostApi,
}

/// How a function gives its reply back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Pointer and length.
    Two,
    /// `pointer << 32 | length`.
    Packed,
}

/// The two types an import may declare, as an error tells them.
pub(crate) const EXPECTED: &str = "(i32, i32) -> (i32, i32) or (i32, i32) -> i64";

// === impl Function ===

impl Function {
    /// The function of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "call_service" | "call" => Some(Self::CallService),
            "next" => Some(Self::Next),
            "run_host_api" => Some(Self::RunHostApi),
            _ => None,
        }
    }

    /// Adds the function under a name, in the form that the import has.
    pub(crate) fn link(self, linker: &mut Linker<State>, name: &str, form: Form) -> wasmtime::Result<()> {
        match form {
            Form::Two => linker.func_wrap_async(MODULE, name, move |caller, (ptr, len): (u32, u32)| {
                Box::new(async move { self.run(caller, ptr, len).await })
            })?,
            Form::Packed => linker.func_wrap_async(MODULE, name, move |caller, (ptr, len): (u32, u32)| {
                Box::new(async move {
                    let (ptr, len) = self.run(caller, ptr, len).await?;
                    Ok::<_, wasmtime::Error>(u64::from(ptr) << 32 | u64::from(len))
                })
            })?,
        };
        Ok(())
    }

    async fn run(self, mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<(u32, u32)> {
        let (memory, state) = State::with_memory(&mut caller)?;
        state.count_okra()?;
        let request = memory.get(ptr as usize..).and_then(|rest| rest.get(..len as usize));
        let Some(request) = request.filter(|request| request.len() <= OKRA_MESSAGE_BYTES) else {
            return Ok((0, 0));
        };
        let request = request.to_vec();
        let host = state.call.asked.as_ref().and_then(|asked| asked.host.clone());
        let now = Instant::now();
        let until = state.pace.until(now);
        // A guest that mostly waits may go from call to call without ever seeing a tick.
        if now >= until {
            return Err(GuestFault::Deadline.into());
        }
        let stdio = &mut state.call.stdio;
        let asked = async {
            match self {
                Self::CallService => Ok(json::call_service(&request, host).await),
                Self::Next => Ok(json::next(&request)),
                Self::RunHostApi => api::run(&request, host, stdio, until).await,
            }
        };
        let (reply, ticks) = state.pace.waiting(asked).await;
        if let Some(ticks) = ticks {
            caller.as_context_mut().set_epoch_deadline(ticks);
        }
        match reply? {
            Some(reply) => write(caller, json::bounded(reply)).await,
            None => Ok((0, 0)),
        }
    }
}

// === impl Form ===

impl Form {
    /// The form of an import's type, if it is one of the two.
    pub(crate) fn of(declared: &FuncType) -> Option<Self> {
        let params: Vec<_> = declared.params().collect();
        let results: Vec<_> = declared.results().collect();
        if !matches!(params[..], [ValType::I32, ValType::I32]) {
            return None;
        }
        match results[..] {
            [ValType::I32, ValType::I32] => Some(Self::Two),
            [ValType::I64] => Some(Self::Packed),
            _ => None,
        }
    }
}

/// Writes a reply to memory that the guest allocates, and frees.
async fn write(mut caller: Caller<'_, State>, reply: String) -> wasmtime::Result<(u32, u32)> {
    let (Some(allocate), Ok(len)) = (caller.data().allocate, u32::try_from(reply.len())) else {
        return Ok((0, 0));
    };
    // Typed here, for most instances serve no call that comes by.
    let ptr = allocate.typed::<u32, u32>(&caller)?.call_async(&mut caller, len).await?;
    if ptr == 0 {
        return Ok((0, 0));
    }
    let (memory, _) = State::with_memory(&mut caller)?;
    match memory.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..reply.len())) {
        Some(room) => room.copy_from_slice(reply.as_bytes()),
        None => return Err(GuestFault::Malformed("a pointer outside its memory").into()),
    }
    Ok((ptr, len))
}
