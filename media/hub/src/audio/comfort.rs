//! Comfort noise: what a listener hears while nobody speaks, so that silence is not taken for a dead line; and the noise that
//! a far end described.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use media_core::Codec;

use super::encode::OpusSettings;
use super::vocoder::Vocoder;
use super::{Block, Encoder};

/// Loudness of the noise that is made here, in dB below overload: heard in a quiet room, and 40 dB below speech.
pub const LEVEL_DBOV: f32 = -66.0;
/// Packets of the noise, given one after the other again and again: 320 ms.
const LOOP: usize = 16;
/// Kept noises: codecs and their modes.
const KEPT: usize = 32;

/// White noise without a library: xorshift.
#[derive(Debug, Clone)]
struct White(u32);

impl White {
    /// Uniform within -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 as f32 / u32::MAX as f32) * 2.0 - 1.0
    }
}

/// Amplitude of uniform noise of a power in dB below overload.
fn amplitude(dbov: f32) -> f32 {
    3f32.sqrt() * 10f32.powf(dbov / 20.0)
}

fn block(white: &mut White) -> Block {
    let gain = amplitude(LEVEL_DBOV);
    // A simple low pass, as rooms sound.
    let mut last = 0.0;
    std::array::from_fn(|_| {
        last = 0.7 * last + 0.71 * white.next() * gain;
        last
    })
}

type Packets = Arc<[Bytes]>;

/// The packets of 20 ms of comfort noise in a codec and mode; made once in a process.
pub(crate) fn packets(codec: Codec, mode: u8) -> Packets {
    static MADE: OnceLock<Mutex<HashMap<(Codec, u8), Packets>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(|p| p.into_inner());
    if let Some(known) = made.get(&(codec, mode)) {
        return known.clone();
    }
    let settings = OpusSettings { bit_rate: 8000, expected_loss: 0, ..OpusSettings::default() };
    let mut white = White(0x5EED_1234);
    let fresh: Packets = match Encoder::with_mode(codec, mode, &settings) {
        Ok(mut encoder) => {
            encoder.warm([&block(&mut white), &block(&mut white)]);
            (0..LOOP).filter_map(|_| encoder.encode(&block(&mut white)).ok()).collect()
        }
        Err(_) => Arc::from([]),
    };
    if made.len() < KEPT {
        made.insert((codec, mode), fresh.clone());
    }
    fresh
}

/// One packet of 20 ms of comfort noise in `codec` and mode; `n` counts packets. None for a codec that is not encoded here.
pub fn packet(codec: Codec, mode: u8, n: u64) -> Option<Bytes> {
    let packets = packets(codec, mode);
    packets.get((n % packets.len().max(1) as u64) as usize).cloned()
}

/// What is sent in a pause instead of it, and describes it: comfort noise of RFC 3389 for G.711 and G.722, the silence
/// description of G.729 Annex B and of AMR. None for the others.
pub fn description(codec: Codec) -> Option<Bytes> {
    match codec {
        Codec::G711A | Codec::G711U | Codec::G722 => Some(Bytes::copy_from_slice(&[-LEVEL_DBOV as u8])),
        Codec::G729 | Codec::Amr | Codec::AmrWb => vocoder_description(codec),
        _ => None,
    }
}

fn vocoder_description(codec: Codec) -> Option<Bytes> {
    static MADE: OnceLock<Mutex<HashMap<Codec, Bytes>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap_or_else(|p| p.into_inner());
    if let Some(known) = made.get(&codec) {
        return Some(known.clone());
    }
    let mut encoder = Vocoder::new(codec, true).ok()?;
    let (rate, gain) = (Vocoder::rate(codec) as usize, amplitude(LEVEL_DBOV) * 32768.0);
    let mut white = White(0x00C0_FFEE);
    let mut found = None;
    // The detectors of speech need up to a second to be sure of the silence; the last description is of the noise alone.
    for _ in 0..100 {
        let noise: Vec<i16> = (0..rate / 50).map(|_| (white.next() * gain) as i16).collect();
        let mut out = Vec::new();
        encoder.encode(&noise, &mut out).ok()?;
        match codec {
            Codec::G729 if out.len() == 2 => found = Some(out),
            Codec::Amr | Codec::AmrWb => {
                let wide = codec == Codec::AmrWb;
                // An update (STI of 1): the first of a pause holds no parameters.
                let update = |f: &media_core::amr::Stored| f.data.get(4).is_some_and(|b| b & 0x10 != 0);
                let mut rest = &out[..];
                if media_core::amr::next_stored(wide, &mut rest)
                    .is_some_and(|f| f.kind == media_core::amr::sid(wide) && update(&f))
                {
                    found = Some(out);
                }
            }
            _ => {}
        }
    }
    let found = Bytes::from(found?);
    made.insert(codec, found.clone());
    Some(found)
}

/// Coefficients of a description that are used (RFC 3389 lets a sender give any number).
const ORDER: usize = 12;

/// Makes the noise that a far end described by RFC 3389: white noise through the lattice of its reflection coefficients.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    gain: f32,
    k: [f32; ORDER],
    order: usize,
    b: [f32; ORDER + 1],
    white: White,
}

impl Described {
    /// Nothing for an empty payload.
    pub fn new(payload: &[u8]) -> Option<Described> {
        let (level, coefficients) = payload.split_first()?;
        // Louder than -30 dB below overload is no comfort.
        let dbov = -f32::from(level & 0x7F).max(30.0);
        let mut k = [0.0; ORDER];
        let order = coefficients.len().min(ORDER);
        let mut rest = 1.0f32;
        for (k, c) in k.iter_mut().zip(coefficients) {
            *k = ((f32::from(*c) - 127.0) / 127.0).clamp(-0.98, 0.98);
            rest *= 1.0 - *k * *k;
        }
        let gain = amplitude(dbov) * rest.max(1e-6).sqrt();
        Some(Described { gain, k, order, b: [0.0; ORDER + 1], white: White(0x0BAD_5EED) })
    }

    /// Takes a newer description, and goes on without a step.
    pub fn renew(&mut self, next: Described) {
        (self.gain, self.k, self.order) = (next.gain, next.k, next.order);
    }

    /// Appends samples.
    pub fn fill(&mut self, samples: usize, out: &mut Vec<f32>) {
        for _ in 0..samples {
            let mut f = self.white.next() * self.gain;
            for i in (0..self.order).rev() {
                f -= self.k[i] * self.b[i];
                self.b[i + 1] = self.b[i] + self.k[i] * f;
            }
            self.b[0] = f;
            out.push(f.clamp(-0.1, 0.1));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::audio::testkit::rms;
    use crate::audio::{BLOCK, Decoder, decode::Comfort};
    use media_core::TrackInfo;

    fn db(x: &[f32]) -> f32 {
        20.0 * rms(x).log10()
    }

    #[test]
    fn the_noise_is_as_quiet_as_it_should_be_in_every_codec() {
        for codec in [Codec::Opus, Codec::G711A, Codec::G711U, Codec::G722, Codec::G729, Codec::Amr, Codec::AmrWb] {
            let mut decoder = Decoder::new(&TrackInfo::audio(codec, codec.clock(), 1)).unwrap();
            let mut out = Vec::new();
            for n in 0..100 {
                decoder.decode(&packet(codec, 7, n).unwrap(), &mut out).unwrap();
            }
            let level = db(&out[24_000..]);
            println!("{codec}: {level:.1} dB");
            assert!((-80.0..-55.0).contains(&level), "{codec}: {level}");
        }
    }

    #[test]
    fn a_description_is_heard_as_noise_of_its_level_for_as_long_as_the_pause_lasts() {
        for codec in [Codec::G711A, Codec::G722, Codec::G729, Codec::Amr, Codec::AmrWb] {
            let mut decoder = Decoder::new(&TrackInfo::audio(codec, codec.clock(), 1)).unwrap();
            let mut out = Vec::new();
            let described = description(codec).unwrap();
            match codec {
                Codec::G711A | Codec::G722 => decoder.describe(&described),
                _ => {
                    for n in 0..20 {
                        decoder.decode(&packet(codec, 0, n).unwrap(), &mut out).unwrap();
                    }
                    decoder.decode(&described, &mut out).unwrap();
                }
            }
            assert_eq!(decoder.comfort(), Comfort::Resting, "{codec}");
            out.clear();
            for n in 0..200 {
                decoder.go_on(BLOCK, &mut out);
                if n % 8 == 7 && matches!(codec, Codec::Amr | Codec::AmrWb) {
                    decoder.decode(&described, &mut Vec::new()).unwrap();
                }
            }
            assert_eq!(out.len(), 200 * BLOCK, "{codec}");
            let level = db(&out[96_000..]);
            println!("{codec}: {level:.1} dB");
            assert!((-82.0..-52.0).contains(&level), "{codec}: {level}");
        }
    }

    #[test]
    fn a_described_spectrum_keeps_its_level_and_hostile_ones_are_harmless() {
        for payload in [&[40u8][..], &[40, 200, 60, 127], &[40, 90, 140, 100, 150]] {
            let mut out = Vec::new();
            Described::new(payload).unwrap().fill(80_000, &mut out);
            assert!((db(&out) + 40.0).abs() < 2.0, "{payload:?}: {}", db(&out));
        }
        for fill in [0u8, 127, 254, 255] {
            let mut out = Vec::new();
            Described::new(&[0, fill, fill, 0, 255, fill, fill, 3, 9, fill, 0, 0, 255, 255])
                .unwrap()
                .fill(80_000, &mut out);
            assert!(out.iter().all(|s| s.is_finite() && s.abs() <= 0.1));
        }
        assert!(Described::new(&[]).is_none());
    }
}
