//! Accepting: one thread per core, each with its own listener, runtime and connections.
//!
//! Connections never change threads, and nothing on the way of a request is shared between threads but
//! counters. The default multi-thread runtime is not used here: its scheduling wakes the connection after
//! every stream, and the answers of one read leave one by one.
//!
//! This is the one place that owns the service port's sockets. What is spoken on them is decided in
//! [`connection`], what is answered in [`port`], how long anyone may take in [`leash`].

pub(crate) mod census;
pub(crate) mod connection;
mod http1;
pub(crate) mod leash;
mod listener;
pub(crate) mod mailbox;
pub(crate) mod port;
pub(crate) mod socket;
pub(crate) mod stats;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::census::{Census, max_files};
use self::connection::End;
use self::leash::Patrol;
use self::listener::Doorman;
use self::mailbox::Mailbox;
use self::port::{Fallback, Port, Routes};
use self::stats::{ConnectionStats, Cut};
use crate::drain::roll::{Presence, Roll};
use crate::drain::{Drain, DrainReport, Tally};
use crate::pool::turn::Turns;
use crate::transport::native::Native;
use crate::transport::tonic::GrpcService;
use crate::transport::tonic::http2::Http2;
use crate::transport::{Transport, TransportKind};

/// What a [`Server`] needs to know.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Threads that read and write connections.
    pub threads: NonZeroUsize,
    /// Who answers what is not unary gRPC.
    pub fallback: Option<Fallback>,
    /// Who speaks HTTP/2.
    pub transport: TransportKind,
}

/// The service port. Dropping it ends it at once.
pub struct Server {
    local_addr: SocketAddr,
    grpc: GrpcService,
    drain: Drain,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a [`Server`] could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread could not begin.
    #[error("cannot start an I/O thread")]
    Thread(#[source] io::Error),
}

/// What each thread is given.
struct Shift {
    listener: StdListener,
    grpc: GrpcService,
    fallback: Option<Fallback>,
    transport: TransportKind,
    roll: Arc<Roll<Instant>>,
    tally: Arc<Tally>,
    presence: Presence<Instant>,
}

// === impl Server ===

impl Server {
    /// Listens, and starts the threads that serve `grpc`, and its limits, on the address.
    ///
    /// # Errors
    /// [`BindError`] if the address is taken or may not be used, or the system gives no threads.
    pub fn bind(config: ServerConfig, grpc: GrpcService) -> Result<Self, BindError> {
        let address = config.address;
        let (listeners, local_addr) = listener::listen(address, config.threads.get())
            .map_err(|source| BindError::Listen { address, source })?;
        let census = Census::new(&grpc.limits().connections, max_files());
        let connections = census.max();
        if connections < grpc.limits().connections.max {
            tracing::warn!(
                connections,
                "the limit of open files allows fewer connections than are configured"
            );
        }
        tracing::debug!(%local_addr, threads = config.threads, connections, "listening");
        let drain = Drain::new(Arc::new(ConnectionStats::new()), census);
        let server = Self { local_addr, grpc, drain, threads: Mutex::default() };
        for (number, listener) in listeners.into_iter().enumerate() {
            let handle = server.start(number, listener, &config).map_err(BindError::Thread)?;
            server.threads.lock().push(handle);
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Counters of its connections.
    pub fn stats(&self) -> &ConnectionStats {
        &self.drain.tally.stats
    }

    /// How many connections there are now.
    pub fn open_connections(&self) -> usize {
        self.drain.tally.census.open()
    }

    /// The service it serves.
    pub fn grpc(&self) -> &GrpcService {
        &self.grpc
    }

    /// Ends it from elsewhere.
    pub fn drain_handle(&self) -> Drain {
        self.drain.clone()
    }

    /// Accepts nothing more, finishes what was accepted, and cuts off what is left after `grace`. Every
    /// thread that is not stuck has been joined when this returns.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        let report = self.drain.drain(grace).await;
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // One that has said goodbye is done in no time; one that is stuck would hold us for ever.
            if (report.stuck_threads == 0 || thread.is_finished()) && thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
        report
    }

    /// Starts one thread, and waits until it serves.
    fn start(
        &self,
        number: usize,
        listener: StdListener,
        config: &ServerConfig,
    ) -> io::Result<JoinHandle<()>> {
        let shift = Shift {
            listener,
            grpc: self.grpc.clone(),
            fallback: config.fallback.clone(),
            transport: config.transport,
            roll: self.drain.roll(),
            tally: self.drain.tally.clone(),
            presence: self.drain.thread(),
        };
        let (started, serving) = mpsc::sync_channel(1);
        let handle =
            thread::Builder::new().name(format!("okra-io-{number}")).spawn(move || shift.run(&started))?;
        serving.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(handle)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.order(Duration::ZERO);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).field("drain", &self.drain).finish()
    }
}

// === impl Shift ===

impl Shift {
    /// The whole life of an I/O thread.
    fn run(self, started: &mpsc::SyncSender<io::Result<()>>) {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(self.serve(started));
        // Dropping it would wait for blocking work that somebody may have started on it.
        runtime.shutdown_background();
    }

    async fn serve(self, started: &mpsc::SyncSender<io::Result<()>>) {
        let Self { listener, grpc, fallback, transport, roll, tally, presence } = self;
        let mut door = match Doorman::new(listener, tally.stats.clone()) {
            Ok(door) => door,
            Err(error) => return drop(started.send(Err(error))),
        };
        let patrol = Patrol::new(grpc.limits().connections.clone(), tally.stats.clone());
        let mut floor = Floor {
            routes: Rc::new(Routes::new(grpc, fallback)),
            http2: match transport {
                TransportKind::Tonic => Rc::new(Http2),
                TransportKind::Native => Rc::new(Native::new()),
            },
            patrol: patrol.clone(),
            mailbox: Mailbox::new(),
            tally,
            connections: JoinSet::new(),
            _turns: Turns::begin(),
        };
        let mut walk = interval(patrol.interval());
        walk.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let _ = started.send(Ok(()));
        let until = loop {
            tokio::select! {
                until = roll.ordered(None) => break until,
                (stream, peer) = door.accept() => floor.admit(stream, peer),
                Some(ended) = floor.connections.join_next() => floor.note(ended),
                _ = walk.tick(), if !floor.connections.is_empty() => patrol.walk(),
            }
        };
        // Those whom the kernel has let in already are served.
        while let Some((stream, peer)) = door.accept_waiting() {
            floor.admit(stream, peer);
        }
        drop(door);
        floor.clear(until, &roll).await;
        drop(presence);
    }
}

/// The connections of one thread.
struct Floor {
    routes: Rc<Routes>,
    http2: Rc<dyn Transport>,
    patrol: Rc<Patrol>,
    mailbox: Mailbox,
    tally: Arc<Tally>,
    connections: JoinSet<End>,
    _turns: Turns,
}

// === impl Floor ===

impl Floor {
    /// Serves a connection, if there is a place for it.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        match self.tally.census.admit(peer.ip()) {
            Err(reason) => self.tally.stats.note_cut(reason, Some(peer)),
            Ok(seat) => {
                let leash = self.patrol.leash(peer);
                let port = Port::new(self.routes.clone(), leash.clone());
                let (letterbox, http2) = (self.mailbox.open(), self.http2.clone());
                let stats = self.tally.stats.clone();
                self.connections.spawn_local(async move {
                    let _seat = seat;
                    let end = connection::live(stream, port, leash, letterbox, http2).await;
                    if let End::Cut(reason) = end {
                        stats.note_cut(reason, Some(peer));
                    }
                    end
                });
            }
        }
    }

    fn note(&self, ended: Result<End, JoinError>) {
        self.tally.stats.note_ended();
        if ended.is_err_and(|error| error.is_panic()) {
            self.tally.stats.note_cut(Cut::Panicked, None);
        }
    }

    /// Lets every connection finish what it has begun, until the time is over.
    async fn clear(&mut self, mut until: Instant, roll: &Roll<Instant>) {
        self.patrol.drain();
        self.patrol.streams.close();
        let mut walk = interval(self.patrol.interval().min(BRISK));
        loop {
            tokio::select! {
                ended = self.connections.join_next() => match ended {
                    Some(ended) => self.note(ended),
                    None => break,
                },
                () = sleep_until(until) => break,
                _ = walk.tick() => self.patrol.walk(),
                earlier = roll.ordered(Some(until)) => until = earlier,
            }
        }
        if !self.connections.is_empty() {
            self.tally.note_forced(self.connections.len(), self.patrol.calls());
            self.connections.shutdown().await;
        }
        // The streams of a closed connection end as soon as they look.
        let _ = tokio::time::timeout(STRAGGLERS, self.patrol.streams.wait()).await;
    }
}

/// The longest time between two looks at connections that are leaving.
const BRISK: Duration = Duration::from_millis(250);

/// How long streams may take to notice that their connection is gone.
const STRAGGLERS: Duration = Duration::from_millis(100);
