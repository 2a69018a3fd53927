//! Real media by ffmpeg, and ffmpeg as the judge.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

pub fn ffmpeg() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok()
        && Command::new("ffprobe").arg("-version").output().is_ok();
    if !there {
        println!("skipped, no ffmpeg");
    }
    there
}

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// One access unit: presentation stamp in 90 kHz, key, canonical payload.
pub struct Unit {
    pub pts: i64,
    pub key: bool,
    pub payload: Bytes,
}

fn annexb(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= data.len() {
        if data[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    (0..starts.len())
        .map(|n| {
            let end = starts.get(n + 1).map_or(data.len(), |e| e - 3);
            let mut nal = &data[starts[n]..end];
            while nal.last() == Some(&0) {
                nal = &nal[..nal.len() - 1];
            }
            nal
        })
        .collect()
}

/// testsrc2 of `frames` pictures at 25 a second. `pictures` of B: their stamps are taken from ffprobe.
pub fn video(codec: &str, size: &str, frames: u32, gop: u32, b: u32) -> Vec<Unit> {
    let dir = super::support::Folder::new("src");
    let (gop, b, n) = (gop.to_string(), b.to_string(), frames.to_string());
    let src = format!("testsrc2=size={size}:rate=25");
    let path = dir.0.join(if codec == "libx265" { "v.h265" } else { "v.h264" });
    let mut args =
        vec!["-v", "error", "-f", "lavfi", "-i", &src, "-frames:v", &n, "-pix_fmt", "yuv420p", "-c:v", codec];
    let x = format!(
        "keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b}:aud=1:repeat-headers=1:log-level=error:open-gop=0:open_gop=0"
    );
    args.extend(["-preset", "ultrafast"]);
    if codec == "libx265" {
        args.extend(["-x265-params", &x]);
    } else {
        args.extend([
            "-bf",
            &b,
            "-g",
            &gop,
            "-x264opts",
            if b == "0" { "scenecut=0:aud:repeat-headers=1:open_gop=0" } else { "scenecut=0:open_gop=0" },
        ]);
    }
    let mp4 = dir.0.join("v.mp4");
    args.push(if b == "0" { path.to_str().unwrap() } else { mp4.to_str().unwrap() });
    run("ffmpeg", &args);
    if b != "0" {
        let filter = "h264_mp4toannexb,h264_metadata=aud=insert";
        run(
            "ffmpeg",
            &["-v", "error", "-i", mp4.to_str().unwrap(), "-c", "copy", "-bsf:v", filter, path.to_str().unwrap()],
        );
    }
    let data = std::fs::read(&path).unwrap();
    let h265 = codec == "libx265";
    let mut units: Vec<Unit> = Vec::new();
    for nal in annexb(&data) {
        let kind = if h265 { nal[0] >> 1 & 0x3F } else { nal[0] & 0x1F };
        if kind == if h265 { 35 } else { 9 } {
            units.push(Unit { pts: units.len() as i64 * 3600, key: false, payload: Bytes::new() });
            continue;
        }
        let unit = units.last_mut().unwrap();
        unit.key |= if h265 { (16..=21).contains(&kind) } else { kind == 5 };
        let mut v = unit.payload.to_vec();
        v.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        v.extend_from_slice(nal);
        unit.payload = v.into();
    }
    assert_eq!(units.len() as u32, frames);
    if b != "0" {
        // In decode order; the container knows the order of showing.
        let pts = packets(&mp4, "v");
        assert_eq!(pts.len(), units.len());
        let least = pts.iter().map(|p| p.0).fold(f64::MAX, f64::min);
        for (unit, p) in units.iter_mut().zip(pts) {
            unit.pts = ((p.0 - least) * 90_000.0).round() as i64;
        }
    }
    units
}

/// (pts, dts, key) of each packet, in seconds.
pub fn packets(path: &Path, kind: &str) -> Vec<(f64, f64, bool)> {
    let out = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            kind,
            "-show_entries",
            "packet=pts_time,dts_time,flags",
            "-of",
            "csv=p=0",
            path.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .filter(|l| !l.is_empty())
        .map(|l| {
            let mut f = l.split(',');
            let mut num = || f.next().unwrap().parse().unwrap();
            let (pts, dts) = (num(), num());
            (pts, dts, l.contains('K'))
        })
        .collect()
}

/// A figure of ffprobe, such as `format=duration` or `stream=codec_name`.
pub fn probe(path: &Path, what: &str) -> String {
    let out = run("ffprobe", &["-v", "error", "-show_entries", what, "-of", "csv=p=0", path.to_str().unwrap()]);
    String::from_utf8(out).unwrap().trim().to_owned()
}

/// Decodes all and gives how many pictures came out; any complaint fails.
pub fn decode(path: &Path) -> usize {
    let out =
        Command::new("ffmpeg").args(["-v", "error", "-i", path.to_str().unwrap(), "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && said.is_empty(), "{}: {said}", path.display());
    let out = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
            path.to_str().unwrap(),
        ],
    );
    String::from_utf8(out).unwrap().lines().next().unwrap_or_default().trim_end_matches(',').parse().unwrap_or(0)
}

/// Packets of a sound: (AudioSpecificConfig or nothing, packets), one second long for each 50 (Opus) or 1024 samples (AAC).
pub fn sound(codec: &str, seconds: u32) -> (Bytes, Vec<Bytes>) {
    let dir = super::support::Folder::new("snd");
    let src = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    if codec == "aac" {
        let path = dir.0.join("a.aac");
        run("ffmpeg", &["-v", "error", "-f", "lavfi", "-i", &src, "-c:a", "aac", "-ac", "2", path.to_str().unwrap()]);
        let data = std::fs::read(&path).unwrap();
        let mut packets = Vec::new();
        let mut at = 0;
        while at + 7 <= data.len() {
            let len =
                usize::from(data[at + 3] & 3) << 11 | usize::from(data[at + 4]) << 3 | usize::from(data[at + 5]) >> 5;
            let head = if data[at + 1] & 1 == 1 { 7 } else { 9 };
            packets.push(Bytes::copy_from_slice(&data[at + head..at + len]));
            at += len;
        }
        // AAC LC, 48 kHz, stereo.
        return (Bytes::from_static(&[0x11, 0x90]), packets);
    }
    let path = dir.0.join("a.opus");
    run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            &src,
            "-c:a",
            "libopus",
            "-ac",
            "2",
            "-page_duration",
            "20000",
            path.to_str().unwrap(),
        ],
    );
    (Bytes::new(), ogg(&std::fs::read(&path).unwrap()))
}

fn ogg(data: &[u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    let mut part: Vec<u8> = Vec::new();
    let mut at = 0;
    while at + 27 <= data.len() && &data[at..at + 4] == b"OggS" {
        let segments = usize::from(data[at + 26]);
        let table = &data[at + 27..at + 27 + segments];
        let mut body = at + 27 + segments;
        for s in table {
            part.extend_from_slice(&data[body..body + usize::from(*s)]);
            body += usize::from(*s);
            if *s < 255 {
                packets.push(Bytes::from(std::mem::take(&mut part)));
            }
        }
        at = body;
    }
    packets.split_off(2)
}

/// VP8 frames: (key, payload).
pub fn vp8(frames: u32, gop: u32) -> Vec<(bool, Bytes)> {
    let dir = super::support::Folder::new("vp8");
    let path = dir.0.join("v.ivf");
    let (n, g) = (frames.to_string(), gop.to_string());
    run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x240:rate=25",
            "-frames:v",
            &n,
            "-c:v",
            "libvpx",
            "-g",
            &g,
            "-auto-alt-ref",
            "0",
            "-deadline",
            "realtime",
            path.to_str().unwrap(),
        ],
    );
    let data = std::fs::read(&path).unwrap();
    let mut at = 32;
    let mut out = Vec::new();
    while at + 12 <= data.len() {
        let len = u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
        let payload = Bytes::copy_from_slice(&data[at + 12..at + 12 + len]);
        out.push((payload[0] & 1 == 0, payload));
        at += 12 + len;
    }
    out
}
