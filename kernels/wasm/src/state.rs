//! What a store carries for its guest: the memory, the meter, and the call being served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::{Caller, Extern, Func, Memory};

use crate::abi::okra::Output;
use crate::fault::GuestFault;
use crate::guest::MethodName;
use crate::host::Host;
use crate::lane::{Lane, Slot};
use crate::limits::{Limits, Meter};
use crate::pace::Pace;
use crate::suspicion::Suspicion;
use crate::wasi::Stdio;

/// What a store carries.
pub(crate) struct State {
    pub(crate) meter: Meter,
    pub(crate) pace: Pace,
    /// Known once the guest is instantiated.
    pub(crate) memory: Option<Memory>,
    /// Known for guests that have one.
    pub(crate) allocate: Option<Func>,
    pub(crate) call: CallState,
}

/// The call being served.
pub(crate) struct CallState {
    /// Nothing while the instance starts, and between calls.
    pub(crate) asked: Option<Asked>,
    pub(crate) output: Option<Output>,
    pub(crate) result_limit: usize,
    pub(crate) stdio: Stdio,
    okra_calls: Count,
    wasi_calls: Count,
}

/// What a guest is asked in a call.
pub(crate) struct Asked {
    pub(crate) method: MethodName,
    pub(crate) input: Bytes,
    pub(crate) host: Option<Arc<dyn Host>>,
}

/// The time that one call has, or the start of an instance.
pub(crate) struct Turn {
    pub(crate) deadline: Option<Instant>,
    pub(crate) longest: Duration,
    pub(crate) way: Way,
}

/// How a turn runs.
pub(crate) enum Way {
    /// On a fiber: it gives way at a tick. The slot is for whoever is suspect.
    Fiber(Option<Slot>),
    /// On the thread's own stack: it is ousted where it would have to give way.
    InPlace,
}

#[derive(Clone, Copy)]
struct Count {
    left: u32,
    limit: u32,
}

// === impl State ===

impl State {
    /// `suspicion` hears it if a turn overruns.
    pub(crate) fn new(name: &Arc<str>, limits: &Limits, lane: &Lane, suspicion: &Arc<Suspicion>) -> Self {
        Self {
            meter: Meter::new(limits),
            pace: Pace::new(lane, suspicion),
            memory: None,
            allocate: None,
            call: CallState {
                asked: None,
                output: None,
                result_limit: limits.result_bytes,
                stdio: Stdio::new(name, limits.log_lines),
                okra_calls: Count::new(limits.okra_calls),
                wasi_calls: Count::new(limits.wasi_calls),
            },
        }
    }

    /// Begins a call, and takes what is asked in it; nothing is while the instance starts.
    pub(crate) fn begin(&mut self, asked: &mut Option<Asked>, turn: Turn) {
        self.meter.begin();
        let may_be_ousted = matches!(turn.way, Way::InPlace);
        self.pace.begin(turn);
        let call = &mut self.call;
        call.asked = asked.take();
        call.output = None;
        call.stdio.begin(may_be_ousted);
        call.okra_calls.left = call.okra_calls.limit;
        call.wasi_calls.left = call.wasi_calls.limit;
    }

    /// Ends a call: nothing of it stays, save what was asked, for whoever takes it. Says whether it overran.
    pub(crate) fn end(&mut self) -> bool {
        self.call.stdio.end();
        self.pace.end()
    }

    /// Ends a call that was ousted, as if it had never been: it is made again. Gives back what was asked.
    pub(crate) fn abandon(&mut self) -> Option<Asked> {
        self.call.stdio.abandon();
        self.pace.end();
        self.call.asked.take()
    }

    /// The guest's memory and the state, both to be written.
    ///
    /// # Errors
    /// The guest has no memory.
    pub(crate) fn with_memory<'a>(
        caller: &'a mut Caller<'_, Self>,
    ) -> Result<(&'a mut [u8], &'a mut Self), GuestFault> {
        let memory = match caller.data().memory {
            Some(memory) => memory,
            // While the guest is being instantiated nobody has looked for it yet.
            None => caller
                .get_export("memory")
                .and_then(Extern::into_memory)
                .ok_or(GuestFault::Malformed("no memory"))?,
        };
        Ok(memory.data_and_store_mut(caller))
    }

    /// Counts a call of a WASI function.
    pub(crate) fn count_wasi(&mut self) -> Result<(), GuestFault> {
        self.call.wasi_calls.take()
    }

    /// Counts a call of a function of module `okra`.
    pub(crate) fn count_okra(&mut self) -> Result<(), GuestFault> {
        self.call.okra_calls.take()
    }
}

// === impl Count ===

impl Count {
    fn new(limit: u32) -> Self {
        Self { left: limit, limit }
    }

    fn take(&mut self) -> Result<(), GuestFault> {
        self.left = self.left.checked_sub(1).ok_or(GuestFault::HostCalls { limit: self.limit })?;
        Ok(())
    }
}
