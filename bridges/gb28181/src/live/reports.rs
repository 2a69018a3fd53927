//! RTCP of a session (RFC 3550 6.4 and appendix A): what we report of the device's packets, what its sender reports tell, and
//! how much was lost lately. No I/O, no clock of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media_core::rtcp::{ReportBlock, Rtcp};

/// A receiver report each so often.
pub const EVERY: Duration = Duration::from_secs(5);
/// SSRCs followed in one session.
const MAX_SOURCES: usize = 4;
/// Seconds from 1900 to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;

/// One sender of the session.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Extended highest sequence number, the first one, and packets that came.
    highest: u64,
    base: u64,
    came: u64,
    /// At the last report.
    before: (u64, u64),
    transit: Option<i64>,
    jitter: f64,
    /// Last sender report: NTP, RTP stamp, when it came.
    sender: Option<(u64, u32, Instant)>,
}

/// The sender's two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tie {
    pub ssrc: u32,
    pub rtp: u32,
    /// Milliseconds since 1970 by the sender's wall clock.
    pub wall_ms: i64,
}

/// Reports of one session.
#[derive(Debug, Default)]
pub struct Reports {
    sources: Vec<Source>,
    next: Option<Instant>,
    /// Sender reports read.
    pub received: u64,
    pub sent: u64,
}

impl Reports {
    /// One RTP packet, in the order of arrival. `rate`: ticks a second of its stamps.
    pub fn packet(&mut self, ssrc: u32, sequence: u16, timestamp: u32, rate: u32, origin: Instant, now: Instant) {
        let Some(s) = self.source(ssrc, sequence) else { return };
        s.came += 1;
        let step = sequence.wrapping_sub(s.highest as u16) as i16;
        if step > 0 {
            s.highest += step as u64;
        } else if step < -1000 {
            // The sender counts anew.
            let base = u64::from(sequence);
            (s.base, s.highest, s.came, s.before) = (base, base, 1, (0, 0));
        }
        let arrival =
            (now.saturating_duration_since(origin).as_micros() as i64).wrapping_mul(i64::from(rate)) / 1_000_000;
        let transit = arrival.wrapping_sub(i64::from(timestamp));
        if let Some(last) = s.transit.replace(transit) {
            let d = i64::from(transit.wrapping_sub(last) as i32).unsigned_abs() as f64;
            // A jump of the stamps is no jitter.
            if d < f64::from(rate) {
                s.jitter += (d - s.jitter) / 16.0;
            }
        }
    }

    fn source(&mut self, ssrc: u32, sequence: u16) -> Option<&mut Source> {
        if !self.sources.iter().any(|s| s.ssrc == ssrc) {
            if self.sources.len() == MAX_SOURCES {
                self.sources.remove(0);
            }
            let base = u64::from(sequence);
            let (before, transit, sender) = ((0, 0), None, None);
            self.sources.push(Source { ssrc, highest: base, base, came: 0, before, transit, jitter: 0.0, sender });
        }
        self.sources.iter_mut().find(|s| s.ssrc == ssrc)
    }

    /// A datagram of the device; its sender reports.
    pub fn rtcp(&mut self, data: &[u8], now: Instant) -> Vec<Tie> {
        let mut ties = Vec::new();
        for packet in Rtcp::parse_compound(data).unwrap_or_default() {
            if let Rtcp::SenderReport { ssrc, ntp, rtp, .. } = packet {
                self.received += 1;
                if let Some(s) = self.sources.iter_mut().find(|s| s.ssrc == ssrc) {
                    s.sender = Some((ntp, rtp, now));
                    let millis = ((ntp >> 32).saturating_sub(NTP_OFFSET) * 1000) as i64
                        + (((ntp & 0xFFFF_FFFF) * 1000) >> 32) as i64;
                    ties.push(Tie { ssrc, rtp, wall_ms: millis });
                }
            }
        }
        ties
    }

    /// When a report is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The report that is due now, as `ours`; none before packets came.
    pub fn due(&mut self, ours: u32, now: Instant) -> Option<Vec<u8>> {
        if self.sources.iter().all(|s| s.came == 0) {
            return None;
        }
        let next = *self.next.get_or_insert(now + Duration::from_secs(1));
        if now < next {
            return None;
        }
        self.next = Some(now + EVERY);
        let reports = self.sources.iter_mut().filter(|s| s.came > 0).map(|s| s.block(now)).collect();
        self.sent += 1;
        let report = Rtcp::ReceiverReport { ssrc: ours, reports };
        Some(Rtcp::write_compound(&[report, Rtcp::Sdes { ssrc: ours, cname: "skybridge".into() }]))
    }
}

impl Source {
    fn block(&mut self, now: Instant) -> ReportBlock {
        let expected = self.highest - self.base + 1;
        let (expected_before, came_before) = std::mem::replace(&mut self.before, (expected, self.came));
        let (lately, came) = (expected.saturating_sub(expected_before), self.came.saturating_sub(came_before));
        let lost = lately.saturating_sub(came);
        let fraction = (lost * 256).checked_div(lately).map_or(0, |f| f.min(255) as u8);
        let total = (expected as i64 - self.came as i64).clamp(-0x80_0000, 0x7F_FFFF) as i32;
        let (last_sr, delay) = self.sender.map_or((0, 0), |(ntp, _, at)| {
            let delay = now.saturating_duration_since(at).as_micros() as u64 * 65_536 / 1_000_000;
            ((ntp >> 16) as u32, delay.min(u64::from(u32::MAX)) as u32)
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction,
            total_lost: total,
            highest_sequence: self.highest as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_sr: delay,
        }
    }
}

/// By how much the sender's wall clock is ahead of ours, in milliseconds.
pub fn clock_ahead(tie: &Tie, now: SystemTime) -> i64 {
    let ours = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    tie.wall_ms - ours
}

/// Loss over a sliding window of whole seconds.
#[derive(Debug)]
pub struct LossMeter {
    window: usize,
    /// Packets that came and that did not, by second.
    seconds: VecDeque<(u64, u64)>,
    /// Totals at the begin of the running second.
    from: (u64, u64),
    turn: Option<Instant>,
}

/// Fewer packets than this in the window say nothing.
const ENOUGH: u64 = 200;

impl LossMeter {
    /// `window` in seconds.
    pub fn new(window: u32) -> LossMeter {
        LossMeter { window: window.clamp(1, 600) as usize, seconds: VecDeque::new(), from: (0, 0), turn: None }
    }

    /// Totals of the session so far. Gives percent lost once the window is full.
    pub fn look(&mut self, came: u64, lost: u64, now: Instant) -> Option<f64> {
        let turn = *self.turn.get_or_insert(now + Duration::from_secs(1));
        if now >= turn {
            self.turn = Some(now + Duration::from_secs(1));
            self.seconds.push_back((came.saturating_sub(self.from.0), lost.saturating_sub(self.from.1)));
            self.from = (came, lost);
            if self.seconds.len() > self.window {
                self.seconds.pop_front();
            }
        }
        let (came, lost) = self.seconds.iter().fold((0, 0), |a, s| (a.0 + s.0, a.1 + s.1));
        let enough = self.seconds.len() == self.window && came + lost >= ENOUGH;
        enough.then(|| lost as f64 * 100.0 / (came + lost) as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_report_tells_loss_jitter_and_the_way_back() {
        let t = Instant::now();
        let at = |ms| t + Duration::from_millis(ms);
        let mut r = Reports::default();
        assert_eq!(r.due(1, t), None);
        // 100 packets, 40 ms apart, over the wrap of the sequence; each tenth is missing.
        for n in 0..100u64 {
            if n % 10 != 9 {
                r.packet(5, (65_500 + n) as u16, (n * 3600) as u32, 90_000, t, at(n * 40));
            }
        }
        assert_eq!(r.due(1, at(4000)), None);
        let ntp = ((NTP_OFFSET + 1_700_000_000) << 32) | (1 << 31);
        let sr = Rtcp::SenderReport { ssrc: 5, ntp, rtp: 9000, packets: 90, octets: 1, reports: vec![] };
        let ties = r.rtcp(&Rtcp::write_compound(&[sr]), at(4500));
        assert_eq!(ties, [Tie { ssrc: 5, rtp: 9000, wall_ms: 1_700_000_000_500 }]);
        assert_eq!(clock_ahead(&ties[0], UNIX_EPOCH + Duration::from_millis(1_700_000_000_000)), 500);
        let bytes = r.due(1, at(5000)).unwrap();
        let Rtcp::ReceiverReport { ssrc: 1, reports } = Rtcp::parse_compound(&bytes).unwrap().remove(0) else {
            panic!()
        };
        let b = reports[0];
        assert_eq!((b.total_lost, b.highest_sequence, b.last_sr), (9, 65_598, (ntp >> 16) as u32));
        assert!((23..=26).contains(&b.fraction_lost) && b.jitter < 10, "{b:?}");
        assert!((32_700..=32_800).contains(&b.delay_since_sr));
        assert!(r.due(1, at(5100)).is_none() && r.due(1, at(10_001)).is_some());
        assert!(r.rtcp(&[0x80, 200, 0, 9], t).is_empty());
    }

    #[test]
    fn loss_is_told_for_a_full_window_only() {
        let t = Instant::now();
        let at = |s| t + Duration::from_secs(s);
        let mut m = LossMeter::new(3);
        assert_eq!(m.look(0, 0, at(0)), None);
        assert_eq!(m.look(180, 20, at(1)), None);
        assert_eq!(m.look(360, 40, at(2)), None);
        assert_eq!(m.look(540, 60, at(3)), Some(10.0));
        // Good seconds push the bad ones out.
        assert_eq!(m.look(740, 60, at(4)), Some(4000.0 / 600.0));
        m.look(940, 60, at(5));
        assert_eq!(m.look(1140, 60, at(6)), Some(0.0));
    }
}
