//! What is known of each connection while it lives, and how it is told to end.
//!
//! Every connection has a [`Leash`]; the [`Patrol`] of its thread looks at all of them on every tick and
//! orders those that have overstayed a limit to leave or to close. So no connection needs timers of its
//! own, and the rules stand in one place: [`Leash::verdict`].
//!
//! The clock is read once a tick. Times noted between two ticks are up to a tick early.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::connection::End;
use super::stats::{ConnectionStats, Cut};
use crate::transport::limits::ConnectionLimits;

/// One thread's view of its connections.
#[derive(Debug)]
pub(crate) struct Patrol {
    now: Cell<Instant>,
    leashes: RefCell<Vec<Weak<Leash>>>,
    limits: ConnectionLimits,
    stats: Arc<ConnectionStats>,
    draining: Cell<bool>,
    /// The streams that have tasks of their own.
    pub(crate) streams: TaskTracker,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Leash {
    patrol: Rc<Patrol>,
    peer: SocketAddr,
    opened: Instant,
    stage: Cell<Stage>,
    calls: Cell<u32>,
    /// When the last call ended.
    idle_since: Cell<Instant>,
    /// When the last byte came.
    heard: Cell<Instant>,
    /// When the first byte of an unfinished head came.
    head_since: Cell<Option<Instant>>,
    /// Since when the socket takes no more bytes.
    blocked_since: Cell<Option<Instant>>,
    order: Cell<Order>,
    ordered: Cell<Instant>,
    waker: RefCell<Option<Waker>>,
    /// Whether a response was asked for its next piece since this was last taken.
    wrote: Cell<bool>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not said what it speaks.
    Handshake,
    /// It speaks HTTP/1.
    Http1,
    /// It speaks HTTP/2.
    Http2,
    /// All is said; the peer may finish reading. Bounded by itself.
    Lingering,
}

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    Stay,
    /// Begin nothing new, finish what has begun: GOAWAY.
    Leave,
    /// End now.
    Close(Cut),
}

/// One call in progress, from its head to the last piece of its response.
#[derive(Debug)]
pub(crate) struct Call(Rc<Leash>);

// === impl Patrol ===

impl Patrol {
    pub(crate) fn new(limits: ConnectionLimits, stats: Arc<ConnectionStats>) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Instant::now()),
            leashes: RefCell::default(),
            limits,
            stats,
            draining: Cell::new(false),
            streams: TaskTracker::new(),
        })
    }

    /// How often to walk: often enough for the shortest limit.
    pub(crate) fn interval(&self) -> Duration {
        let ConnectionLimits { handshake_timeout, idle_timeout, write_timeout, max_age, .. } = self.limits;
        let shortest = handshake_timeout.min(idle_timeout).min(write_timeout);
        (max_age.map_or(shortest, |age| age.min(shortest)) / 4).clamp(MIN_TICK, MAX_TICK)
    }

    /// Puts a new connection on a leash.
    pub(crate) fn leash(self: &Rc<Self>, peer: SocketAddr) -> Rc<Leash> {
        let now = Instant::now();
        self.now.set(now);
        let leash = Rc::new(Leash {
            patrol: self.clone(),
            peer,
            opened: now,
            stage: Cell::new(Stage::Handshake),
            calls: Cell::new(0),
            idle_since: Cell::new(now),
            heard: Cell::new(now),
            head_since: Cell::new(None),
            blocked_since: Cell::new(None),
            order: Cell::new(if self.draining.get() { Order::Leave } else { Order::Stay }),
            ordered: Cell::new(now),
            waker: RefCell::new(None),
            wrote: Cell::new(false),
        });
        self.leashes.borrow_mut().push(Rc::downgrade(&leash));
        leash
    }

    /// Looks at every connection, and gives the orders that are due.
    pub(crate) fn walk(&self) {
        let now = Instant::now();
        self.now.set(now);
        self.leashes.borrow_mut().retain(|leash| {
            let Some(leash) = leash.upgrade() else { return false };
            if let Some((order, reason)) = leash.verdict(now, &self.limits) {
                // Leaving is noted here, closing where the connection ends.
                if let (Order::Leave, Some(reason)) = (order, reason) {
                    self.stats.note_cut(reason, Some(leash.peer));
                }
                leash.command(order);
            }
            true
        });
    }

    /// Tells every connection, and those still to come, to leave.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.now.set(Instant::now());
        for leash in self.leashes.borrow().iter().filter_map(Weak::upgrade) {
            if leash.order.get() == Order::Stay {
                leash.command(Order::Leave);
            }
        }
    }

    /// How many calls are in progress.
    pub(crate) fn calls(&self) -> u64 {
        self.leashes.borrow().iter().filter_map(Weak::upgrade).map(|leash| u64::from(leash.calls.get())).sum()
    }

    /// Where cuts are counted.
    pub(crate) fn stats(&self) -> &ConnectionStats {
        &self.stats
    }
}

// === impl Leash ===

impl Leash {
    /// Runs a connection to its end, or until it is ordered to close.
    pub(crate) async fn hold(&self, work: impl Future<Output = End>) -> End {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.attend(cx);
            match self.order.get() {
                Order::Close(reason) => Poll::Ready(End::Cut(reason)),
                Order::Stay | Order::Leave => work.as_mut().poll(cx),
            }
        })
        .await
    }

    /// Whether the connection is to begin nothing new.
    pub(crate) fn must_leave(&self) -> bool {
        self.order.get() != Order::Stay
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn patrol(&self) -> &Rc<Patrol> {
        &self.patrol
    }

    /// How long a client may leave a response unread.
    pub(crate) fn write_timeout(&self) -> Duration {
        self.patrol.limits.write_timeout
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.set(stage);
        // The head has been arriving since the first byte of the connection.
        self.head_since.set((stage == Stage::Http1).then_some(self.opened));
    }

    /// Bytes came.
    pub(crate) fn note_read(&self) {
        self.heard.set(self.patrol.now.get());
        if self.stage.get() == Stage::Http1 && self.calls.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Whether the head of an HTTP/2 request has begun and not ended.
    pub(crate) fn note_open_head(&self, is_open: bool) {
        if !is_open {
            self.head_since.set(None);
        } else if self.head_since.get().is_none() {
            self.head_since.set(Some(self.patrol.now.get()));
        }
    }

    /// The socket took bytes, or would not.
    pub(crate) fn note_write(&self, taken: bool) {
        if taken {
            self.blocked_since.set(None);
        } else if self.blocked_since.get().is_none() {
            self.blocked_since.set(Some(self.patrol.now.get()));
        }
    }

    /// A response was asked for its next piece.
    pub(crate) fn note_piece(&self) {
        self.wrote.set(true);
    }

    /// Whether a response was asked for a piece since this was last called.
    pub(crate) fn take_wrote(&self) -> bool {
        self.wrote.replace(false)
    }

    /// What is due for this connection, and why.
    fn verdict(&self, now: Instant, limits: &ConnectionLimits) -> Option<(Order, Option<Cut>)> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let leave = |reason| Some((Order::Leave, Some(reason)));
        let close = |reason| Some((Order::Close(reason), Some(reason)));
        if self.blocked_since.get().is_some_and(|then| since(then) >= limits.write_timeout) {
            return close(Cut::WriteStall);
        }
        match (self.order.get(), self.stage.get()) {
            (Order::Close(_), _) | (_, Stage::Lingering) => None,
            (_, Stage::Handshake) if since(self.opened) >= limits.handshake_timeout => {
                close(Cut::HandshakeTimeout)
            }
            (_, Stage::Http1 | Stage::Http2)
                if self.head_since.get().is_some_and(|then| since(then) >= limits.handshake_timeout) =>
            {
                close(Cut::HeaderTimeout)
            }
            (Order::Stay, _) => {
                if self.calls.get() == 0 && since(self.idle_since.get()) >= limits.idle_timeout {
                    leave(Cut::Idle)
                } else if limits.max_age.is_some_and(|age| since(self.opened) >= age) {
                    leave(Cut::MaxAge)
                } else {
                    None
                }
            }
            (Order::Leave, stage) => {
                let stirred = self.ordered.get().max(self.heard.get()).max(self.idle_since.get());
                let patience = if stage == Stage::Handshake { MUTE } else { QUIET };
                let quiet = self.calls.get() == 0 && since(stirred) >= patience;
                // A drain has a deadline of its own, for all connections at once.
                let overdue =
                    !self.patrol.draining.get() && since(self.ordered.get()) >= limits.max_age_grace;
                if quiet || overdue { close(Cut::Overstayed) } else { None }
            }
        }
    }

    fn command(&self, order: Order) {
        self.order.set(order);
        self.ordered.set(self.patrol.now.get());
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Remembers whom to wake for an order.
    fn attend(&self, cx: &mut Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

// === impl Call ===

impl Call {
    pub(crate) fn begin(leash: &Rc<Leash>) -> Self {
        leash.calls.set(leash.calls.get() + 1);
        if leash.stage.get() == Stage::Http1 {
            leash.head_since.set(None);
        }
        Self(leash.clone())
    }

    pub(crate) fn leash(&self) -> &Leash {
        &self.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.set(self.0.calls.get() - 1);
        self.0.idle_since.set(self.0.patrol.now.get());
    }
}

/// How long a connection that was told to leave, and has no calls, may stay silent before it is closed: its
/// peer had time to acknowledge, and to send what was on its way.
const QUIET: Duration = Duration::from_secs(5);

/// The same for one that has not even said what it speaks.
const MUTE: Duration = Duration::from_secs(1);

/// The shortest time between two looks.
const MIN_TICK: Duration = Duration::from_millis(10);

/// The longest.
const MAX_TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn patrol() -> Rc<Patrol> {
        let limits =
            ConnectionLimits { max_age: Some(Duration::from_secs(1000)), ..ConnectionLimits::default() };
        Patrol::new(limits, Arc::new(ConnectionStats::new()))
    }

    /// What is ordered after so many seconds.
    fn after(leash: &Leash, seconds: u64) -> Option<Order> {
        let now = leash.opened + Duration::from_secs(seconds);
        leash.verdict(now, &leash.patrol.limits).map(|(order, _)| order)
    }

    fn leash(stage: Stage) -> Rc<Leash> {
        let leash = patrol().leash(([127, 0, 0, 1], 1).into());
        leash.enter(stage);
        leash
    }

    #[test]
    fn a_client_that_does_not_say_what_it_speaks_is_cut_off() {
        let leash = leash(Stage::Handshake);
        assert_eq!(after(&leash, 9), None);
        assert_eq!(after(&leash, 10), Some(Order::Close(Cut::HandshakeTimeout)));
    }

    #[test]
    fn an_http1_head_must_be_whole_in_time_and_a_body_need_not() {
        let leash = leash(Stage::Http1);
        assert_eq!(after(&leash, 10), Some(Order::Close(Cut::HeaderTimeout)));
        let call = Call::begin(&leash);
        leash.note_read();
        assert_eq!(after(&leash, 11), None);
        drop(call);
        assert_eq!(after(&leash, 11), None);
        leash.note_read();
        assert_eq!(after(&leash, 11), Some(Order::Close(Cut::HeaderTimeout)));
    }

    #[test]
    fn a_connection_without_calls_is_asked_to_leave_and_one_with_calls_is_not() {
        let leash = leash(Stage::Http2);
        assert_eq!(after(&leash, 299), None);
        assert_eq!(after(&leash, 300), Some(Order::Leave));
        let _call = Call::begin(&leash);
        assert_eq!(after(&leash, 900), None);
        assert_eq!(after(&leash, 1000), Some(Order::Leave), "the greatest age counts all the same");
    }

    #[test]
    fn a_connection_that_does_not_leave_is_closed() {
        let leash = leash(Stage::Http2);
        leash.command(Order::Leave);
        assert_eq!(after(&leash, 4), None);
        assert_eq!(after(&leash, 6), Some(Order::Close(Cut::Overstayed)));
        let _call = Call::begin(&leash);
        assert_eq!(after(&leash, 29), None, "its calls may finish");
        assert_eq!(after(&leash, 31), Some(Order::Close(Cut::Overstayed)));
        leash.patrol.drain();
        assert_eq!(after(&leash, 31), None, "a drain has its own deadline");
    }

    #[test]
    fn a_peer_that_takes_no_bytes_is_cut_off() {
        let leash = leash(Stage::Http2);
        let _call = Call::begin(&leash);
        leash.note_write(false);
        assert_eq!(after(&leash, 59), None);
        assert_eq!(after(&leash, 61), Some(Order::Close(Cut::WriteStall)));
        leash.note_write(true);
        assert_eq!(after(&leash, 61), None);
    }

    #[test]
    fn the_walk_is_brisk_enough_for_the_shortest_limit() {
        let stats = || Arc::new(ConnectionStats::new());
        let shipped = Patrol::new(ConnectionLimits::default(), stats());
        assert_eq!(shipped.interval(), MAX_TICK);
        let short =
            ConnectionLimits { handshake_timeout: Duration::from_millis(200), ..ConnectionLimits::default() };
        assert_eq!(Patrol::new(short, stats()).interval(), Duration::from_millis(50));
    }

    #[tokio::test]
    async fn a_dead_connection_is_forgotten_and_a_closed_one_ends() {
        let patrol = patrol();
        let leash = patrol.leash(([127, 0, 0, 1], 1).into());
        drop(patrol.leash(([127, 0, 0, 1], 2).into()));
        patrol.walk();
        assert_eq!(patrol.leashes.borrow().len(), 1);
        let held = leash.hold(std::future::pending());
        let close = async { leash.command(Order::Close(Cut::Idle)) };
        assert!(matches!(tokio::join!(held, close).0, End::Cut(Cut::Idle)));
    }
}
