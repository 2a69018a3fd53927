//! Sound files: RIFF WAVE (Multimedia Programming Interface 1.0, chapter 3; `WAVEFORMATEXTENSIBLE`), read into mono of 16 bits.
//!
//! PCM of 8 to 32 bits, float of 32 bits and G.711 are read. A length that says more than there is, as a program writes it that
//! does not know the length yet, ends with the bytes.

use crate::error::ParseError;
use crate::g711;

/// Most chunks before the sound.
const CHUNKS: usize = 64;
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xFFFE;

/// Mono sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wav {
    /// Samples per second, 4,000 to 192,000.
    pub rate: u32,
    pub samples: Vec<i16>,
}

#[derive(Clone, Copy)]
struct Format {
    tag: u16,
    channels: usize,
    rate: u32,
    /// Bytes of one sample.
    bytes: usize,
}

fn le16(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn le32(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn format(b: &[u8], at: usize) -> Result<Format, ParseError> {
    let short = || ParseError::new("the format chunk is too short", at);
    let mut tag = le16(b, 0).ok_or_else(short)?;
    let channels = usize::from(le16(b, 2).ok_or_else(short)?);
    let rate = le32(b, 4).ok_or_else(short)?;
    let bits = usize::from(le16(b, 14).ok_or_else(short)?);
    if tag == EXTENSIBLE {
        // The first bytes of the sub-format's GUID are the tag.
        tag = le16(b, 24).ok_or_else(short)?;
    }
    if !(1..=8).contains(&channels) {
        return Err(ParseError::new("1 to 8 channels are read", at));
    }
    if !(4_000..=192_000).contains(&rate) {
        return Err(ParseError::new("4,000 to 192,000 samples a second are read", at));
    }
    let known = match tag {
        PCM => matches!(bits, 8 | 16 | 24 | 32),
        FLOAT => bits == 32,
        A_LAW | MU_LAW => bits == 8,
        _ => false,
    };
    if !known {
        return Err(ParseError::new("the format is none of PCM, float of 32 bits, A-law, mu-law", at));
    }
    Ok(Format { tag, channels, rate, bytes: bits / 8 })
}

impl Format {
    /// One sample, as wide as `bytes` says, in 16 bits.
    fn sample(self, b: &[u8]) -> i32 {
        match (self.tag, b) {
            (A_LAW, [x]) => i32::from(g711::alaw_decode(*x)),
            (MU_LAW, [x]) => i32::from(g711::ulaw_decode(*x)),
            (FLOAT, [a, b, c, d]) => {
                let x = f32::from_le_bytes([*a, *b, *c, *d]);
                // Not a number becomes silence.
                (x * 32_767.0).clamp(-32_768.0, 32_767.0) as i32
            }
            // Of 8 bits without a sign.
            (PCM, [x]) => (i32::from(*x) - 128) << 8,
            (PCM, [a, b]) => i32::from(i16::from_le_bytes([*a, *b])),
            (PCM, [.., a, b]) => i32::from(i16::from_le_bytes([*a, *b])),
            _ => 0,
        }
    }
}

impl Wav {
    /// Reads a file; its channels become one. More than `max_seconds` of sound are refused, before anything is kept.
    pub fn parse(b: &[u8], max_seconds: u32) -> Result<Wav, ParseError> {
        if b.get(..4) != Some(b"RIFF") || b.get(8..12) != Some(b"WAVE") {
            return Err(ParseError::new("this is no RIFF WAVE file", 0));
        }
        let mut at = 12;
        let mut known = None;
        for _ in 0..CHUNKS {
            let end = || ParseError::new("the file ends before the sound", at);
            let kind = b.get(at..at + 4).ok_or_else(end)?;
            let length = le32(b, at + 4).ok_or_else(end)? as usize;
            let begin = at + 8;
            let rest = b.get(begin..).ok_or_else(end)?;
            let body = rest.get(..length).unwrap_or(rest);
            match (kind, known) {
                (b"fmt ", _) => known = Some(format(body, begin)?),
                (b"data", Some(format)) => return format.read(body, begin, max_seconds),
                (b"data", None) => return Err(ParseError::new("the sound comes before its format", at)),
                _ => {}
            }
            // Chunks begin at even places.
            at = begin.saturating_add(length).saturating_add(length & 1);
        }
        Err(ParseError::new("too many chunks before the sound", at))
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// The file: PCM of 16 bits, one channel.
    pub fn write(&self) -> Vec<u8> {
        let bytes = u32::try_from(self.samples.len() * 2).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(44 + self.samples.len() * 2);
        out.extend_from_slice(b"RIFF");
        out.extend_from_slice(&bytes.saturating_add(36).to_le_bytes());
        out.extend_from_slice(b"WAVEfmt ");
        out.extend_from_slice(&16u32.to_le_bytes());
        out.extend_from_slice(&PCM.to_le_bytes());
        out.extend_from_slice(&1u16.to_le_bytes());
        out.extend_from_slice(&self.rate.to_le_bytes());
        out.extend_from_slice(&(self.rate * 2).to_le_bytes());
        out.extend_from_slice(&2u16.to_le_bytes());
        out.extend_from_slice(&16u16.to_le_bytes());
        out.extend_from_slice(b"data");
        out.extend_from_slice(&bytes.to_le_bytes());
        self.samples.iter().for_each(|s| out.extend_from_slice(&s.to_le_bytes()));
        out
    }
}

impl Format {
    fn read(self, body: &[u8], at: usize, max_seconds: u32) -> Result<Wav, ParseError> {
        let block = self.bytes * self.channels;
        if body.len() / block > self.rate as usize * max_seconds as usize {
            return Err(ParseError::new("the sound is too long", at));
        }
        let mono = |block: &[u8]| {
            let sum: i32 = block.chunks_exact(self.bytes).map(|b| self.sample(b)).sum();
            (sum / self.channels as i32) as i16
        };
        Ok(Wav { rate: self.rate, samples: body.chunks_exact(block).map(mono).collect() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn file(tag: u16, channels: u16, bits: u16, before: &[u8], said: u32, sound: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVE".to_vec();
        out.extend_from_slice(before);
        out.extend_from_slice(b"fmt \x10\0\0\0");
        for x in [tag, channels] {
            out.extend_from_slice(&x.to_le_bytes());
        }
        out.extend_from_slice(&8000u32.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(b"data");
        out.extend_from_slice(&said.to_le_bytes());
        out.extend_from_slice(sound);
        out
    }

    fn samples(tag: u16, channels: u16, bits: u16, sound: &[u8]) -> Vec<i16> {
        Wav::parse(&file(tag, channels, bits, b"", sound.len() as u32, sound), 10).unwrap().samples
    }

    #[test]
    fn every_form_becomes_mono_of_16_bits() {
        assert_eq!(samples(PCM, 1, 16, &[0x34, 0x12, 0, 0x80]), [0x1234, -32_768]);
        assert_eq!(samples(PCM, 2, 16, &[10, 0, 20, 0]), [15]);
        assert_eq!(samples(PCM, 1, 8, &[128, 255, 0]), [0, 127 << 8, -32_768]);
        assert_eq!(samples(PCM, 1, 24, &[0xFF, 0x34, 0x12]), [0x1234]);
        assert_eq!(samples(PCM, 1, 32, &[0xFF, 0xFF, 0x34, 0x12]), [0x1234]);
        let float: Vec<u8> = [1.0f32, -0.5, f32::NAN, 9.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(samples(FLOAT, 1, 32, &float), [32_767, -16_383, 0, 32_767]);
        assert_eq!(samples(A_LAW, 1, 8, &[0xD5]), [8]);
        assert_eq!(samples(MU_LAW, 1, 8, &[0xFF]), [0]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let wav = Wav { rate: 22_050, samples: vec![1, -2, 300] };
        assert_eq!(Wav::parse(&wav.write(), 1).unwrap(), wav);
    }

    #[test]
    fn a_length_beyond_the_end_and_chunks_before_the_sound() {
        // espeak-ng writes 0x7FFFF000 into a pipe; the odd chunk is followed by a byte of padding.
        let odd = b"LIST\x03\0\0\0abc\0";
        assert_eq!(Wav::parse(&file(PCM, 1, 16, odd, 0x7FFF_F000, &[1, 0, 2]), 1).unwrap().samples, [1]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let good = file(PCM, 1, 16, b"", 4, &[0; 4]);
        for n in 0..good.len() - 4 {
            assert!(Wav::parse(&good[..n], 1).is_err(), "{n}");
        }
        let why = |tag, channels, bits| Wav::parse(&file(tag, channels, bits, b"", 0, b""), 1).unwrap_err().what;
        assert!(why(PCM, 0, 16).contains("channels") && why(PCM, 9, 16).contains("channels"));
        assert!(why(2, 1, 4).contains("none of"));
        let long = file(PCM, 1, 16, b"", 16_002, &[0; 16_004]);
        assert_eq!(Wav::parse(&long, 1).unwrap_err().what, "the sound is too long");
        assert!(Wav::parse(&long, 2).is_ok());
    }
}
