//! Tones and detectors for tests.

use std::f32::consts::TAU;

pub fn tone(hz: f32, rate: u32, samples: usize, amplitude: f32) -> Vec<f32> {
    (0..samples).map(|n| amplitude * (TAU * ((hz * n as f32) % rate as f32) / rate as f32).sin()).collect()
}

/// Samples `from..from + len` of an endless tone at 48 kHz.
pub fn tone_at(hz: f32, from: usize, len: usize, amplitude: f32) -> Vec<f32> {
    (from..from + len)
        .map(|n| {
            let x = (f64::from(hz) * n as f64 / 48_000.0).fract() as f32;
            amplitude * (TAU * x).sin()
        })
        .collect()
}

/// Amplitude of the tone at `hz` in `x` (Goertzel).
pub fn tone_level(x: &[f32], hz: f32, rate: u32) -> f32 {
    let w = TAU * hz / rate as f32;
    let k = 2.0 * w.cos();
    let (mut s1, mut s2) = (0.0f64, 0.0f64);
    for v in x {
        let s = f64::from(*v) + f64::from(k) * s1 - s2;
        s2 = s1;
        s1 = s;
    }
    let power = s1 * s1 + s2 * s2 - f64::from(k) * s1 * s2;
    (2.0 * power.max(0.0).sqrt() / x.len() as f64) as f32
}

pub fn rms(x: &[f32]) -> f32 {
    (x.iter().map(|v| v * v).sum::<f32>() / x.len().max(1) as f32).sqrt()
}
