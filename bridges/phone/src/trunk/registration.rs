//! A registration of ours at a trunk's server (RFC 3261 10.2): when to send which REGISTER. Pure, on given time.

use std::time::{Duration, Instant};

/// Waits after failures: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A refused password is not tried as often as a server that is away: it would lock the account.
const DENIED_WAIT: Duration = Duration::from_secs(120);
/// Bounds of what a server may demand with 423.
const LONGEST_EXPIRES: u32 = 86_400;

/// What became of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 2xx; seconds that the binding lasts.
    Registered(u32),
    /// 423 with its Min-Expires.
    TooBrief(u32),
    /// 401, 403, 407 after our answer to the challenge: the account is wrong.
    Denied(u16),
    /// Any other answer, or none.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Asking,
    Registered { refresh: Instant, until: Instant },
}

/// A REGISTER to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Send {
    /// Which of the servers, in the order of preference.
    pub server: usize,
    pub expires: u32,
}

#[derive(Debug)]
pub(crate) struct Registration {
    wanted: u32,
    expires: u32,
    state: State,
    /// The binding lasts until then, whatever a refresh comes to.
    bound: Option<Instant>,
    server: usize,
    /// Servers tried since the last success.
    tried: usize,
    failures: u32,
    brief: u8,
}

impl Registration {
    /// Registers at once.
    pub fn new(now: Instant, expires: u32) -> Registration {
        Registration {
            wanted: expires,
            expires,
            state: State::Waiting { until: now },
            bound: None,
            server: 0,
            tried: 0,
            failures: 0,
            brief: 0,
        }
    }

    /// True as long as the last binding lasts.
    pub fn is_registered(&self, now: Instant) -> bool {
        self.bound.is_some_and(|until| now < until)
    }

    /// The server that has the binding, or is asked.
    pub fn server(&self) -> usize {
        self.server
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Asking => None,
            State::Registered { refresh, until } => Some(refresh.min(until)),
        }
    }

    /// What is to be sent now; `servers` are known. Nothing without a server.
    pub fn tick(&mut self, now: Instant, servers: usize) -> Option<Send> {
        let due = self.next_timeout().is_some_and(|at| now >= at);
        if !due || servers == 0 {
            return None;
        }
        if self.server >= servers {
            self.server = 0;
        }
        self.state = State::Asking;
        Some(Send { server: self.server, expires: self.expires })
    }

    /// What the REGISTER came to. `spread` from 0 to 1 is the random part of the next wait.
    pub fn answered(&mut self, now: Instant, outcome: &Outcome, servers: usize, spread: f64) {
        let spread = spread.clamp(0.0, 1.0);
        match outcome {
            Outcome::Registered(seconds) => {
                let life = Duration::from_secs(u64::from((*seconds).clamp(1, LONGEST_EXPIRES)));
                // 0.8 to 0.9 of the life: not all trunks of a carrier at the same instant.
                let refresh = now + life.mul_f64(0.8 + 0.1 * spread);
                self.state = State::Registered { refresh, until: now + life };
                self.bound = Some(now + life);
                (self.tried, self.failures, self.brief) = (0, 0, 0);
            }
            // One server cannot be asked for more and more for ever.
            Outcome::TooBrief(min) if *min > self.expires && *min <= LONGEST_EXPIRES && self.brief < 3 => {
                self.brief += 1;
                self.expires = *min;
                self.state = State::Waiting { until: now };
            }
            Outcome::Denied(_) => self.wait(now, DENIED_WAIT, spread),
            Outcome::TooBrief(_) | Outcome::Failed => {
                self.tried += 1;
                self.expires = self.wanted;
                self.brief = 0;
                if self.tried < servers {
                    self.server = (self.server + 1) % servers.max(1);
                    self.state = State::Waiting { until: now };
                } else {
                    self.tried = 0;
                    self.server = 0;
                    let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(7)).min(LONGEST_WAIT);
                    self.wait(now, wait, spread);
                }
            }
        }
    }

    fn wait(&mut self, now: Instant, wait: Duration, spread: f64) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now + wait.mul_f64(0.5 + 0.5 * spread) };
    }

    /// Something changed (a server is back, its address is another): asks now instead of later.
    pub fn hurry(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Waiting { until: now };
        }
    }
}

/// A server by its answers to OPTIONS (RFC 3261 11).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Health {
    /// None: nothing is known yet.
    pub up: Option<bool>,
    pub rtt: Option<Duration>,
    misses: u32,
}

impl Health {
    /// An answer of 200 to 499 came: somebody is there.
    pub fn answered(&mut self, rtt: Duration) {
        *self = Health { up: Some(true), rtt: Some(rtt), misses: 0 };
    }

    /// No answer, or a server failure. True when the server is down now and was not before.
    pub fn missed(&mut self, most: u32) -> bool {
        self.misses = self.misses.saturating_add(1);
        let down = self.misses >= most;
        let news = down && self.up != Some(false);
        if down {
            self.up = Some(false);
            self.rtt = None;
        }
        news
    }

    /// It missed some, and is asked sooner for it.
    pub fn in_doubt(&self) -> bool {
        self.misses > 0 && self.up != Some(false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn refreshes_before_the_end_and_stays_registered_while_that_fails() {
        let t = Instant::now();
        let mut r = Registration::new(t, 3600);
        assert_eq!(r.tick(t, 0), None);
        assert_eq!(r.tick(t, 1), Some(Send { server: 0, expires: 3600 }));
        assert_eq!((r.tick(t, 1), r.next_timeout()), (None, None));
        r.answered(t, &Outcome::Registered(100), 1, 0.0);
        assert_eq!(r.next_timeout(), Some(t + s(80)));
        r.answered(t, &Outcome::Registered(100), 1, 1.0);
        assert_eq!(r.next_timeout(), Some(t + s(90)));
        assert!(r.tick(t + s(90), 1).is_some());
        r.answered(t + s(92), &Outcome::Failed, 1, 1.0);
        assert!(r.is_registered(t + s(99)) && !r.is_registered(t + s(100)));
        assert_eq!(r.next_timeout(), Some(t + s(96)));
    }

    #[test]
    fn tries_the_other_servers_at_once_and_then_waits_longer_and_longer() {
        let t = Instant::now();
        let mut r = Registration::new(t, 600);
        let mut waits = Vec::new();
        let mut now = t;
        for _ in 0..9 {
            let first = r.tick(now, 2).unwrap();
            r.answered(now, &Outcome::Failed, 2, 1.0);
            let second = r.tick(now, 2).unwrap();
            assert_eq!((first.server, second.server), (0, 1));
            r.answered(now, &Outcome::Failed, 2, 1.0);
            let next = r.next_timeout().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits, [4, 8, 16, 32, 64, 128, 256, 300, 300]);
        r.hurry(now);
        assert!(r.tick(now, 2).is_some());
    }

    #[test]
    fn asks_for_what_the_server_demands_but_not_for_ever() {
        let t = Instant::now();
        let mut r = Registration::new(t, 60);
        for want in [60, 120, 240, 480] {
            assert_eq!(r.tick(t, 1).map(|s| s.expires), Some(want));
            r.answered(t, &Outcome::TooBrief(want * 2), 1, 0.0);
        }
        assert_eq!(r.tick(t, 1), None);
        let mut r = Registration::new(t, 60);
        r.tick(t, 1);
        r.answered(t, &Outcome::TooBrief(u32::MAX), 1, 0.0);
        assert_eq!(r.tick(t, 1), None);
        r.tick(t + s(2), 1).unwrap();
        r.answered(t, &Outcome::Denied(403), 1, 0.0);
        assert_eq!(r.next_timeout(), Some(t + s(60)));
    }

    #[test]
    fn a_server_is_down_after_so_many_misses() {
        let mut h = Health::default();
        assert!(!h.missed(2) && h.up.is_none() && h.in_doubt());
        assert!(h.missed(2) && h.up == Some(false));
        assert!(!h.missed(2));
        h.answered(s(1));
        assert_eq!((h.up, h.rtt), (Some(true), Some(s(1))));
    }
}
