//! `poll_oneoff`: waiting for clocks without a thread, and never longer than the call may last.

use std::time::{Duration, Instant};

use wasmtime::{AsContextMut as _, Caller, Linker};

use super::{MODULE, errno, load_u32, store, time};
use crate::host::sleep;
use crate::state::State;

/// The name of the function.
pub(super) const NAME: &str = "poll_oneoff";

/// One thing a guest waits for.
struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    /// How long until it happens; `None` if it never can.
    wait: Result<Duration, u32>,
}

/// The most subscriptions of one wait.
const SUBSCRIPTIONS: u32 = 64;

/// The size of a subscription, in bytes.
const SUBSCRIPTION: usize = 48;

/// The size of an event, in bytes.
const EVENT: u32 = 32;

const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// The flag of a clock's subscription: the time is a moment and not a length.
const ABSOLUTE: u8 = 1;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Arguments = (u32, u32, u32, u32);
    linker.func_wrap_async(MODULE, NAME, |caller, arguments: Arguments| {
        Box::new(poll_oneoff(caller, arguments))
    })?;
    Ok(())
}

async fn poll_oneoff(
    mut caller: Caller<'_, State>,
    (list, events, count, result): (u32, u32, u32, u32),
) -> wasmtime::Result<u32> {
    let (memory, state) = State::with_memory(&mut caller)?;
    state.count_wasi()?;
    if count == 0 || count > SUBSCRIPTIONS {
        return Ok(errno::INVAL);
    }
    let subscriptions: Option<Vec<_>> = (0..count as usize)
        .map(|number| subscription(memory, list as usize + number * SUBSCRIPTION))
        .collect();
    let Some(subscriptions) = subscriptions else { return Ok(errno::FAULT) };
    let soonest = subscriptions.iter().map(|s| s.wait.unwrap_or_default()).min().unwrap_or_default();
    if !soonest.is_zero() {
        let until = state.pace.until(Instant::now());
        let (slept, ticks) = state.pace.waiting(sleep(soonest, until)).await;
        slept?;
        if let Some(ticks) = ticks {
            caller.as_context_mut().set_epoch_deadline(ticks);
        }
    }
    let (memory, _) = State::with_memory(&mut caller)?;
    let mut happened = 0_u32;
    for subscription in subscriptions.iter().filter(|s| s.wait.unwrap_or_default() <= soonest) {
        let at = events.wrapping_add(happened.wrapping_mul(EVENT));
        let stored = store(memory, at, &subscription.event());
        if stored != errno::SUCCESS {
            return Ok(stored);
        }
        happened += 1;
    }
    Ok(store(memory, result, &happened.to_le_bytes()))
}

/// Reads a subscription; `None` if it is not in memory.
fn subscription(memory: &[u8], at: usize) -> Option<Subscription> {
    let bytes: &[u8; SUBSCRIPTION] = memory.get(at..)?.first_chunk()?;
    let user_data = *bytes.first_chunk()?;
    let kind = bytes[8];
    let wait = match kind {
        CLOCK => {
            let clock = load_u32(bytes, 16)?;
            let timeout = u64::from_le_bytes(*bytes[24..].first_chunk()?);
            match time(clock) {
                Some(now) if bytes[40] & ABSOLUTE != 0 => {
                    Ok(Duration::from_nanos(timeout.saturating_sub(now)))
                }
                Some(_) => Ok(Duration::from_nanos(timeout)),
                None => Err(errno::INVAL),
            }
        }
        // The streams are always ready.
        FD_READ | FD_WRITE if load_u32(bytes, 16)? <= 2 => Ok(Duration::ZERO),
        FD_READ | FD_WRITE => Err(errno::BADF),
        _ => Err(errno::INVAL),
    };
    Some(Subscription { user_data, kind, wait })
}

// === impl Subscription ===

impl Subscription {
    fn event(&self) -> [u8; EVENT as usize] {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&self.user_data);
        if let Err(errno) = self.wait {
            let [low, high, ..] = errno.to_le_bytes();
            event[8..10].copy_from_slice(&[low, high]);
        }
        event[10] = self.kind;
        event
    }
}

#[cfg(test)]
mod tests {
    use super::super::REALTIME;
    use super::*;

    fn clock(id: u32, timeout: u64, flags: u8) -> [u8; SUBSCRIPTION] {
        let mut bytes = [7; SUBSCRIPTION];
        bytes[8] = CLOCK;
        bytes[16..20].copy_from_slice(&id.to_le_bytes());
        bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
        bytes[40] = flags;
        bytes
    }

    #[test]
    fn a_subscription_says_how_long_to_wait() {
        let wait = |bytes: &[u8]| subscription(bytes, 0).unwrap().wait;
        assert_eq!(wait(&clock(1, 5_000, 0)), Ok(Duration::from_micros(5)));
        assert_eq!(wait(&clock(REALTIME, 5, ABSOLUTE)), Ok(Duration::ZERO));
        assert_eq!(wait(&clock(9, 5, 0)), Err(errno::INVAL));
        assert!(subscription(&[0; SUBSCRIPTION - 1], 0).is_none());
        let event = subscription(&clock(9, 5, 0), 0).unwrap().event();
        assert_eq!((event[0], event[8], event[10]), (7, 28, CLOCK));
    }
}
