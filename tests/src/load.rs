//! Callers without pause, and the book they keep: what each call came to, so that nothing can be lost
//! unnoticed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::rpc::{Call, Client, Code};

/// Callers at work. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    book: Arc<Mutex<Book>>,
    callers: Vec<JoinHandle<()>>,
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Answers, by status name.
    pub answers: BTreeMap<String, u64>,
    /// Calls that never came on their way: there was no connection, or it took no more of them.
    pub unsent: u64,
    /// Calls that were sent and got no answer, or a wrong one, by what went wrong.
    pub problems: BTreeMap<String, u64>,
}

/// One call to make again and again, and the answer that is right.
#[derive(Clone, Debug)]
pub struct Task {
    /// `/package.Service/Method`, which gives back its message.
    pub method: &'static str,
    /// The status that is right; with OK the message must come back.
    pub code: Code,
    /// Its deadline, if it brings one.
    pub timeout: Option<Duration>,
}

// === impl Load ===

impl Load {
    /// Starts `callers` on connections of eight each; every one makes the tasks in turn.
    pub fn start(address: SocketAddr, callers: usize, tasks: &[Task]) -> Self {
        let (stop, book) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Book::default())));
        let groups = callers.div_ceil(SHARING);
        let callers = (0..groups)
            .map(|group| {
                let sharing = SHARING.min(callers - group * SHARING);
                let shared = Shared { address, tasks: tasks.into(), stop: stop.clone(), book: book.clone() };
                tokio::spawn(shared.call_until_stopped(sharing))
            })
            .collect();
        Self { stop, book, callers }
    }

    /// How many answers came so far.
    pub fn answered(&self) -> u64 {
        self.book.lock().answers.values().sum()
    }

    /// Stops the callers, waits for what is under way, and gives the book.
    ///
    /// # Errors
    /// If one panicked.
    pub async fn stop(mut self) -> anyhow::Result<Book> {
        self.stop.store(true, Relaxed);
        for caller in self.callers.drain(..) {
            caller.await?;
        }
        Ok(std::mem::take(&mut self.book.lock()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

// === impl Book ===

impl Book {
    /// How often a status came.
    pub fn of(&self, code: Code) -> u64 {
        self.answers.get(&format!("{code:?}")).copied().unwrap_or_default()
    }
}

/// What the callers of one connection share.
#[derive(Clone)]
struct Shared {
    address: SocketAddr,
    tasks: Arc<[Task]>,
    stop: Arc<AtomicBool>,
    book: Arc<Mutex<Book>>,
}

impl Shared {
    async fn call_until_stopped(self, sharing: usize) {
        while !self.stop.load(Relaxed) {
            let Ok(client) = Client::connect(self.address).await else {
                self.book.lock().unsent += 1;
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            let callers = (0..sharing).map(|caller| self.clone().call(client.clone(), caller));
            futures_util::future::join_all(callers).await;
        }
    }

    /// Calls until the connection takes no more.
    async fn call(self, client: Client, caller: usize) {
        for number in caller.. {
            let task = &self.tasks[number % self.tasks.len()];
            if self.stop.load(Relaxed) || !client.is_ready().await {
                return;
            }
            let message = number.to_string();
            let mut call = Call::new(task.method, message.clone());
            if let Some(timeout) = task.timeout {
                call = call.timeout(timeout);
            }
            let begun = Instant::now();
            let answer = client.call(call).await;
            let mut book = self.book.lock();
            match answer {
                Ok(reply) if reply.code != task.code => {
                    *book.problems.entry(format!("{:?}: {}", reply.code, reply.message)).or_default() += 1;
                }
                Ok(reply)
                    if reply.code == Code::Ok && reply.payload.as_deref() != Some(message.as_bytes()) =>
                {
                    *book.problems.entry("another call's answer".to_owned()).or_default() += 1;
                }
                Ok(reply) => *book.answers.entry(format!("{:?}", reply.code)).or_default() += 1,
                Err(error) if is_unsent(&error) => {
                    book.unsent += 1;
                    return;
                }
                Err(error) => {
                    let problem = format!("{error:#}, after {:?}", begun.elapsed());
                    *book.problems.entry(problem).or_default() += 1;
                    return;
                }
            }
        }
    }
}

/// Whether the client knows that the server has not begun the call: it never left, or the server has said
/// by GOAWAY or REFUSED_STREAM that it did not look at it (RFC 9113, 8.7). Such a call may be made again.
fn is_unsent(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<hyper::Error>() else { return false };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
                || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        cause = error.source();
    }
    // The connection was gone before the call could be handed to it.
    error.is_canceled() || error.is_closed()
}

/// Callers that share a connection.
const SHARING: usize = 8;
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(5);
