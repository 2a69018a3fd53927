//! Play lists and ranges.

use std::fs;
use std::time::Duration;

use recorder::{Cause, Filter, RecorderError};

use crate::media;
use crate::support::*;

struct Segment {
    seconds: f64,
    from: usize,
    to: usize,
}

fn parse(list: &str) -> (usize, Vec<Segment>) {
    let mut init = 0;
    let mut seconds = 0.0;
    let mut out = Vec::new();
    for line in list.lines() {
        if let Some(map) = line.strip_prefix("#EXT-X-MAP:URI=\"media.mp4\",BYTERANGE=\"") {
            init = map.trim_end_matches("@0\"").parse().unwrap();
        } else if let Some(s) = line.strip_prefix("#EXTINF:") {
            seconds = s.trim_end_matches(',').parse().unwrap();
        } else if let Some(r) = line.strip_prefix("#EXT-X-BYTERANGE:") {
            let (n, o) = r.split_once('@').unwrap();
            let from: usize = o.parse().unwrap();
            out.push(Segment { seconds, from, to: from + n.parse::<usize>().unwrap() });
        }
    }
    (init, out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn play_list_of_a_growing_and_of_a_whole_recording() {
    if !media::ffmpeg() {
        return;
    }
    let units = media::video("libx264", "320x240", 500, 50, 0);
    let bench = Bench::new("play").await;
    let publisher = bench.hub.publish(&"cam".into(), "cam").unwrap();
    publisher.set_tracks(&[media_core::TrackInfo::video(media_core::Codec::H264)]);
    let job = bench.recorder.start("cam".into(), Cause::Hand, "").await.unwrap();
    wanted(&publisher).await;
    let t0 = std::time::Instant::now();
    let write = |n: usize| {
        let (u, at) = (&units[n], t0 + Duration::from_millis(40 * n as u64));
        let id = media_core::TrackId::VIDEO;
        publisher.write(media_core::Frame::new(id, media_core::Codec::H264, u.pts, u.key, at, u.payload.clone()));
    };
    (0..330).for_each(write);
    settle(&bench, &job).await;
    let r = bench.recordings().await.remove(0);
    let growing = bench.recorder.playlist(&r.id).await.unwrap();
    assert!(growing.contains("EVENT") && !growing.contains("ENDLIST"));
    let media = bench.recorder.media(&r.id).await.unwrap();
    assert!(!media.whole);
    let (init, early) = parse(&growing);
    // Segments of 4 s over groups of 2 s: three are settled, the fourth may still grow.
    assert_eq!(early.len(), 3);
    assert!(early.iter().all(|s| s.to as u64 <= media.len));
    (330..500).for_each(write);
    settle(&bench, &job).await;
    bench.recorder.stop(&job).await.unwrap();
    let r = bench.finished().await.remove(0);
    let list = bench.recorder.playlist(&r.id).await.unwrap();
    assert!(list.contains("#EXT-X-PLAYLIST-TYPE:VOD") && list.ends_with("#EXT-X-ENDLIST\n"));
    let (init2, all) = parse(&list);
    assert_eq!((init, all.len()), (init2, 5));
    for (a, b) in early.iter().zip(&all) {
        assert_eq!((a.from, a.to, a.seconds), (b.from, b.to, b.seconds), "a line of the growing list changed");
    }
    assert!((all.iter().map(|s| s.seconds).sum::<f64>() - 20.0).abs() < 0.01);
    assert!(all.windows(2).all(|w| w[0].to == w[1].from));
    // Each segment plays alone behind the init section, as a browser plays it.
    let media = bench.recorder.media(&r.id).await.unwrap();
    let bytes = fs::read(&media.path).unwrap();
    assert_eq!((media.len as usize, media.whole), (bytes.len(), true));
    for s in &all {
        let path = bench.dir.0.join("segment.mp4");
        fs::write(&path, [&bytes[..init], &bytes[s.from..s.to]].concat()).unwrap();
        assert_eq!(media::decode(&path), 100);
        assert!(media::packets(&path, "v")[0].2);
    }
    // ffmpeg plays the list itself.
    fs::write(
        media.path.parent().unwrap().join("index.m3u8"),
        list.replace("media.mp4", media.path.file_name().unwrap().to_str().unwrap()),
    )
    .unwrap();
    assert_eq!(media::decode(&media.path.parent().unwrap().join("index.m3u8")), 500);
    // The downloaded file seeks: from 12.3 s on, ffmpeg reads the group that begins at 12 s only.
    let out = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-read_intervals", "12.3%+#1", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(&media.path)
        .output()
        .unwrap();
    let first: f64 = String::from_utf8(out.stdout).unwrap().trim().trim_end_matches(',').parse().unwrap();
    assert!((first - 12.0).abs() < 0.01, "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_days() {
    let bench = Bench::with("lists", |s| s.time_zone = jiff::tz::TimeZone::get("Asia/Shanghai").unwrap()).await;
    for (id, stream, at, hours) in [
        ("a", "cam:1", "2026-02-28T15:00:00Z", 2), // 23:00 to 01:00 local, over the month's end
        ("b", "cam:1", "2026-03-10T01:00:00Z", 1),
        ("c", "cam:2", "2026-03-11T01:00:00Z", 1),
        ("d", "cam:1", "2026-03-31T17:00:00Z", 1), // April there
    ] {
        let from = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        sqlx::query(
            "INSERT INTO recordings (id, stream, name, cause, plan, keep_days, path, started_ms, ended_ms, bytes, frames, has_video, \
             has_audio, state, crc) VALUES ($1, $2, '', 'hand', '', 0, 'x', $3, $4, 1, 1, 1, 0, 'whole', 0)",
        )
        .bind(id)
        .bind(stream)
        .bind(from)
        .bind(from + hours * 3_600_000)
        .execute(&bench.pool)
        .await
        .unwrap();
    }
    let r = &bench.recorder;
    assert_eq!(r.days("cam:1", "2026-03").await.unwrap(), ["2026-03-01", "2026-03-10"]);
    assert_eq!(r.days("", "2026-03").await.unwrap(), ["2026-03-01", "2026-03-10", "2026-03-11"]);
    assert_eq!(r.days("cam:1", "2026-02").await.unwrap(), ["2026-02-28"]);
    assert!(r.days("cam:1", "2026-13").await.is_err() && r.days("cam:1", "x").await.is_err());
    let ms = |t: &str| Some(t.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let ids = |f: Filter| async move {
        r.list(&f).await.map(|(n, v)| (n, v.into_iter().map(|r| r.id.0).collect::<Vec<_>>())).unwrap()
    };
    let one = |n: u64, v: &[&str]| (n, v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert_eq!(ids(Filter::default()).await, one(4, &["d", "c", "b", "a"]));
    assert_eq!(
        ids(Filter { stream: Some("cam:1".into()), offset: 1, limit: 1, ..Filter::default() }).await,
        one(3, &["b"])
    );
    let span = Filter { from_ms: ms("2026-02-28T16:30:00Z"), to_ms: ms("2026-03-10T01:30:00Z"), ..Filter::default() };
    assert_eq!(ids(span).await, one(2, &["b", "a"]));
    let got = r.get(&recorder::RecordingId("b".into())).await.unwrap();
    assert_eq!(got.from, "2026-03-10T01:00:00.000Z");
    assert!(matches!(r.get(&recorder::RecordingId("z".into())).await, Err(RecorderError::NotFound)));
    assert!(matches!(r.playlist(&recorder::RecordingId("b".into())).await, Err(RecorderError::NotFound)));
}
