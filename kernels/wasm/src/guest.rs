//! A guest: one loaded module of one package, and how it is called.
//!
//! Loading proves what can be proved before the first call: the module compiles, every import exists with
//! the type it is declared with, the exports of its ABI are there, and one instance starts.
//!
//! Calls of one guest run side by side, each in an instance of its own. Dropping the future of a call
//! abandons it: the instance it ran in is dropped, and everything it held is free again.

mod begun;
mod load;
mod method;
mod stats;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;

pub use self::begun::{Begun, Waiting};
pub use self::load::{LoadError, LoadOptions};
pub use self::method::MethodName;
pub(crate) use self::stats::Counters;
pub use self::stats::GuestStats;
use crate::abi::envelope::{self, ReplyEnvelope, RequestEnvelope};
use crate::abi::okra::lower_first;
use crate::abi::{Abi, Entry};
use crate::fault::GuestFault;
use crate::host::Host;
use crate::limits::Limits;
use crate::pool::{Lease, Pool, Wish};
use crate::state::{Asked, Turn, Way};

/// A loaded guest. Cheap to clone; clones are the same guest, with the same instances.
#[derive(Clone)]
pub struct Guest(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    abi: Abi,
    imports_host: bool,
    /// Calls may be served where they are made: nothing that the module imports ever waits.
    runs_in_place: bool,
    /// Methods are dispatched by their name with a small first letter, as the guest has shown.
    lowers_methods: AtomicBool,
}

/// One call of a guest.
#[derive(Clone)]
pub struct Call {
    /// The method's name, without its service.
    pub method: MethodName,
    /// The request, in the form of the guest's ABI and without envelope.
    pub input: Bytes,
    /// What the envelope carries beside; used for envelope guests alone, who get an empty one without it.
    pub envelope: Option<RequestEnvelope>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// Whether the instance may have served others.
    pub isolation: Isolation,
    /// The call is made by a guest while it serves another.
    pub nested: bool,
    /// Who answers what the guest asks of its host; see [`Guest::imports_host`].
    pub host: Option<Arc<dyn Host>>,
}

/// Whether an instance may have served others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// It may: up to [`Limits::reuses`] calls of the same guest.
    #[default]
    Warm,
    /// It serves this call alone.
    Fresh,
}

/// The answer of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The result, in the form of the guest's ABI and without envelope.
    pub payload: Bytes,
    /// What the envelope carried beside; empty for guests without one.
    pub envelope: ReplyEnvelope,
}

// === impl Guest ===

impl Guest {
    /// The name it was loaded under, for logs.
    pub fn name(&self) -> &Arc<str> {
        &self.0.pool.blueprint.name
    }

    /// What its package declares of it.
    pub fn abi(&self) -> Abi {
        self.0.abi
    }

    /// How its module is called.
    pub fn entry(&self) -> Entry {
        self.0.pool.blueprint.entry
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.0.pool.blueprint.limits
    }

    /// Whether the module imports functions that a [`Call::host`] answers.
    pub fn imports_host(&self) -> bool {
        self.0.imports_host
    }

    /// What it has done so far, and what its instances do now.
    pub fn stats(&self) -> GuestStats {
        self.0.pool.counters.snapshot(self.0.pool.census())
    }

    /// Makes one call.
    ///
    /// # Errors
    /// [`GuestFault`] says how the guest failed, or why it was not run.
    pub async fn call(&self, call: Call) -> Result<Reply, GuestFault> {
        match self.begin(call) {
            Begun::Ended(result) => result,
            Begun::Waits(rest) => rest.end().await,
        }
    }

    /// Takes from `call` what an instance needs to serve it. `lease` is what the call holds already.
    async fn answer(&self, call: &mut Call, lease: Option<Lease<'_>>) -> Result<Bytes, GuestFault> {
        let remembered = self.respell(call);
        let is_fresh = call.isolation == Isolation::Fresh || self.entry() == Entry::Command;
        let wish = Wish { deadline: call.deadline, fresh: is_fresh, nested: call.nested };
        let mut asked = self.asked(call);
        let answer = self.run(&mut asked, wish, lease).await;
        if remembered || !matches!(answer, Err(GuestFault::UnknownMethod(_))) {
            return answer;
        }
        // Wrappers of Go guests know methods by another spelling than the schema's.
        let Some(asked) = asked else { return answer };
        let Some(lowered) = lower_first(&asked.method) else { return answer };
        self.ask_again(call, asked);
        call.method = lowered.into();
        // Happens once or twice in the life of a guest, and shall not make the future of every call larger.
        let again = Box::pin(async { self.run(&mut self.asked(call), wish, None).await }).await;
        if !matches!(again, Err(GuestFault::UnknownMethod(_))) {
            self.0.lowers_methods.store(true, Ordering::Relaxed);
        }
        again
    }

    /// Gives the method the spelling that the guest is known to use; says whether it is known.
    fn respell(&self, call: &mut Call) -> bool {
        let remembered = self.0.lowers_methods.load(Ordering::Relaxed);
        if remembered && let Some(lowered) = lower_first(&call.method) {
            call.method = lowered.into();
        }
        remembered
    }

    /// What the guest is asked. An envelope is made of a copy: it names the method, and another name needs
    /// another envelope.
    fn asked(&self, call: &mut Call) -> Option<Asked> {
        let input = match (self.0.abi.envelope, &call.envelope) {
            (false, _) => std::mem::take(&mut call.input),
            (true, Some(envelope)) => envelope::encode(&call.method, &call.input, envelope).into(),
            (true, None) => envelope::encode(&call.method, &call.input, &RequestEnvelope::default()).into(),
        };
        Some(Asked { method: std::mem::take(&mut call.method), input, host: call.host.take() })
    }

    /// Puts what was asked back into its call.
    fn ask_again(&self, call: &mut Call, Asked { method, input, host }: Asked) {
        (call.method, call.host) = (method, host);
        if !self.0.abi.envelope {
            call.input = input;
        }
    }

    /// Has an instance serve a call; `asked` is there again if the guest does not know the method.
    async fn run(
        &self,
        asked: &mut Option<Asked>,
        wish: Wish,
        lease: Option<Lease<'_>>,
    ) -> Result<Bytes, GuestFault> {
        let (pool, limits) = (&self.0.pool, self.limits());
        let mut lease = match lease {
            Some(lease) => Box::pin(pool.fill(lease, wish)).await?,
            None => match pool.take_idle(wish) {
                Some(lease) => lease,
                None => Box::pin(pool.check_out(wish)).await?,
            },
        };
        // Not before there is an instance: who holds a slot must wait for nobody.
        let (lane, suspicion) = (&pool.blueprint.engine.0.lane, &pool.suspicions.calls);
        let slot = match suspicion.is_roused() {
            true => suspicion.slot(lane, wish.deadline, limits.call_time).await?,
            false => None,
        };
        let Some(instance) = lease.instance() else { return Err(GuestFault::Busy) };
        let turn = Turn { deadline: wish.deadline, longest: limits.call_time, way: Way::Fiber(slot) };
        let ended = instance.call(&pool.blueprint, asked, turn).await;
        let orderly = ended.is_orderly();
        if orderly && !wish.fresh {
            lease.is_sound();
        }
        pool.counters.ran(ended.overran, ended.memory);
        if orderly && !ended.overran {
            suspicion.allay();
        }
        ended.result
    }

    /// What a result is without its envelope.
    fn reply(&self, result: Bytes) -> Result<Reply, GuestFault> {
        if !self.0.abi.envelope {
            return Ok(Reply { payload: result, envelope: ReplyEnvelope::default() });
        }
        let (payload, envelope) = envelope::decode(result)?;
        Ok(Reply { payload, envelope })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("name", self.name())
            .field("abi", &self.0.abi)
            .field("entry", &self.entry())
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn new(pool: Arc<Pool>, abi: Abi, imports_host: bool, runs_in_place: bool) -> Self {
        Self { pool, abi, imports_host, runs_in_place, lowers_methods: AtomicBool::new(false) }
    }
}

// === impl Call ===

impl Call {
    /// A call without envelope, deadline or host, in an instance that may be warm.
    pub fn new(method: impl Into<MethodName>, input: impl Into<Bytes>) -> Self {
        Self {
            method: method.into(),
            input: input.into(),
            envelope: None,
            deadline: None,
            isolation: Isolation::Warm,
            nested: false,
            host: None,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("input", &self.input.len())
            .field("deadline", &self.deadline)
            .field("isolation", &self.isolation)
            .field("nested", &self.nested)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
