//! Random histories of a whole host, pool and deadlines included, against a model so plain that it is
//! easily believed.
//!
//! The pool has one thread, so that runs begin in the order in which they were let in; after each step the
//! host's figures must become the model's.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// A call of a graph that waits until it is let go.
    Submit,
    /// A call of a graph that answers at once.
    SubmitInline,
    /// Calls that come by one read, those of the one graph (true) or of the other.
    SubmitRead(Vec<bool>),
    /// A call whose time is up before it gets a permit, if it must wait for one.
    SubmitDoomed,
    /// A call whose time is up already.
    SubmitExpired,
    /// A call that no graph answers.
    SubmitUnknown,
    /// One that runs goes on to its end.
    Complete(usize),
    /// The client of one that waits or runs leaves.
    Cancel(usize),
    /// One whose time was up in line notices it.
    Expire(usize),
    /// The host closes.
    Close,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Line(Kind),
    Running,
    /// Its answer; `None` if its client has left.
    Ended(Option<Code>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Held,
    Inline,
    Doomed,
}

/// What should be true of the host.
struct Model {
    limit: usize,
    capacity: usize,
    calls: BTreeMap<u32, Place>,
    line: VecDeque<u32>,
    /// The held calls that ran, in the order in which they began.
    began: Vec<u32>,
    closed: bool,
    accepted: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    expired: u64,
    rejected: BTreeMap<RejectReason, u64>,
}

/// The kernel's side: who began, who is inside, and how to let each go.
#[derive(Default)]
struct Doors {
    began: Mutex<Vec<u32>>,
    open: Mutex<BTreeMap<u32, oneshot::Sender<()>>>,
    inside: AtomicUsize,
    most: AtomicUsize,
}

/// Waits until its call is let go.
struct Door(Arc<Doors>);

/// Counts a run while it lasts.
struct Inside<'a>(&'a Doors);

struct DoorFactory(Arc<Doors>);

/// The host under test, and the answers to come.
struct World {
    host: ServeHost,
    doors: Arc<Doors>,
    pending: BTreeMap<u32, PendingAnswer>,
    model: Model,
    next: u32,
    batch: Batch,
    /// What the heads of the calls share.
    methods: BTreeMap<&'static str, Arc<str>>,
    metadata: Arc<dyn MetadataSource>,
    peer: Arc<str>,
}

fn op() -> impl Strategy<Value = Op> {
    let which = || 0..8_usize;
    prop_oneof![
        8 => Just(Op::Submit),
        3 => Just(Op::SubmitInline),
        3 => vec(prop::bool::weighted(0.7), 1..6).prop_map(Op::SubmitRead),
        2 => Just(Op::SubmitDoomed),
        1 => Just(Op::SubmitExpired),
        1 => Just(Op::SubmitUnknown),
        6 => which().prop_map(Op::Complete),
        4 => which().prop_map(Op::Cancel),
        2 => which().prop_map(Op::Expire),
    ]
}

// === impl Model ===

impl Model {
    fn new(limit: usize, capacity: usize) -> Self {
        Self {
            limit,
            capacity,
            calls: BTreeMap::new(),
            line: VecDeque::new(),
            began: Vec::new(),
            closed: false,
            accepted: 0,
            completed: 0,
            failed: 0,
            cancelled: 0,
            expired: 0,
            rejected: BTreeMap::new(),
        }
    }

    fn running(&self) -> usize {
        self.calls.values().filter(|place| **place == Place::Running).count()
    }

    fn reject(&mut self, id: u32, reason: RejectReason, code: Code) {
        *self.rejected.entry(reason).or_default() += 1;
        self.calls.insert(id, Place::Ended(Some(code)));
    }

    /// Rejects a call that a closed host does not even look at.
    fn refuse(&mut self, id: u32, reason: RejectReason, code: Code) {
        if self.closed {
            self.reject(id, RejectReason::Draining, Code::Unavailable);
        } else {
            self.reject(id, reason, code);
        }
    }

    fn submit(&mut self, id: u32, kind: Kind) {
        if self.closed {
            return self.reject(id, RejectReason::Draining, Code::Unavailable);
        }
        if self.running() < self.limit {
            self.accepted += 1;
            return self.run(id, kind);
        }
        if self.line.len() == self.capacity {
            return self.reject(id, RejectReason::QueueFull, Code::ResourceExhausted);
        }
        self.accepted += 1;
        self.calls.insert(id, Place::Line(kind));
        self.line.push_back(id);
    }

    fn run(&mut self, id: u32, kind: Kind) {
        match kind {
            Kind::Held => {
                self.began.push(id);
                self.calls.insert(id, Place::Running);
            }
            Kind::Inline => {
                self.completed += 1;
                self.calls.insert(id, Place::Ended(Some(Code::Ok)));
            }
            Kind::Doomed => {
                self.expired += 1;
                self.calls.insert(id, Place::Ended(Some(Code::DeadlineExceeded)));
            }
        }
    }

    fn serve(&mut self) {
        while self.running() < self.limit
            && let Some(id) = self.line.pop_front()
        {
            let Some(Place::Line(kind)) = self.calls.get(&id).copied() else { panic!("{id} is not in line") };
            self.run(id, kind);
        }
    }

    fn leave(&mut self, id: u32, ended: Option<Code>) {
        self.line.retain(|other| *other != id);
        self.calls.insert(id, Place::Ended(ended));
        self.serve();
    }

    fn close(&mut self) {
        self.closed = true;
        for id in self.line.drain(..) {
            self.failed += 1;
            self.calls.insert(id, Place::Ended(Some(Code::Unavailable)));
        }
    }

    fn agrees_with(&self, stats: &StatsSnapshot) -> bool {
        let rejected: BTreeMap<_, _> =
            stats.rejected.iter().map(|(reason, count)| (*reason, *count)).filter(|(_, n)| *n > 0).collect();
        let ended = [stats.completed, stats.failed, stats.cancelled, stats.expired];
        stats.accepted == self.accepted
            && stats.queued == self.line.len() as u64
            && stats.in_flight == self.running() as u64
            && ended == [self.completed, self.failed, self.cancelled, self.expired]
            && rejected == self.rejected
    }
}

// === impl Doors ===

impl AsyncKernel for Door {
    fn run<'a>(&'a self, mut inputs: Inputs, _: &'a RequestContext) -> BoxFuture<'a, Result<Outputs, Fault>> {
        async move {
            let id = std::str::from_utf8(inputs.bytes(0)?).unwrap().parse().unwrap();
            let doors = &self.0;
            let inside = doors.inside.fetch_add(1, Ordering::SeqCst) + 1;
            doors.most.fetch_max(inside, Ordering::SeqCst);
            let _inside = Inside(doors);
            let (open, opened) = oneshot::channel();
            doors.open.lock().insert(id, open);
            doors.began.lock().push(id);
            drop(opened.await);
            Ok(Outputs::one(inputs.take(0).unwrap()))
        }
        .boxed()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl KernelFactory for DoorFactory {
    fn name(&self) -> &str {
        "door"
    }

    fn bind(&self, _: &NodeSpec<'_>) -> Result<BoundKernel, Vec<BindError>> {
        let payload = InputPort::required("payload", Type::Bytes);
        let signature = Signature::new([payload], [OutputPort::new("payload", Type::Bytes)]);
        Ok(BoundKernel { signature, body: Body::Async(Box::new(Door(self.0.clone()))) })
    }
}

// === impl World ===

impl World {
    fn new(limit: usize, capacity: usize) -> Self {
        let (doors, stage) = (Arc::<Doors>::default(), Arc::new(Stage::closed()));
        let mut registry = KernelRegistry::new();
        registry.register(DoorFactory(doors.clone())).unwrap();
        registry.register(Factory("reply", stage)).unwrap();
        let store = stored(registry, &[("held", Some("door"), "reply"), ("echo", None, "reply")]);
        let config = HostConfig {
            max_inflight: MaxInflight(NonZeroUsize::new(limit).unwrap()),
            queue_capacity: QueueCapacity(capacity),
            max_queue_wait: LONG,
            default_timeout: LONG,
            pool_threads: PoolThreads(NonZeroUsize::MIN),
            ..HostConfig::default()
        };
        let host = ServeHost::new(Arc::new(store), config).unwrap();
        Self {
            host,
            doors,
            pending: BTreeMap::new(),
            model: Model::new(limit, capacity),
            next: 0,
            batch: Batch::default(),
            methods: BTreeMap::new(),
            metadata: Arc::new(Metadata::new()),
            peer: "127.0.0.1:9".into(),
        }
    }

    /// Makes a call that has `left` on arrival, and looks whether it is answered at once if it should be.
    fn submit(&mut self, method: &'static str, left: Option<Duration>) -> Result<u32, TestCaseError> {
        self.next += 1;
        let (id, at) = (self.next, Instant::now());
        let payload = Bytes::from(id.to_string());
        let arrival = Arrival {
            method: self.methods.entry(method).or_insert_with(|| method.into()),
            metadata: &self.metadata,
            peer: &self.peer,
            payload: payload.clone(),
            deadline: left.map(|left| at + left),
            at,
        };
        match self.host.begin_in(&mut self.batch, arrival) {
            Begun::Done(answer) => {
                prop_assert_eq!(self.model.calls.get(&id), Some(&Place::Ended(Some(answer.code))));
                if answer.code == Code::Ok {
                    prop_assert_eq!(answer.payload, payload, "the answer of another call");
                }
            }
            Begun::Pending(pending) => drop(self.pending.insert(id, pending)),
        }
        Ok(id)
    }

    async fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let id = self.next + 1;
        let nth = |number: &usize, ids: Vec<u32>| ids.get(number % ids.len().max(1)).copied();
        match op {
            Op::Submit => {
                self.model.submit(id, Kind::Held);
                self.submit("/held.S/M", None)?;
            }
            Op::SubmitInline => {
                self.model.submit(id, Kind::Inline);
                self.submit("/echo.S/M", None)?;
            }
            Op::SubmitRead(calls) => {
                for (id, inline) in (id..).zip(calls) {
                    let (kind, method) =
                        if *inline { (Kind::Inline, "/echo.S/M") } else { (Kind::Held, "/held.S/M") };
                    self.model.submit(id, kind);
                    self.submit(method, None)?;
                }
            }
            // With a permit at hand it might run in time, or not.
            Op::SubmitDoomed if !self.model.closed && self.model.running() < self.model.limit => {}
            Op::SubmitDoomed => {
                self.model.submit(id, Kind::Doomed);
                self.submit("/held.S/M", Some(SHORT))?;
                std::thread::sleep(2 * SHORT);
            }
            Op::SubmitExpired => {
                self.model.refuse(id, RejectReason::DeadlineExpired, Code::DeadlineExceeded);
                self.submit("/held.S/M", Some(Duration::ZERO))?;
            }
            Op::SubmitUnknown => {
                self.model.refuse(id, RejectReason::NoGraph, Code::Unimplemented);
                self.submit("/none.S/M", None)?;
            }
            Op::Complete(number) => {
                if let Some(id) = nth(number, self.at(|place| place == Place::Running)) {
                    let open = self.doors.open.lock().remove(&id);
                    prop_assert!(open.is_some_and(|open| open.send(()).is_ok()), "{} does not run", id);
                    self.model.completed += 1;
                    self.model.leave(id, Some(Code::Ok));
                }
            }
            Op::Cancel(number) => {
                if let Some(id) = nth(number, self.at(|place| !matches!(place, Place::Ended(_)))) {
                    drop(self.pending.remove(&id));
                    self.model.cancelled += 1;
                    self.model.leave(id, None);
                }
            }
            Op::Expire(number) => {
                if let Some(id) = nth(number, self.at(|place| place == Place::Line(Kind::Doomed))) {
                    self.model.expired += 1;
                    self.model.leave(id, Some(Code::DeadlineExceeded));
                    self.answered(id).await?;
                }
            }
            Op::Close => {
                self.model.close();
                self.host.close();
            }
        }
        self.batch.end();
        self.settle()
    }

    fn at(&self, is: impl Fn(Place) -> bool) -> Vec<u32> {
        self.model.calls.iter().filter(|(_, place)| is(**place)).map(|(id, _)| *id).collect()
    }

    /// Waits until the host is where the model is; it follows by a moment.
    fn settle(&self) -> Result<(), TestCaseError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let stats = self.host.stats();
            prop_assert!(stats.identity_holds(), "{:?}", stats);
            let free = self.model.limit - self.model.running();
            if self.model.agrees_with(&stats)
                && *self.doors.began.lock() == self.model.began
                && self.host.inner.gate.free() == free
            {
                break;
            }
            if Instant::now() > give_up {
                return Err(TestCaseError::fail(format!(
                    "the host never came to where the model is: {stats:?}; began {:?}, not {:?}; {:?}",
                    self.doors.began.lock(),
                    self.model.began,
                    self.model.calls,
                )));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        prop_assert!(self.doors.most.load(Ordering::SeqCst) <= self.model.limit, "beyond the limit");
        Ok(())
    }

    /// The one answer of a call that has ended.
    async fn answered(&mut self, id: u32) -> Result<(), TestCaseError> {
        let expected = self.model.calls.get(&id).copied();
        match self.pending.remove(&id) {
            // It was answered at once, or its client has left.
            None => prop_assert!(matches!(expected, Some(Place::Ended(_)))),
            Some(pending) => {
                let answer = tokio::time::timeout(PATIENCE, pending).await;
                let code = answer.map_err(|_| TestCaseError::fail(format!("{id} has no answer")))?.code;
                prop_assert_eq!(expected, Some(Place::Ended(Some(code))), "{}", id);
            }
        }
        Ok(())
    }

    /// Lets everyone go, closing first or last, and looks at every answer.
    async fn end(&mut self, drains: bool) -> Result<(), TestCaseError> {
        if drains {
            self.step(&Op::Close).await?;
        }
        while self.model.running() > 0 || !self.model.line.is_empty() {
            self.step(&Op::Complete(0)).await?;
        }
        if !self.model.closed {
            // All permits are back.
            for _ in 0..self.model.limit {
                self.step(&Op::Submit).await?;
            }
            prop_assert_eq!(self.model.running(), self.model.limit);
            while self.model.running() > 0 {
                self.step(&Op::Complete(0)).await?;
            }
        }
        for id in 1..=self.next {
            self.answered(id).await?;
        }
        let stats = self.host.stats();
        prop_assert_eq!(stats.accepted, stats.completed + stats.failed + stats.cancelled + stats.expired);
        let rejected: u64 = stats.rejected.values().sum();
        prop_assert_eq!(u64::from(self.next), stats.accepted + rejected, "a call is in no book");
        prop_assert_eq!(self.doors.inside.load(Ordering::SeqCst), 0);
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_host_behaves_like_its_model(
        limit in 1_usize..4,
        capacity in 0_usize..5,
        before in vec(op(), 0..60),
        after in vec(op(), 0..12),
        drains in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(limit, capacity);
            for op in &before {
                world.step(op).await?;
            }
            if drains {
                world.step(&Op::Close).await?;
                for op in &after {
                    world.step(op).await?;
                }
            }
            world.end(drains).await
        })?;
    }
}

/// What a doomed call has left on arrival.
const SHORT: Duration = Duration::from_millis(1);

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// The longest anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);
