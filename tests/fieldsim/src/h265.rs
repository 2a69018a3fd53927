//! H.265 by ffmpeg's libx265 in a process of its own: no B pictures, parameter sets before each key frame. A key frame
//! cannot be ordered: there is one every `gop` pictures.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::painter::Picture;

pub struct H265 {
    child: Child,
    input: ChildStdin,
    units: Receiver<Vec<u8>>,
}

impl Drop for H265 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl H265 {
    pub fn new(size: (usize, usize), fps: u32, gop: u32, bitrate: u32) -> Result<Self, String> {
        let x265 = format!(
            "keyint={gop}:min-keyint={gop}:scenecut=0:bframes=0:repeat-headers=1:aud=1:frame-threads=1:pools=1:log-level=error"
        );
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &format!("{}x{}", size.0, size.1)])
            .args([
                "-r",
                &fps.to_string(),
                "-i",
                "-",
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
            ])
            .args(["-b:v", &bitrate.to_string(), "-x265-params", &x265, "-flush_packets", "1", "-f", "hevc", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|e| format!("ffmpeg does not start: {e}"))?;
        let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("ffmpeg has no pipes".into());
        };
        let (sender, units) = channel();
        std::thread::spawn(move || {
            let (mut all, mut piece) = (Vec::new(), vec![0; 65_536]);
            while let Ok(n) = output.read(&mut piece) {
                if n == 0 {
                    return;
                }
                all.extend_from_slice(piece.get(..n).unwrap_or_default());
                // An access unit delimiter begins each picture.
                while let Some(next) = delimiter(&all, 4) {
                    let rest = all.split_off(next);
                    if sender.send(std::mem::replace(&mut all, rest)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { child, input, units })
    }

    /// Gives one picture in, and one that is whole out: it may be that of an earlier call. True when it is a key frame; none
    /// while nothing is ready.
    pub fn encode(&mut self, picture: &Picture, out: &mut Vec<u8>) -> Result<Option<bool>, String> {
        for plane in [&picture.luma, &picture.cb, &picture.cr] {
            self.input.write_all(plane).map_err(|e| format!("ffmpeg: {e}"))?;
        }
        let Ok(unit) = self.units.recv_timeout(Duration::from_millis(5)) else { return Ok(None) };
        let key = unit.windows(5).any(|w| w[..3] == [0, 0, 1] && matches!(w[3] >> 1, 16..=21));
        out.extend_from_slice(&unit);
        Ok(Some(key))
    }
}

/// Where the next access unit delimiter (type 35) begins, its four-byte start code included.
fn delimiter(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len().saturating_sub(5)).find(|i| bytes[*i..].starts_with(&[0, 0, 0, 1, 35 << 1]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn delimiters() {
        let bytes = [0, 0, 0, 1, 70, 1, 0x50, 0, 0, 1, 38, 0, 0, 0, 1, 70, 1, 0x50];
        assert_eq!(super::delimiter(&bytes, 4), Some(11));
    }
}
