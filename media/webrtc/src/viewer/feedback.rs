//! Whether a leg carries its stream: loss from receiver reports, the receiver's own estimate (REMB), and our queue.

use std::time::{Duration, Instant};

/// Above this share of lost packets (1/256, smoothed) a leg is overloaded.
const LOSS_HIGH: f32 = 38.0;
/// Below it a leg may try the whole stream again.
const LOSS_LOW: f32 = 20.0;
/// How long the signs must hold.
const SUSTAINED: Duration = Duration::from_secs(2);
/// A frame that waits longer than this says that we cannot send fast enough.
const QUEUE_HIGH: Duration = Duration::from_millis(2500);
const FIRST_TRY: Duration = Duration::from_secs(5);
const LAST_TRY: Duration = Duration::from_secs(60);
/// After a restored stream the estimate gets this long to grow.
const TRIAL: Duration = Duration::from_secs(10);

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Send key frames only.
    Reduce,
    /// Try the whole stream again.
    Restore,
}

/// The simple estimator of one viewer leg.
#[derive(Debug)]
pub struct Congestion {
    /// Receiver's estimate in bit/s.
    remb: Option<(u64, Instant)>,
    /// The last estimate was higher than the one before: the receiver still feels its way up and sees no limit.
    rising: bool,
    /// Smoothed loss in 1/256.
    loss: f32,
    loss_at: Option<Instant>,
    window: Instant,
    window_bytes: u64,
    /// Sent media in bit/s, smoothed over some seconds: one key frame or the burst of a switch is no rate.
    rate: u64,
    bad_since: Option<Instant>,
    reduced: Option<Instant>,
    restored: Option<(Instant, u64)>,
    wait: Duration,
    queue_age: Duration,
    started: Instant,
}

impl Congestion {
    pub fn new(now: Instant) -> Self {
        Congestion {
            remb: None,
            rising: false,
            loss: 0.0,
            loss_at: None,
            window: now,
            window_bytes: 0,
            rate: 0,
            bad_since: None,
            reduced: None,
            restored: None,
            wait: FIRST_TRY,
            queue_age: Duration::ZERO,
            started: now,
        }
    }

    pub fn on_sent(&mut self, bytes: usize) {
        self.window_bytes += bytes as u64;
    }

    pub fn on_remb(&mut self, bps: u64, now: Instant) {
        self.rising = self.remb.is_some_and(|(before, _)| bps > before);
        self.remb = Some((bps, now));
    }

    /// `fraction` of a receiver report, in 1/256.
    pub fn on_report(&mut self, fraction: u8, now: Instant) {
        self.loss = self.loss * 0.6 + f32::from(fraction) * 0.4;
        self.loss_at = Some(now);
    }

    pub fn on_queue(&mut self, age: Duration) {
        self.queue_age = age;
    }

    /// Burst speed in bytes per second: about 50 Mbit/s, less where packets are lost.
    pub fn pace(&self) -> f64 {
        match self.loss {
            l if l > 26.0 => 1_250_000.0,
            l if l > 13.0 => 2_500_000.0,
            _ => 6_250_000.0,
        }
    }

    /// Bit/s that the leg is believed to carry; 0 if unknown.
    pub fn estimate(&self) -> u64 {
        self.remb.map_or(0, |(bps, _)| bps)
    }

    pub fn reduced(&self) -> bool {
        self.reduced.is_some()
    }

    fn overloaded(&self, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(4);
        if self.loss_at.is_some_and(fresh) && self.loss > LOSS_HIGH || self.queue_age > QUEUE_HIGH {
            return true;
        }
        let Some((bps, at)) = self.remb.filter(|(_, at)| fresh(*at)) else { return false };
        match self.restored {
            // The estimate grows by 8 % a second only: in the trial it must merely not fall.
            Some((since, before)) if now.saturating_duration_since(since) < TRIAL => {
                at > since && bps < before / 10 * 9
            }
            // What the peer says may be any number.
            _ => !self.rising && bps.saturating_mul(10) < self.rate * 7,
        }
    }

    /// To be called a few times a second.
    pub fn step(&mut self, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.window);
        if passed >= Duration::from_secs(1) {
            let rate = self.window_bytes * 8 * 1000 / (passed.as_millis() as u64).max(1);
            self.rate = if self.rate == 0 { rate } else { (self.rate * 3 + rate) / 4 };
            self.window = now;
            self.window_bytes = 0;
        }
        if let Some(since) = self.reduced {
            let calm = self.loss < LOSS_LOW
                || self.loss_at.is_none_or(|at| now.saturating_duration_since(at) > Duration::from_secs(6));
            if calm && now.saturating_duration_since(since) >= self.wait {
                self.reduced = None;
                self.restored = Some((now, self.estimate()));
                self.bad_since = None;
                self.wait = (self.wait * 2).min(LAST_TRY);
                return Verdict::Restore;
            }
            return Verdict::Keep;
        }
        if self.restored.is_some_and(|(at, _)| now.saturating_duration_since(at) > Duration::from_secs(30)) {
            self.restored = None;
            self.wait = FIRST_TRY;
        }
        // A joining viewer's burst is no sign of anything.
        if now.saturating_duration_since(self.started) < Duration::from_secs(3) || !self.overloaded(now) {
            self.bad_since = None;
            return Verdict::Keep;
        }
        let since = *self.bad_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= SUSTAINED {
            self.reduced = Some(now);
            self.bad_since = None;
            return Verdict::Reduce;
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(c: &mut Congestion, t: &mut Instant, seconds: u32, kbit: usize, remb: u64, loss: u8) -> Vec<Verdict> {
        let mut out = Vec::new();
        for _ in 0..seconds {
            for _ in 0..4 {
                *t += Duration::from_millis(250);
                c.on_sent(kbit * 1000 / 8 / 4);
                out.push(c.step(*t));
            }
            c.on_remb(remb, *t);
            c.on_report(loss, *t);
        }
        out.retain(|v| *v != Verdict::Keep);
        out
    }

    #[test]
    fn a_good_leg_is_left_alone() {
        let mut t = Instant::now();
        let mut c = Congestion::new(t);
        assert!(run(&mut c, &mut t, 60, 2000, 3_000_000, 8).is_empty());
    }

    #[test]
    fn an_estimate_that_still_grows_is_no_sign_of_a_narrow_leg() {
        // As Chromium tells it of a camera of 300 kbit/s: 200 kbit/s at first, 4 % more each half second, while switches burst.
        let mut t = Instant::now();
        let mut c = Congestion::new(t);
        let mut remb = 200_000;
        for s in 0..20 {
            let kbit = if s % 4 == 3 { 1100 } else { 300 };
            assert!(run(&mut c, &mut t, 1, kbit, remb, 0).is_empty(), "second {s}");
            remb = remb * 108 / 100;
        }
    }

    #[test]
    fn a_narrow_leg_is_reduced_tried_again_ever_later_and_comes_back() {
        let mut t = Instant::now();
        let mut c = Congestion::new(t);
        assert_eq!(run(&mut c, &mut t, 8, 2000, 900_000, 0), [Verdict::Reduce]);
        assert_eq!(run(&mut c, &mut t, 6, 100, 900_000, 0), [Verdict::Restore]);
        // Still narrow: loss shows it at once.
        assert_eq!(run(&mut c, &mut t, 6, 2000, 700_000, 90), [Verdict::Reduce]);
        assert!(run(&mut c, &mut t, 5, 100, 700_000, 0).is_empty(), "waits longer");
        assert_eq!(run(&mut c, &mut t, 4, 100, 700_000, 0), [Verdict::Restore]);
        // The narrowness is gone, the estimate grows.
        for s in 0..40 {
            assert!(run(&mut c, &mut t, 1, 2000, 700_000 + s * 100_000, 0).is_empty());
        }
    }

    #[test]
    fn a_queue_that_stands_reduces() {
        let mut t = Instant::now();
        let mut c = Congestion::new(t);
        run(&mut c, &mut t, 5, 2000, 5_000_000, 0);
        c.on_queue(Duration::from_secs(3));
        c.remb = None;
        let mut got = Verdict::Keep;
        for _ in 0..12 {
            t += Duration::from_millis(250);
            got = c.step(t);
            if got != Verdict::Keep {
                break;
            }
        }
        assert_eq!(got, Verdict::Reduce);
    }

    #[test]
    fn an_estimate_beyond_all_measure_is_no_overload() {
        let mut t = Instant::now();
        let mut c = Congestion::new(t);
        assert!(run(&mut c, &mut t, 20, 2000, u64::MAX, 0).is_empty());
    }
}
