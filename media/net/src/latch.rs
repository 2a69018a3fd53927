//! Which source address a session follows: devices behind NAT send from elsewhere than their SDP says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latch {
    /// From the followed source.
    Accept,
    /// The first valid packet, or one that took over: answer to this address from now on.
    New,
    /// From someone else.
    Reject,
}

/// Follows the source of the first valid packet and keeps it. Another source may take over only when the followed one has
/// been silent for the relatch time, or after [`SourceLatch::reopen`] (re-INVITE).
#[derive(Debug, Clone)]
pub struct SourceLatch {
    relatch: Option<Duration>,
    source: Option<(SocketAddr, Instant)>,
    open: bool,
    rejected: u64,
}

impl SourceLatch {
    /// `relatch`: silence after which another source may take over; None = never.
    pub fn new(relatch: Option<Duration>) -> Self {
        SourceLatch { relatch, source: None, open: false, rejected: 0 }
    }

    /// One packet. `valid`: it parses as RTP or RTCP of this session; an invalid one never latches.
    pub fn check(&mut self, from: SocketAddr, valid: bool, now: Instant) -> Latch {
        match &mut self.source {
            Some((addr, last)) if *addr == from => {
                if valid {
                    *last = now;
                    self.open = false;
                }
                return Latch::Accept;
            }
            Some((_, last)) => {
                let silent = self.relatch.is_some_and(|r| now.saturating_duration_since(*last) >= r);
                if !valid || !(silent || self.open) {
                    self.rejected += 1;
                    return Latch::Reject;
                }
            }
            None if !valid => {
                self.rejected += 1;
                return Latch::Reject;
            }
            None => {}
        }
        self.source = Some((from, now));
        self.open = false;
        Latch::New
    }

    /// The next valid packet from anywhere is followed (new offer or answer); the present source is kept until then.
    pub fn reopen(&mut self) {
        self.open = true;
    }

    /// Where to send to.
    pub fn source(&self) -> Option<SocketAddr> {
        self.source.map(|s| s.0)
    }

    /// Packets refused.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn first_valid_wins_and_keeps() {
        let (a, b): (SocketAddr, SocketAddr) = ("1.1.1.1:1".parse().unwrap(), "2.2.2.2:2".parse().unwrap());
        let t = Instant::now();
        let s = |n| t + Duration::from_secs(n);
        let mut l = SourceLatch::new(Some(Duration::from_secs(3)));
        assert_eq!(l.check(b, false, t), Latch::Reject);
        assert_eq!(l.check(a, true, t), Latch::New);
        assert_eq!(l.check(b, true, s(2)), Latch::Reject);
        assert_eq!(l.check(a, true, s(2)), Latch::Accept);
        assert_eq!(l.check(b, true, s(4)), Latch::Reject);
        assert_eq!(l.check(b, false, s(5)), Latch::Reject);
        assert_eq!(l.check(b, true, s(5)), Latch::New);
        assert_eq!(l.check(a, true, s(5)), Latch::Reject);
        l.reopen();
        assert_eq!(l.check(a, true, s(5)), Latch::New);
        assert_eq!((l.source(), l.rejected()), (Some(a), 5));
        let mut never = SourceLatch::new(None);
        never.check(a, true, t);
        assert_eq!(never.check(b, true, s(1000)), Latch::Reject);
    }
}
