//! Loudness of what was sent, measured on the very bytes that left: no clock.

use media_core::g711;

/// Silence on the scale of RFC 6465.
pub const SILENCE: f32 = -127.0;

/// Sums the power of packets until it is read.
#[derive(Debug, Default)]
pub struct Meter {
    power: f64,
    samples: u64,
}

impl Meter {
    /// Takes the G.711 A-law of one packet that was sent.
    pub fn sent(&mut self, alaw: &[u8]) {
        for byte in alaw {
            let sample = f64::from(g711::alaw_decode(*byte)) / 32_768.0;
            self.power += sample * sample;
        }
        self.samples += alaw.len() as u64;
    }

    /// Loudness in dB below overload since the last reading. A-law has no zero: its smallest step (-72 dB) counts as silence.
    pub fn read(&mut self) -> f32 {
        let now = std::mem::take(self);
        if now.samples == 0 {
            return SILENCE;
        }
        let db = 10.0 * (now.power / now.samples as f64).max(1e-13).log10();
        if db < -70.0 { SILENCE } else { db as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_and_silence() {
        let mut m = Meter::default();
        assert_eq!(m.read(), SILENCE);
        m.sent(&[g711::silence(true); 1600]);
        assert_eq!(m.read(), SILENCE);
        let tone: Vec<u8> = (0..1600)
            .map(|n| g711::alaw_encode((f64::from(n) * 0.1 * std::f64::consts::TAU).sin().mul_add(8000.0, 0.0) as i16))
            .collect();
        m.sent(&tone);
        // 8000 of 32768 as a sine: -12.2 - 3 dB.
        assert!((m.read() + 15.25).abs() < 0.2);
    }
}
