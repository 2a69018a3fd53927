//! Speech in and out: 16-bit WAV, and espeak-ng run once.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::options::PhoneSpec;
use crate::report;

/// Reads a 16-bit PCM WAV file as mono at 8 kHz.
pub fn read(path: &Path) -> Result<Vec<i16>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&bytes).ok_or(format!("{} is not a 16-bit PCM WAV file", path.display()))
}

fn parse(bytes: &[u8]) -> Option<Vec<i16>> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut channels, mut rate) = (12usize, 1usize, 8000u32);
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // A WAV written to a pipe has a length that is not true: the rest of the file counts.
        let body = bytes.get(at + 8..(at + 8).saturating_add(length).min(bytes.len()))?;
        match &head[..4] {
            b"fmt " => {
                let word = |n: usize| Some(u16::from_le_bytes([*body.get(n)?, *body.get(n + 1)?]));
                if word(14)? != 16 {
                    return None;
                }
                channels = usize::from(word(2)?).max(1);
                rate = u32::from(word(4)?) | u32::from(word(6)?) << 16;
            }
            b"data" => {
                let samples: Vec<i16> =
                    body.chunks_exact(2 * channels).map(|s| i16::from_le_bytes([s[0], s[1]])).collect();
                return Some(resample(&samples, rate));
            }
            _ => {}
        }
        at += 8 + length + length % 2;
    }
    None
}

/// To 8 kHz, each output sample the mean of a window of input as wide as a step: enough of a filter for speech.
fn resample(samples: &[i16], rate: u32) -> Vec<i16> {
    let step = f64::from(rate.max(1)) / 8000.0;
    let width = step.max(1.0).ceil() as usize;
    let count = (samples.len() as f64 / step) as usize;
    (0..count)
        .filter_map(|n| {
            let from = (n as f64 * step) as usize;
            let window = samples.get(from..(from + width).min(samples.len()))?;
            let sum: i64 = window.iter().map(|s| i64::from(*s)).sum();
            Some((sum / window.len().max(1) as i64) as i16)
        })
        .collect()
}

/// Speaks a text through espeak-ng.
pub fn speak(text: &str) -> Result<Vec<i16>, String> {
    let done = Command::new("espeak-ng")
        .args(["-s", "150", "--stdout", text])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("espeak-ng does not start: {e}"))?;
    parse(&done.stdout).filter(|s| !s.is_empty()).ok_or("espeak-ng made no sound".into())
}

/// One second of a tone.
pub fn tone(hertz: f64) -> Vec<i16> {
    (0..8000).map(|n| ((f64::from(n) * hertz.round() / 8000.0 * std::f64::consts::TAU).sin() * 8000.0) as i16).collect()
}

/// Writes mono 8 kHz.
pub fn write(path: &Path, samples: &[i16]) -> std::io::Result<()> {
    let length = (samples.len() * 2) as u32;
    let mut out = Vec::with_capacity(44 + samples.len() * 2);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + length).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend_from_slice(&8000u32.to_le_bytes());
    out.extend_from_slice(&16000u32.to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    std::fs::write(path, out)
}

/// What the phone says, as 8 kHz samples.
pub fn speech(spec: &PhoneSpec) -> Vec<i16> {
    let made = match (&spec.speak, &spec.text, spec.tone) {
        (Some(path), _, _) => read(path),
        (None, Some(text), _) => speak(text),
        (None, None, Some(hertz)) => return tone(hertz).repeat(10),
        (None, None, None) => return Vec::new(),
    };
    made.unwrap_or_else(|why| {
        report::say(&format!("phone {} sounds a tone in place of speech: {why}", spec.user));
        tone(400.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let path = std::env::temp_dir().join(format!("fieldsim-{}.wav", std::process::id()));
        write(&path, &tone(440.0)).unwrap();
        assert_eq!(read(&path).unwrap(), tone(440.0));
        std::fs::remove_file(path).unwrap();
        assert_eq!(resample(&[0; 22_050], 22_050).len(), 8000);
    }
}
