//! RTP time stamps of a viewer's track: the recipe of "live at once". Pure: time comes in.

use std::time::{Duration, Instant};

/// Gives each frame of one track its RTP time stamp, in 64 bits; the wire carries the low 32.
///
/// - A frame that is sent as it comes gets its proper stamp: `pts` plus an offset that holds for an epoch.
/// - A frame that waited in a backlog gets the RTP clock at its send time.
/// - A stamp is always larger than the last one, over epochs, switches and bursts.
#[derive(Debug, Clone)]
pub struct Stamper {
    rate: u32,
    /// RTP clock at `origin`.
    base: i64,
    origin: Instant,
    epoch: Option<u32>,
    /// Proper stamp minus pts.
    offset: i64,
    last: i64,
    last_pts: i64,
}

impl Stamper {
    /// `rate` in ticks per second; `start` is the first stamp at `now`.
    pub fn new(rate: u32, start: u32, now: Instant) -> Self {
        let base = i64::from(start) + (1 << 32);
        Stamper { rate, base, origin: now, epoch: None, offset: 0, last: base - 1, last_pts: 0 }
    }

    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The RTP clock at an instant.
    fn clock(&self, at: Instant) -> i64 {
        let ticks = |d: Duration| (d.as_micros() as i64).saturating_mul(i64::from(self.rate)) / 1_000_000;
        if at >= self.origin { self.base + ticks(at - self.origin) } else { self.base - ticks(self.origin - at) }
    }

    /// Another codec with another clock on the same SSRC: stamps go on from the last one.
    pub fn set_rate(&mut self, rate: u32, now: Instant) {
        if rate != self.rate {
            self.base = self.clock(now).max(self.last + 1);
            self.origin = now;
            self.rate = rate;
            self.epoch = None;
        }
    }

    /// Stamp of a frame to be sent now. `received` is when it came to us; `waited` says that it was held back behind others.
    pub fn stamp(&mut self, now: Instant, epoch: u32, pts: i64, received: Instant, waited: bool) -> i64 {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.offset = self.clock(received) - pts;
            self.last_pts = pts;
        }
        let at_send = self.clock(now).max(self.last + 1);
        let proper = pts.saturating_add(self.offset);
        let second = i64::from(self.rate);
        let went_back = pts < self.last_pts;
        let stamp = if waited {
            at_send
        } else if proper > self.clock(now) + second || pts < self.last_pts - second {
            // The source's clock jumped within its epoch.
            self.offset = at_send - pts;
            at_send
        } else if proper > self.last {
            // The RTP clock follows the source's clock slowly, so that a later burst fits in.
            self.base += (proper - self.clock(received)).clamp(-second, second) / 32;
            proper
        } else if went_back {
            // A picture out of order (B frames): its place is taken, the time line stays.
            self.last + 1
        } else {
            // Behind what a burst has used up: the time line moves up once, the spacing stays.
            self.offset = at_send - pts;
            at_send
        };
        self.last = stamp;
        self.last_pts = pts;
        stamp
    }

    /// The stamp that a picture with this pts would properly have; for sender reports. None before the first frame.
    pub fn proper(&self, pts: i64) -> Option<i64> {
        self.epoch.map(|_| pts.saturating_add(self.offset))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: i64 = 90;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Sends live frames and gives their stamps.
    fn live(s: &mut Stamper, t0: Instant, epoch: u32, pts0: i64, from_ms: u64, n: u64) -> Vec<i64> {
        (0..n)
            .map(|i| {
                let at = t0 + ms(from_ms + 40 * i);
                s.stamp(at, epoch, pts0 + 3600 * i as i64, at, false)
            })
            .collect()
    }

    fn rising(stamps: &[i64]) -> bool {
        stamps.windows(2).all(|w| w[1] > w[0])
    }

    #[test]
    fn live_frames_keep_their_spacing() {
        let t0 = Instant::now();
        let mut s = Stamper::new(90_000, 4_294_967_000, t0);
        let out = live(&mut s, t0, 1, 123_456_789, 0, 200);
        assert!(out.windows(2).all(|w| w[1] - w[0] == 3600));
        assert!(*out.last().unwrap() as u32 as i64 != *out.last().unwrap(), "wrapped on the wire");
    }

    #[test]
    fn a_joiner_gets_the_backlog_by_send_time_and_then_proper_stamps() {
        let t0 = Instant::now() + Duration::from_secs(10);
        let mut s = Stamper::new(90_000, 7, t0);
        // 50 frames of the last two seconds, one each 2 ms.
        let burst: Vec<i64> =
            (0..50u64).map(|i| s.stamp(t0 + ms(2 * i), 1, 3600 * i as i64, t0 - ms(2000) + ms(40 * i), true)).collect();
        assert!(rising(&burst));
        assert!(burst.windows(2).all(|w| w[1] - w[0] == 2 * MS), "spaced as they are sent");
        // Live again: frame 50 came 2 s after frame 0, at t0, and waited 100 ms.
        let waited = s.stamp(t0 + ms(100), 1, 3600 * 50, t0, true);
        let live: Vec<i64> = (53..80u64)
            .map(|i| s.stamp(t0 + ms(40 * (i - 50)), 1, 3600 * i as i64, t0 + ms(40 * (i - 50)), false))
            .collect();
        assert!(live[0] > waited);
        assert!(live.windows(2).all(|w| w[1] - w[0] == 3600));
        // No lasting shift: the stamp is the clock at arrival.
        assert_eq!(live[0] - burst[0], 120 * MS);
    }

    #[test]
    fn a_switch_never_goes_back_and_keeps_going() {
        let t0 = Instant::now() + Duration::from_secs(100);
        let mut s = Stamper::new(90_000, 0, t0);
        let mut all = live(&mut s, t0, 1, 5_000_000, 0, 25);
        // Another source, whose group of 80 frames is replayed, its pts far away.
        let now = t0 + ms(1010);
        for i in 0..80u64 {
            all.push(s.stamp(now + ms(i), 2, -70_000_000 + 3600 * i as i64, now - ms(3200) + ms(40 * i), true));
        }
        all.extend(live(&mut s, now, 2, -70_000_000 + 3600 * 83, 120, 50));
        assert!(rising(&all));
        let span = all.last().unwrap() - all[0];
        // 1010 ms to the switch, then 120 ms + 49 frames.
        assert!((span - (1010 + 120 + 49 * 40) * MS).abs() < 50 * MS, "{span}");
        // Twenty switches without backlog.
        let mut at = 5000;
        for epoch in 3..23 {
            all.extend(live(&mut s, t0, epoch, i64::from(epoch) * 999_983, at, 10));
            at += 403;
        }
        assert!(rising(&all));
    }

    #[test]
    fn jumping_to_a_newer_key_frame_during_the_burst() {
        let t0 = Instant::now() + Duration::from_secs(100);
        let mut s = Stamper::new(90_000, 0, t0);
        let mut all: Vec<i64> =
            (0..10u64).map(|i| s.stamp(t0 + ms(i), 1, 3600 * i as i64, t0 - ms(4000) + ms(40 * i), true)).collect();
        // Frames 10..100 are dropped; 100 is a key frame that just came, sent behind the one under way.
        all.push(s.stamp(t0 + ms(11), 1, 360_000, t0 + ms(10), false));
        all.extend(live(&mut s, t0, 1, 363_600, 50, 10));
        assert!(rising(&all));
        assert!(all[10] - all[9] <= 2 * MS);
    }

    #[test]
    fn a_burst_at_one_instant_still_rises() {
        let t0 = Instant::now();
        let mut s = Stamper::new(90_000, 0, t0);
        let all: Vec<i64> = (0..5).map(|i| s.stamp(t0, 1, i, t0, true)).collect();
        assert!(all.windows(2).all(|w| w[1] - w[0] == 1));
    }

    #[test]
    fn out_of_order_pictures_do_not_move_the_time_line() {
        let t0 = Instant::now();
        let mut s = Stamper::new(90_000, 0, t0);
        let first = live(&mut s, t0, 1, 0, 0, 10);
        for i in 0..100u64 {
            let at = t0 + ms(400 + i * 80);
            s.stamp(at, 1, 36_000 + 7200 * i as i64 + 3600, at, false);
            s.stamp(at + ms(40), 1, 36_000 + 7200 * i as i64, at + ms(40), false);
        }
        assert_eq!(s.proper(0).unwrap(), first[0]);
    }

    #[test]
    fn a_clock_jump_inside_an_epoch_is_absorbed() {
        let t0 = Instant::now();
        let mut s = Stamper::new(90_000, 0, t0);
        let mut all = live(&mut s, t0, 1, 0, 0, 25);
        all.extend(live(&mut s, t0, 1, 900_000_000, 1000, 25));
        all.extend(live(&mut s, t0, 1, 5, 2000, 25));
        assert!(rising(&all));
        assert!(all.last().unwrap() - all[0] < 3100 * MS);
    }

    #[test]
    fn audio_changes_its_clock() {
        let t0 = Instant::now();
        let mut s = Stamper::new(48_000, 0, t0);
        let a = s.stamp(t0, 1, 0, t0, false);
        s.set_rate(8000, t0 + ms(20));
        let b = s.stamp(t0 + ms(20), 2, 0, t0 + ms(20), false);
        let c = s.stamp(t0 + ms(40), 2, 160, t0 + ms(40), false);
        assert!(b > a);
        assert_eq!(c - b, 160);
    }
}
