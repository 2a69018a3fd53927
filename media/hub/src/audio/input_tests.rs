#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use media_core::{Codec, TrackId};

use super::*;
use crate::audio::testkit::{rms, tone_at, tone_level};
use crate::audio::{Encoder, OpusSettings};

/// Runs a tone through an input on pretend time. `arrival(n)` is the instant in microseconds at which frame `n` comes, none
/// if it is lost. Returns what was heard.
fn run(codec: Codec, ticks: usize, arrival: impl Fn(usize) -> Option<u64>) -> (Vec<f32>, Input) {
    let clock = codec.clock();
    let mut encoder = Encoder::new(codec, &OpusSettings { expected_loss: 10, ..OpusSettings::default() }).unwrap();
    let mut frames: Vec<(u64, usize, Bytes)> = (0..ticks * 2)
        .map(|n| {
            let block: Block = tone_at(440.0, n * BLOCK, BLOCK, 0.3).try_into().unwrap();
            (n, encoder.encode(&block).unwrap())
        })
        .filter_map(|(n, packet)| arrival(n).map(|at| (at, n, packet)))
        .collect();
    // The bridges bring packets into order before they publish.
    frames.sort_by_key(|f| f.1);
    let mut input = Input::new();
    input.set_track(Some(&TrackInfo::audio(codec, clock, 1)));
    let base = Instant::now();
    let mut next = frames.into_iter().peekable();
    let mut heard = Vec::new();
    let mut out: Block = [0.0; BLOCK];
    for tick in 0..ticks {
        let now = 20_000 * tick as u64;
        while next.peek().is_some_and(|f| f.0 <= now) {
            let Some((at, n, packet)) = next.next() else { break };
            let pts = n as i64 * i64::from(clock) / 50;
            let received = base + Duration::from_micros(at);
            input.push(1, &Frame::new(TrackId::AUDIO, codec, pts, true, received, packet));
        }
        input.pull(&mut out);
        heard.extend_from_slice(&out);
    }
    (heard, input)
}

/// The quietest 20 ms after the start.
fn quietest(heard: &[f32]) -> f32 {
    heard[9600..].chunks(BLOCK).map(rms).fold(f32::MAX, f32::min)
}

/// The largest step between two samples: a click shows here.
fn step(heard: &[f32]) -> f32 {
    heard[9600..].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_steady_source_is_heard_whole_with_little_delay() {
    for codec in [Codec::G711A, Codec::Opus] {
        let (heard, input) = run(codec, 500, |n| Some(n as u64 * 20_000 + 3000));
        assert!((tone_level(&heard[48_000..], 440.0, RATE) - 0.3).abs() < 0.05, "{codec}");
        assert_eq!(input.stats().concealed, 0);
        assert!(input.stats().depth_ms <= 40, "{:?}", input.stats());
        assert!(step(&heard) < 0.03, "{codec} {}", step(&heard));
    }
}

#[test]
fn lost_frames_are_concealed() {
    for codec in [Codec::G711A, Codec::Opus, Codec::G722, Codec::G729, Codec::Amr, Codec::AmrWb] {
        let (heard, input) = run(codec, 1000, |n| (n % 17 != 5).then_some(n as u64 * 20_000 + 3000));
        // Vocoders predict their gains: after a loss a bare tone needs some frames to come back to its level.
        let vocoder = matches!(codec, Codec::G729 | Codec::Amr | Codec::AmrWb);
        let least = if vocoder { 0.03 } else { 0.12 };
        assert!(quietest(&heard) > least, "{codec} {}", quietest(&heard));
        assert!(step(&heard) < 0.06, "{codec} {}", step(&heard));
        let level = tone_level(&heard[48_000..96_000], 440.0, RATE);
        assert!(level > if vocoder { 0.15 } else { 0.2 }, "{codec} {level}");
        assert!(input.stats().concealed >= 50 * BLOCK as u64, "{:?}", input.stats());
        assert!(input.stats().depth_ms <= 60, "{:?}", input.stats());
    }
}

#[test]
fn jitter_makes_the_buffer_longer_and_calm_makes_it_shorter() {
    // Up to 90 ms late during the first 20 s, then calm.
    let late = |n: usize| if n < 1000 { (n as u64 * 7919) % 90 } else { 2 };
    let (heard, input) = run(Codec::G711U, 4000, |n| Some(n as u64 * 20_000 + late(n) * 1000));
    let after_start = &heard[48_000 * 3..48_000 * 20];
    assert!(after_start.chunks(BLOCK).map(rms).fold(f32::MAX, f32::min) > 0.1);
    let stats = input.stats();
    assert!(stats.target_ms <= 50 && stats.depth_ms <= 70, "{stats:?}");
    assert!(stats.trimmed > 0);
}

#[test]
fn drift_of_a_fast_and_of_a_slow_sender_stays_bounded_for_minutes() {
    // 0.2 % is 24 ms in 12 s; five minutes would gather 600 ms.
    for per_mille_2 in [-2i64, 2] {
        let at = |n: usize| Some((n as i64 * (20_000 - per_mille_2 * 20) + 3000) as u64);
        let (heard, input) = run(Codec::G711A, 15_000, at);
        let stats = input.stats();
        assert!((15..=90).contains(&stats.depth_ms), "{per_mille_2}: {stats:?}");
        assert!(quietest(&heard) > 0.1, "{per_mille_2}: {} {stats:?}", quietest(&heard));
        assert!(step(&heard) < 0.06, "{per_mille_2}: {}", step(&heard));
        let moved = if per_mille_2 > 0 { stats.trimmed } else { stats.inserted };
        assert!((20_000..40_000).contains(&moved), "{stats:?}");
    }
}

#[test]
fn a_burst_after_an_outage_is_cut_and_does_not_stay_as_delay() {
    let at = |n: usize| Some(if (500..600).contains(&n) { 600 * 20_000 } else { n as u64 * 20_000 } + 3000);
    let (_, input) = run(Codec::G711A, 2500, at);
    assert!(input.stats().depth_ms < 260, "{:?}", input.stats());
    let (_, input) = run(Codec::G711A, 6000, at);
    assert!(input.stats().depth_ms < 80, "{:?}", input.stats());
}

#[test]
fn a_pause_and_a_new_clock_are_no_loss() {
    let mut input = Input::new();
    input.set_track(Some(&TrackInfo::audio(Codec::G711A, 8000, 1)));
    let mut out: Block = [0.0; BLOCK];
    let base = Instant::now();
    let mut heard = 0;
    for (tick, pts) in (0..100).map(|n| (n, n * 160)).chain((150..250).map(|n| (n, n * 160 - 5_000_000))) {
        let at = base + Duration::from_millis(20 * tick as u64);
        let frame = Frame::new(TrackId::AUDIO, Codec::G711A, pts, true, at, Bytes::from(vec![0x30; 160]));
        input.push(u32::from(tick > 120), &frame);
        heard += u32::from(input.pull(&mut out));
        if tick == 99 {
            for _ in 0..50 {
                input.pull(&mut out);
            }
            assert!(!input.pull(&mut out), "the fade is over after a second");
        }
    }
    assert!(heard >= 190, "{heard}");
    assert!(input.stats().depth_ms <= 60, "{:?}", input.stats());
}

#[test]
fn rubbish_is_counted_and_harmless() {
    for codec in [Codec::Opus, Codec::G711A, Codec::G711U, Codec::G722, Codec::G729, Codec::Amr, Codec::AmrWb] {
        let mut input = Input::new();
        input.set_track(Some(&TrackInfo::audio(codec, codec.clock(), 1)));
        let mut out: Block = [0.0; BLOCK];
        let mut x = 0x1234_5678_9ABC_DEF1u64;
        for n in 0..2000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let bytes: Vec<u8> = (0..x % 300).map(|i| (x >> (i % 57)) as u8).collect();
            let pts = if x.is_multiple_of(5) { (x >> 3) as i64 } else { n * 960 };
            // Every seventh one calls itself comfort noise.
            let codec = if x.is_multiple_of(7) { Codec::ComfortNoise } else { codec };
            input.push(
                (x % 50) as u32 / 49,
                &Frame::new(TrackId::AUDIO, codec, pts, true, Instant::now(), bytes.into()),
            );
            input.pull(&mut out);
            assert!(out.iter().all(|s| s.is_finite()));
            assert!(input.sound.len() <= BOUND);
        }
    }
}

#[test]
fn a_pause_with_its_noise_described_is_heard_as_noise_and_speech_after_it_is_whole() {
    for codec in [Codec::G711A, Codec::G722, Codec::G729, Codec::Amr, Codec::AmrWb] {
        let clock = codec.clock();
        let mut encoder = Encoder::new(codec, &OpusSettings::default()).unwrap();
        let mut input = Input::new();
        input.set_track(Some(&TrackInfo::audio(codec, clock, 1)));
        let described = crate::audio::comfort::description(codec).unwrap();
        let base = Instant::now();
        let mut out: Block = [0.0; BLOCK];
        let mut heard = Vec::new();
        for tick in 0..400usize {
            let block: Block = tone_at(440.0, tick * BLOCK, BLOCK, 0.3).try_into().unwrap();
            let packet = encoder.encode(&block).unwrap();
            let pts = tick as i64 * i64::from(clock) / 50;
            let at = base + Duration::from_millis(20 * tick as u64);
            let pause = (100..250).contains(&tick);
            let (kind, payload) = match codec {
                Codec::G711A | Codec::G722 if pause => (Codec::ComfortNoise, described.clone()),
                _ if pause => (codec, described.clone()),
                _ => (codec, packet),
            };
            // A description each eighth packet, as AMR sends them.
            if !pause || tick % 8 == 4 {
                input.push(1, &Frame::new(TrackId::AUDIO, kind, pts, true, at, payload));
            }
            assert!(input.pull(&mut out) || tick < 5, "{codec} {tick}");
            heard.extend_from_slice(&out);
        }
        let pause = &heard[130 * BLOCK..245 * BLOCK];
        assert!(rms(pause) < 0.004 && rms(pause) > 0.00005, "{codec}: {}", rms(pause));
        assert!(pause.chunks(BLOCK).all(|b| rms(b) > 0.00001), "{codec}: a hole in the noise");
        let speech = &heard[262 * BLOCK..];
        assert!(quietest(speech) > 0.12, "{codec}: {}", quietest(speech));
        assert!(input.stats().depth_ms <= 70, "{codec}: {:?}", input.stats());
        assert!(input.stats().concealed <= 2 * BLOCK as u64, "{codec}: {:?}", input.stats());
    }
}
