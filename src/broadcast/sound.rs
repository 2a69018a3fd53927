//! What a broadcast says: a chime and the sound of a text or a file, repeated, as packets of whatever codec a target wants.
//!
//! A codec's packets are made once, as the first target of that codec comes to them, and are the same for all: each target begins at
//! the first one, whenever it answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use media_core::Codec;
use media_core::wav::Wav;
use media_hub::audio::{BLOCK, Block, Encoder, OpusSettings, RATE, Resampler};

/// Longest sound, seconds.
pub(crate) const LONGEST: u32 = 600;
/// Blocks of 20 ms before the first word: a phone that answers by itself beeps, a loudspeaker wakes up.
const LEAD: usize = 40;
/// Blocks after the last word, so that what is on its way is heard.
const TAIL: usize = 30;
/// The loudest sample, of 1: what is quiet is raised to it by at most `MOST_GAIN`.
const PEAK: f32 = 0.7;
const MOST_GAIN: f32 = 20.0;
/// Tones of the chime in Hz, seconds of each, and of the pause behind them.
const CHIME: [f32; 3] = [784.0, 659.3, 523.3];
const CHIME_NOTE: f32 = 0.4;
const CHIME_PAUSE: f32 = 0.3;
/// Packets made at once where a target changes to a codec in the midst of it.
const CATCH_UP: usize = 100;
/// Codecs and modes of one announcement.
const MOST_RENDITIONS: usize = 24;

struct Rendition {
    encoder: Encoder,
    packets: Vec<Bytes>,
}

type Renditions = HashMap<(Codec, u8), Arc<Mutex<Rendition>>>;

/// An announcement.
pub(crate) struct Announcement {
    /// Once, at 48 kHz.
    samples: Vec<i16>,
    rounds: u32,
    /// Blocks between two rounds.
    pause: usize,
    made: Mutex<Renditions>,
}

fn chime(out: &mut Vec<i16>) {
    let note = (CHIME_NOTE * RATE as f32) as usize;
    for hz in CHIME {
        out.extend((0..note).map(|n| {
            let t = n as f32 / RATE as f32;
            // 5 ms of attack; the strike dies away.
            let edge = (t / 0.005).min(1.0) * (-4.0 * t).exp() * (1.0 - n as f32 / note as f32);
            ((std::f32::consts::TAU * hz * t).sin() * edge * PEAK * 32_767.0) as i16
        }));
    }
    out.extend(std::iter::repeat_n(0, (CHIME_PAUSE * RATE as f32) as usize));
}

impl Announcement {
    /// `rounds` times, with `pause` seconds between them. May take a second for a long file: not for a thread that others wait for.
    pub fn new(wav: &Wav, with_chime: bool, rounds: u32, pause: u32) -> Announcement {
        let loudest = wav.samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        let gain = (PEAK * 32_767.0 / f32::from(loudest.max(1))).min(MOST_GAIN);
        let mut samples = Vec::new();
        if with_chime {
            chime(&mut samples);
        }
        let mut up = Resampler::to_inside(wav.rate);
        let (mut part, mut made) = (Vec::new(), Vec::new());
        // What the filter holds back comes out by what is fed behind the end.
        let flush = [0i16; 256];
        for chunk in wav.samples.chunks(4096).chain([&flush[..]]) {
            part.clear();
            made.clear();
            part.extend(chunk.iter().map(|s| f32::from(*s)));
            up.process(&part, &mut made);
            samples.extend(made.iter().map(|s| (s * gain).clamp(-32_768.0, 32_767.0) as i16));
        }
        let pause = pause as usize * RATE as usize / BLOCK;
        Announcement { samples, rounds: rounds.max(1), pause, made: Mutex::default() }
    }

    /// Once, as a file.
    pub fn wav(&self) -> Vec<u8> {
        Wav { rate: RATE, samples: self.samples.clone() }.write()
    }

    /// Seconds of one round.
    pub fn seconds(&self) -> f32 {
        self.samples.len() as f32 / RATE as f32
    }

    fn round(&self) -> usize {
        self.samples.len().div_ceil(BLOCK)
    }

    /// Packets of 20 ms in all.
    pub fn packets(&self) -> usize {
        let rounds = self.rounds as usize;
        LEAD + rounds * self.round() + (rounds - 1) * self.pause + TAIL
    }

    /// How often it was said before packet `n`: 1.5 is once and a half.
    pub fn position(&self, n: usize) -> f32 {
        let Some(n) = n.checked_sub(LEAD) else { return 0.0 };
        let (round, cycle) = (self.round().max(1), (self.round() + self.pause).max(1));
        let whole = (n / cycle) as f32 + (n % cycle).min(round) as f32 / round as f32;
        whole.min(self.rounds as f32)
    }

    fn block(&self, n: usize) -> Block {
        let mut block: Block = [0.0; BLOCK];
        let from = n.checked_sub(LEAD).map(|n| n * BLOCK);
        let sound = from.and_then(|from| self.samples.get(from..)).unwrap_or_default();
        for (to, from) in block.iter_mut().zip(sound) {
            *to = f32::from(*from) / 32_768.0;
        }
        block
    }

    /// Packet `n` in a codec and its mode. None: not yet made (ask again in 20 ms), or the codec cannot be made.
    pub fn packet(&self, codec: Codec, mode: u8, n: usize) -> Option<Bytes> {
        let rendition = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            match made.get(&(codec, mode)) {
                Some(rendition) => rendition.clone(),
                None if made.len() >= MOST_RENDITIONS => return None,
                None => {
                    let encoder = Encoder::with_mode(codec, mode, &OpusSettings::default()).ok()?;
                    let fresh = Arc::new(Mutex::new(Rendition { encoder, packets: Vec::new() }));
                    made.insert((codec, mode), fresh.clone());
                    fresh
                }
            }
        };
        // The second and later rounds are the packets of the first.
        let cycle = (self.round() + self.pause).max(1);
        let last = self.rounds as usize - 1;
        let wanted = match n.checked_sub(LEAD) {
            Some(n) => LEAD + n - (n / cycle).min(last) * cycle,
            None => n,
        };
        let mut rendition = rendition.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..CATCH_UP {
            let next = rendition.packets.len();
            if next > wanted {
                break;
            }
            let packet = rendition.encoder.encode(&self.block(next)).unwrap_or_default();
            rendition.packets.push(packet);
        }
        rendition.packets.get(wanted).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn announcement(rounds: u32, pause: u32, with_chime: bool) -> Announcement {
        let samples = (0..4000).map(|n| if n % 16 < 8 { 1000 } else { -1000 }).collect();
        Announcement::new(&Wav { rate: 8000, samples }, with_chime, rounds, pause)
    }

    fn loud(a: &Announcement, n: usize) -> bool {
        let packet = a.packet(Codec::G711A, 0, n).unwrap();
        packet.len() == 160 && packet.iter().any(|b| media_core::g711::alaw_decode(*b).unsigned_abs() > 4000)
    }

    #[test]
    fn every_round_is_whole_and_pauses_are_silent() {
        let a = announcement(3, 1, false);
        let round = a.round();
        assert!((a.seconds() - 0.5).abs() < 0.04, "{}", a.seconds());
        assert_eq!(a.packets(), LEAD + 3 * round + 2 * 50 + TAIL);
        for r in 0..3 {
            let from = LEAD + r * (round + 50);
            assert!(loud(&a, from + 2) && loud(&a, from + 20), "round {r}");
            assert!(!loud(&a, from + round + 5), "pause {r}");
        }
        assert!(!loud(&a, LEAD - 2) && !loud(&a, a.packets() - 1));
        let at = |n| a.position(n);
        assert_eq!((at(LEAD), at(LEAD + round), at(LEAD + round + 30), at(a.packets())), (0.0, 1.0, 1.0, 3.0));
        assert!((at(LEAD + round + 50 + round / 2) - 1.5).abs() < 0.05);
    }

    #[test]
    fn quiet_sound_is_raised_and_the_chime_comes_first() {
        let a = announcement(1, 0, true);
        let peak = a.samples.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((20_000..=32_000).contains(&peak), "{peak}");
        assert!((a.seconds() - 2.0).abs() < 0.05, "{}", a.seconds());
        assert!(loud(&a, LEAD + 2));
    }

    #[test]
    fn a_codec_in_the_midst_of_it_is_made_in_steps() {
        let a = announcement(1, 0, true);
        assert!(a.packet(Codec::Opus, 0, 105).is_none());
        assert!(a.packet(Codec::Opus, 0, 105).is_some());
        assert!(a.packet(Codec::H264, 0, 0).is_none());
    }
}
