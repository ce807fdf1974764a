//! Listening: one socket per thread on one address, and an accept that survives having no files left.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::stats::{ConnectionStats, Cut};

/// Accepts connections for one thread.
#[derive(Debug)]
pub(super) struct Doorman {
    listener: TcpListener,
    stats: Arc<ConnectionStats>,
    /// A file kept open, to be closed when a connection must be accepted only to be refused.
    reserve: Option<File>,
    pause: Duration,
    resume: Option<Instant>,
}

/// Opens `count` listening sockets on one address, between which the kernel spreads connections. Port 0
/// takes a free one; the address returned says which.
///
/// # Errors
/// Whatever the system says; that the address is taken, too, if its owner would share it.
pub(super) fn listen(address: SocketAddr, count: usize) -> io::Result<(Vec<StdListener>, SocketAddr)> {
    // Sockets that share a port share it with any process of the same user. One that does not share
    // finds out whether somebody has it already.
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    drop(probe);
    let first = shared(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(shared(address)?);
    }
    Ok((listeners, address))
}

fn shared(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

// === impl Doorman ===

impl Doorman {
    pub(super) fn new(listener: StdListener, stats: Arc<ConnectionStats>) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, stats, reserve: reserve(), pause: MIN_PAUSE, resume: None })
    }

    /// The next connection. Cancel-safe. While the system has nothing to give, it asks ever more seldom.
    pub(super) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(resume) = self.resume {
                sleep_until(resume).await;
                self.resume = None;
            }
            let accepted = self.listener.accept().await;
            if let Some(connection) = self.judge(accepted) {
                return connection;
            }
        }
    }

    /// A connection that waits already, if there is one.
    pub(super) fn accept_waiting(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = self.listener.accept().now_or_never()?;
            if let Some(connection) = self.judge(accepted) {
                return Some(connection);
            }
            if self.resume.is_some() {
                return None;
            }
        }
    }

    /// Takes a connection, or makes a pause if there is no use in asking again at once.
    fn judge(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
        match accepted {
            Ok((stream, peer)) => {
                self.pause = MIN_PAUSE;
                self.stats.note_accepted();
                if !self.has_reserve() {
                    // The last file went to this connection, and whoever comes next would get no answer.
                    drop(stream);
                    self.stats.note_cut(Cut::NoFiles, Some(peer));
                    self.reserve = reserve();
                    return None;
                }
                // Only Linux lets it be inherited from the listener; failing leaves the connection slower.
                let _ = stream.set_nodelay(true);
                Some((stream, peer))
            }
            Err(error) if is_about_one_connection(&error) => None,
            Err(error) => {
                self.stats.note_accept_error();
                tracing::debug!(%error, pause = ?self.pause, "cannot accept");
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    self.shed();
                }
                self.resume = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(MAX_PAUSE);
                None
            }
        }
    }

    /// Whether the reserve is there, or can be had again: another thread may have got it while this one had
    /// given it up.
    fn has_reserve(&mut self) -> bool {
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
        self.reserve.is_some()
    }

    /// Gives up the reserve to accept those who wait, only to close them: they learn at once what they
    /// would else wait long for.
    fn shed(&mut self) {
        if self.reserve.take().is_none() {
            self.reserve = reserve();
            return;
        }
        for _ in 0..SHED_AT_ONCE {
            match self.listener.accept().now_or_never() {
                Some(Ok(refused)) => {
                    self.stats.note_accepted();
                    self.stats.note_cut(Cut::NoFiles, Some(refused.1));
                }
                Some(Err(_)) | None => break,
            }
        }
        self.reserve = reserve();
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an error concerns the connection that would have been accepted, not the listener: another one
/// may be accepted at once (accept(2), "Error handling").
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
        )
    )
}

/// Connections that may wait to be accepted, per thread.
const BACKLOG: i32 = 1024;

/// The first pause when nothing can be accepted.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The longest.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How many connections are refused between two pauses.
const SHED_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_share_one_port_and_nobody_else_does() {
        let (listeners, address) = listen(([127, 0, 0, 1], 0).into(), 3).unwrap();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(listen(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(listen(address, 1).is_ok());
    }
}
