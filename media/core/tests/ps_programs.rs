//! The PS demuxer and muxer against GStreamer and ffmpeg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bytes::Bytes;
use common::{demux, have, probe, run, temp, video_file};
use media_core::aac::AacConfig;
use media_core::ps::{PsDemuxer, PsEvent};
use media_core::ps_mux::PsMuxer;
use media_core::{Codec, h264, h265};
use skybridge_media_core as media_core;

fn all(codec: Codec, file: &std::path::Path) -> Vec<media_core::nal::AccessUnit> {
    let data = std::fs::read(file).unwrap();
    if codec == Codec::H265 { h265::access_units(&data) } else { h264::access_units(&data) }
}

#[test]
fn ffmpeg_vob_without_map() {
    if !have("ffmpeg") || !have("ffprobe") {
        return;
    }
    for (codec, lib, extra) in [
        (Codec::H264, "libx264", &["-bf", "2"][..]),
        (Codec::H264, "libx264", &["-bf", "0", "-b:v", "20M", "-x264-params", "slices=4"]),
        (Codec::H265, "libx265", &["-x265-params", "log-level=error"]),
    ] {
        // by way of Matroska, so that the stamps survive
        let mkv = video_file(lib, extra, &format!("vob-{lib}-{}.mkv", extra.len()));
        let (es, ps) = (mkv.with_extension("es"), mkv.with_extension("vob"));
        common::remux(&mkv, &es, codec == Codec::H265, if codec == Codec::H265 { "hevc" } else { "h264" });
        common::remux(&mkv, &ps, codec == Codec::H265, "vob");
        let data = std::fs::read(&ps).unwrap();
        let want = all(codec, &es);
        assert_eq!(want.len(), probe(&es, "v:0"));
        for size in [1400, 65_000, 7] {
            let (out, d) = demux(&data, size, PsDemuxer::new());
            let s = d.stats();
            assert_eq!(out.video.len(), want.len(), "{codec} {size} {s:?}");
            assert_eq!((s.errors, s.video_codec, s.parameter_sets), (0, Some(codec), true), "{s:?}");
            for (i, (a, b)) in out.video.iter().zip(&want).enumerate() {
                let types = |p: &[u8]| media_core::nal::nals(p).map(|n| (n[0], n.len())).collect::<Vec<_>>();
                assert!(
                    a.payload == b.payload && a.key == b.key,
                    "{codec} {size} picture {i}: {:?} {:?}",
                    types(&a.payload),
                    types(&b.payload)
                );
            }
            assert_eq!((out.video[0].width, out.video[0].height), (640, 360));
            // ffprobe's stamps, in decoding order. Where two pictures begin in one PES the second has no stamp of its own;
            // with B pictures it can then only be guessed.
            let theirs = run(
                "ffprobe",
                &[
                    "-v",
                    "error",
                    "-select_streams",
                    "v:0",
                    "-show_entries",
                    "packet=pts",
                    "-of",
                    "csv=p=0",
                    ps.to_str().unwrap(),
                ],
            );
            let theirs: Vec<Option<i64>> = theirs.lines().map(|l| l.trim_end_matches(',').parse().ok()).collect();
            let wrong: Vec<_> = out
                .video
                .iter()
                .zip(&theirs)
                .filter(|(a, b)| b.is_some_and(|b| b != a.pts))
                .map(|(a, b)| (a.pts, *b))
                .collect();
            println!("{codec} {size}: {} stamps differ {wrong:?}", wrong.len());
            assert!(wrong.len() <= if extra[1] == "0" { 0 } else { 5 });
        }
    }
}

#[test]
fn gstreamer_mpegpsmux() {
    if !have("ffmpeg") || !have("ffprobe") || !have("gst-launch-1.0") {
        return;
    }
    let es = video_file("libx264", &["-bf", "0"], "gst.h264");
    let ps = temp("gst.ps");
    let (src, dst) = (format!("location={}", es.display()), format!("location={}", ps.display()));
    let status = std::process::Command::new("gst-launch-1.0")
        .args(["-q", "filesrc", &src, "!", "h264parse", "!", "mpegpsmux", "!", "filesink", &dst])
        .output()
        .unwrap();
    if !status.status.success() {
        println!("skipped, no mpegpsmux: {}", String::from_utf8_lossy(&status.stderr));
        return;
    }
    let want = all(Codec::H264, &es);
    let (out, d) = demux(&std::fs::read(&ps).unwrap(), 1400, PsDemuxer::new());
    assert_eq!(out.video.len(), want.len(), "{:?}", d.stats());
    assert!(out.video.iter().zip(&want).all(|(a, b)| a.payload == b.payload));
    assert!(d.stats().psm > 0 && out.other.iter().any(|e| matches!(e, PsEvent::Psm(_))));
    assert_eq!(out.video.len(), probe(&ps, "v:0"));
}

#[test]
fn our_muxer_read_by_ffprobe() {
    if !have("ffmpeg") || !have("ffprobe") {
        return;
    }
    let aac = AacConfig { object_type: 2, sample_rate: 16_000, channels: 1 }.to_bytes();
    for (codec, lib, ext, audio) in [
        (Codec::H264, "libx264", "h264", Some(Codec::G711A)),
        (Codec::H265, "libx265", "h265", None),
        (Codec::H264, "libx264", "h264", Some(Codec::Aac)),
    ] {
        let es = video_file(
            lib,
            &["-bf", "0", "-vf", "noise=alls=80:allf=t", "-qp", "12"],
            &format!("mux-{lib}-{audio:?}.{ext}"),
        );
        let sound = temp(&format!("mux-{audio:?}.adts"));
        let mut packets: Vec<Bytes> = vec![Bytes::from_static(&[0xD5; 320]); 100];
        if audio == Some(Codec::Aac) {
            run(
                "ffmpeg",
                &[
                    "-v",
                    "error",
                    "-y",
                    "-f",
                    "lavfi",
                    "-i",
                    "sine=frequency=440:sample_rate=16000:duration=4",
                    "-c:a",
                    "aac",
                    "-f",
                    "adts",
                    sound.to_str().unwrap(),
                ],
            );
            let data = std::fs::read(&sound).unwrap();
            packets.clear();
            let mut at = 0;
            while let Ok(Some(f)) = media_core::aac::adts_frame(&data[at..]) {
                packets.push(Bytes::copy_from_slice(f.data));
                at += f.total_len;
            }
        }
        let units = all(codec, &es);
        assert!(units.iter().any(|u| u.payload.len() > 70_000), "no frame over 64 kB in the test");
        let mut mux = PsMuxer::new(Some(codec), audio, &aac);
        let mut ps = Vec::new();
        let mut sent = 0;
        for (i, u) in units.iter().enumerate() {
            let pts = 90_000 + 3600 * i as i64;
            mux.video(&u.payload, pts, pts, u.key, &mut ps);
            if audio.is_some() && i * packets.len() / units.len() >= sent && sent < packets.len() {
                let step = if audio == Some(Codec::Aac) { 5760 } else { 3600 };
                mux.audio(&packets[sent], 90_000 + step * sent as i64, &mut ps);
                sent += 1;
            }
        }
        let file = temp(&format!("mux-{lib}-{audio:?}.mpg"));
        std::fs::write(&file, &ps).unwrap();
        assert_eq!(probe(&file, "v:0"), units.len());
        let (out, d) = demux(&ps, 1400, PsDemuxer::new());
        assert!(out.video.iter().zip(&units).all(|(a, b)| a.payload == b.payload));
        assert_eq!((out.video.len(), out.audio.len(), d.stats().errors), (units.len(), sent, 0), "{:?}", d.stats());
        if let Some(a) = audio {
            let f = &out.audio[3];
            assert_eq!((f.codec, &f.payload), (a, &packets[3]));
            let seconds = f.pts as f64 / f64::from(f.clock_rate);
            assert!((seconds - (1.0 + 3.0 * if a == Codec::Aac { 0.064 } else { 0.04 })).abs() < 0.001, "{seconds}");
            let kind = run(
                "ffprobe",
                &[
                    "-v",
                    "error",
                    "-select_streams",
                    "a:0",
                    "-show_entries",
                    "stream=codec_name",
                    "-of",
                    "csv=p=0",
                    file.to_str().unwrap(),
                ],
            );
            println!("ffprobe calls our {a} {:?}", kind.trim());
            if a == Codec::Aac {
                assert!(kind.contains("aac"));
                assert_eq!(probe(&file, "a:0"), sent);
            }
        }
    }
}
