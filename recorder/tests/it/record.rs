//! What comes out is what went in.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use recorder::{Cause, JobState};

use crate::media::{self, decode, packets, probe};
use crate::support::*;

fn rising(v: impl IntoIterator<Item = f64>) {
    let v: Vec<f64> = v.into_iter().collect();
    assert!(v.windows(2).all(|w| w[0] < w[1]), "{v:?}");
}

async fn record_units(
    name: &str,
    codec: Codec,
    units: &[media::Unit],
    sound: Option<(TrackInfo, &[Bytes], i64)>,
) -> Bench {
    let bench = Bench::new(name).await;
    let publisher = bench.hub.publish(&name.into(), name).unwrap();
    let mut tracks = vec![TrackInfo::video(codec)];
    tracks.extend(sound.as_ref().map(|s| s.0.clone()));
    publisher.set_tracks(&tracks);
    let job = bench.recorder.start(name.into(), Cause::Hand, "test").await.unwrap();
    wanted(&publisher).await;
    let t0 = Instant::now();
    let mut sent = 0;
    for (n, u) in units.iter().enumerate() {
        let at = t0 + Duration::from_millis(40 * n as u64);
        publisher.write(Frame::new(TrackId::VIDEO, codec, u.pts + 90_000, u.key, at, u.payload.clone()));
        if let Some((info, all, step)) = &sound {
            let rate = i64::from(info.clock_rate);
            while sent < all.len() && sent as i64 * step * 25 < (n as i64 + 1) * rate {
                let pts = sent as i64 * step + rate;
                publisher.write(Frame::new(info.id, info.codec, pts, true, at, all[sent].clone()));
                sent += 1;
            }
        }
    }
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_with_opus() {
    if !media::ffmpeg() {
        return;
    }
    let units = media::video("libx264", "640x360", 260, 100, 0);
    let (_, opus) = media::sound("libopus", 10);
    let bench = record_units("cam", Codec::H264, &units, Some((opus_track(), &opus, 960))).await;
    let all = bench.finished().await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let r = &all[0];
    assert_eq!((r.frames, r.has_video, r.has_audio, r.state.as_str()), (260, true, true, "whole"));
    let file = bench.file(r);
    let video = packets(&file, "v");
    assert_eq!(video.len(), 260);
    rising(video.iter().map(|p| p.0));
    assert_eq!(video.iter().filter(|p| p.2).count(), 3);
    assert!((video[259].0 - video[0].0 - 259.0 * 0.04).abs() < 1e-4);
    let audio = packets(&file, "a");
    assert!(audio.len() >= 500, "{}", audio.len());
    rising(audio.iter().map(|p| p.0));
    assert!(audio.windows(2).all(|w| (w[1].0 - w[0].0 - 0.02).abs() < 1e-4));
    assert_eq!(decode(&file), 260);
    let duration: f64 = probe(&file, "format=duration").parse().unwrap();
    assert!((duration - 10.4).abs() < 0.05, "{duration}");
    assert!((r.duration_s - 10.4).abs() < 0.05);
    let codecs = probe(&file, "stream=codec_name,codec_tag_string,width,height");
    assert!(codecs.contains("h264,avc1,640,360") && codecs.contains("opus,Opus"), "{codecs}");
    bench.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_with_b_pictures_and_aac() {
    if !media::ffmpeg() {
        return;
    }
    let units = media::video("libx264", "320x240", 200, 50, 2);
    assert!(units.windows(2).any(|w| w[1].pts < w[0].pts), "no B pictures were made");
    let (config, aac) = media::sound("aac", 8);
    let info = TrackInfo { config, ..TrackInfo::audio(Codec::Aac, 48_000, 2) };
    let bench = record_units("cam", Codec::H264, &units, Some((info, &aac, 1024))).await;
    let all = bench.finished().await;
    assert_eq!(all.len(), 1);
    let file = bench.file(&all[0]);
    let video = packets(&file, "v");
    assert_eq!(video.len(), 200);
    rising(video.iter().map(|p| p.1));
    let mut shown: Vec<f64> = video.iter().map(|p| p.0).collect();
    shown.sort_by(f64::total_cmp);
    assert!(shown.windows(2).all(|w| (w[1] - w[0] - 0.04).abs() < 1e-4), "{shown:?}");
    assert_eq!(decode(&file), 200);
    assert!(probe(&file, "stream=codec_name").contains("aac"));
    bench.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h265_and_vp8() {
    if !media::ffmpeg() {
        return;
    }
    let units = media::video("libx265", "320x240", 75, 25, 0);
    let bench = record_units("cam5", Codec::H265, &units, None).await;
    let all = bench.finished().await;
    let file = bench.file(&all[0]);
    assert_eq!(decode(&file), 75);
    assert_eq!(probe(&file, "stream=codec_name,codec_tag_string,width,height"), "hevc,hvc1,320,240");
    bench.assert_whole().await;

    let units: Vec<media::Unit> = media::vp8(75, 25)
        .into_iter()
        .enumerate()
        .map(|(n, (key, payload))| media::Unit { pts: n as i64 * 3600, key, payload })
        .collect();
    let bench = record_units("cam8", Codec::Vp8, &units, None).await;
    let all = bench.finished().await;
    let file = bench.file(&all[0]);
    assert_eq!(decode(&file), 75);
    assert_eq!(probe(&file, "stream=codec_name,codec_tag_string,width,height"), "vp8,vp08,320,240");
    bench.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_alone() {
    let bench = Bench::new("mix").await;
    let publisher = bench.hub.publish(&"mix:1".into(), "mix").unwrap();
    publisher.set_tracks(&[opus_track()]);
    let job = bench.recorder.start("mix:1".into(), Cause::Hand, "").await.unwrap();
    wanted(&publisher).await;
    let real = media::ffmpeg().then(|| media::sound("libopus", 5).1);
    let t0 = Instant::now();
    for n in 0..250u64 {
        let payload = real.as_ref().map_or(Bytes::from_static(&[0x48, 1, 2, 3]), |r| r[n as usize].clone());
        let at = t0 + Duration::from_millis(20 * n);
        publisher.write(Frame::new(TrackId::AUDIO, Codec::Opus, n as i64 * 960 - 5000, true, at, payload));
    }
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    assert_eq!((all[0].frames, all[0].has_video, all[0].has_audio), (250, false, true));
    assert!((all[0].duration_s - 5.0).abs() < 0.01);
    if real.is_some() {
        decode(&bench.file(&all[0]));
        assert_eq!(packets(&bench.file(&all[0]), "a").len(), 250);
    }
    bench.assert_whole().await;
}

/// G.711 is asked for as Opus; the rendition is recorded from the file's beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g711_becomes_the_opus_rendition() {
    let bench = Bench::new("g711").await;
    let mut cam = Camera::new(&bench.hub, "cam", 50, Some(Codec::G711A));
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    cam.run(1);
    let stream = cam.publisher.stream().clone();
    until("opus is wanted", || stream.opus_wanted()).await;
    let rendition = stream.rendition(TrackInfo { id: TrackId::OPUS, ..TrackInfo::audio(Codec::Opus, 48_000, 1) });
    for _ in 0..100 {
        let n = cam.n as i64;
        cam.step();
        for half in 0..2 {
            let pts = (n * 3600 + cam.shift) * 48_000 / 90_000 + half * 960;
            rendition.write(Frame::new(
                TrackId::OPUS,
                Codec::Opus,
                pts,
                true,
                cam.at(),
                Bytes::from_static(&[0x48, 9, 9, 9]),
            ));
        }
    }
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].has_audio && all[0].frames == 101);
    bench.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_end_at_key_frames() {
    let bench = Bench::with("segments", |s| s.segment = Duration::from_secs(10)).await;
    let mut cam = Camera::new(&bench.hub, "cam", 100, Some(Codec::Opus));
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    cam.run(1000);
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    // 40 s, key frames each 4 s: files of 12 s.
    assert_eq!(all.iter().map(|r| r.frames).collect::<Vec<_>>(), [300, 300, 300, 100]);
    for w in all.windows(2) {
        assert!((w[1].from_ms - w[0].to_ms).abs() <= 25, "{} {}", w[0].to, w[1].from);
    }
    bench.assert_whole().await;
    if media::ffmpeg() {
        // No sound is lost between the files.
        let sound: usize = all.iter().map(|r| packets(&bench.file(r), "a").len()).sum();
        assert_eq!(sound, 2000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameter_sets_begin_another_file_and_a_new_epoch_does_not() {
    let bench = Bench::new("epochs").await;
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    cam.run(50);
    settle(&bench, &job).await;
    // The camera's clock starts anew and 3 s of time are lost.
    cam.publisher.new_epoch();
    cam.n += 75;
    cam.shift = -(cam.n as i64) * 3600;
    cam.run(50);
    settle(&bench, &job).await;
    cam.sps[2] ^= 0x20;
    cam.run(50);
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    assert_eq!(all.iter().map(|r| r.frames).collect::<Vec<_>>(), [100, 50]);
    // 2 s, 3 s of nothing, 2 s.
    assert!((all[0].duration_s - 7.0).abs() < 0.05, "{}", all[0].duration_s);
    let report = recorder::check(&bench.archive(), bench.pool.clone(), |_| {}).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.gaps.len(), 1);
    assert!(
        (report.gaps[0].from_s - 2.0).abs() < 0.05 && (report.gaps[0].to_s - 5.0).abs() < 0.05,
        "{:?}",
        report.gaps
    );
}

/// Time in the file never goes back, whatever the clocks of the source do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump() {
    let bench = Bench::new("jump").await;
    let mut cam = Camera::new(&bench.hub, "cam", 25, Some(Codec::Opus));
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&cam.publisher).await;
    for shift in [900_000, -90_000 * 3600, 90_000 * 86_400, 0] {
        cam.shift = shift;
        cam.run(50);
    }
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    let frames: u64 = all.iter().map(|r| r.frames).sum();
    assert_eq!((all.len(), frames), (1, 200));
    assert!((all[0].duration_s - 8.0).abs() < 0.3, "{}", all[0].duration_s);
    bench.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_source_is_waited_for() {
    let bench = Bench::new("outage").await;
    // Nothing is known of the stream yet.
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let seen = bench.recorder.job(&job).unwrap();
    assert_eq!(seen.state, JobState::Waiting);
    assert_eq!(seen.fault.unwrap().code, "no_stream");
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    wanted(&cam.publisher).await;
    cam.run(26);
    until("it records", || bench.recorder.job(&job).unwrap().state == JobState::Recording).await;
    let (n, start) = (cam.n, cam.start);
    drop(cam);
    let mut cam = Camera::new(&bench.hub, "cam", 25, None);
    (cam.n, cam.start) = (n + 24, start);
    cam.run(25);
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let all = bench.finished().await;
    assert_eq!(all.iter().map(|r| r.frames).sum::<u64>(), 51);
    bench.assert_whole().await;
}
