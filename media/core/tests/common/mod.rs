//! Helpers of the tests: a small random source, the installed programs, RTP-sized pieces.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use skybridge_media_core::ps::{PsAudio, PsDemuxer, PsEvent, PsVideo};

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

pub fn have(program: &str) -> bool {
    let ok = Command::new(program)
        .arg(if program.starts_with("gst") { "--version" } else { "-version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !ok {
        println!("skipped, no {program}");
    }
    ok
}

/// Runs a program; panics with its words when it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn temp(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media-core");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// Packets of one stream by ffprobe: `v:0` or `a:0`.
pub fn probe(file: &Path, stream: &str) -> usize {
    let f = file.to_str().unwrap();
    let out = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            stream,
            "-count_packets",
            "-show_entries",
            "stream=nb_read_packets",
            "-of",
            "csv=p=0",
            f,
        ],
    );
    out.lines()
        .next()
        .unwrap_or_default()
        .trim()
        .trim_end_matches(',')
        .parse()
        .unwrap_or_else(|_| panic!("ffprobe said {out:?}"))
}

/// A test picture file of 4 s at 25/s as Annex B. `codec`: libx264 or libx265.
pub fn video_file(codec: &str, extra: &[&str], name: &str) -> PathBuf {
    let out = temp(name);
    let mut args = vec![
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25:duration=4",
        "-c:v",
        codec,
        "-preset",
        "ultrafast",
        "-g",
        "25",
        "-pix_fmt",
        "yuv420p",
    ];
    args.extend(extra);
    args.push(out.to_str().unwrap());
    run("ffmpeg", &args);
    out
}

/// The same packets in another container (stream copy).
pub fn remux(from: &Path, to: &Path, h265: bool, format: &str) {
    let filter = if h265 { "hevc_mp4toannexb" } else { "h264_mp4toannexb" };
    run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-y",
            "-i",
            from.to_str().unwrap(),
            "-c",
            "copy",
            "-bsf:v",
            filter,
            "-f",
            format,
            to.to_str().unwrap(),
        ],
    );
}

#[derive(Default)]
pub struct Out {
    pub video: Vec<PsVideo>,
    pub audio: Vec<PsAudio>,
    pub other: Vec<PsEvent>,
}

pub fn drain(d: &mut PsDemuxer, out: &mut Out) {
    while let Some(e) = d.poll() {
        match e {
            PsEvent::Video(v) => out.video.push(v),
            PsEvent::Audio(a) => out.audio.push(a),
            e => out.other.push(e),
        }
    }
}

/// A whole PS file through the demuxer in pieces of `size`, without help from RTP.
pub fn demux(data: &[u8], size: usize, mut d: PsDemuxer) -> (Out, PsDemuxer) {
    let start = Instant::now();
    let mut out = Out::default();
    for (i, p) in data.chunks(size).enumerate() {
        d.push(p, 0, false, start + Duration::from_millis(i as u64));
        drain(&mut d, &mut out);
    }
    d.flush();
    drain(&mut d, &mut out);
    (out, d)
}
