#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::audio::RATE;
use crate::audio::testkit::{tone_at, tone_level};

const TONES: [(&str, f32); 3] = [("a", 440.0), ("b", 700.0), ("c", 1100.0)];

/// Ticks with three tones; gives what all hear, and what each hears.
fn run(core: &mut MixCore, from: usize, ticks: usize, amplitude: f32) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (mut all, mut each) = (Vec::new(), vec![Vec::new(); 3]);
    let mut out: Block = [0.0; BLOCK];
    for tick in from..from + ticks {
        core.begin();
        for (name, hz) in TONES {
            let block: Block = tone_at(hz, tick * BLOCK, BLOCK, amplitude).try_into().unwrap();
            core.offer(name, Some(&block));
        }
        core.all(&mut out);
        all.extend_from_slice(&out);
        for (i, (name, _)) in TONES.iter().enumerate() {
            core.without(name, &mut out);
            each[i].extend_from_slice(&out);
        }
    }
    (all, each)
}

fn core() -> MixCore {
    let mut core = MixCore::new();
    for (name, _) in TONES {
        core.add(name);
    }
    core
}

#[test]
fn each_hears_the_others_and_not_itself() {
    let (all, each) = run(&mut core(), 0, 50, 0.2);
    for (i, (name, own)) in TONES.iter().enumerate() {
        assert!((tone_level(&all[9600..], *own, RATE) - 0.2).abs() < 0.01);
        for (_, hz) in TONES {
            let level = tone_level(&each[i][9600..], hz, RATE);
            if hz == *own {
                assert!(level < 0.0005, "{name} hears itself: {level}");
            } else {
                assert!((level - 0.2).abs() < 0.01, "{name} hears {hz}: {level}");
            }
        }
    }
}

#[test]
fn mute_and_gain_work_without_clicks() {
    let mut core = core();
    run(&mut core, 0, 10, 0.2);
    core.set_gain("a", 6.0206, false);
    core.set_gain("b", 0.0, true);
    let (all, each) = run(&mut core, 10, 50, 0.2);
    assert!((tone_level(&all[9600..], 440.0, RATE) - 0.4).abs() < 0.01);
    assert!(tone_level(&all[9600..], 700.0, RATE) < 0.0005);
    assert!((tone_level(&each[1][9600..], 440.0, RATE) - 0.4).abs() < 0.01, "a muted member still hears");
    let step = all.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(step < 0.08, "{step}");
    assert!(!core.wants("b") && core.wants("a"));
    core.set_gain("b", 0.0, false);
    let (all, _) = run(&mut core, 60, 50, 0.2);
    assert!((tone_level(&all[9600..], 700.0, RATE) - 0.2).abs() < 0.01);
}

#[test]
fn loud_sums_are_limited_and_recover() {
    let mut core = core();
    let (all, each) = run(&mut core, 0, 100, 0.9);
    for x in each.iter().chain([&all]) {
        let peak = x.iter().fold(0.0f32, |p, s| p.max(s.abs()));
        assert!(peak < 1.0 && peak > 0.9, "{peak}");
    }
    // Limiting keeps the tones' proportions: little distortion at a third place.
    assert!(tone_level(&all[9600..], 900.0, RATE) < 0.01);
    let (all, _) = run(&mut core, 100, 100, 0.2);
    assert!((tone_level(&all[72_000..], 440.0, RATE) - 0.2).abs() < 0.01);
}

#[test]
fn silence_is_told_and_silent_members_become_listeners() {
    let mut core = core();
    let mut out: Block = [1.0; BLOCK];
    core.begin();
    core.offer("a", None);
    assert!(!core.all(&mut out) && out.iter().all(|s| *s == 0.0));
    assert!(!core.contributed("a"));
    run(&mut core, 0, 5, 0.2);
    assert!(core.contributed("a"));
    let hum: Block = tone_at(100.0, 0, BLOCK, 0.0005).try_into().unwrap();
    for _ in 0..130 {
        core.begin();
        core.offer("a", Some(&hum));
    }
    assert!(!core.contributed("a"), "a hum of -69 dBov is closed out");
    assert!(!core.all(&mut out));
}

#[test]
fn one_who_speaks_alone_hears_silence() {
    let mut core = core();
    let mut out: Block = [0.0; BLOCK];
    core.begin();
    let block: Block = tone_at(440.0, 0, BLOCK, 0.2).try_into().unwrap();
    core.offer("a", Some(&block));
    assert!(core.all(&mut out));
    assert!(!core.without("a", &mut out) && out.iter().all(|s| *s == 0.0));
    assert!(core.without("b", &mut out));
}

#[test]
fn levels_and_talkers() {
    let mut core = core();
    run(&mut core, 0, 20, 0.1);
    let level = core.level("a");
    assert!(level.talking && (level.dbov + 23.0).abs() < 0.5, "{level:?}");
    for _ in 0..15 {
        core.begin();
        core.offer("a", None);
    }
    assert!(core.level("a").talking, "still talking 300 ms after the last word");
    for _ in 0..100 {
        core.begin();
        core.offer("a", None);
    }
    assert_eq!(core.level("a"), Level::SILENT);
    assert_eq!(core.level("nobody"), Level::SILENT);
}

/// A camera with a loudspeaker, whose microphone hears the hall 15 ticks later.
#[test]
fn a_half_duplex_voice_gives_way_without_an_echo_and_comes_back() {
    let mut core = MixCore::new();
    core.add("hall");
    core.add("camera");
    core.set_echo("camera", Echo::Half(60));
    let silence: Block = [0.0; BLOCK];
    let mut out: Block = [0.0; BLOCK];
    let mut said: Vec<Block> = Vec::new();
    let (mut hall, mut all) = (Vec::new(), Vec::new());
    for tick in 0..400 {
        let own = tone_at(1100.0, tick * BLOCK, BLOCK, 0.2);
        let talks = (100..200).contains(&tick);
        let voice: Block = if talks { tone_at(440.0, tick * BLOCK, BLOCK, 0.3).try_into().unwrap() } else { silence };
        let echo = tick.checked_sub(15).map_or(silence, |t| said[t]);
        let mut camera = silence;
        for (c, (o, e)) in camera.iter_mut().zip(own.iter().zip(&echo)) {
            *c = o + 0.5 * e;
        }
        core.begin();
        core.offer("hall", Some(&voice));
        core.offer("camera", Some(&camera));
        core.without("camera", &mut out);
        said.push(out);
        core.without("hall", &mut out);
        hall.extend_from_slice(&out);
        core.all(&mut out);
        all.extend_from_slice(&out);
    }
    let of = |from: usize, to: usize| &hall[from * BLOCK..to * BLOCK];
    assert!((tone_level(of(20, 90), 1100.0, RATE) - 0.2).abs() < 0.01, "before: heard");
    assert!(tone_level(of(105, 200), 1100.0, RATE) < 0.01, "the hall talks: kept out");
    assert!((tone_level(of(290, 390), 1100.0, RATE) - 0.2).abs() < 0.01, "after the hold: heard again");
    let echo = (0..380).map(|t| tone_level(of(t, t + 20), 440.0, RATE)).fold(0.0, f32::max);
    assert!(echo < 0.002, "the hall never hears itself: {echo}");
    assert!(!core.ducked("camera"));
    // The same without the setting: the test sees an echo where there is one.
    core.set_echo("camera", Echo::None);
    let echoed: Block = tone_at(440.0, 0, BLOCK, 0.15).try_into().unwrap();
    for _ in 0..10 {
        core.begin();
        core.offer("hall", Some(&echoed));
        core.offer("camera", Some(&echoed));
        core.without("hall", &mut out);
    }
    assert!(tone_level(&out, 440.0, RATE) > 0.1);
}

#[test]
fn of_two_half_duplex_voices_one_goes_on_and_a_closed_one_is_out_for_its_time() {
    let mut core = core();
    core.set_echo("a", Echo::Half(10));
    core.set_echo("b", Echo::Half(10));
    core.set_gain("c", 0.0, true);
    run(&mut core, 0, 50, 0.2);
    let (all, _) = run(&mut core, 50, 50, 0.2);
    let heard: Vec<bool> = TONES.iter().map(|(_, hz)| tone_level(&all, *hz, RATE) > 0.1).collect();
    assert_eq!(heard.iter().filter(|h| **h).count(), 1, "{heard:?}");
    assert_eq!(core.ducked("a"), heard[1]);
    // Who talks in the hall goes before both.
    core.set_gain("c", 0.0, false);
    run(&mut core, 100, 10, 0.2);
    assert!(core.ducked("a") && core.ducked("b") && !core.ducked("c"));
    core.set_echo("c", Echo::Closed(5));
    run(&mut core, 110, 3, 0.2);
    assert!(core.ducked("c"));
    core.set_echo("c", Echo::None);
    run(&mut core, 113, 4, 0.2);
    assert!(core.ducked("c"));
    run(&mut core, 117, 3, 0.2);
    assert!(!core.ducked("c"));
}

/// Side rooms hear themselves only; a whisper is heard by one, who goes on hearing the rest.
#[test]
fn what_is_said_aside_is_heard_aside() {
    let heard = |sound: &[f32]| TONES.map(|(_, hz)| tone_level(&sound[9600..], hz, RATE) > 0.1);
    let mut core = core();
    run(&mut core, 0, 10, 0.2);
    core.set_side("a", 0, Some("c"));
    let (all, each) = run(&mut core, 10, 50, 0.2);
    assert_eq!(heard(&all), [false, true, true]);
    assert_eq!([heard(&each[0]), heard(&each[1])], [[false, true, true], [false, false, true]]);
    assert_eq!(heard(&each[2]), [true, true, false], "with the whisper");
    // Who whispers to one who has gone is heard by nobody.
    core.set_side("a", 0, Some("gone"));
    let (all, each) = run(&mut core, 60, 50, 0.2);
    assert_eq!([heard(&all), heard(&each[1]), heard(&each[2])].map(|h| h[0]), [false; 3]);
    core.set_side("a", 3, None);
    core.set_side("b", 3, None);
    let (all, each) = run(&mut core, 60, 50, 0.2);
    assert_eq!(heard(&all), [false, false, true]);
    assert_eq!([heard(&each[0]), heard(&each[1])], [[false, true, false], [true, false, false]]);
    assert_eq!(heard(&each[2]), [false; 3]);
    assert!(core.contributed("a"));
    core.set_side("a", 0, None);
    core.set_side("b", 0, None);
    let (all, _) = run(&mut core, 110, 50, 0.2);
    assert_eq!(heard(&all), [true; 3]);
}
