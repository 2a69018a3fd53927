//! Collecting a PIN from keys: a machine without clock.

use std::time::{Duration, Instant};

/// Longest PIN that is collected.
const MOST: usize = 16;

/// What the keys came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entered {
    /// Ended by `#` or by time after the last digit.
    Pin(String),
    /// Nothing was pressed in time.
    Nothing,
}

/// One try. `*` begins anew, `#` ends.
#[derive(Debug)]
pub(crate) struct PinEntry {
    digits: String,
    last: Instant,
    first_timeout: Duration,
    digit_timeout: Duration,
}

impl PinEntry {
    pub fn new(now: Instant, first_timeout: Duration, digit_timeout: Duration) -> Self {
        PinEntry { digits: String::new(), last: now, first_timeout, digit_timeout }
    }

    pub fn key(&mut self, key: char, now: Instant) -> Option<Entered> {
        self.last = now;
        match key {
            '#' => return Some(Entered::Pin(std::mem::take(&mut self.digits))),
            '*' => self.digits.clear(),
            '0'..='9' if self.digits.len() < MOST => self.digits.push(key),
            _ => {}
        }
        None
    }

    pub fn tick(&mut self, now: Instant) -> Option<Entered> {
        let since = now.saturating_duration_since(self.last);
        if self.digits.is_empty() {
            (since >= self.first_timeout).then_some(Entered::Nothing)
        } else {
            (since >= self.digit_timeout).then(|| Entered::Pin(std::mem::take(&mut self.digits)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn hash_time_and_star() {
        let t = Instant::now();
        let s = |n| t + Duration::from_secs(n);
        let mut p = PinEntry::new(t, Duration::from_secs(20), Duration::from_secs(8));
        assert_eq!(p.tick(s(19)), None);
        for k in "99*12A34".chars() {
            assert_eq!(p.key(k, s(19)), None);
        }
        assert_eq!(p.key('#', s(20)), Some(Entered::Pin("1234".into())));
        p.key('7', s(21));
        assert_eq!(p.tick(s(28)), None);
        assert_eq!(p.tick(s(29)), Some(Entered::Pin("7".into())));
        assert_eq!(p.tick(s(41)), Some(Entered::Nothing));
    }
}
