//! Tones, detectors and wav files.

use std::f32::consts::TAU;
use std::path::Path;

pub fn write_tone(path: &Path, hz: f32, seconds: u32) {
    write_tone_at(path, hz, seconds, 8000, 1);
}

pub fn write_tone_at(path: &Path, hz: f32, seconds: u32, rate: u32, channels: u16) {
    let n = seconds * rate;
    let bytes = n * 2 * u32::from(channels);
    let mut out = Vec::with_capacity(44 + bytes as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + bytes).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend_from_slice(&channels.to_le_bytes());
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&(rate * 2 * u32::from(channels)).to_le_bytes());
    out.extend_from_slice(&(2 * channels).to_le_bytes());
    out.extend_from_slice(b"\x10\0data");
    out.extend_from_slice(&bytes.to_le_bytes());
    for i in 0..n {
        let x = (f64::from(hz) * f64::from(i) / f64::from(rate)).fract() as f32;
        for _ in 0..channels {
            out.extend_from_slice(&(((TAU * x).sin() * 8000.0) as i16).to_le_bytes());
        }
    }
    std::fs::write(path, out).unwrap();
}

/// The first channel of a 16-bit wav file, and its rate.
pub fn read_wav_mono(path: &Path) -> (Vec<f32>, f32) {
    let bytes = std::fs::read(path).unwrap();
    if bytes.len() < 44 {
        return (Vec::new(), 8000.0);
    }
    let channels = usize::from(u16::from_le_bytes([bytes[22], bytes[23]])).max(1);
    let rate = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
    (read_wav(path).into_iter().step_by(channels).collect(), rate as f32)
}

/// Samples of a 16-bit wav file, however its header was left by a killed writer.
pub fn read_wav(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").map_or(44, |p| p + 8);
    bytes[data.min(bytes.len())..]
        .chunks_exact(2)
        .map(|c| f32::from(i16::from_le_bytes([c[0], c[1]])) / 32768.0)
        .collect()
}

/// Amplitude of `hz` in 8 kHz samples.
pub fn level(x: &[f32], hz: f32) -> f32 {
    level_at(x, hz, 8000.0)
}

pub fn level_at(x: &[f32], hz: f32, rate: f32) -> f32 {
    let k = f64::from(2.0 * (TAU * hz / rate).cos());
    let (mut a, mut b) = (0.0f64, 0.0f64);
    for v in x {
        let s = f64::from(*v) + k * a - b;
        b = a;
        a = s;
    }
    (2.0 * (a * a + b * b - k * a * b).max(0.0).sqrt() / x.len().max(1) as f64) as f32
}

/// The highest level over windows of 100 ms: whether the tone was there at all.
pub fn peak_level(x: &[f32], hz: f32) -> f32 {
    x.chunks(800).map(|c| level(c, hz)).fold(0.0, f32::max)
}
