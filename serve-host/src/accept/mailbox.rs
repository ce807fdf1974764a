//! Where other threads leave word for the connections of this one: that an answer is there.
//!
//! To wake a thread costs a system call. Whoever has word for a connection leaves it here, and wakes the
//! thread only if no other word waits; the thread then wakes each of those connections itself, which
//! costs next to nothing. So many answers that come together cost one wake, on however many connections.
//!
//! Invariant: a [`Slip`] is marked before it is left and unmarked before its connection is woken, so what
//! happens after it is taken is left anew.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::task::{AbortHandle, spawn_local};

/// The mailbox of one thread. Dropping it ends the task that empties it.
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
    postman: AbortHandle,
}

/// The place of one connection.
pub(crate) struct Letterbox {
    slip: Arc<Slip>,
    waker: Waker,
}

#[derive(Default)]
struct Shared {
    /// One for each connection at most.
    left: Mutex<Vec<Arc<Slip>>>,
    postman: AtomicWaker,
}

/// Word for one connection.
struct Slip {
    shared: Arc<Shared>,
    is_left: AtomicBool,
    connection: AtomicWaker,
}

// === impl Mailbox ===

impl Mailbox {
    /// A mailbox of the calling thread, which runs local tasks.
    pub(crate) fn new() -> Self {
        let shared = Arc::<Shared>::default();
        let postman = spawn_local({
            let shared = shared.clone();
            let mut bag = Vec::new();
            poll_fn(move |cx| {
                shared.postman.register(cx.waker());
                shared.deliver(&mut bag);
                Poll::<()>::Pending
            })
        });
        Self { shared, postman: postman.abort_handle() }
    }

    /// A place for a connection of this thread.
    pub(crate) fn open(&self) -> Letterbox {
        let slip = Arc::new(Slip {
            shared: self.shared.clone(),
            is_left: AtomicBool::new(false),
            connection: AtomicWaker::new(),
        });
        Letterbox { waker: slip.clone().into(), slip }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.postman.abort();
    }
}

// === impl Letterbox ===

impl Letterbox {
    /// Remembers how the connection is woken.
    pub(crate) fn attend(&self, connection: &Waker) {
        self.slip.connection.register(connection);
    }

    /// Wakes the connection, from any thread.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }
}

// === impl Shared ===

impl Shared {
    fn deliver(&self, bag: &mut Vec<Arc<Slip>>) {
        std::mem::swap(&mut *self.left.lock(), bag);
        for slip in bag.drain(..) {
            slip.is_left.swap(false, Ordering::AcqRel);
            slip.connection.wake();
        }
    }
}

// === impl Slip ===

impl Wake for Slip {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_left.swap(true, Ordering::AcqRel) {
            return;
        }
        let first = {
            let mut left = self.shared.left.lock();
            left.push(self.clone());
            left.len() == 1
        };
        if first {
            self.shared.postman.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn in_a_local_runtime(test: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(test());
    }

    fn counted(mailbox: &Mailbox) -> (Letterbox, Arc<Count>) {
        let (letterbox, count) = (mailbox.open(), Arc::<Count>::default());
        letterbox.attend(&count.clone().into());
        (letterbox, count)
    }

    #[test]
    fn word_from_other_threads_wakes_each_connection_once() {
        in_a_local_runtime(async || {
            let mailbox = Mailbox::new();
            let boxes = [counted(&mailbox), counted(&mailbox), counted(&mailbox)];
            tokio::task::yield_now().await;
            let wakers: Vec<_> = boxes[..2].iter().map(|(letterbox, _)| letterbox.waker().clone()).collect();
            std::thread::spawn(move || wakers.iter().cycle().take(10).for_each(Waker::wake_by_ref))
                .join()
                .unwrap();
            let woken = || boxes.each_ref().map(|(_, count)| count.0.load(Ordering::SeqCst));
            assert_eq!(woken(), [0, 0, 0], "the thread itself delivers");
            tokio::task::yield_now().await;
            assert_eq!(woken(), [1, 1, 0]);
        });
    }

    #[test]
    fn word_that_is_left_after_the_last_was_taken_is_delivered() {
        in_a_local_runtime(async || {
            let mailbox = Mailbox::new();
            let (letterbox, count) = counted(&mailbox);
            for round in 1..=3 {
                letterbox.attend(&count.clone().into());
                letterbox.waker().wake_by_ref();
                tokio::task::yield_now().await;
                assert_eq!(count.0.load(Ordering::SeqCst), round);
            }
        });
    }

    #[test]
    fn a_connection_that_is_gone_harms_nobody() {
        in_a_local_runtime(async || {
            let mailbox = Mailbox::new();
            let waker = counted(&mailbox).0.waker().clone();
            waker.wake_by_ref();
            tokio::task::yield_now().await;
            drop(mailbox);
            waker.wake();
        });
    }
}
