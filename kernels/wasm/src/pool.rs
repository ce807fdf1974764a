//! The instances of one guest: idle ones, busy ones, and the calls that wait for one.
//!
//! A call takes an idle instance, or starts one if there are fewer than the most, or waits: in order, for
//! a bounded time, at most so many. A nested call never waits for an instance of its own kind: it may be
//! one that an instance here waits for. An instance goes back only if the call said it is sound and it
//! has not served its number of calls; anything else, a dropped future too, ends it.
//!
//! Invariants: `live` counts every instance and every right to start one, save those of nested calls
//! beyond the most; what a waiting call was handed and did not take goes to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::engine::Evict;
use crate::fault::GuestFault;
use crate::guest::Counters;
use crate::instance::{Blueprint, Instance};
use crate::suspicion::Suspicions;

/// The instances of one guest.
pub(crate) struct Pool {
    pub(crate) blueprint: Blueprint,
    pub(crate) counters: Counters,
    pub(crate) suspicions: Suspicions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one used last is used next.
    #[expect(clippy::vec_box, reason = "an instance goes out and in with every call, and is large to move")]
    idle: Vec<Box<Instance>>,
    /// The fewest there were since the last [`Evict::trim`].
    least_idle: usize,
    live: u32,
    extra: u32,
    waiting: VecDeque<oneshot::Sender<Lease<'static>>>,
    /// Starts that failed since the last that did not.
    failures: u32,
    /// No start is tried before, and why.
    pause: Option<(Instant, String)>,
}

/// How many instances there are, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) live: u32,
    pub(crate) idle: u32,
    pub(crate) waiting: u32,
}

/// What a call wants of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) deadline: Option<Instant>,
    /// One that has served nobody.
    pub(crate) fresh: bool,
    /// The call is made by a guest that serves another.
    pub(crate) nested: bool,
}

/// An instance, or the right to start one, for one call.
pub(crate) struct Lease<'a> {
    /// Taken when the lease has ended.
    pool: Option<Keeper<'a>>,
    instance: Option<Box<Instance>>,
    /// Beyond the most, for a nested call.
    is_extra: bool,
    is_sound: bool,
}

/// What a waiting call gets.
type Handed = oneshot::Receiver<Lease<'static>>;

/// The pool of a lease or a count: a call has it at hand, what is handed on or waits keeps it alive.
pub(crate) enum Keeper<'a> {
    Borrowed(&'a Arc<Pool>),
    Owned(Arc<Pool>),
}

/// After so many failed starts in a row there is a pause.
const FAILURES_BEFORE_PAUSE: u32 = 3;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

// === impl Pool ===

impl Pool {
    pub(crate) fn new(blueprint: Blueprint) -> Arc<Self> {
        let budget = blueprint.engine.0.budget.clone();
        let pool = Arc::new(Self {
            blueprint,
            counters: Counters::default(),
            suspicions: Suspicions::default(),
            state: Mutex::new(State::default()),
        });
        let known: std::sync::Weak<Self> = Arc::downgrade(&pool);
        budget.enrol(known);
        pool
    }

    pub(crate) fn census(&self) -> Census {
        let state = self.state.lock();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Census {
            live: state.live + state.extra,
            idle: count(state.idle.len()),
            waiting: count(state.waiting.iter().filter(|waiting| !waiting.is_closed()).count()),
        }
    }

    /// An idle instance for one call, if there is one that will do: what most calls get, without a wait.
    pub(crate) fn take_idle(self: &Arc<Self>, wish: Wish) -> Option<Lease<'_>> {
        if wish.fresh {
            return None;
        }
        let instance = self.state.lock().pop_idle()?;
        Some(self.lease(Some(instance), false))
    }

    /// The right to start an instance for one call, if nobody has to wait for it. An idle instance makes room.
    pub(crate) fn take_room(self: &Arc<Self>) -> Option<Lease<'_>> {
        let mut state = self.state.lock();
        let idle = state.pop_idle();
        if idle.is_none() && state.live >= self.blueprint.limits.max_instances.get() {
            return None;
        }
        state.live += u32::from(idle.is_none());
        drop(state);
        drop(idle);
        Some(self.lease(None, false))
    }

    /// Starts the instance of a lease here and now. `false` if that cannot be, or must give way: then whoever
    /// can wait does it.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start_in_place(
        &self,
        lease: &mut Lease<'_>,
        deadline: Option<Instant>,
    ) -> Result<bool, GuestFault> {
        if !self.suspicions.starts.lets_in_place() || self.check_pause().is_err() {
            return Ok(false);
        }
        let Some(claim) = self.blueprint.engine.0.budget.try_claim() else { return Ok(false) };
        let started = Instance::start_in_place(&self.blueprint, claim, deadline, &self.suspicions);
        let Some(started) = started.transpose() else { return Ok(false) };
        lease.instance = Some(Box::new(self.note_start(started, deadline)?));
        Ok(true)
    }

    /// An instance for one call.
    ///
    /// # Errors
    /// None is to be had in time, or none can be started.
    pub(crate) async fn check_out(self: &Arc<Self>, wish: Wish) -> Result<Lease<'_>, GuestFault> {
        let lease = match self.take(wish)? {
            Ok(lease) => lease,
            Err(handed) => self.wait(handed, wish.deadline).await?,
        };
        self.fill(lease, wish).await
    }

    /// Has an instance in a lease that may be without, and one that has served nobody if that is the wish.
    ///
    /// # Errors
    /// None can be started.
    pub(crate) async fn fill<'a>(&self, mut lease: Lease<'a>, wish: Wish) -> Result<Lease<'a>, GuestFault> {
        // From here on a call that is dropped leaves the instance in an unknown state.
        lease.is_sound = false;
        if wish.fresh {
            lease.instance = None;
        }
        if lease.instance.is_none() {
            let started = self.start(wish.deadline).await?;
            lease.instance = Some(Box::new(started));
        }
        Ok(lease)
    }

    /// What is there now; else a place in line.
    fn take(self: &Arc<Self>, wish: Wish) -> Result<Result<Lease<'_>, Handed>, GuestFault> {
        let limits = &self.blueprint.limits;
        let mut state = self.state.lock();
        if let Some(instance) = state.pop_idle() {
            return Ok(Ok(self.lease(Some(instance), false)));
        }
        if state.live < limits.max_instances.get() {
            state.live += 1;
            return Ok(Ok(self.lease(None, false)));
        }
        if wish.nested {
            state.extra += 1;
            return Ok(Ok(self.lease(None, true)));
        }
        if state.waiting.len() >= limits.max_waiting as usize {
            state.waiting.retain(|waiting| !waiting.is_closed());
        }
        if state.waiting.len() >= limits.max_waiting as usize || limits.max_wait.is_zero() {
            return Err(GuestFault::Busy);
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Ok(Err(receiver))
    }

    fn lease(self: &Arc<Self>, instance: Option<Box<Instance>>, is_extra: bool) -> Lease<'_> {
        Lease { pool: Some(Keeper::Borrowed(self)), instance, is_extra, is_sound: false }
    }

    async fn wait(&self, handed: Handed, deadline: Option<Instant>) -> Result<Lease<'static>, GuestFault> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(GuestFault::NoRuntime);
        }
        let longest = Instant::now() + self.blueprint.limits.max_wait;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        match tokio::time::timeout_at(until.into(), handed).await {
            Ok(Ok(lease)) => Ok(lease),
            // The line is never dropped while the pool is held by this very call.
            Ok(Err(_)) => Err(GuestFault::Busy),
            Err(_) if until < longest => Err(GuestFault::Deadline),
            Err(_) => Err(GuestFault::Busy),
        }
    }

    async fn start(&self, deadline: Option<Instant>) -> Result<Instance, GuestFault> {
        self.check_pause()?;
        let budget = &self.blueprint.engine.0.budget;
        let claim = match budget.try_claim() {
            Some(claim) => claim,
            None => {
                if tokio::runtime::Handle::try_current().is_err() {
                    return Err(GuestFault::NoRuntime);
                }
                let longest = Instant::now() + self.blueprint.limits.max_wait;
                let until = deadline.map_or(longest, |deadline| deadline.min(longest));
                let claim = tokio::time::timeout_at(until.into(), budget.claim()).await;
                claim.ok().flatten().ok_or(GuestFault::Busy)?
            }
        };
        let (lane, start_time) = (&self.blueprint.engine.0.lane, self.blueprint.limits.start_time);
        let slot = self.suspicions.starts.slot(lane, deadline, start_time);
        // Who waited in vain for others to get out of the way has not failed to start.
        let slot = slot.await.map_err(|late| if is_past(deadline) { late } else { GuestFault::Busy })?;
        let started = Instance::start(&self.blueprint, claim, deadline, (slot, &self.suspicions)).await;
        self.note_start(started, deadline)
    }

    /// Takes note of how a start went.
    fn note_start(
        &self,
        started: Result<Instance, GuestFault>,
        deadline: Option<Instant>,
    ) -> Result<Instance, GuestFault> {
        self.counters.started(started.is_ok());
        match &started {
            Ok(_) => {
                let mut state = self.state.lock();
                (state.failures, state.pause) = (0, None);
            }
            Err(GuestFault::Deadline) if is_past(deadline) => {}
            Err(why) => return Err(self.note_failure(why)),
        }
        started
    }

    fn check_pause(&self) -> Result<(), GuestFault> {
        let state = self.state.lock();
        let Some((until, why)) = &state.pause else { return Ok(()) };
        let retry_in = until.saturating_duration_since(Instant::now());
        if retry_in.is_zero() {
            return Ok(());
        }
        Err(GuestFault::Starting { why: why.clone(), retry_in })
    }

    fn note_failure(&self, fault: &GuestFault) -> GuestFault {
        let why = if *fault == GuestFault::Deadline {
            format!("it takes longer than {} ms", self.blueprint.limits.start_time.as_millis())
        } else {
            fault.to_string()
        };
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        let retry_in = match state.failures.checked_sub(FAILURES_BEFORE_PAUSE) {
            Some(further) => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(further)).min(LONGEST_PAUSE),
            None => Duration::ZERO,
        };
        state.pause = (!retry_in.is_zero()).then(|| (Instant::now() + retry_in, why.clone()));
        GuestFault::Starting { why, retry_in }
    }

    /// Hands a lease to the first who waits; gives it back if nobody does, with the state locked so that
    /// nobody can come in between.
    fn hand_over(
        &self,
        mut lease: Lease<'static>,
    ) -> Option<(Lease<'static>, parking_lot::MutexGuard<'_, State>)> {
        loop {
            let mut state = self.state.lock();
            let Some(waiting) = state.waiting.pop_front() else { return Some((lease, state)) };
            drop(state);
            match waiting.send(lease) {
                Ok(()) => return None,
                Err(unwanted) => lease = unwanted,
            }
        }
    }
}

impl Evict for Pool {
    fn idle(&self) -> usize {
        self.state.lock().idle.len()
    }

    fn evict(&self) -> bool {
        let mut state = self.state.lock();
        let Some(instance) = state.pop_idle() else { return false };
        state.live -= 1;
        drop(state);
        drop(instance);
        true
    }

    fn trim(&self) {
        let kept = self.blueprint.limits.min_instances;
        let mut state = self.state.lock();
        let spare = state.live.saturating_sub(kept) as usize;
        let unused = state.least_idle.min(spare).min(state.idle.len());
        // Those at the bottom are the ones that nobody has needed.
        let dropped: Vec<_> = state.idle.drain(..unused).collect();
        state.live -= u32::try_from(dropped.len()).unwrap_or(0);
        state.least_idle = state.idle.len();
        drop(state);
        drop(dropped);
    }
}

fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

// === impl Lease ===

impl Lease<'_> {
    /// The instance, which is there once the lease is checked out.
    pub(crate) fn instance(&mut self) -> Option<&mut Instance> {
        self.instance.as_deref_mut()
    }

    /// Drops the instance, and keeps the right to start another.
    pub(crate) fn empty(&mut self) {
        self.instance = None;
    }

    /// The same lease, wherever it goes.
    pub(crate) fn owned(mut self) -> Lease<'static> {
        let pool = self.pool.take().map(Keeper::owned);
        Lease { pool, instance: self.instance.take(), is_extra: self.is_extra, is_sound: self.is_sound }
    }

    /// Says that the instance is as good as before.
    pub(crate) fn is_sound(&mut self) {
        self.is_sound = true;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(keeper) = self.pool.take() else { return };
        let pool = keeper.pool();
        let limits = &pool.blueprint.limits;
        let is_short = pool.blueprint.engine.0.budget.is_short();
        let instance = self.instance.take();
        let instance =
            instance.filter(|instance| self.is_sound && instance.uses() < limits.reuses.get() && !is_short);
        if self.is_extra {
            drop(instance);
            pool.state.lock().extra -= 1;
            return;
        }
        let mut state = pool.state.lock();
        if state.waiting.is_empty() {
            state.settle(instance);
            return;
        }
        drop(state);
        // What is handed on counts as sound until its new holder begins to use it.
        let pool = Some(Keeper::Owned(pool.clone()));
        let next = Lease { pool, instance, is_extra: false, is_sound: true };
        if let Some((mut unwanted, mut state)) = keeper.pool().hand_over(next) {
            unwanted.pool = None;
            state.settle(unwanted.instance.take());
        }
    }
}

// === impl Keeper ===

impl Keeper<'_> {
    pub(crate) fn owned(self) -> Keeper<'static> {
        Keeper::Owned(self.pool().clone())
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        match self {
            Self::Borrowed(pool) => pool,
            Self::Owned(pool) => pool,
        }
    }
}

// === impl State ===

impl State {
    fn pop_idle(&mut self) -> Option<Box<Instance>> {
        let instance = self.idle.pop()?;
        self.least_idle = self.least_idle.min(self.idle.len());
        Some(instance)
    }

    /// Takes back what a call no longer needs and nobody waits for.
    fn settle(&mut self, instance: Option<Box<Instance>>) {
        match instance {
            Some(instance) => self.idle.push(instance),
            None => self.live -= 1,
        }
    }
}
