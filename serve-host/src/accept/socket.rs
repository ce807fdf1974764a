//! The socket of a connection: gives back the bytes that were read to learn what the client speaks, tells
//! the leash what moves, and can be read to its end after whoever spoke HTTP over it has gone.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::leash::Leash;

/// One end of a connection. Clones are the same socket; only one of them may be in use at a time.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    wire: Rc<Wire>,
    /// Read already, and to be read again.
    rewound: Bytes,
}

#[derive(Debug)]
struct Wire {
    stream: RefCell<TcpStream>,
    leash: Rc<Leash>,
    /// Nothing more will come.
    ended: Cell<bool>,
}

// === impl Socket ===

impl Socket {
    pub(crate) fn new(stream: TcpStream, leash: Rc<Leash>) -> Self {
        Self {
            wire: Rc::new(Wire { stream: RefCell::new(stream), leash, ended: Cell::new(false) }),
            rewound: Bytes::new(),
        }
    }

    /// The same socket, on which `bytes` come first.
    pub(crate) fn rewind(&self, bytes: Bytes) -> Self {
        Self { wire: self.wire.clone(), rewound: bytes }
    }

    /// Ends the writing side, and reads what the peer still sends, for a short while.
    ///
    /// A socket that is closed while bytes wait in it makes the kernel send a reset, and a reset makes the
    /// peer throw away what it had not read: the very answer that says why.
    pub(crate) async fn linger(mut self) {
        if self.wire.ended.get()
            || SockRef::from(&*self.wire.stream.borrow()).shutdown(Shutdown::Write).is_err()
        {
            return;
        }
        // On the heap: the future of every connection has room for what this one holds.
        let mut scrap = vec![0; 4096];
        let mut left = LINGER_BYTES;
        let drained = async {
            while let Ok(read @ 1..) = self.read(&mut scrap).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever takes longer is reset after all.
        let _ = timeout(LINGER, drained).await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rewound.is_empty() {
            let length = self.rewound.len().min(buf.remaining());
            buf.put_slice(&self.rewound[..length]);
            self.rewound.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut *self.wire.stream.borrow_mut()).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.wire.leash.note_read(),
            Poll::Ready(_) => self.wire.ended.set(true),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.wire.stream.borrow_mut()).poll_write(cx, buf);
        self.wire.leash.note_write(polled.is_ready());
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.wire.stream.borrow_mut()).poll_write_vectored(cx, bufs);
        self.wire.leash.note_write(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// How long the peer may take to read the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes are read in that time.
const LINGER_BYTES: usize = 1 << 20;
