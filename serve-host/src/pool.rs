//! The request pool: a few threads that run plans which wait or block.
//!
//! A pooled run is a task: its future is polled by whichever pool thread is free, and while it waits
//! it occupies none. Timers and upstream sockets live on one background runtime of the pool's own, so
//! that nothing a plan waits for depends on an I/O thread. The pool knows nothing of calls, permits or
//! plans.
//!
//! To wake a thread costs more than to run most plans. So what an I/O thread spawns in one [turn](turn) wakes
//! one thread together, and a thread that takes a task while more is to be done wakes the next.
//!
//! Invariants: a task stands in the ring at most once, so a ring as long as there are permits never
//! overflows; a thread sleeps only after it has seen both rings empty under the lock that wakers take;
//! a panic costs the task, never the thread.

pub mod bed;
pub(crate) mod overlong;
pub(crate) mod turn;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use async_task::Runnable;
use crossbeam::queue::ArrayQueue;
use exec_plan::{BlockingTicket, ExecPlan, Job, Offload};
use tokio::runtime::Runtime;

use self::bed::Bed;
use self::overlong::Overlong;

/// How many threads the pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolThreads(pub NonZeroUsize);

/// The request pool. Dropping it ends its threads once the tasks that are ready have run.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    background: Option<Runtime>,
}

/// Lets blocking nodes of a pooled run move to other threads of the pool.
#[derive(Clone, Debug)]
pub struct PoolOffload {
    shared: Arc<Shared>,
    overlong: Arc<Overlong>,
}

#[derive(Debug)]
struct Shared {
    tasks: ArrayQueue<Runnable>,
    jobs: ArrayQueue<JobSlot>,
    bed: Arc<Bed>,
    stopping: AtomicBool,
    panics: AtomicUsize,
}

struct JobSlot(Job);

// === impl Pool ===

impl Pool {
    /// Starts the threads. `capacity` is how many tasks may exist at once.
    ///
    /// # Errors
    /// The system's, if it has no threads left.
    pub fn start(threads: PoolThreads, capacity: NonZeroUsize) -> io::Result<Self> {
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("okra-upstream")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            tasks: ArrayQueue::new(capacity.get()),
            jobs: ArrayQueue::new(threads.0.get()),
            bed: Arc::new(Bed::new()),
            stopping: AtomicBool::new(false),
            panics: AtomicUsize::new(0),
        });
        let mut pool =
            Self { shared, threads: Vec::with_capacity(threads.0.get()), background: Some(background) };
        for number in 0..threads.0.get() {
            let shared = pool.shared.clone();
            let runtime = pool.background.as_ref().map(|runtime| runtime.handle().clone());
            let thread = thread::Builder::new().name(format!("okra-pool-{number}")).spawn(move || {
                let _runtime = runtime.as_ref().map(tokio::runtime::Handle::enter);
                shared.work();
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Runs a future on the pool to its end, whoever waits for it.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let shared = self.shared.clone();
        let (runnable, task) = async_task::spawn(future, move |runnable| {
            shared.lay(runnable);
            shared.bed.wake_one();
        });
        task.detach();
        self.shared.lay(runnable);
        turn::wake(&self.shared.bed);
    }

    /// Other threads for nodes that block beside something else. Those that block for longer than `alarm`
    /// are counted and named.
    pub fn offload(&self, alarm: Duration) -> PoolOffload {
        let overlong = Overlong::new(alarm);
        if let Some(background) = &self.background {
            background.spawn(watch(Arc::downgrade(&overlong), overlong.interval()));
        }
        PoolOffload { shared: self.shared.clone(), overlong }
    }

    /// How many tasks have panicked outside any kernel: each is a fault of this program.
    pub fn panics(&self) -> usize {
        self.shared.panics.load(Ordering::Relaxed)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.bed.wake_all();
        for thread in self.threads.drain(..) {
            // A pool dropped by its own thread must not wait for itself.
            if thread.thread().id() != thread::current().id() {
                drop(thread.join());
            }
        }
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lay(&self, mut runnable: Runnable) {
        // By the first invariant there is room; a wait here would be a fault, but a loss would be worse.
        while let Err(refused) = self.tasks.push(runnable) {
            runnable = refused;
            thread::yield_now();
        }
    }

    fn work(&self) {
        loop {
            // Looked at before the rings: what was pushed before the end is found in them.
            let stopping = self.stopping.load(Ordering::SeqCst);
            if let Some(JobSlot(job)) = self.jobs.pop() {
                self.share();
                self.guard(job);
            } else if let Some(runnable) = self.tasks.pop() {
                self.share();
                self.guard(|| {
                    runnable.run();
                });
            } else if stopping {
                return;
            } else {
                self.bed.sleep(|| {
                    let stopping = self.stopping.load(Ordering::SeqCst);
                    self.tasks.is_empty() && self.jobs.is_empty() && !stopping
                });
            }
        }
    }

    /// What is taken now may take long; what is left must not wait for it.
    fn share(&self) {
        if !self.tasks.is_empty() {
            self.bed.wake_one();
        }
    }

    fn guard(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a pooled task panicked outside any kernel");
        }
    }
}

// === impl PoolOffload ===

impl PoolOffload {
    /// What was overlong so far.
    pub(crate) fn overlong(&self) -> &Arc<Overlong> {
        &self.overlong
    }
}

impl Offload for PoolOffload {
    /// Takes the job only if some thread sleeps now: waiting behind others would gain nothing.
    fn offload(&self, job: Job) -> Result<(), Job> {
        if !self.shared.bed.has_sleepers() {
            return Err(job);
        }
        self.shared.jobs.push(JobSlot(job)).map_err(|JobSlot(job)| job)?;
        self.shared.bed.wake_one();
        Ok(())
    }

    fn blocks(&self, plan: &ExecPlan, node: &Arc<str>, since: Instant) -> Option<BlockingTicket> {
        Some(self.overlong.begin(plan, node, since))
    }

    fn ended(&self, ticket: BlockingTicket, now: Instant) {
        self.overlong.end(ticket, now);
    }
}

/// Looks at what blocks as long as anybody may block.
async fn watch(overlong: Weak<Overlong>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(overlong) = overlong.upgrade() else { return };
        overlong.look(Instant::now());
    }
}

impl std::fmt::Debug for JobSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn pool(threads: usize) -> Pool {
        let threads = PoolThreads(NonZeroUsize::new(threads).unwrap());
        Pool::start(threads, NonZeroUsize::new(64).unwrap()).unwrap()
    }

    #[test]
    fn tasks_that_wait_occupy_no_thread() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        for number in 0..32 {
            let sender = sender.clone();
            pool.spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sender.send(number).unwrap();
            });
        }
        let mut ended: Vec<i32> =
            (0..32).map(|_| receiver.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        ended.sort_unstable();
        assert_eq!(ended, (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_spawned_in_one_turn_runs_side_by_side() {
        let pool = pool(2);
        let (sender, receiver) = mpsc::channel();
        let meeting = Arc::new(std::sync::Barrier::new(2));
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let _turns = turn::Turns::begin();
            tokio::task::yield_now().await;
            for _ in 0..2 {
                let (sender, meeting) = (sender.clone(), meeting.clone());
                pool.spawn(async move {
                    meeting.wait();
                    sender.send(()).unwrap();
                });
            }
            tokio::task::yield_now().await;
        });
        for _ in 0..2 {
            receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        }
    }

    #[test]
    fn a_panic_costs_the_task_and_not_the_thread() {
        let pool = pool(1);
        for _ in 0..100 {
            pool.spawn(async { panic!("on purpose") });
        }
        let (sender, receiver) = mpsc::channel();
        pool.spawn(async move { sender.send(()).unwrap() });
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(pool.panics(), 100);
    }

    #[test]
    fn a_job_is_taken_only_by_a_sleeping_thread() {
        let pool = pool(1);
        let (busy, hold) = mpsc::channel::<()>();
        let (started, is_busy) = mpsc::channel();
        pool.spawn(async move {
            started.send(()).unwrap();
            let _closed = hold.recv();
        });
        is_busy.recv().unwrap();
        assert!(pool.offload(Duration::from_secs(1)).offload(Box::new(|| {})).is_err());
        drop(busy);
    }

    #[test]
    fn no_wake_up_is_lost() {
        let pool = Arc::new(pool(2));
        let (sender, receiver) = mpsc::channel();
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                let (pool, sender) = (pool.clone(), sender.clone());
                thread::spawn(move || {
                    for _ in 0..5_000 {
                        let (sender, (done, ended)) = (sender.clone(), mpsc::channel());
                        pool.spawn(async move {
                            sender.send(()).unwrap();
                            done.send(()).unwrap();
                        });
                        ended.recv_timeout(Duration::from_secs(10)).unwrap();
                    }
                })
            })
            .collect();
        for spawner in spawners {
            spawner.join().unwrap();
        }
        drop(sender);
        assert_eq!(receiver.iter().count(), 10_000);
    }
}
