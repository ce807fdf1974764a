//! A connection on which every byte is written by hand: what no decent client sends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame that carries a body.
pub const DATA: u8 = 0;
/// A frame that begins a request.
pub const HEADERS: u8 = 1;
/// A frame that sorts streams, which nobody does any more.
pub const PRIORITY: u8 = 2;
/// A frame that ends a stream.
pub const RST_STREAM: u8 = 3;
/// A frame that says what the sender allows.
pub const SETTINGS: u8 = 4;
/// A frame that asks for an answer.
pub const PING: u8 = 6;
/// A frame that says farewell.
pub const GOAWAY: u8 = 7;
/// A frame that lets the peer send more.
pub const WINDOW_UPDATE: u8 = 8;
/// A frame that goes on with a header block.
pub const CONTINUATION: u8 = 9;
/// The request ends here.
pub const END_STREAM: u8 = 1;
/// The header block ends here.
pub const END_HEADERS: u8 = 4;
/// `INITIAL_WINDOW_SIZE` in a SETTINGS frame.
pub const INITIAL_WINDOW: u16 = 4;

// === impl Raw ===

impl Raw {
    /// Connects, and says nothing.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await? })
    }

    /// Connects, and says hello as HTTP/2 wants it, with these settings.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn hello(address: SocketAddr, settings: &[(u16, u32)]) -> anyhow::Result<Self> {
        let mut raw = Self::connect(address).await?;
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &payload), &frame(SETTINGS, 1, 0, &[])].concat()).await?;
        Ok(raw)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// If the peer has closed.
    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Writes `bytes` again and again while it reads and forgets what comes, until the peer has closed or
    /// `within` is over. Returns whether the peer has closed.
    pub async fn flood(&mut self, bytes: &[u8], within: Duration) -> bool {
        let (mut reader, mut writer) = self.stream.split();
        let write = async { while writer.write_all(bytes).await.is_ok() {} };
        let mut sink = vec![0; 1 << 16];
        let read = async { while matches!(reader.read(&mut sink).await, Ok(1..)) {} };
        let either = async {
            tokio::select! {
                () = write => {}
                () = read => {}
            }
        };
        timeout(within, either).await.is_ok()
    }

    /// Writes one piece after the other, a pause between them, until the peer has closed.
    ///
    /// # Errors
    /// If the peer has not closed when the pieces or the time are at an end.
    pub async fn dribble(
        &mut self,
        pieces: impl IntoIterator<Item = Vec<u8>>,
        pause: Duration,
        within: Duration,
    ) -> anyhow::Result<()> {
        let (mut reader, mut writer) = self.stream.split();
        let write = async {
            for piece in pieces {
                if writer.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
            std::future::pending().await
        };
        let mut sink = vec![0; 1 << 16];
        let read = async { while matches!(reader.read(&mut sink).await, Ok(1..)) {} };
        let either = async {
            tokio::select! {
                () = write => {}
                () = read => {}
            }
        };
        timeout(within, either).await.with_context(|| format!("still open after {within:?}"))
    }

    /// Reads frames until one is what is looked for, by its kind and its stream.
    ///
    /// # Errors
    /// If the peer closes before, or none comes in time.
    pub async fn find(&mut self, within: Duration, is: impl Fn(u8, u32) -> bool) -> anyhow::Result<()> {
        let search = async {
            loop {
                let mut head = [0; 9];
                self.stream.read_exact(&mut head).await?;
                let [l0, l1, l2, kind, _, stream @ ..] = head;
                let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, l0, l1, l2]))?];
                self.stream.read_exact(&mut payload).await?;
                if is(kind, u32::from_be_bytes(stream)) {
                    return Ok(());
                }
            }
        };
        timeout(within, search).await.with_context(|| format!("no such frame within {within:?}"))?
    }

    /// Reads until the peer closes, and gives what came.
    ///
    /// # Errors
    /// If it does not close in time.
    pub async fn until_closed(&mut self, within: Duration) -> anyhow::Result<Vec<u8>> {
        let mut all = Vec::new();
        // A reset is a way to close, too.
        let _ = timeout(within, self.stream.read_to_end(&mut all))
            .await
            .with_context(|| format!("still open after {within:?}"))?;
        Ok(all)
    }
}

/// A frame as it stands on the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("test frames are far below 16 MiB").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a gRPC call of `path`, without any compression.
pub fn call_headers(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).ok().filter(|length| *length < 127).expect("a short path");
    // Indexed: POST, http. Literal without indexing: path, authority, content-type.
    let mut block = vec![0x83, 0x86, 0x04, length];
    block.extend(path.as_bytes());
    block.extend([0x01, 4]);
    block.extend(b"test");
    block.extend([0x0f, 0x10, 16]);
    block.extend(b"application/grpc");
    block
}

/// A message behind its five-byte prefix.
pub fn message(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("test messages are far below 4 GiB");
    [&[flag], &length.to_be_bytes()[..], bytes].concat()
}
