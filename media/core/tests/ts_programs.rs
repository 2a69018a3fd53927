//! A transport stream under the label of a program stream: the output of ffmpeg through our demuxer, picture by picture.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{demux, have, probe, run, temp, video_file};
use media_core::ps::{PsDemuxer, PsEvent, Sniffed};
use media_core::ts::{PACKET, TsDemuxer};
use media_core::{Codec, h264, h265};
use skybridge_media_core as media_core;

/// The file as MPEG-TS with AAC beside the pictures.
fn transport(video: &std::path::Path, name: &str) -> std::path::PathBuf {
    let ts = temp(name);
    let tone = "sine=frequency=440:sample_rate=16000:duration=4";
    let (from, to) = (video.to_str().unwrap(), ts.to_str().unwrap());
    run(
        "ffmpeg",
        &[
            "-v", "error", "-y", "-i", from, "-f", "lavfi", "-i", tone, "-map", "0:v", "-map", "1:a", "-c:v", "copy",
            "-c:a", "aac", "-f", "mpegts", to,
        ],
    );
    ts
}

#[test]
fn ffmpeg_mpegts_picture_by_picture() {
    if !have("ffmpeg") || !have("ffprobe") {
        return;
    }
    for (codec, lib, extra) in [
        (Codec::H264, "libx264", &["-bf", "0"][..]),
        (Codec::H265, "libx265", &["-x265-params", "bframes=0:log-level=error"]),
    ] {
        let h265 = codec == Codec::H265;
        let mkv = video_file(lib, extra, &format!("ts-{lib}.mkv"));
        let (es, ts) = (mkv.with_extension("es"), transport(&mkv, &format!("ts-{lib}.ts")));
        common::remux(&mkv, &es, h265, if h265 { "hevc" } else { "h264" });
        let bytes = std::fs::read(&es).unwrap();
        let want = if h265 { h265::access_units(&bytes) } else { h264::access_units(&bytes) };
        let data = std::fs::read(&ts).unwrap();
        // Seven packets as over UDP; pieces that cut packets, as over TCP; all in one.
        for size in [7 * PACKET, 1400, 60_000] {
            let (out, d) = demux(&data, size, PsDemuxer::new());
            let s = d.stats();
            assert_eq!(out.video.len(), want.len(), "{codec} {size} {s:?}");
            for (i, (a, b)) in out.video.iter().zip(&want).enumerate() {
                assert!(a.payload == b.payload && a.key == b.key, "{codec} {size}: picture {i}");
            }
            assert!(out.video.windows(2).all(|w| w[1].pts - w[0].pts == 3600), "{codec} {size}: stamps");
            let frames = probe(&ts, "a:0");
            assert!(out.audio.len() + 1 >= frames && out.audio.len() <= frames, "{} of {frames}", out.audio.len());
            assert!(out.audio.iter().all(|a| a.codec == Codec::Aac && a.clock_rate == 16_000));
            let apart = out.audio[0].pts as f64 / 16_000.0 - out.video[0].pts as f64 / 90_000.0;
            assert!(apart.abs() < 0.15, "picture and sound on one base: {apart}");
        }
    }
}

#[test]
fn a_picture_does_not_wait_for_the_next_one() {
    if !have("ffmpeg") {
        return;
    }
    let mkv = video_file("libx264", &["-bf", "0"], "ts-early.mkv");
    let data = std::fs::read(transport(&mkv, "ts-early.ts")).unwrap();
    let mut d = PsDemuxer::new();
    let start = Instant::now();
    let (mut begun, mut late, mut whole) = (0u32, 0u32, 0u32);
    for (n, packet) in data.chunks(PACKET).enumerate() {
        // A packet of the pictures that begins a unit: what was begun before it should be out.
        if packet[1] & 0x40 != 0 && u16::from_be_bytes([packet[1] & 0x1F, packet[2]]) == 0x100 {
            late += u32::from(whole < begun);
            begun += 1;
        }
        d.push(&[packet, packet].concat()[..PACKET], 0, false, start + Duration::from_millis(n as u64));
        while let Some(event) = d.poll() {
            whole += u32::from(matches!(event, PsEvent::Video(_)));
        }
    }
    // Without stuffing the end is not to be seen: one in 184.
    assert!(begun == 100 && late <= 8, "{late} of {begun} waited");
}

#[test]
fn losses_and_rubbish_cost_pictures_and_nothing_else() {
    if !have("ffmpeg") {
        return;
    }
    let mkv = video_file("libx264", &["-bf", "0"], "ts-loss.mkv");
    let data = std::fs::read(transport(&mkv, "ts-loss.ts")).unwrap();
    let mut d = PsDemuxer::new();
    let (mut pictures, mut sniffed, start) = (0, None, Instant::now());
    for (n, piece) in data.chunks(7 * PACKET).enumerate() {
        if n % 40 == 39 {
            d.lost();
            continue;
        }
        d.push(piece, 0, false, start + Duration::from_millis(n as u64 * 3));
        while let Some(event) = d.poll() {
            match event {
                PsEvent::Video(_) => pictures += 1,
                PsEvent::Sniffed(s) => sniffed = Some(s),
                _ => {}
            }
        }
    }
    assert_eq!(sniffed, Some(Sniffed::Ts));
    assert!((70..100).contains(&pictures), "{pictures} of 100");
    // A stream that begins in the middle of a packet finds its way.
    let mut ts = TsDemuxer::new();
    ts.push(&data[100..]);
    let mut count = 0;
    let (mut maps, mut polled) = (0, 0);
    for piece in data[100..].chunks(1000) {
        ts.push(piece);
        maps += usize::from(ts.changed_map().is_some());
        while ts.poll().is_some() {
            count += 1;
            polled += 1;
        }
    }
    assert!(count > 100 && polled > 100 && maps >= 1, "{count} {maps} {:?}", ts.stats());
}
