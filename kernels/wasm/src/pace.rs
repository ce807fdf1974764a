//! How long a call may run, and who runs beside it: what happens at each tick of the clock.
//!
//! At the first tick a call gives its thread up once, so that short calls pass. From the second on it
//! needs a slot in the [`Lane`] for each further tick, and waits for one without a thread. At every tick
//! it ends if its time is up. A slot never outlives the call, and is not held while the guest waits for
//! its host. A call that waits before each tick has its first tick in pieces: once they add up to one, it
//! needs a slot after each wait. What its host answers at once is no wait. A call in place cannot give its
//! thread up: it has the first tick, and is ousted at the second.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::UpdateDeadline;

use crate::engine::TICK;
use crate::fault::GuestFault;
use crate::lane::{Lane, Slot};
use crate::state::{Turn, Way};
use crate::suspicion::Suspicion;

/// The pace of one call.
#[derive(Debug)]
pub(crate) struct Pace {
    lane: Lane,
    deadline: Option<Instant>,
    /// The longest the call may run, and since when it does, as far as the ticks tell.
    longest: Duration,
    since: Option<Instant>,
    ticks: u32,
    /// Hears of an overrun when it happens: a call that is dropped has no end to tell of it.
    suspicion: Arc<Suspicion>,
    /// How long it ran between its waits, as far as it was seen to go on after one.
    ran: Duration,
    resumed: Option<Instant>,
    /// Filled by whoever waits for the slot, which happens outside the store. Made for the first who does.
    slot: Option<Arc<Mutex<Option<Slot>>>>,
    /// There may be a slot: most calls never look.
    may_hold: bool,
    /// The slot was waited for and the next tick is the first with it.
    is_due: bool,
    seat: Seat,
}

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Fiber,
    InPlace,
    /// In place, until it had to give way.
    Ousted,
}

/// The ticks after which a call needs a slot.
const FREE_TICKS: u32 = 1;

// === impl Pace ===

impl Pace {
    pub(crate) fn new(lane: &Lane, suspicion: &Arc<Suspicion>) -> Self {
        Self {
            lane: lane.clone(),
            deadline: None,
            longest: Duration::ZERO,
            since: None,
            ticks: 0,
            suspicion: suspicion.clone(),
            ran: Duration::ZERO,
            resumed: None,
            slot: None,
            may_hold: false,
            is_due: false,
            seat: Seat::Fiber,
        }
    }

    /// From now on this hears of overruns.
    pub(crate) fn tell(&mut self, suspicion: &Arc<Suspicion>) {
        self.suspicion = suspicion.clone();
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, turn: Turn) {
        let (slot, seat) = match turn.way {
            Way::Fiber(slot) => (slot, Seat::Fiber),
            Way::InPlace => (None, Seat::InPlace),
        };
        (self.deadline, self.longest, self.seat) = (turn.deadline, turn.longest, seat);
        // Whoever begins with a slot has no free tick after it.
        let ticks = if slot.is_some() { FREE_TICKS } else { 0 };
        (self.since, self.ticks, self.is_due) = (None, ticks, slot.is_some());
        (self.ran, self.resumed) = (Duration::ZERO, None);
        if slot.is_some() {
            self.may_hold = true;
            *self.slot.get_or_insert_default().lock() = slot;
        }
    }

    /// Whether the call was to give way and could not.
    pub(crate) fn is_ousted(&self) -> bool {
        self.seat == Seat::Ousted
    }

    /// Ends a call; says whether it overran.
    pub(crate) fn end(&mut self) -> bool {
        self.pause();
        self.ticks > FREE_TICKS
    }

    /// Awaits what the guest asked of its host. If that takes a wait, the guest holds no slot meanwhile, and
    /// looks up after so many ticks when it goes on; `None` leaves its next look where it was.
    pub(crate) async fn waiting<T>(&mut self, reply: impl Future<Output = T>) -> (T, Option<u64>) {
        let (mut reply, mut waited) = (pin!(reply), false);
        let reply = poll_fn(|cx| {
            let polled = reply.as_mut().poll(cx);
            if polled.is_pending() && !std::mem::replace(&mut waited, true) {
                self.ran += self.resumed.take().map_or(Duration::ZERO, |resumed| resumed.elapsed());
                self.pause();
            }
            polled
        });
        let reply = reply.await;
        (reply, waited.then(|| self.resume()))
    }

    /// How many ticks a guest has that goes on after a wait.
    fn resume(&mut self) -> u64 {
        self.resumed = Some(Instant::now());
        if self.ran < TICK {
            return 1;
        }
        self.ticks = self.ticks.max(FREE_TICKS);
        0
    }

    /// Gives the slot back, if there is one.
    fn pause(&mut self) {
        self.is_due = false;
        if std::mem::take(&mut self.may_hold)
            && let Some(slot) = &self.slot
        {
            slot.lock().take();
        }
    }

    /// When the call must end. What has not been looked at before has begun now.
    pub(crate) fn until(&mut self, now: Instant) -> Instant {
        let longest = *self.since.get_or_insert(now) + self.longest;
        self.deadline.map_or(longest, |deadline| deadline.min(longest))
    }

    /// What to do at a tick.
    ///
    /// # Errors
    /// The time of the call is up.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<UpdateDeadline, GuestFault> {
        if self.since.is_none() {
            self.since = now.checked_sub(TICK).or(Some(now));
        }
        let until = self.until(now);
        if now >= until {
            return Err(GuestFault::Deadline);
        }
        if std::mem::take(&mut self.is_due) {
            return Ok(UpdateDeadline::Continue(1));
        }
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks <= FREE_TICKS {
            return Ok(match self.seat {
                Seat::Fiber => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
                Seat::InPlace | Seat::Ousted => UpdateDeadline::Continue(1),
            });
        }
        if self.seat != Seat::Fiber {
            self.suspicion.oust();
            self.seat = Seat::Ousted;
            return Ok(UpdateDeadline::Interrupt);
        }
        self.suspicion.rouse();
        self.pause();
        (self.is_due, self.may_hold) = (true, true);
        let (lane, slot) = (self.lane.clone(), self.slot.get_or_insert_default().clone());
        // With no tick to go, the guest looks up again at once, and so ends if its time is up by then.
        Ok(UpdateDeadline::YieldCustom(
            0,
            Box::pin(async move {
                tokio::task::yield_now().await;
                let granted = before(until, lane.slot()).await.flatten();
                *slot.lock() = granted;
            }),
        ))
    }
}

/// The outcome of a wait, if it comes in time. On a thread without a runtime nobody looks at the clock.
pub(crate) async fn before<T>(until: Instant, wait: impl Future<Output = T>) -> Option<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::time::timeout_at(until.into(), wait).await.ok(),
        Err(_) => Some(wait.await),
    }
}
