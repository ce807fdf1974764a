//! The beginning of a call: in place where that may be, else a call that waits to go on.
//!
//! A call in place runs on the stack of the thread that makes it, without a fiber: it cannot give its thread up.
//! It is for guests that never wait for their host and have not overrun of late. Where it would have to give way,
//! two ticks after it began at the latest, it is abandoned together with its instance, and made again as one that
//! waits: by then its guest is suspect. Nobody can tell, for all that such a guest can reach is the log, and what
//! it wrote there is held back till the call has ended. Its place among the calls of the guest is kept.
//!
//! Nested calls never run in place: they are made on the fiber of another.

use std::fmt;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Call, Guest, Isolation, Reply};
use crate::abi::okra::lower_first;
use crate::fault::GuestFault;
use crate::guest::stats::Counting;
use crate::pool::{Lease, Wish};
use crate::state::{Turn, Way};

/// A call that has begun.
#[derive(Debug)]
#[must_use = "a call that waits is given up when it is dropped"]
pub enum Begun {
    /// It has ended already.
    Ended(Result<Reply, GuestFault>),
    /// It has to wait.
    Waits(Waiting),
}

/// The rest of a call. Dropping it gives the call up.
#[must_use = "a call that waits is given up when it is dropped"]
pub struct Waiting {
    /// Before the guest, so that the count and the place are given back while it is there.
    counting: Counting<'static>,
    /// The place among the calls of the guest of one that was abandoned in place.
    lease: Option<Lease<'static>>,
    call: Call,
    guest: Guest,
}

/// How an attempt to serve a call in place ended.
enum Attempt {
    Answered(Result<Bytes, GuestFault>),
    /// The call is as it was.
    NotMade(Option<Lease<'static>>),
}

// === impl Guest ===

impl Guest {
    /// Begins a call: as a rule that of a guest which never waits for its host ends at once. It then ran on the
    /// stack of this thread, of which it may use half a mebibyte, and for less than two ticks of 10 ms.
    pub fn begin(&self, mut call: Call) -> Begun {
        let counting = Counting::begin(&self.0.pool);
        match self.attempt(&mut call) {
            Attempt::Answered(result) => {
                let result = result.and_then(|result| self.reply(result));
                counting.end(result.as_ref().err());
                Begun::Ended(result)
            }
            Attempt::NotMade(lease) => {
                let counting = counting.owned();
                Begun::Waits(Waiting { counting, lease, call, guest: self.clone() })
            }
        }
    }

    /// Serves a call in place, if nothing stands against it.
    fn attempt(&self, call: &mut Call) -> Attempt {
        let may = self.0.runs_in_place && !call.nested;
        if !may || !self.0.pool.suspicions.calls.lets_in_place() {
            return Attempt::NotMade(None);
        }
        let remembered = self.respell(call);
        let first = self.run_in_place(call);
        let unknown = matches!(first, Attempt::Answered(Err(GuestFault::UnknownMethod(_))));
        match lower_first(&call.method).filter(|_| unknown && !remembered) {
            None => first,
            Some(lowered) => {
                call.method = lowered.into();
                let again = self.run_in_place(call);
                if matches!(&again, Attempt::Answered(answer) if !matches!(answer, Err(GuestFault::UnknownMethod(_))))
                {
                    self.0.lowers_methods.store(true, Ordering::Relaxed);
                }
                again
            }
        }
    }

    /// Has an idle instance serve a call, or a fresh one that starts in place, too.
    fn run_in_place(&self, call: &mut Call) -> Attempt {
        let (pool, limits) = (&self.0.pool, self.limits());
        let is_fresh = call.isolation == Isolation::Fresh;
        let wish = Wish { deadline: call.deadline, fresh: is_fresh, nested: false };
        let lease = if is_fresh { pool.take_room() } else { pool.take_idle(wish) };
        let Some(mut lease) = lease else { return Attempt::NotMade(None) };
        if is_fresh {
            match pool.start_in_place(&mut lease, wish.deadline) {
                Ok(true) => {}
                Ok(false) => return Attempt::NotMade(Some(lease.owned())),
                Err(fault) => return Attempt::Answered(Err(fault)),
            }
        }
        let Some(instance) = lease.instance() else { return Attempt::NotMade(None) };
        let mut asked = self.asked(call);
        let turn = Turn { deadline: wish.deadline, longest: limits.call_time, way: Way::InPlace };
        let ended = instance.call_in_place(&pool.blueprint, &mut asked, turn);
        // It is there again if the guest may be asked again.
        if let Some(asked) = asked {
            self.ask_again(call, asked);
        }
        let Some(ended) = ended else {
            lease.empty();
            return Attempt::NotMade(Some(lease.owned()));
        };
        if ended.is_orderly() && !is_fresh {
            lease.is_sound();
        }
        pool.counters.ran(ended.overran, ended.memory);
        Attempt::Answered(ended.result)
    }
}

// === impl Waiting ===

impl Waiting {
    /// Goes on to the end.
    ///
    /// # Errors
    /// As for [`Guest::call`].
    pub async fn end(self) -> Result<Reply, GuestFault> {
        let Self { counting, lease, mut call, guest } = self;
        let result = guest.answer(&mut call, lease).await.and_then(|result| guest.reply(result));
        counting.end(result.as_ref().err());
        result
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("guest", &self.guest)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
