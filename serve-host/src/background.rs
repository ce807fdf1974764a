//! Threads whose work can wait give way to those that serve calls.
//!
//! On Linux a thread has a priority of its own, counted from the one the process was started with. A thread
//! that has given way is not put before a call's thread when it wakes, and gets a smaller share when there
//! is too much to do, but a share: it is never starved. What it starts, threads and processes, gives way
//! as well, and none of them can take that back; so it must not be a thread that starts what calls need.
//!
//! Such a thread must not hold a lock that a call may wait for: the call would wait for its share, too.

/// Lets this thread give way from now on. Elsewhere than on Linux, and where the system forbids it, the
/// thread competes as all others do.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEP) {
        tracing::debug!(%error, "a background thread competes with calls");
    }
}

/// The steps of `nice` by which such a thread stands behind: a tenth of the share of a call's thread.
#[cfg(target_os = "linux")]
pub(crate) const STEP: i32 = 10;
