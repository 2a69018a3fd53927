//! Conversion between sampling rates by a polyphase FIR filter (windowed sinc).

use super::RATE;

/// Taps at the lower of the two rates. 32 taps with a Kaiser window of beta 7 give a transition band of 14 % of that rate
/// and a stop band below -70 dB.
const TAPS: usize = 32;
const BETA: f64 = 7.0;

/// Converts between two sampling rates in a whole ratio. Cost 8 kHz to 48 kHz: 32 multiplications a sample.
pub struct Resampler {
    up: usize,
    down: usize,
    /// Taps of each phase, newest sample last.
    taps: usize,
    coefficients: Vec<f32>,
    history: Vec<f32>,
    /// Index into `history` of the newest sample that the next output needs.
    at: usize,
    phase: usize,
    /// Samples at the end of `history` that nobody can hear.
    quiet: usize,
}

/// What is quieter (-66 dB below overload) is held instead of filtered: its images cannot be heard either. Most open microphones of
/// a large conference are as quiet most of the time.
const QUIET: f32 = 0.0005;

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

impl Resampler {
    /// From `from` to `to` samples per second; both between 7350 and 192000.
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (from.max(1), to.max(1));
        let g = gcd(from, to);
        let (up, down) = ((to / g) as usize, (from / g) as usize);
        // At a falling rate the filter must be longer by the ratio.
        let taps = if down > up { (TAPS * down).div_ceil(up) } else { TAPS };
        let length = taps * up;
        let cutoff = 0.47 / up.max(down) as f64;
        let centre = (length - 1) as f64 / 2.0;
        let prototype: Vec<f64> = (0..length)
            .map(|n| {
                let x = n as f64 - centre;
                let sinc = if x == 0.0 {
                    2.0 * cutoff
                } else {
                    (2.0 * std::f64::consts::PI * cutoff * x).sin() / (std::f64::consts::PI * x)
                };
                let r = x / (centre + 0.5);
                sinc * bessel(BETA * (1.0 - r * r).max(0.0).sqrt()) / bessel(BETA)
            })
            .collect();
        let mut coefficients = vec![0.0; length];
        for phase in 0..up {
            let gain: f64 = (0..taps).map(|k| prototype[phase + k * up]).sum();
            for k in 0..taps {
                coefficients[phase * taps + taps - 1 - k] = (prototype[phase + k * up] / gain) as f32;
            }
        }
        Resampler { up, down, taps, coefficients, history: vec![0.0; taps - 1], at: taps - 1, phase: 0, quiet: 0 }
    }

    /// To 48 kHz.
    pub fn to_inside(from: u32) -> Self {
        Resampler::new(from, RATE)
    }

    /// Appends what `input` gives.
    pub fn process(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.history.extend_from_slice(input);
        out.reserve(input.len() * self.up / self.down + 1);
        let loud = input.iter().rposition(|s| s.abs() > QUIET);
        self.quiet = loud.map_or(self.quiet.saturating_add(input.len()), |at| input.len() - 1 - at);
        if self.down == 1 && self.quiet >= self.history.len() {
            self.hold(out);
        } else {
            self.filter(out);
        }
        let spent = (self.at + 1 - self.taps).min(self.history.len());
        self.history.drain(..spent);
        self.at -= spent;
    }

    fn filter(&mut self, out: &mut Vec<f32>) {
        while self.at < self.history.len() {
            let window = &self.history[self.at + 1 - self.taps..=self.at];
            let taps = &self.coefficients[self.phase * self.taps..(self.phase + 1) * self.taps];
            out.push(dot(window, taps));
            self.phase += self.down;
            self.at += self.phase / self.up;
            self.phase %= self.up;
        }
    }

    /// Each sample as long as it lasts, as late as the filter would give it, so that speech goes on without a step.
    fn hold(&mut self, out: &mut Vec<f32>) {
        while self.at < self.history.len() {
            out.extend(std::iter::repeat_n(self.history[self.at - self.taps / 2], self.up - self.phase));
            self.phase = 0;
            self.at += 1;
        }
    }
}

/// Eight running sums, so that the compiler may use vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (x, y) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::audio::testkit::{rms, tone, tone_level};

    #[test]
    fn keeps_length_and_level_and_makes_no_image() {
        for from in [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
            let mut r = Resampler::to_inside(from);
            let mut out = Vec::new();
            for part in tone(1000.0, from, from as usize, 0.5).chunks(from as usize / 50) {
                r.process(part, &mut out);
            }
            assert!((out.len() as i64 - 48_000).abs() <= 8, "{from}: {}", out.len());
            let level = tone_level(&out[4800..43_200], 1000.0, RATE);
            assert!((level - 0.5).abs() < 0.01, "{from}: {level}");
            let image = tone_level(&out[4800..43_200], 7000.0, RATE);
            assert!(image < 0.001, "{from}: {image}");
        }
    }

    /// Speech after a pause of faint noise, and a pause after it: as by the filter alone, but for what cannot be heard.
    #[test]
    fn what_is_quiet_is_held_and_speech_goes_on_behind_it() {
        for from in [8_000, 16_000] {
            let noise = |n: u32| ((n * 7919) % 13) as f32 / 13.0 * 0.0008 - 0.0004;
            let mut sound: Vec<f32> = (0..from).map(noise).collect();
            sound.extend(tone(700.0, from, 8000, 0.4));
            sound.extend((0..from).map(noise));
            let (mut ours, mut filtered) = (Resampler::to_inside(from), Resampler::to_inside(from));
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for part in sound.chunks(from as usize / 50) {
                ours.process(part, &mut a);
            }
            filtered.process(&sound, &mut b);
            assert_eq!(a.len(), b.len());
            let worst = a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst > 0.0, "{from}: nothing was held");
            assert!(worst < 0.001, "{from}: {worst}");
        }
    }

    #[test]
    fn lowers_the_rate_without_aliases() {
        let mut r = Resampler::new(RATE, 8000);
        let mut out = Vec::new();
        r.process(&tone(5000.0, RATE, 48_000, 0.9), &mut out);
        assert!(rms(&out[200..]) < 0.002, "{}", rms(&out[200..]));
        out.clear();
        r.process(&tone(3000.0, RATE, 48_000, 0.9), &mut out);
        assert!((tone_level(&out[200..], 3000.0, 8000) - 0.9).abs() < 0.05);
    }
}
