//! Limits failed registrations by source, so that passwords cannot be tried out. No clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources remembered. When full, the stalest make room.
const MAX_SOURCES: usize = 65_536;

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    failures: u32,
}

/// Counts failures per address, and per address and device: many devices can stand behind one address, and one of them with
/// a wrong password must not shut the others out.
#[derive(Debug)]
pub struct Guard {
    window: Duration,
    per_device: u32,
    per_address: u32,
    table: HashMap<(IpAddr, Option<String>), Count>,
}

impl Guard {
    /// At most `per_device` failures of one device and `per_address` of one address within `window`.
    pub fn new(window: Duration, per_device: u32, per_address: u32) -> Guard {
        Guard { window, per_device, per_address, table: HashMap::new() }
    }

    fn failures(&self, now: Instant, key: &(IpAddr, Option<String>)) -> u32 {
        self.table.get(key).filter(|c| now.saturating_duration_since(c.since) < self.window).map_or(0, |c| c.failures)
    }

    /// Whether attempts from here are refused unseen for now.
    pub fn blocked(&self, now: Instant, address: IpAddr, device: &str) -> bool {
        self.failures(now, &(address, Some(device.to_owned()))) >= self.per_device
            || self.failures(now, &(address, None)) >= self.per_address
    }

    /// Counts a failure.
    pub fn failed(&mut self, now: Instant, address: IpAddr, device: &str) {
        let window = self.window;
        if self.table.len() >= MAX_SOURCES {
            self.table.retain(|_, c| now.saturating_duration_since(c.since) < window);
            if self.table.len() >= MAX_SOURCES {
                self.table.clear();
            }
        }
        for key in [(address, Some(device.to_owned())), (address, None)] {
            let count = self.table.entry(key).or_insert(Count { since: now, failures: 0 });
            if now.saturating_duration_since(count.since) >= window {
                *count = Count { since: now, failures: 0 };
            }
            count.failures += 1;
        }
    }

    /// Forgets a device's failures after it got in.
    pub fn succeeded(&mut self, address: IpAddr, device: &str) {
        self.table.remove(&(address, Some(device.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_device_does_not_lock_its_neighbours() {
        let mut g = Guard::new(Duration::from_secs(60), 3, 5);
        let (now, ip) = (Instant::now(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..3 {
            assert!(!g.blocked(now, ip, "a"));
            g.failed(now, ip, "a");
        }
        assert!(g.blocked(now, ip, "a") && !g.blocked(now, ip, "b"));
        assert!(!g.blocked(now + Duration::from_secs(61), ip, "a"));
        g.failed(now, ip, "b");
        g.failed(now, ip, "c");
        assert!(g.blocked(now, ip, "d"), "the address as a whole");
        g.succeeded(ip, "a");
        assert!(!g.blocked(now, IpAddr::from([10, 0, 0, 2]), "a"));
    }
}
