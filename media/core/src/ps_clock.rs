//! Time stamps of a program stream: 33-bit PTS or 32-bit RTP stamps to one steady 64-bit line for picture and sound.

use std::time::Instant;

/// A larger step is a discontinuity (gb28181.md 17.4).
const JUMP: i64 = 5 * 90_000;
/// Picture and sound further apart than this at their first meeting are on different bases.
const APART: i64 = 3 * 90_000;

#[derive(Debug, Default, Clone)]
struct Line {
    raw: i64,
    bits: u32,
    offset: i64,
    out: i64,
    at: Option<Instant>,
    interval: i64,
    /// RTP stamp of the last frame.
    rtp: u32,
}

/// Two lines, picture and sound, kept on one base.
#[derive(Debug, Default, Clone)]
pub(crate) struct PsClock {
    lines: [Line; 2],
    pub rebases: u64,
}

fn elapsed(from: Instant, to: Instant) -> i64 {
    i64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(i64::MAX / 1000).min(86_400_000_000) * 9
        / 100
}

impl PsClock {
    /// 90 kHz stamp for a frame by its PTS, or by its RTP stamp where the stream has no PTS at all. `step`: playing time of the
    /// frame before, used when the stamp stands still.
    pub fn stamp(&mut self, video: bool, pts: Option<u64>, rtp: u32, now: Instant, step: Option<i64>) -> i64 {
        let (me, other) = if video { (0, 1) } else { (1, 0) };
        let peer = self.lines[other].clone();
        let peer_expected = peer.at.map(|at| peer.out + elapsed(at, now));
        let line = &mut self.lines[me];
        let advance = i64::from(rtp.wrapping_sub(std::mem::replace(&mut line.rtp, rtp)) as i32);
        let (raw, bits) = match pts {
            Some(p) => (p, 33),
            None if line.bits == 33 => {
                // One picture without PTS among others: go on from the last.
                let waited = line.at.map_or(0, |at| elapsed(at, now));
                let guess = if (1..=JUMP).contains(&advance) { advance } else { stand_still(waited, line.interval) };
                line.out += step.unwrap_or(guess).max(1);
                line.at = Some(now);
                return line.out;
            }
            None => (u64::from(rtp), 32),
        };
        let Some(at) = line.at else {
            // First of this line: follow the other unless it is on another base.
            let raw = match peer_expected {
                Some(e) => nearest(raw, bits, e - peer.offset),
                None => raw as i64,
            };
            let offset = match peer_expected {
                Some(e) if (raw + peer.offset - e).abs() <= APART => peer.offset,
                Some(e) => {
                    self.rebases += 1;
                    e - raw
                }
                None => 0,
            };
            *line = Line { raw, bits, offset, out: raw + offset, at: Some(now), interval: 3600, rtp };
            return line.out;
        };
        let waited = elapsed(at, now);
        let expected = line.out + waited.max(1);
        let same_source = line.bits == bits;
        let base = if same_source { line.raw } else { expected - line.offset };
        let wide = nearest(raw, bits, base);
        let delta = if same_source { wide - line.raw } else { wide + line.offset - line.out };
        if delta == 0 {
            // Constant or repeated stamps: go on by playing time, or by arrival.
            line.out += step.unwrap_or(stand_still(waited, line.interval)).max(1);
            line.at = Some(now);
            return line.out;
        }
        if (1..=90_000).contains(&delta) {
            // Down at once, up slowly: with B pictures the steps differ.
            line.interval =
                if delta < line.interval { delta } else { line.interval + (delta - line.interval + 15) / 16 };
        }
        let back = wide + line.offset - line.out;
        if delta.abs() > JUMP || back < -JUMP {
            let go_on = line.out + waited.clamp(line.interval, i64::MAX);
            // The other line may have made this jump already: keep picture and sound together.
            let follow = wide + peer.offset;
            line.offset = if peer.at.is_some() && peer.offset != line.offset && (follow - go_on).abs() <= 90_000 {
                peer.offset
            } else {
                go_on - wide
            };
            self.rebases += 1;
        }
        line.raw = wide;
        line.bits = bits;
        line.out = wide + line.offset;
        line.at = Some(now);
        line.out
    }
}

/// Step for a stamp that does not move: by arrival, or the usual interval within a burst.
fn stand_still(waited: i64, interval: i64) -> i64 {
    if waited >= 900 { waited } else { interval }
}

/// The value congruent to `raw` (mod 2^bits) that lies nearest to `base`.
fn nearest(raw: u64, bits: u32, base: i64) -> i64 {
    let span = 1i64 << bits;
    let d = (raw as i64).wrapping_sub(base).rem_euclid(span);
    base.wrapping_add(if d >= span / 2 { d - span } else { d })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn wraps_jumps_and_bases() {
        let t = Instant::now();
        let ms = |n| t + Duration::from_millis(n);
        let mut c = PsClock::default();
        let top = (1u64 << 33) - 3600;
        assert_eq!(c.stamp(true, Some(top), 0, ms(0), None), top as i64);
        assert_eq!(c.stamp(true, Some(0), 0, ms(40), None), top as i64 + 3600);
        // sound on another base: placed by arrival once
        let a = c.stamp(false, Some(50_000_000), 0, ms(50), None);
        assert_eq!(a, top as i64 + 3600 + 900);
        assert_eq!(c.stamp(false, Some(50_003_600), 0, ms(500), None), a + 3600);
        // jump back 100 s: goes on by arrival
        assert_eq!(c.stamp(true, Some(90_000 * 100), 0, ms(80), None), top as i64 + 7200);
        assert_eq!(c.stamp(true, Some(90_000 * 100 + 3600), 0, ms(120), None), top as i64 + 10_800);
        // standing still
        assert_eq!(c.stamp(true, Some(90_000 * 100 + 3600), 0, ms(160), None), top as i64 + 14_400);
        assert_eq!(c.rebases, 2);
    }

    #[test]
    fn both_lines_jump_together() {
        let t = Instant::now();
        let ms = |n| t + Duration::from_millis(n);
        let mut c = PsClock::default();
        c.stamp(true, Some(900_000), 0, ms(0), None);
        c.stamp(false, Some(900_900), 0, ms(5), None);
        let v = c.stamp(true, Some(90_000_000), 0, ms(40), None);
        let a = c.stamp(false, Some(90_000_000 - 900), 0, ms(60), None);
        assert_eq!(v - a, 900);
    }
}
