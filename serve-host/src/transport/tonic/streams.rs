//! The streams of one HTTP/2 connection, run without a task for each.
//!
//! hyper hands every request over as a future. Those that one read brought are collected and polled once,
//! in order, after the read and before the write: a request whose plan runs inline is answered right
//! there, without a task, and all answers of a read leave together. Only a stream that must wait becomes a
//! task, which also watches that the client keeps reading.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::accept::leash::Leash;
use crate::accept::stats::Cut;

/// Collects the streams of one connection; hyper's executor.
#[derive(Clone)]
pub(super) struct Streams {
    fresh: Rc<RefCell<Vec<Stream>>>,
    leash: Rc<Leash>,
}

type Stream = Pin<Box<dyn Future<Output = ()>>>;

/// A stream that waits: for the host, for the rest of its message, or for its client to read.
struct Waiting {
    stream: Stream,
    leash: Rc<Leash>,
    /// Runs once a response has begun, anew with every piece of it.
    patience: Option<Pin<Box<Sleep>>>,
}

// === impl Streams ===

impl Streams {
    pub(super) fn new(leash: Rc<Leash>) -> Self {
        Self { fresh: Rc::default(), leash }
    }

    /// Polls every new stream once; those that are not done by then become tasks.
    pub(super) fn run_fresh(&self) {
        if self.fresh.borrow().is_empty() {
            return;
        }
        let mut fresh = std::mem::take(&mut *self.fresh.borrow_mut());
        // Who wakes nobody is polled again as a task, with a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        for mut stream in fresh.drain(..) {
            self.leash.take_wrote();
            // What panics here takes its stream with it, not the connection.
            match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut cx))) {
                Ok(Poll::Ready(())) => {}
                Ok(Poll::Pending) => self.wait(stream),
                Err(_) => self.leash.patrol().stats().note_cut(Cut::Panicked, Some(self.leash.peer())),
            }
        }
        // The room is kept for the next read.
        let mut slot = self.fresh.borrow_mut();
        if slot.is_empty() {
            *slot = fresh;
        }
    }

    fn wait(&self, stream: Stream) {
        let mut waiting = Waiting { stream, leash: self.leash.clone(), patience: None };
        waiting.note_progress();
        self.leash.patrol().streams.spawn_local(waiting);
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.fresh.borrow_mut().push(Box::pin(stream));
    }
}

// === impl Waiting ===

impl Waiting {
    /// Renews the client's time to read, if the response has moved.
    fn note_progress(&mut self) {
        if self.leash.take_wrote() {
            let until = Instant::now() + self.leash.write_timeout();
            match &mut self.patience {
                Some(patience) => patience.as_mut().reset(until),
                None => self.patience = Some(Box::pin(sleep_until(until))),
            }
        }
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.leash.take_wrote();
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.note_progress();
        let Some(patience) = &mut this.patience else { return Poll::Pending };
        // Dropping the stream, as it ends here, resets it.
        patience.as_mut().poll(cx).map(|()| {
            this.leash.patrol().stats().note_cut(Cut::WriteStall, Some(this.leash.peer()));
        })
    }
}
