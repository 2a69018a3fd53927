//! Odd shapes of media that field devices send: each is played through the bridge, and what was painted and heard is read back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use media_core::{Codec, MediaKind};
use media_hub::{Pulled, Subscriber};
use support::*;

const FPS: i64 = 15;
/// Pictures watched of each: more than two groups, and further than each shape's own event.
const PICTURES: usize = 110;

/// What a shape may cost. The rest holds for all: numbers in order, time of media that rises by one picture each, sound in step.
#[derive(Clone, Copy)]
struct May {
    /// Pictures that may be missing, all together: where a sender starts anew, those up to the next key frame.
    gaps: u32,
    /// Times that the time line may begin anew.
    epochs: u32,
    /// Stamps that tell nothing: by arrival, so that only the mean can be right.
    by_arrival: bool,
    /// Steps of time that are told by arrival: where stamps jump, nothing else says how far apart two pictures are.
    jumps: u32,
}

const NOTHING: May = May { gaps: 0, epochs: 0, by_arrival: false, jumps: 0 };

/// Name, what the camera does (faults, and options with their `--`), and what that may cost.
const SHAPES: &[(&str, &[&str], May)] = &[
    ("none", &[], NOTHING),
    ("no-marker", &["no-marker"], NOTHING),
    ("pes-zero", &["pes-zero"], NOTHING),
    ("pes-zero without markers", &["pes-zero", "no-marker"], NOTHING),
    ("split-headers", &["split-headers"], NOTHING),
    ("private", &["private"], NOTHING),
    ("two-in-pack", &["two-in-pack"], NOTHING),
    ("no-psm", &["no-psm"], NOTHING),
    ("stamp-constant", &["stamp-constant"], May { by_arrival: true, ..NOTHING }),
    ("stamp-ms", &["stamp-ms"], NOTHING),
    ("stamp-jump", &["stamp-jump"], May { jumps: 3, ..NOTHING }),
    ("audio-base", &["audio-base"], NOTHING),
    ("sequence-restart", &["sequence-restart=2"], May { gaps: FPS as u32, epochs: 1, ..NOTHING }),
    ("payload-type", &["payload-type=120"], NOTHING),
    ("payload-type of H.264", &["payload-type=98"], NOTHING),
    ("side-audio", &["side-audio"], NOTHING),
    ("side-audio-same", &["side-audio-same"], NOTHING),
    ("ts", &["ts"], NOTHING),
    ("dollar", &["dollar", "--transport=tcp", "--media=tcp"], NOTHING),
    ("preamble", &["preamble", "--transport=tcp", "--media=tcp"], NOTHING),
    ("stray", &["stray", "--transport=tcp", "--media=tcp"], NOTHING),
];

/// Epoch, PTS at 90 kHz, whether a key frame, and the painted number with the camera's index.
type Picture = (u32, i64, bool, Option<(u32, u8)>);

#[derive(Debug, Default)]
struct Played {
    pictures: Vec<Picture>,
    /// Epoch, PTS in seconds, samples.
    sound: Vec<(u32, f64, usize)>,
    samples: Vec<i16>,
    /// Frames that the hub dropped for this viewer.
    lagged: u64,
}

async fn play(subscriber: &mut Subscriber) -> Played {
    let mut played = Played::default();
    let mut decoder = openh264::decoder::Decoder::new().unwrap();
    let mut rates = HashMap::new();
    while played.pictures.len() < PICTURES {
        match subscriber.next().await {
            Pulled::Tracks(tracks) => rates.extend(tracks.iter().map(|t| (t.id, t.clock_rate))),
            Pulled::Item(item) => {
                let f = &item.frame;
                if f.kind() == MediaKind::Video {
                    let code = painted(&mut decoder, &f.payload);
                    played.pictures.push((item.epoch, f.pts, f.key, code));
                } else {
                    assert_eq!(f.codec, Codec::G711A);
                    let at = f.pts as f64 / f64::from(rates.get(&f.track).copied().unwrap_or(8_000));
                    played.sound.push((item.epoch, at, f.payload.len()));
                    played.samples.extend(f.payload.iter().map(|b| media_core::g711::alaw_decode(*b)));
                }
            }
            Pulled::Lagged(n) => played.lagged += n,
            Pulled::State(..) => {}
        }
    }
    played
}

/// What is wrong with what was played.
fn wrong(played: &Played, index: u8, hertz: f64, may: May) -> Vec<String> {
    let mut out = Vec::new();
    let mut want = |good: bool, text: String| {
        if !good {
            out.push(text);
        }
    };
    let pictures = &played.pictures;
    want(played.lagged == 0, format!("{} frames lost on the way to the viewer", played.lagged));
    let read: Vec<u32> = pictures.iter().filter_map(|p| p.3).filter(|c| c.1 == index).map(|c| c.0).collect();
    want(read.len() + 2 >= pictures.len(), format!("{} of {} pictures could be read", read.len(), pictures.len()));
    let missing: u32 = read.windows(2).map(|w| w[1].wrapping_sub(w[0]).wrapping_sub(1)).fold(0, u32::saturating_add);
    want(missing <= may.gaps, format!("{missing} pictures are missing: {read:?}"));
    let keys = pictures.iter().filter(|p| p.2).count();
    want(keys >= 2, format!("{keys} key frames"));
    let epochs = pictures.windows(2).filter(|w| w[1].0 != w[0].0).count() as u32;
    want(epochs <= may.epochs, format!("{epochs} times a new time line"));
    let one = 90_000 / FPS;
    let mut jumps = 0;
    for pair in pictures.windows(2).filter(|w| w[0].0 == w[1].0) {
        let ((_, before, _, first), (_, after, _, second)) = (pair[0], pair[1]);
        let Some((first, second)) = first.zip(second) else { continue };
        let due = i64::from(second.0.wrapping_sub(first.0)) * one;
        let exact = (after - before - due).abs() <= 1;
        // By arrival: any time but backwards, and no more than a busy machine may hold a picture back.
        let near = (1..due + 90_000).contains(&(after - before));
        jumps += u32::from(!exact && !may.by_arrival);
        let good = exact || near && (may.by_arrival || jumps <= may.jumps);
        want(good, format!("{} ticks from picture {} to {}", after - before, first.0, second.0));
    }
    if let (Some(first), Some(last)) = (pictures.first(), pictures.last())
        && epochs == 0
    {
        let (took, due) = (last.1 - first.1, one * (pictures.len() as i64 - 1));
        want((took - due).abs() < due / 10, format!("{took} ticks for all, in place of {due}"));
    }
    // Sound without holes, at the place of the pictures.
    let heard = played.samples.len() as f64 / 8_000.0;
    let seen = PICTURES as f64 / FPS as f64;
    want(heard > seen * 0.85 - f64::from(may.gaps) / FPS as f64, format!("{heard:.2} s of sound for {seen:.2} s"));
    let strength = tone(played.samples.get(..8_000).unwrap_or(&played.samples), hertz);
    want(strength > 0.9, format!("a tone of {strength:.2}"));
    let last = pictures.last().map(|p| (p.0, p.1 as f64 / 90_000.0));
    let near = played.sound.iter().rev().find(|s| Some(s.0) == last.map(|l| l.0));
    match (last, near) {
        (Some((_, picture)), Some((_, sound, _))) => {
            want((picture - sound).abs() < 0.5, format!("picture at {picture:.2} s, sound at {sound:.2} s"));
        }
        other => want(false, format!("no sound beside the last picture: {other:?}")),
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_is_played_whole() {
    if fieldsim().is_none() {
        return;
    }
    let hall = Hall::start(30_500, 30_510, config(), &[], &Arc::default()).await;
    let hertz = |n: usize| 400.0 + 20.0 * n as f64;
    let mut cameras = Vec::new();
    for (n, (_, faults, _)) in SHAPES.iter().enumerate() {
        let (id, tone, index) = (format!("3402000000132{:07}", n + 1), hertz(n).to_string(), (n % 16).to_string());
        let fps = FPS.to_string();
        let mut args = vec!["--id", &id, "--size", "320x180", "--fps", &fps, "--gop", "45", "--bitrate", "400k"];
        args.extend(["--tone", &tone, "--index", &index]);
        for word in *faults {
            if !word.starts_with("--") {
                args.push("--fault");
            }
            args.push(word);
        }
        cameras.push(Camera::start(hall.sip, &args));
    }
    for n in 0..SHAPES.len() {
        let id = format!("3402000000132{:07}", n + 1);
        hall.until(&id, "catalogued", 30, |d| !d.channels.is_empty()).await;
    }
    let mut watching = tokio::task::JoinSet::new();
    for n in 0..SHAPES.len() {
        let id = format!("3402000000132{:07}", n + 1);
        let mut subscriber = hall.watch(&id, &id);
        watching.spawn(async move {
            let played = tokio::time::timeout(Duration::from_secs(60), play(&mut subscriber)).await;
            (n, played, trace(&subscriber))
        });
    }
    let mut bad = Vec::new();
    while let Some(done) = watching.join_next().await {
        let (n, played, trace) = done.unwrap();
        let (name, _, may) = SHAPES[n];
        match played {
            Ok(played) => {
                let found = wrong(&played, (n % 16) as u8, hertz(n), may);
                if !found.is_empty() {
                    bad.push(format!("{name}:\n  {}\n{trace}", found.join("\n  ")));
                }
            }
            Err(_) => bad.push(format!("{name}: not {PICTURES} pictures within 60 s\n{trace}")),
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    drop(cameras);
    hall.end().await;
}
