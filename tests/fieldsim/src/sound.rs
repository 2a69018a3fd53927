//! The tone of a camera as blocks with their media time: G.711A of 40 ms, or AAC in ADTS made once by ffmpeg.

use std::process::{Command, Stdio};

use crate::{g711, ps};

pub enum Sound {
    None,
    /// A-law, 8 kHz, blocks of 320.
    Alaw {
        hertz: f64,
    },
    /// ADTS frames of 1024 samples at 16 kHz; the list holds whole periods and may be repeated for ever.
    Aac {
        frames: Vec<Vec<u8>>,
    },
    /// G.729 of 40 ms; the list holds whole periods and may be repeated for ever.
    G729 {
        frames: Vec<Vec<u8>>,
    },
    /// A codec that nobody here can make: zeros under its name.
    Named {
        stream_type: u8,
    },
}

const BLOCK: u64 = 3600;
const AAC_FRAME: u64 = 90_000 * 1024 / 16_000;

impl Sound {
    /// Runs ffmpeg for 24 s of tone and keeps the middle 8 s (125 frames: a whole number of periods of any whole hertz).
    pub fn aac(hertz: f64) -> Result<Self, String> {
        let source = format!("sine=frequency={}:sample_rate=16000:duration=24", hertz.round());
        let done = Command::new("ffmpeg")
            .args([
                "-v", "error", "-f", "lavfi", "-i", &source, "-ac", "1", "-c:a", "aac", "-b:a", "48k", "-f", "adts",
                "-",
            ])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("ffmpeg does not start: {e}"))?;
        if !done.status.success() {
            return Err(format!("ffmpeg: {}", String::from_utf8_lossy(&done.stderr).trim()));
        }
        let all = adts_frames(&done.stdout);
        let frames: Vec<Vec<u8>> = all.into_iter().skip(125).take(125).collect();
        if frames.len() == 125 { Ok(Self::Aac { frames }) } else { Err("ffmpeg made too few AAC frames".into()) }
    }

    /// A second of tone by a G.729 encoder, after one in which it settles.
    pub fn g729(hertz: f64) -> Result<Self, String> {
        use codec_core::codecs::g729::G729Codec;
        use codec_core::types::{AudioCodec, CodecConfig, CodecType, SampleRate};
        let settings = CodecConfig::new(CodecType::G729A).with_sample_rate(SampleRate::Rate8000);
        let mut encoder = G729Codec::new(settings).map_err(|e| format!("G.729: {e}"))?;
        let samples: Vec<i16> = (0..16_000u32)
            .map(|n| ((f64::from(n % 8000) / 8000.0 * hertz.round()).fract() * std::f64::consts::TAU).sin() * 8000.0)
            .map(|s| s as i16)
            .collect();
        let mut frames = Vec::new();
        for block in samples.chunks(320) {
            let parts: Result<Vec<_>, _> = block.chunks(80).map(|part| encoder.encode(part)).collect();
            frames.push(parts.map_err(|e| format!("G.729: {e}"))?.concat());
        }
        Ok(Self::G729 { frames: frames.split_off(25) })
    }

    pub fn named_only(stream_type: u8) -> Self {
        Self::Named { stream_type }
    }

    pub fn stream_type(&self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Alaw { .. } => Some(ps::STREAM_G711A),
            Self::Aac { .. } => Some(ps::STREAM_AAC),
            Self::G729 { .. } => Some(ps::STREAM_G729),
            Self::Named { stream_type } => Some(*stream_type),
        }
    }

    fn step(&self) -> u64 {
        if matches!(self, Self::Aac { .. }) { AAC_FRAME } else { BLOCK }
    }

    /// Number of the first block that starts at or after media time `pts` (90 kHz).
    pub fn first_block(&self, pts: u64) -> u64 {
        pts.div_ceil(self.step())
    }

    /// Blocks that start before `until`, beginning with number `next`, which moves on.
    pub fn due(&self, next: &mut u64, until: u64) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        while !matches!(self, Self::None) && *next * self.step() < until {
            out.push((*next * self.step(), self.block(*next)));
            *next += 1;
        }
        out
    }

    fn block(&self, number: u64) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Named { .. } => vec![0x5A; 40],
            Self::Aac { frames } | Self::G729 { frames } => {
                frames.get(number as usize % frames.len().max(1)).cloned().unwrap_or_default()
            }
            Self::Alaw { hertz } => (0..320u64)
                .map(|n| {
                    // Whole seconds are taken out first, so that the phase stays exact for days.
                    let turn = ((number * 320 + n) % 8000) as f64 / 8000.0 * hertz.round();
                    g711::alaw(((turn.fract() * std::f64::consts::TAU).sin() * 8000.0) as i16)
                })
                .collect(),
        }
    }
}

fn adts_frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 7) {
        let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
        match bytes.get(at..at + length) {
            Some(frame) if head[0] == 0xFF && length > 7 => out.push(frame.to_vec()),
            _ => break,
        }
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_media_time() {
        let sound = Sound::Alaw { hertz: 440.0 };
        let mut next = sound.first_block(7201);
        assert_eq!(next, 3);
        let due = sound.due(&mut next, 18_000);
        assert_eq!(due.iter().map(|(t, b)| (*t, b.len())).collect::<Vec<_>>(), [(10_800, 320), (14_400, 320)]);
        assert_eq!(next, 5);
    }
}
