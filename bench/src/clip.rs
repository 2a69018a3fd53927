//! The picture that all measurements send: H.264 of about 2 Mbit/s, encoded once, cut into access units.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Res;

/// In front of the frame number in an SEI of user data, by which a viewer knows a picture again.
pub const MARK: [u8; 16] = *b"skybridge-bench\x01";
pub const FPS: u64 = 25;

pub struct Unit {
    pub key: bool,
    /// Annex B.
    bytes: Vec<u8>,
    /// Where the first slice begins: the SEI goes in front of it.
    slice_at: usize,
}

pub struct Clip {
    pub units: Vec<Unit>,
    pub bits_per_second: f64,
    pub key_every: usize,
}

impl Clip {
    /// Encodes with ffmpeg: one slice a picture, no B-frames.
    pub fn encode(kbit: u32, key_every: usize) -> Res<Clip> {
        let seconds = 8;
        let rate = format!("{kbit}k");
        let buffer = format!("{}k", kbit / 2);
        let source = format!("testsrc2=size=1280x720:rate={FPS}:duration={seconds}");
        let gop = key_every.to_string();
        let mut args: Vec<&str> = vec!["-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", &source];
        args.extend(["-vf", "noise=alls=12:allf=t", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast"]);
        args.extend(["-profile:v", "baseline", "-x264-params", "sliced-threads=0:slices=1:scenecut=0", "-g", &gop]);
        args.extend(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &buffer, "-f", "h264", "-"]);
        let made = Command::new("ffmpeg").args(&args).stdin(Stdio::null()).output()?;
        if !made.status.success() {
            return Err(format!("ffmpeg: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let units = cut(&made.stdout);
        if units.len() < key_every {
            return Err(format!("ffmpeg made {} pictures", units.len()).into());
        }
        let bits = made.stdout.len() as f64 * 8.0;
        Ok(Clip { bits_per_second: bits * FPS as f64 / units.len() as f64, units, key_every })
    }

    /// The access unit of a frame number, with that number in it.
    pub fn frame(&self, number: u32) -> (bool, Vec<u8>) {
        let Some(unit) = self.units.get(number as usize % self.units.len().max(1)) else { return (false, Vec::new()) };
        let (head, slice) = unit.bytes.split_at(unit.slice_at);
        let mut out = Vec::with_capacity(unit.bytes.len() + 64);
        out.extend_from_slice(head);
        // SEI, user data unregistered, 16 + 8 bytes; the number in nibbles with a high bit, so that no start code arises.
        out.extend_from_slice(&[0, 0, 0, 1, 6, 5, 24]);
        out.extend_from_slice(&MARK);
        out.extend((0..8).rev().map(|n| 0x40 | ((number >> (4 * n)) & 15) as u8));
        out.push(0x80);
        out.extend_from_slice(slice);
        (unit.key, out)
    }

    pub fn describe(&self) -> String {
        format!(
            "1280x720, {FPS} fps, {:.2} Mbit/s, key frame each {:.1} s",
            self.bits_per_second / 1e6,
            self.key_every as f64 / FPS as f64
        )
    }
}

/// The frame number in a piece of a picture.
pub fn number_in(payload: &[u8]) -> Option<u32> {
    let head = payload.get(..payload.len().min(400))?;
    let at = head.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let digits = payload.get(at..at + 8)?;
    Some(digits.iter().fold(0, |n, d| n << 4 | u32::from(d & 15)))
}

fn cut(stream: &[u8]) -> Vec<Unit> {
    let mut starts: Vec<usize> = Vec::new();
    let mut at = 0;
    while at + 4 <= stream.len() {
        if stream[at..].starts_with(&[0, 0, 1]) {
            starts.push(if at > 0 && stream[at - 1] == 0 { at - 1 } else { at });
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut units = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(stream.len());
        let nal = &stream[*start..end];
        let header = nal.iter().position(|b| *b == 1).and_then(|p| nal.get(p + 1)).copied().unwrap_or(0);
        match header & 31 {
            kind @ (1 | 5) => {
                let slice_at = bytes.len();
                bytes.extend_from_slice(nal);
                units.push(Unit { key: kind == 5, bytes: std::mem::take(&mut bytes), slice_at });
            }
            7 | 8 => bytes.extend_from_slice(nal),
            // x264's own SEI, delimiters, filler.
            _ => {}
        }
    }
    units
}

/// Whether ffmpeg is there.
pub fn possible() -> bool {
    Command::new("ffmpeg")
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
        || Path::new("/usr/bin/ffmpeg").exists()
}
