//! How many connections there are, in all and from each address, and how many there may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::stats::Cut;
use crate::transport::limits::ConnectionLimits;

/// Counts connections against their limits.
#[derive(Debug)]
pub(crate) struct Census {
    max: usize,
    max_per_ip: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

// === impl Census ===

impl Census {
    /// A census under these limits, and under what the process may open.
    pub(crate) fn new(limits: &ConnectionLimits, max_files: Option<usize>) -> Arc<Self> {
        let by_files =
            max_files.map_or(usize::MAX, |files| room_for_connections(files, limits.reserved_files));
        Arc::new(Self {
            max: limits.max.min(by_files),
            max_per_ip: limits.max_per_ip,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    /// Gives a connection from `address` a place.
    ///
    /// # Errors
    /// The limit that would be exceeded.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Cut> {
        let address = party(address);
        let mut by_address = self.by_address.lock();
        // Under the lock, so that the last place is not given away twice.
        if self.open.load(Ordering::Relaxed) >= self.max {
            return Err(Cut::TooManyConnections);
        }
        let count = by_address.entry(address).or_insert(0);
        if *count >= self.max_per_ip {
            return Err(Cut::TooManyFromAddress);
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { census: self.clone(), address })
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.census.by_address.lock();
        self.census.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// The largest number of files this process may have open, as Linux tells it.
pub(crate) fn max_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many of `files` may be connections. A process that may open very few keeps half of them.
fn room_for_connections(files: usize, reserved: usize) -> usize {
    files.saturating_sub(reserved).max(files / 2).max(1)
}

/// Who counts as one: an IPv4 address, or the /64 that an IPv6 client can pick its addresses from.
fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(max: usize, max_per_ip: usize) -> Arc<Census> {
        Census::new(&ConnectionLimits { max, max_per_ip, ..ConnectionLimits::default() }, None)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_place_is_given_and_the_next_is_refused_until_one_is_free() {
        let census = census(2, 2);
        let first = census.admit(ip("10.0.0.1")).unwrap();
        let _second = census.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(census.admit(ip("10.0.0.3")).unwrap_err(), Cut::TooManyConnections);
        drop(first);
        let _third = census.admit(ip("10.0.0.3")).unwrap();
        assert_eq!(census.open(), 2);
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let census = census(10, 1);
        let seat = census.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(census.admit(ip("::ffff:10.0.0.1")).unwrap_err(), Cut::TooManyFromAddress);
        let _other = census.admit(ip("10.0.0.2")).unwrap();
        drop(seat);
        let _again = census.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(census.by_address.lock().len(), 2);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let census = census(10, 1);
        let _seat = census.admit(ip("2001:db8:1:2::1")).unwrap();
        assert_eq!(census.admit(ip("2001:db8:1:2:ffff::9")).unwrap_err(), Cut::TooManyFromAddress);
        let _other = census.admit(ip("2001:db8:1:3::1")).unwrap();
    }

    #[test]
    fn a_process_that_may_open_few_files_takes_fewer_connections() {
        for (files, expected) in [(1 << 20, 10_000), (1024, 768), (300, 150), (64, 32), (1, 1)] {
            assert_eq!(Census::new(&ConnectionLimits::default(), Some(files)).max(), expected, "{files}");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_known_on_linux() {
        assert_eq!(max_files().is_some(), cfg!(target_os = "linux"));
    }
}
