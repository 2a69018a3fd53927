//! From media stamps to the recording's own time, and to the stamps that viewers get. Pure.
//!
//! The only tie to the recording's clock is the order: the first picture after the INVITE or a seek is the one at the asked
//! time. From there stamps count. At another speed than 1 some devices stamp with the recording's time (two seconds of stamps in
//! one second at double speed), others with their sending time: which one is measured.

use std::time::Instant;

const TICKS: f64 = 90_000.0;

/// What the stamps mean at a speed other than 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamps {
    /// The recording's time.
    Media,
    /// The sending time.
    Wall,
}

/// The clock of one playback.
#[derive(Debug)]
pub struct Clock {
    /// The recording's time in milliseconds at the anchor.
    anchor_ms: f64,
    /// Stamp and arrival of the anchor; none until the first picture comes.
    anchor: Option<(i64, Instant)>,
    speed: f64,
    stamps: Stamps,
    position_ms: f64,
    /// Stamp of the last picture, and the usual distance of two.
    last: Option<i64>,
    step: i64,
    /// Given to viewers: the stamp of the anchor, and the highest so far.
    base: i64,
    highest: i64,
}

impl Clock {
    pub fn new(at_ms: i64) -> Clock {
        Clock {
            anchor_ms: at_ms as f64,
            anchor: None,
            speed: 1.0,
            stamps: Stamps::Media,
            position_ms: at_ms as f64,
            last: None,
            step: 3600,
            base: 0,
            highest: 0,
        }
    }

    /// The next picture is the one at this time.
    pub fn land(&mut self, at_ms: i64) {
        self.anchor_ms = at_ms as f64;
        self.position_ms = self.anchor_ms;
        self.anchor = None;
        self.last = None;
    }

    /// From now on at another speed: what was shown last is the new anchor.
    pub fn speed(&mut self, speed: f64) {
        self.anchor_ms = self.position_ms;
        self.anchor = None;
        self.speed = speed;
    }

    /// The device stood still: stamps go on, arrival is counted anew.
    pub fn resumed(&mut self) {
        self.anchor_ms = self.position_ms;
        self.anchor = None;
    }

    pub fn position_ms(&self) -> i64 {
        self.position_ms.round() as i64
    }

    pub fn current_speed(&self) -> f64 {
        self.speed
    }

    /// Usual distance of two pictures in ticks.
    pub fn step(&self) -> i64 {
        self.step
    }

    /// A picture came; gives the stamp for viewers, which rises always and runs as the clock on the wall.
    pub fn picture(&mut self, pts: i64, now: Instant) -> i64 {
        let Some((first, at)) = self.anchor else {
            // Behind a change of speed or a pause the picture is the next one, not the same again.
            let step = if self.last.is_some() { self.step as f64 / 90.0 * self.speed.signum() } else { 0.0 };
            self.anchor_ms += step;
            self.position_ms = self.anchor_ms;
            self.anchor = Some((pts, now));
            self.last = Some(pts);
            self.base = self.highest + self.step;
            self.highest = self.base;
            return self.base;
        };
        let real = now.saturating_duration_since(at).as_secs_f64();
        let media = (pts - first) as f64 / TICKS;
        if let Some(last) = self.last {
            let step = pts - last;
            if (1..=90_000).contains(&step) {
                self.step += (step - self.step) / 8;
            }
        }
        self.last = Some(pts);
        let fast = (self.speed - 1.0).abs() > 0.01;
        if self.speed < 0.0 {
            // Groups of pictures come backwards, pictures within them forwards: only the arrival runs evenly.
            self.position_ms = self.anchor_ms + real * self.speed * 1000.0;
        } else {
            if fast && real > 0.5 && media > 0.0 {
                // Nearer to the speed, or nearer to 1, on a scale of ratios.
                let ratio = media / real;
                let to_speed = (ratio / self.speed).ln().abs();
                self.stamps = if to_speed <= ratio.ln().abs() { Stamps::Media } else { Stamps::Wall };
            }
            let factor = if fast && self.stamps == Stamps::Wall { self.speed } else { 1.0 };
            self.position_ms = self.anchor_ms + media * factor * 1000.0;
        }
        // At speed 1 the stamps themselves, for pictures may come out of order; else as they arrive, and always rising.
        let out =
            if fast { (self.base + (real * TICKS) as i64).max(self.highest + 1) } else { self.base + (pts - first) };
        self.highest = self.highest.max(out);
        out
    }

    /// The stamp of a sound at speed 1, in ticks of 90 kHz; none while there is no picture to go by.
    pub fn sound(&self, pts_90k: i64) -> Option<i64> {
        let (first, _) = self.anchor.filter(|_| (self.speed - 1.0).abs() <= 0.01)?;
        Some(self.base + (pts_90k - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const AT: i64 = 1_792_598_400_000;

    /// Pictures with so many ticks each so many microseconds.
    fn run(c: &mut Clock, t: &mut Instant, pts: &mut i64, n: usize, ticks: i64, every_us: u64) -> Vec<i64> {
        (0..n)
            .map(|_| {
                *t += Duration::from_micros(every_us);
                *pts += ticks;
                c.picture(*pts, *t)
            })
            .collect()
    }

    #[test]
    fn position_follows_the_stamps_at_speed_one() {
        let (mut c, mut t, mut pts) = (Clock::new(AT), Instant::now(), 5_000_000);
        let out = run(&mut c, &mut t, &mut pts, 101, 3600, 40_000);
        assert_eq!(c.position_ms(), AT + 4000);
        assert!(out.windows(2).all(|w| w[1] - w[0] == 3600));
        assert_eq!(c.sound(pts), out.last().copied());
    }

    #[test]
    fn double_speed_with_the_recordings_stamps_and_with_sending_stamps() {
        for (ticks, name) in [(3600, "media"), (1800, "wall")] {
            let (mut c, mut t, mut pts) = (Clock::new(AT), Instant::now(), 0);
            let first = run(&mut c, &mut t, &mut pts, 26, 3600, 40_000);
            c.speed(2.0);
            let out = run(&mut c, &mut t, &mut pts, 200, ticks, 20_000);
            // 200 pictures of 40 ms behind the first second.
            assert!((c.position_ms() - AT - 1000 - 8000).abs() <= 80, "{name}: {}", c.position_ms() - AT);
            assert!(out[0] > first[25]);
            let span = out[199] - out[0];
            assert!((span - 199 * 1800).abs() < 1000, "{name}: viewers see it in real time: {span}");
            assert_eq!(c.sound(pts), None);
        }
    }

    #[test]
    fn backwards_goes_by_arrival() {
        let (mut c, mut t, mut pts) = (Clock::new(AT), Instant::now(), 900_000);
        run(&mut c, &mut t, &mut pts, 10, 3600, 40_000);
        let before = c.position_ms();
        c.speed(-1.0);
        for gop in 0..4 {
            let mut p = 900_000 - 90_000 * gop;
            run(&mut c, &mut t, &mut p, 25, 3600, 40_000);
        }
        assert!((before - c.position_ms() - 4000).abs() <= 80, "{}", before - c.position_ms());
    }

    #[test]
    fn a_seek_lands_where_it_was_told_and_a_pause_loses_nothing() {
        let (mut c, mut t, mut pts) = (Clock::new(AT), Instant::now(), 0);
        let a = run(&mut c, &mut t, &mut pts, 26, 3600, 40_000);
        t += Duration::from_secs(100);
        c.resumed();
        let b = run(&mut c, &mut t, &mut pts, 25, 3600, 40_000);
        assert_eq!(c.position_ms(), AT + 2000);
        assert!(b[0] > a[25]);
        c.land(AT + 600_000);
        pts = 77;
        let d = run(&mut c, &mut t, &mut pts, 26, 3600, 40_000);
        assert_eq!(c.position_ms(), AT + 601_000);
        assert!(d[0] > b[24]);
    }
}
