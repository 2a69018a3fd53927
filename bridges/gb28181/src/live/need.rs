//! Whether as much arrives as the picture needs. Counts only; no I/O, no clock of its own.
//!
//! Over windows of five seconds four things are measured: bytes that came, packets that are known to be lost, how far the media
//! time of the pictures went on, and how much of it is missing as holes between pictures (steps of more than two and a half times
//! the usual one). The way is too narrow when, in two windows in a row,
//!
//! - media time falls behind the clock: less than 85 % of it came (a TCP sender that queues), or
//! - more than 5 % of the packets are lost (UDP), or
//! - holes make up more than 15 % and the way was busy with packets of pictures for 70 % of the time (a sender that leaves
//!   pictures out), or pictures came late by more than 400 ms against one another (they waited at the sender). A camera that sends few pictures because nothing moves leaves its way idle, and is not meant.
//!
//! One good window clears it.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(5);
/// Pictures of one window whose steps are looked at.
const STEPS: usize = 400;
const TICKS: f64 = 90_000.0;

/// What two bad windows in a row showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    pub got_kbit: u64,
    pub need_kbit: u64,
    pub lost_percent: u32,
}

#[derive(Debug)]
pub struct Need {
    since: Option<Instant>,
    bytes: u64,
    packets: u64,
    lost: u64,
    /// Time stamp, first and last arrival of the picture that is on its way.
    current: Option<(u32, Instant, Instant)>,
    busy: Duration,
    last_pts: Option<i64>,
    steps: Vec<i64>,
    /// Arrival and media time of the first picture, and how late pictures came against it: least and most, in ms.
    zero: Option<(Instant, i64)>,
    late: Option<(i64, i64)>,
    bad: u32,
    short: Option<Shortage>,
}

impl Need {
    pub fn new() -> Need {
        Need {
            since: None,
            bytes: 0,
            packets: 0,
            lost: 0,
            current: None,
            busy: Duration::ZERO,
            last_pts: None,
            steps: Vec::new(),
            zero: None,
            late: None,
            bad: 0,
            short: None,
        }
    }

    /// A packet of the followed source.
    pub fn packet(&mut self, now: Instant, bytes: usize, timestamp: u32) {
        self.since.get_or_insert(now);
        self.bytes += bytes as u64;
        self.packets += 1;
        match &mut self.current {
            Some((stamp, _, last)) if *stamp == timestamp => *last = now,
            current => {
                if let Some((_, first, last)) = current.replace((timestamp, now, now)) {
                    self.busy += last.saturating_duration_since(first);
                }
            }
        }
    }

    pub fn lost(&mut self, packets: u64) {
        self.lost += packets;
    }

    /// A whole picture, by its media time in 90 kHz.
    pub fn picture(&mut self, now: Instant, pts: i64) {
        let zero = *self.zero.get_or_insert((now, pts));
        let late = now.saturating_duration_since(zero.0).as_millis() as i64 - (pts - zero.1) / 90;
        self.late = Some(self.late.map_or((late, late), |(least, most)| (least.min(late), most.max(late))));
        if let Some(last) = self.last_pts.replace(pts)
            && self.steps.len() < STEPS
        {
            self.steps.push(pts - last);
        }
    }

    /// The sender began anew.
    pub fn reset(&mut self) {
        *self = Need { short: self.short, bad: self.bad, ..Need::new() };
    }

    /// Part of all packets that were lost in this window.
    fn loss(&self) -> f64 {
        let all = self.packets + self.lost;
        if all == 0 { 0.0 } else { self.lost as f64 / all as f64 }
    }

    /// What is short now.
    pub fn short(&self) -> Option<Shortage> {
        self.short
    }

    /// Closes the window when it is over; true when the answer of [`Need::short`] has changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let wall = now.saturating_duration_since(since);
        if wall < WINDOW {
            return false;
        }
        let seen = self.window(wall.as_secs_f64());
        self.bad = if seen.is_some() { self.bad + 1 } else { 0 };
        let before = self.short.is_some();
        self.short = if self.bad >= 2 { seen } else { None };
        *self = Need {
            since: Some(now),
            current: self.current,
            last_pts: self.last_pts,
            bad: self.bad,
            short: self.short,
            ..Need::new()
        };
        // The numbers of a shortage that goes on are not told anew.
        before != self.short.is_some()
    }

    fn window(&self, wall: f64) -> Option<Shortage> {
        let loss = self.loss();
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        let usual = steps.get(steps.len() / 2).copied().unwrap_or(0).max(1);
        let media: i64 = self.steps.iter().filter(|s| **s > 0).sum();
        // A jump of the time line tells nothing.
        let jumped = self.steps.iter().any(|s| *s <= 0 || *s > 10 * 90_000);
        let holes: i64 = self.steps.iter().filter(|s| **s * 2 > usual * 5).map(|s| s - usual).sum();
        let media_s = media as f64 / TICKS;
        let behind = self.steps.len() >= 5 && !jumped && media_s < 0.85 * wall;
        // Pictures that wait for their way come later and later, until the sender leaves some out.
        let queued = self.late.is_some_and(|(least, most)| most - least > 400);
        let hollow = self.steps.len() >= 5
            && !jumped
            && holes as f64 > 0.15 * media as f64
            && (self.busy.as_secs_f64() > 0.7 * wall || queued);
        if !(behind || hollow || loss > 0.05) {
            return None;
        }
        let got = self.bytes as f64 * 8.0 / wall;
        // What is needed for one second of whole pictures.
        let whole = got / (1.0 - loss).max(0.05);
        let need = match (behind, hollow) {
            (true, _) if media_s > 0.0 => whole * wall / media_s,
            (_, true) => whole * media as f64 / (media - holes).max(usual) as f64,
            _ => whole,
        };
        Some(Shortage {
            got_kbit: (got / 1000.0).round() as u64,
            need_kbit: (need / 1000.0).round() as u64,
            lost_percent: (loss * 100.0).round() as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A camera of 25 pictures a second, ten packets of 1000 bytes each, through a way that does what `way` says: for each
    /// packet lost or not, for each picture its delay and whether it is sent.
    fn run(seconds: u32, mut way: impl FnMut(u32) -> (u32, Duration, Duration, bool)) -> Vec<Option<Shortage>> {
        let (start, mut need, mut out) = (Instant::now(), Need::new(), Vec::new());
        for n in 0..seconds * 25 {
            let (lost, delay, spread, sent) = way(n);
            let at = start + Duration::from_millis(u64::from(n) * 40) + delay;
            if sent {
                for p in 0..10 {
                    if p < lost {
                        need.lost(1);
                    } else {
                        need.packet(at + spread * p / 10, 1000, n * 3600);
                    }
                }
                if lost == 0 {
                    need.picture(at, i64::from(n) * 3600);
                }
            }
            if need.tick(at) {
                out.push(need.short());
            }
        }
        out
    }

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn a_good_way_is_never_short() {
        assert!(run(60, |_| (0, NONE, Duration::from_millis(38), true)).is_empty());
        // Bursts of three seconds: the average is what counts.
        let burst = |n: u32| (0, Duration::from_millis(u64::from(75 - n % 75) * 40), NONE, true);
        assert!(run(60, burst).is_empty());
        // Nothing moves: two pictures a second among full speed, way idle.
        assert!(run(60, |n| (0, NONE, NONE, n % 100 < 30 || n % 12 == 0)).is_empty());
        // One second of loss in a minute.
        assert!(run(60, |n| (u32::from(n / 25 == 30) * 3, NONE, NONE, true)).is_empty());
    }

    #[test]
    fn loss_is_short_and_clears_again() {
        let told = run(60, |n| (u32::from(n < 750 && n % 2 == 0) * 4, NONE, NONE, true));
        let short = told[0].unwrap();
        assert_eq!((told.len(), told[1], short.lost_percent), (2, None, 20));
        assert!((1500..1700).contains(&short.got_kbit) && (1950..2050).contains(&short.need_kbit), "{short:?}");
    }

    #[test]
    fn a_sender_that_falls_behind() {
        // Each second of pictures takes 1.5 s.
        let told = run(40, |n| (0, Duration::from_millis(u64::from(n) * 20), Duration::from_millis(59), true));
        let short = told[0].unwrap();
        assert!((1250..1450).contains(&short.got_kbit) && (1900..2100).contains(&short.need_kbit), "{short:?}");
    }

    #[test]
    fn a_sender_that_leaves_pictures_out_because_its_way_is_full() {
        // A second in three is left out; the others fill the way.
        let told = run(40, |n| (0, NONE, Duration::from_millis(39), n / 25 % 3 != 2));
        assert!(told.is_empty() || told[0].is_some(), "{told:?}");
        let slow = |n: u32| {
            (0, Duration::from_millis(u64::from(n % 25) * 40), Duration::from_millis(79), (n / 25).is_multiple_of(2))
        };
        let told = run(40, slow);
        let short = told[0].unwrap();
        assert!(short.need_kbit > short.got_kbit * 3 / 2, "{short:?}");
    }

    #[test]
    fn a_jump_of_the_time_line_tells_nothing() {
        let mut need = Need::new();
        let start = Instant::now();
        for n in 0..1000u32 {
            let at = start + Duration::from_millis(u64::from(n) * 40);
            need.packet(at, 1000, n);
            need.picture(at, if n % 100 == 0 { 0 } else { i64::from(n) * 3600 });
            assert!(!need.tick(at));
        }
    }
}
