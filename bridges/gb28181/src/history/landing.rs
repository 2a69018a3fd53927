//! Where a seek lands: which packet is the first of the new position (reference section 12.7). Pure.
//!
//! The answer's `RTP-Info` tells it, where the device gives one. Else the time stamps tell: those of the old position run on until
//! they jump. A short seek, and a device whose stamps do not jump, are taken as landed after a while.

use std::time::{Duration, Instant};

/// Without a sign for so long after the answer, the next key frame is taken for the new position.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Below this many ticks (0.6 s at 90 kHz) two stamps belong together, unless pictures come more rarely than that.
const STEP: i64 = 54_000;

/// Waits for the first packet of a new position.
#[derive(Debug)]
pub struct Landing {
    answered: Instant,
    sequence: Option<u16>,
    rtp_time: Option<u32>,
    /// Stamp of the packet before the order.
    last: Option<u32>,
    threshold: i64,
    landed: bool,
}

impl Landing {
    /// `last`: the stamp before; `step`: usual distance of two pictures in ticks.
    pub fn new(
        answered: Instant,
        sequence: Option<u16>,
        rtp_time: Option<u32>,
        last: Option<u32>,
        step: i64,
    ) -> Landing {
        let threshold = STEP.max(step.saturating_mul(3));
        Landing { answered, sequence, rtp_time, last, threshold, landed: last.is_none() }
    }

    /// Whether this packet belongs to the new position; once true, always true.
    pub fn take(&mut self, now: Instant, sequence: u16, timestamp: u32) -> bool {
        if self.landed {
            return true;
        }
        let late = now.saturating_duration_since(self.answered) >= PATIENCE;
        let named = match (self.sequence, self.rtp_time) {
            // Reordered packets of the new position may come before its first.
            (Some(first), _) => Some((sequence.wrapping_sub(first) as i16) >= -8),
            (None, Some(at)) => Some((timestamp.wrapping_sub(at) as i32).unsigned_abs() < 45_000),
            (None, None) => None,
        };
        let jumped = self.last.is_some_and(|l| i64::from(timestamp.wrapping_sub(l) as i32).abs() > self.threshold);
        self.landed = late || named.unwrap_or(jumped);
        if !self.landed {
            self.last = Some(timestamp);
        }
        self.landed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_stamps_is_the_landing() {
        let t = Instant::now();
        let mut l = Landing::new(t, None, None, Some(90_000), 3600);
        for n in 1..10u32 {
            assert!(!l.take(t, n as u16, 90_000 + n * 3600), "the old position runs on");
        }
        assert!(l.take(t, 11, 900_000));
        assert!(l.take(t, 12, 126_000), "once landed, all is taken");
    }

    #[test]
    fn rtp_info_decides_where_it_is_given() {
        let t = Instant::now();
        let mut l = Landing::new(t, Some(500), None, Some(90_000), 3600);
        assert!(!l.take(t, 480, 9_000_000), "a jump alone is not enough then");
        assert!(l.take(t, 500, 93_600));
        let mut l = Landing::new(t, Some(2), None, Some(90_000), 3600);
        assert!(!l.take(t, 65_000, 93_600) && l.take(t, 3, 97_200), "over the wrap");
        let mut l = Landing::new(t, None, Some(500_000), Some(90_000), 3600);
        assert!(!l.take(t, 1, 93_600) && l.take(t, 2, 500_000));
    }

    #[test]
    fn without_a_sign_it_lands_after_a_while_and_slow_cameras_do_not_look_like_jumps() {
        let t = Instant::now();
        let mut l = Landing::new(t, None, None, Some(0), 90_000);
        assert!(!l.take(t, 1, 90_000) && !l.take(t, 2, 180_000));
        assert!(l.take(t + PATIENCE, 3, 270_000));
        assert!(Landing::new(t, None, None, None, 3600).take(t, 1, 5), "nothing came before: nothing to wait for");
    }
}
