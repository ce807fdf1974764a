//! Flow-control windows (RFC 9113 §5.2): what may be sent, and what may arrive.

use crate::frame::MAX_31;

/// Bytes we may send. Negative after the peer has lowered its initial window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendWindow(i64);

/// Bytes the peer may send, and how many we owe it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWindow {
    size: u32,
    /// What the peer may still send.
    left: u32,
    /// What has been taken in and may be granted again.
    owed: u32,
}

// === impl SendWindow ===

impl SendWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// The bytes that may be sent now.
    pub(crate) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Counts `len` bytes sent; the caller has asked [`SendWindow::room`].
    pub(crate) fn sent(&mut self, len: usize) {
        debug_assert!(len <= self.room());
        self.0 -= i64::try_from(len).unwrap_or(i64::MAX);
    }

    /// Widens by a WINDOW_UPDATE; `false` if that is beyond the largest window.
    #[must_use]
    pub(crate) fn widen(&mut self, increment: u32) -> bool {
        self.shift(i64::from(increment))
    }

    /// Follows a change of the initial window; `false` if that is beyond the largest window.
    #[must_use]
    pub(crate) fn resize(&mut self, old: u32, new: u32) -> bool {
        self.shift(i64::from(new) - i64::from(old))
    }

    fn shift(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= i64::from(MAX_31)
    }
}

// === impl ReceiveWindow ===

impl ReceiveWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self { size, left: size, owed: 0 }
    }

    /// Counts bytes that arrived; `false` if the peer was not allowed so many.
    #[must_use]
    pub(crate) fn take(&mut self, len: u32) -> bool {
        match self.left.checked_sub(len) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }

    /// Gives `len` bytes back; answers an increment to grant, once half of the window is owed.
    pub(crate) fn release(&mut self, len: u32) -> Option<u32> {
        self.owed += len;
        if self.owed < self.size / 2 {
            return None;
        }
        self.left += self.owed;
        Some(std::mem::take(&mut self.owed))
    }

    /// Makes sure that `len` more bytes may come; answers an increment to grant, if one is needed.
    pub(crate) fn widen_to(&mut self, len: u32) -> Option<u32> {
        let increment = len.checked_sub(self.left).filter(|increment| *increment > 0)?;
        self.left = len;
        Some(increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_turn_negative_and_never_too_large() {
        let mut window = SendWindow::new(10);
        window.sent(10);
        assert!(window.resize(10, 3));
        assert_eq!((window, window.room()), (SendWindow(-7), 0));
        assert!(window.widen(8));
        assert_eq!(window.room(), 1);
        assert!(window.widen(MAX_31 - 1));
        assert!(!window.widen(1));
    }

    #[test]
    fn a_receive_window_is_refilled_at_half() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.take(100));
        assert!(!window.take(1));
        assert_eq!(window.release(49), None);
        assert_eq!(window.release(1), Some(50));
        assert!(window.take(50));
        assert!(!window.take(1));
        assert_eq!(window.widen_to(7), Some(7));
        assert_eq!(window.widen_to(7), None);
        assert!(window.take(7) && !window.take(1));
    }
}
