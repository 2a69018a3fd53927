//! What was received of a phone: jitter and loss (RFC 3550 6.4.1 and A.8).

use std::time::Instant;

use media_core::rtcp::ReportBlock;
use media_core::rtp::SeqExtender;

#[derive(Debug, Default)]
pub(crate) struct Reception {
    ssrc: u32,
    seq: SeqExtender,
    first: u64,
    received: u64,
    /// In ticks, as A.8 keeps it.
    jitter: f64,
    last: Option<(Instant, u32)>,
    /// Expected and received at the last report block and at the last quality report.
    at_report: (u64, u64),
    at_quality: (u64, u64),
    /// Middle of the last sender report's NTP time and its arrival.
    sender_report: Option<(u32, Instant)>,
    /// Received and lost of earlier SSRCs.
    past: (u64, u64),
}

impl Reception {
    pub fn packet(&mut self, ssrc: u32, sequence: u16, timestamp: u32, clock: u32, voice: bool, now: Instant) {
        if self.received == 0 || self.ssrc != ssrc {
            *self = Reception { ssrc, past: self.totals(), ..Reception::default() };
            self.first = self.seq.extend(sequence);
        } else {
            self.seq.extend(sequence);
        }
        self.received += 1;
        if !voice {
            return;
        }
        if let Some((at, stamp)) = self.last {
            let arrival = now.saturating_duration_since(at).as_secs_f64() * f64::from(clock);
            let d = arrival - f64::from(timestamp.wrapping_sub(stamp) as i32);
            // A pause is no jitter.
            if d.abs() < f64::from(clock) {
                self.jitter += (d.abs() - self.jitter) / 16.0;
            }
        }
        self.last = Some((now, timestamp));
    }

    fn expected(&self) -> u64 {
        self.seq.highest().map_or(0, |h| h.saturating_sub(self.first) + 1)
    }

    /// Packets received and packets that did not come, since the beginning and over all SSRCs.
    pub fn totals(&self) -> (u64, u64) {
        (self.past.0 + self.received, self.past.1 + self.expected().saturating_sub(self.received))
    }

    /// The present jitter in milliseconds.
    pub fn jitter_ms(&self, clock: u32) -> f32 {
        (self.jitter * 1000.0 / f64::from(clock.max(1))) as f32
    }

    pub fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.sender_report = Some((media_core::time::ntp_middle(ntp), now));
    }

    /// The block for our report; none before the first packet.
    pub fn block(&mut self, now: Instant) -> Option<ReportBlock> {
        if self.received == 0 {
            return None;
        }
        let expected = self.expected();
        let (d_expected, d_received) = (expected - self.at_report.0.min(expected), self.received - self.at_report.1);
        self.at_report = (expected, self.received);
        let lost = d_expected.saturating_sub(d_received);
        let fraction = (lost * 256).checked_div(d_expected).unwrap_or(0).min(255) as u8;
        let total = i64::try_from(expected).unwrap_or(0) - i64::try_from(self.received).unwrap_or(0);
        let (last_sr, delay) = match self.sender_report {
            Some((ntp, at)) => (ntp, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction,
            total_lost: total.clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest_sequence: self.seq.highest().unwrap_or(0) as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_sr: delay,
        })
    }

    /// Loss in percent since the last call, packets lost since then, and jitter in milliseconds.
    pub fn quality(&mut self, clock: u32) -> (f32, u64, f32) {
        let expected = self.expected();
        let (d_expected, d_received) =
            (expected - self.at_quality.0.min(expected), self.received - self.at_quality.1.min(self.received));
        self.at_quality = (expected, self.received);
        let lost = d_expected.saturating_sub(d_received);
        let percent = if d_expected == 0 { 0.0 } else { lost as f32 * 100.0 / d_expected as f32 };
        (percent, lost, self.jitter_ms(clock))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_and_jitter_are_counted() {
        let t = Instant::now();
        let mut r = Reception::default();
        assert!(r.block(t).is_none());
        for n in 0..100u32 {
            if n % 10 != 3 {
                let at = t + Duration::from_millis(u64::from(20 * n + (n % 2) * 8));
                r.packet(7, (65_500 + n) as u16, n * 160, 8000, true, at);
            }
        }
        let (percent, lost, jitter) = r.quality(8000);
        assert_eq!((percent, lost), (10.0, 10));
        assert!((5.0..9.0).contains(&jitter), "{jitter}");
        let block = r.block(t).unwrap();
        assert_eq!((block.total_lost, block.fraction_lost, block.ssrc), (10, 25, 7));
        assert_eq!(r.quality(8000).0, 0.0);
    }
}
