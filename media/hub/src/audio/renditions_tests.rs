#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use media_core::aac::adts_frame;

use super::*;
use crate::audio::testkit::{rms, tone_level};
use crate::{HubLimits, Program};

/// Access units of ffmpeg's AAC encoder with their AudioSpecificConfig.
fn aac(rate: u32, channels: u32, filter: &str) -> (Bytes, Vec<Bytes>) {
    let run = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", filter, "-ar", &rate.to_string(), "-ac", &channels.to_string()])
        .args(["-c:a", "aac", "-b:a", "64k", "-f", "adts", "-"])
        .stderr(Stdio::inherit())
        .output()
        .expect("these tests need ffmpeg");
    assert!(run.status.success());
    let (mut units, mut config, mut at) = (Vec::new(), Bytes::new(), 0);
    while let Some(frame) = adts_frame(&run.stdout[at..]).unwrap() {
        config = frame.config.to_bytes();
        units.push(Bytes::copy_from_slice(frame.data));
        at += frame.total_len;
    }
    (config, units)
}

fn track(rate: u32, channels: u8, config: &Bytes) -> TrackInfo {
    TrackInfo { config: config.clone(), ..TrackInfo::audio(Codec::Aac, rate, channels) }
}

#[test]
fn aac_of_ffmpeg_is_decoded() {
    for (rate, channels) in [(8000, 1), (16_000, 1), (44_100, 2), (48_000, 2)] {
        let (config, units) = aac(rate, channels, "sine=frequency=1000:duration=2,volume=4");
        let mut decoder = Decoder::new(&track(rate, channels as u8, &config)).unwrap();
        let mut out = Vec::new();
        for unit in &units {
            decoder.decode(unit, &mut out).unwrap();
        }
        let seconds = out.len() as f32 / RATE as f32;
        assert!((1.9..2.4).contains(&seconds), "{rate}: {seconds} s");
        let level = tone_level(&out[24_000..72_000], 1000.0, RATE);
        let all = rms(&out[24_000..72_000]) * std::f32::consts::SQRT_2;
        assert!(level > 0.3 && (level / all) > 0.97, "{rate}: {level} of {all}");
    }
}

#[test]
fn broken_aac_costs_its_frame_only() {
    let (config, units) = aac(16_000, 1, "sine=frequency=1000:duration=1");
    let mut decoder = Decoder::new(&track(16_000, 1, &config)).unwrap();
    let mut out = Vec::new();
    let mut bad = 0;
    for (n, unit) in units.iter().enumerate() {
        let mut unit = unit.to_vec();
        if n % 3 == 1 {
            for (i, b) in unit.iter_mut().enumerate().skip(n % 7) {
                *b ^= (i * 37 + n) as u8;
            }
        }
        bad += u32::from(decoder.decode(&unit, &mut out).is_err());
    }
    assert!(bad > 0 && !out.is_empty());
    assert!(Decoder::new(&track(16_000, 1, &Bytes::new())).is_err());
    assert!(Decoder::new(&track(16_000, 1, &Bytes::from_static(&[0xFF; 9]))).is_err());
}

/// A beep begins at exactly one second; the rendition must have it at the same place of the common time line.
#[tokio::test]
async fn the_rendition_keeps_the_time_of_the_source() {
    const ORIGIN: i64 = 3600;
    let hub = Hub::new(HubLimits::default());
    let stop = tokio::sync::oneshot::channel::<()>();
    let service = tokio::spawn(run(hub.clone(), async move {
        let _ = stop.1.await;
    }));
    let rate = 16_000;
    let (config, units) = aac(rate, 1, "aevalsrc='if(gte(t,1),0.5*sin(2*PI*1000*t),0)':d=2");
    let publisher = hub.publish(&StreamId::new("test:camera"), "").unwrap();
    publisher.set_tracks(&[TrackInfo::video(Codec::H264), track(rate, 1, &config)]);
    let id = StreamId::new("test:camera");
    let mut subscriber = hub.subscribe(&id, SubscribeOptions::default()).unwrap();
    // ffmpeg's encoder begins one access unit early.
    let pts = |n: usize| ORIGIN * i64::from(rate) + (n as i64 - 1) * 1024;
    let mut first: Option<i64> = None;
    let (mut heard, mut expected) = (Vec::new(), None::<i64>);
    let mut decoder = Decoder::new(&TrackInfo::audio(Codec::Opus, RATE, 1)).unwrap();
    for (n, unit) in units.iter().enumerate() {
        publisher.write(Frame::new(TrackId::AUDIO, Codec::Aac, pts(n), true, Instant::now(), unit.clone()));
        tokio::time::sleep(Duration::from_millis(if n < 3 { 50 } else { 1 })).await;
        while let Some(pulled) = subscriber.try_next() {
            let Pulled::Item(item) = pulled else { continue };
            if item.frame.track == TrackId::OPUS {
                first.get_or_insert(item.frame.pts);
                assert!(expected.is_none_or(|e| e == item.frame.pts));
                expected = Some(item.frame.pts + 960);
                decoder.decode(&item.frame.payload, &mut heard).unwrap();
            }
        }
    }
    assert!(publisher.stream().tracks().iter().any(|t| t.id == TrackId::OPUS && t.codec == Codec::Opus));
    let begin = heard.windows(240).position(|w| rms(w) > 0.1).unwrap() as i64;
    let at = first.unwrap() + begin + 120 - ORIGIN * 48_000;
    let offset_ms = (at - 48_000) as f32 / 48.0;
    println!("offset of the rendition: {offset_ms:.1} ms");
    assert!(offset_ms.abs() < 20.0, "{offset_ms} ms");

    // A gap in the source is a gap in the rendition.
    let before = expected.unwrap();
    for (n, unit) in units.iter().enumerate().take(10) {
        let later = pts(units.len() + n) + 5 * i64::from(rate);
        publisher.write(Frame::new(TrackId::AUDIO, Codec::Aac, later, true, Instant::now(), unit.clone()));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut jump = 0;
    while let Some(pulled) = subscriber.try_next() {
        if let Pulled::Item(item) = pulled
            && item.frame.track == TrackId::OPUS
        {
            jump = jump.max(item.frame.pts - before);
        }
    }
    assert!((5 * 48_000..7 * 48_000).contains(&jump), "{jump}");

    // It ends with the stream.
    let stream = publisher.stream().clone();
    drop(publisher);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stream.tracks().iter().any(|t| t.id == TrackId::OPUS));
    drop(stop.0);
    service.await.unwrap();
}

#[tokio::test]
async fn g711_is_rendered_only_when_wanted() {
    let hub = Hub::new(HubLimits::default());
    let service = tokio::spawn(run(hub.clone(), std::future::pending()));
    tokio::task::yield_now().await;
    let publisher = hub.publish(&StreamId::new("test:phone"), "").unwrap();
    publisher.set_tracks(&[TrackInfo::audio(Codec::G711A, 8000, 1)]);
    let write = |n: i64| {
        publisher.write(Frame::new(
            TrackId::AUDIO,
            Codec::G711A,
            n * 160,
            true,
            Instant::now(),
            Bytes::from(vec![0x30; 160]),
        ));
    };
    for n in 0..20 {
        write(n);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let has = || publisher.stream().tracks().iter().any(|t| t.id == TrackId::OPUS);
    assert!(!has());
    publisher.stream().want_opus();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(has());
    service.abort();
}

/// A wall's tile goes from a camera with a rendition to one whose sound can be played, and to one whose sound cannot.
#[tokio::test]
async fn a_program_asks_its_source_for_opus_and_keeps_none_of_the_one_before() {
    let hub = Hub::new(HubLimits::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = tokio::spawn(run(hub.clone(), async {
        let _ = stopped.await;
    }));
    let camera = |name: &str, codec: Codec| {
        let publisher = hub.publish(&StreamId::new(name), name).unwrap();
        publisher.set_tracks(&[TrackInfo::audio(codec, 8000, 1)]);
        publisher
    };
    let cameras = [camera("a", Codec::G711A), camera("b", Codec::G711U), camera("c", Codec::G729)];
    let sounds = cameras.each_ref().map(|c| c.stream().tracks()[0].codec);
    let mut n = 0;
    // What a program shows after it was switched to a camera, and whether its viewer got Opus.
    let program = Program::start(&hub, StreamId::new("tile"), "tile").unwrap();
    let tile = hub.get(program.id()).unwrap();
    let mut viewer = hub.subscribe(program.id(), SubscribeOptions::default()).unwrap();
    let mut show = async |which: usize, ask: bool| {
        program.switch(Some(cameras[which].stream().id().clone()));
        let (mut opus, mut frames) = (false, 0);
        for round in 0..70 {
            if round == 50 {
                // What the source before left is gone by now.
                frames = 0;
            }
            for (camera, codec) in cameras.iter().zip(sounds) {
                let payload = super::super::comfort::packet(codec, 0, n).unwrap();
                camera.write(Frame::new(TrackId::AUDIO, codec, n as i64 * 160, true, Instant::now(), payload));
            }
            n += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let own = tile.tracks().first().map(|t| t.codec);
            if ask && own == Some(sounds[which]) {
                tile.want_opus();
            }
            opus = tile.tracks().iter().any(|t| t.id == TrackId::OPUS);
            while let Some(pulled) = viewer.try_next() {
                if let Pulled::Item(item) = pulled {
                    frames += u32::from(item.frame.track == TrackId::OPUS);
                }
            }
        }
        (opus, frames > 5)
    };
    // A recorder wants Opus of the first one: the tile passes it on.
    cameras[0].stream().want_opus();
    assert_eq!(show(0, false).await, (true, true));
    assert_eq!(show(1, false).await, (false, false), "of the camera before nothing stays");
    assert_eq!(show(2, true).await, (true, true), "asked for at the tile, made at the camera");
    assert!(cameras[2].stream().tracks().iter().any(|t| t.id == TrackId::OPUS));
    assert_eq!(show(1, false).await, (false, false), "the next source is asked only if somebody wants it");
    assert!(!cameras[1].stream().opus_wanted());
    drop(stop);
    service.await.unwrap();
}
