//! What hyper leaves unwatched on an HTTP/2 connection: frames that carry nothing, of which it answers any
//! number, header blocks that are begun and never ended, and those that it finds too large.
//!
//! The bytes pass through unchanged. Only the nine bytes that head each frame are looked at, and only
//! those that come from the client. hyper measures a header list as it decodes it, answers 431 if it is over
//! the limit, and tells nobody. Blocks are not decoded a second time here: one is counted if it is over the
//! limit as it stands on the wire. What is counted was refused, unless its client chose longer codes than it
//! had to; what only unfolds to more than the limit, by HPACK's table or Huffman codes, is refused and not
//! counted, up to four times the limit, where hyper ends the connection.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::accept::leash::Leash;
use crate::accept::socket::Socket;
use crate::accept::stats::Cut;
use crate::transport::limits::Http2Limits;

/// A socket whose client is watched.
pub(super) struct Metered {
    socket: Socket,
    leash: Rc<Leash>,
    watch: Rc<Watch>,
}

/// What is known of the client of a [`Metered`] socket.
pub(super) struct Watch(RefCell<Meter>);

/// Reads the heads of frames, and pays for those that carry nothing.
struct Meter {
    /// Bytes to pass before the next head: the preface at first, then payloads.
    skip: usize,
    head: [u8; HEAD],
    /// How much of the head has come.
    have: usize,
    burst: u32,
    left: u32,
    refilled: Instant,
    /// Bytes written that have earned nothing yet.
    written: usize,
    overdrawn: bool,
    block_is_open: bool,
    /// Bytes of the current header block so far.
    block: usize,
    max_block: usize,
    /// Blocks over the limit that nobody has noted yet.
    large_blocks: u32,
}

// === impl Metered ===

impl Metered {
    /// Watches what comes from `socket`, by the limits for control frames and header lists.
    pub(super) fn new(socket: Socket, leash: Rc<Leash>, limits: &Http2Limits) -> Self {
        Self { socket, leash, watch: Rc::new(Watch(RefCell::new(Meter::new(limits)))) }
    }

    /// What is known, for whoever drives the connection.
    pub(super) fn watch(&self) -> Rc<Watch> {
        self.watch.clone()
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            let mut meter = self.watch.0.borrow_mut();
            meter.see(&buf.filled()[before..]);
            if meter.overdrawn {
                return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
            }
            self.leash.note_open_head(meter.block_is_open);
            for _ in 0..std::mem::take(&mut meter.large_blocks) {
                self.leash.patrol().stats().note_cut(Cut::HeadTooLarge, Some(self.leash.peer()));
            }
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch.note_written(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.watch.note_written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

// === impl Watch ===

impl Watch {
    /// Whether the client sent more than it may.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.0.borrow().overdrawn
    }

    fn note_written(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = polled {
            self.0.borrow_mut().earn_by_writing(*written);
        }
    }
}

/// Tells a client that sent too much why it is cut off, if it listens.
pub(super) async fn tell_to_calm_down(mut socket: Socket) {
    // Whether it reads this is its own affair.
    let _ = timeout(LAST_WORD, socket.write_all(&CALM_DOWN)).await;
}

// === impl Meter ===

impl Meter {
    fn new(limits: &Http2Limits) -> Self {
        let burst = limits.max_control_frames;
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            burst,
            left: burst,
            refilled: Instant::now(),
            written: 0,
            overdrawn: false,
            block_is_open: false,
            block: 0,
            max_block: (limits.max_header_list as usize).saturating_add(NO_FIELDS),
            large_blocks: 0,
        }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.overdrawn {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                self.have = 0;
                self.weigh();
            }
        }
    }

    /// Looks at a whole head.
    fn weigh(&mut self) {
        let [l0, l1, l2, kind, flags, ..] = self.head;
        self.skip = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        match kind {
            DATA => {}
            HEADERS | CONTINUATION => {
                self.block_is_open = flags & END_HEADERS == 0;
                if kind == HEADERS {
                    self.block = 0;
                    self.left = self.left.saturating_add(EARNED_BY_REQUEST).min(self.burst);
                }
                self.block = self.block.saturating_add(self.skip);
                self.large_blocks += u32::from(!self.block_is_open && self.block > self.max_block);
            }
            // These have limits of their own.
            RST_STREAM => {}
            SETTINGS if flags & ACK == 0 => self.pay(SETTINGS_PRICE),
            _ => self.pay(1),
        }
    }

    fn pay(&mut self, price: u32) {
        if self.left < price {
            self.refill();
        }
        match self.left.checked_sub(price) {
            Some(left) => self.left = left,
            None => self.overdrawn = true,
        }
    }

    /// A tenth of the burst comes back each second.
    fn refill(&mut self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.refilled).as_millis();
        let earned = u128::from(self.burst / REFILL_SECONDS) * since / 1000;
        if earned > 0 {
            self.refilled = now;
            self.left = u32::try_from(earned).unwrap_or(u32::MAX).saturating_add(self.left).min(self.burst);
        }
    }

    fn earn_by_writing(&mut self, bytes: usize) {
        self.written += bytes;
        let earned = self.written / BYTES_PER_FRAME_EARNED;
        self.written %= BYTES_PER_FRAME_EARNED;
        self.left = u32::try_from(earned).unwrap_or(u32::MAX).saturating_add(self.left).min(self.burst);
    }
}

/// The bytes of a connection before its first frame.
const PREFACE: usize = 24;
/// The bytes before a payload.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of a block that may belong to no field: padding and what is left of priorities.
const NO_FIELDS: usize = 256 + 5;

/// SETTINGS are applied and acknowledged: dearer than anything else.
const SETTINGS_PRICE: u32 = 10;
/// Frames that a request may bring along, as clients do that measure the line or open windows.
const EARNED_BY_REQUEST: u32 = 8;
/// Bytes sent to a client for which it may send one more frame, such as the window for them.
const BYTES_PER_FRAME_EARNED: usize = 4096;
/// In how many seconds the whole burst comes back.
const REFILL_SECONDS: u32 = 10;
/// How long a client may take to read why it is cut off.
const LAST_WORD: Duration = Duration::from_secs(1);
/// GOAWAY with ENHANCE_YOUR_CALM, which takes back no stream.
const CALM_DOWN: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + usize::from(length), 0xaa);
        bytes
    }

    fn meter(burst: u32, bytes: &[u8], pieces_of: usize) -> Meter {
        let limits =
            Http2Limits { max_control_frames: burst, max_header_list: 1000, ..Http2Limits::default() };
        let mut meter = Meter::new(&limits);
        meter.see(&[0; PREFACE]);
        bytes.chunks(pieces_of).for_each(|piece| meter.see(piece));
        meter
    }

    #[test]
    fn frames_are_told_apart_however_they_arrive() {
        let bytes =
            [frame(SETTINGS, 0, 6), frame(6, 0, 8), frame(DATA, 0, 200), frame(HEADERS, 0, 30)].concat();
        for pieces_of in 1..bytes.len() {
            let meter = meter(100, &bytes, pieces_of);
            assert_eq!((meter.left, meter.block_is_open), (100 - 10 - 1 + 8, true), "pieces of {pieces_of}");
        }
        let ended = [bytes, frame(CONTINUATION, END_HEADERS, 3)].concat();
        assert!(!meter(100, &ended, 7).block_is_open);
    }

    #[test]
    fn a_block_is_measured_over_all_its_frames() {
        let block = |lengths: &[u8]| {
            let (last, first) = lengths.split_last().unwrap();
            let mut frames: Vec<_> = first.iter().map(|length| frame(CONTINUATION, 0, *length)).collect();
            frames.push(frame(CONTINUATION, END_HEADERS, *last));
            frames[0][3] = HEADERS;
            frames.concat()
        };
        let (fits, large) = (block(&[255, 255, 255, 255, 241]), block(&[255, 255, 255, 255, 242]));
        for pieces_of in [1, 7, 4096] {
            assert_eq!(meter(100, &fits.repeat(3), pieces_of).large_blocks, 0);
            let bytes = [&large[..], &fits, &large, &block(&[9])].concat();
            assert_eq!(meter(100, &bytes, pieces_of).large_blocks, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_overdraws_and_a_steady_client_does_not() {
        let ping = frame(6, 0, 8);
        assert!(!meter(1000, &ping.repeat(1000), 64).overdrawn);
        assert!(meter(1000, &ping.repeat(1001), 64).overdrawn);
        assert!(meter(1000, &frame(SETTINGS, 0, 0).repeat(101), 64).overdrawn);
        let mut steady = meter(1000, &ping.repeat(1000), 64);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            steady.see(&ping.repeat(100));
            assert!(!steady.overdrawn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_earns_frames() {
        let call = [frame(HEADERS, END_HEADERS, 9), frame(6, 0, 8).repeat(8)].concat();
        assert!(!meter(20, &call.repeat(1000), 64).overdrawn);
        let mut reader = meter(20, &frame(8, 0, 4).repeat(20), 64);
        for _ in 0..1000 {
            reader.earn_by_writing(16 << 10);
            reader.see(&frame(8, 0, 4).repeat(4));
            assert!(!reader.overdrawn, "windows for what was sent");
        }
    }
}
