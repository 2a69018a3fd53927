//! The machine on packets made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn sound(maps: &[(u8, &str, u32)], answer: bool, ptime: Option<u32>) -> Sound {
    let map = |(payload_type, encoding, clock_rate): &(u8, &str, u32)| RtpMap {
        payload_type: *payload_type,
        encoding: (*encoding).to_owned(),
        clock_rate: *clock_rate,
        channels: if *encoding == "opus" { 2 } else { 1 },
    };
    Sound { maps: maps.iter().map(map).collect(), ptime, answer }
}

fn turning() -> Turning {
    Turning::new(&crate::config::Config::default())
}

fn plan(from: &Sound, to: &Sound) -> Option<Box<Turner>> {
    let turning = turning();
    Turner::plan(from, to, &turning, &Slot::new(&turning), None)
}

fn packet(number: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> RtpPacket<'_> {
    RtpPacket {
        marker: false,
        payload_type: number,
        sequence,
        timestamp,
        ssrc: 1,
        csrc: &[],
        extension: None,
        payload,
        padding: 0,
    }
}

const LAW: (u8, &str, u32) = (8, "PCMA", 8000);
const OPUS: (u8, &str, u32) = (111, "opus", 48_000);
const KEYS: (u8, &str, u32) = (101, "telephone-event", 8000);

#[test]
fn what_both_know_needs_no_machine() {
    let a = sound(&[LAW, KEYS], false, None);
    assert!(plan(&a, &sound(&[LAW, KEYS], true, None)).is_none());
    assert!(plan(&sound(&[LAW, KEYS], true, None), &a).is_none(), "it was offered more, and took none of it");
    assert!(plan(&sound(&[(0, "PCMU", 8000), KEYS], true, None), &a).is_none(), "one law for the other");
    assert!(plan(&a, &sound(&[OPUS, KEYS], true, None)).unwrap().must());
    // Keys under another number, by another clock, or not at all.
    let (other, wide) =
        (sound(&[LAW, (96, KEYS.1, 8000)], true, None), sound(&[LAW, (96, KEYS.1, 48_000)], true, None));
    for other in [&other, &wide, &sound(&[LAW], true, None)] {
        assert!(!plan(&a, other).expect("keys are turned").must());
    }
    let mut renumbered = plan(&a, &other).unwrap();
    assert_eq!(renumbered.hear(&packet(101, 7, 1, &[5, 10, 0, 160]), Instant::now()), Said::Made);
    let out = renumbered.made().next().unwrap();
    assert_eq!((out[1], &out[2..4], &out[12..]), (96, [0, 7].as_slice(), [5, 10, 0, 160].as_slice()));
    let same = Said::Pass { number: 8, sequence: 8, law: None };
    assert_eq!(renumbered.hear(&packet(8, 8, 2, &[0xD5; 160]), Instant::now()), same, "sound passes");
}

/// A called phone that answered with two codecs sends the one that the caller does not know, then the other.
#[test]
fn only_what_the_other_does_not_know_is_decoded() {
    let (a, b) = (sound(&[LAW], false, None), sound(&[(9, "G722", 8000), LAW], true, None));
    let mut turner = plan(&b, &a).unwrap();
    assert!(!turner.must() && plan(&a, &b).is_none());
    let now = Instant::now();
    assert_eq!(turner.hear(&packet(8, 1, 0, &[0xD5; 160]), now), Said::Pass { number: 8, sequence: 1, law: None });
    assert!(!turner.active());
    assert_eq!(turner.hear(&packet(9, 2, 160, &[0x55; 160]), now), Said::Made);
    assert!(turner.active());
    let made: Vec<_> = turner.made().collect();
    assert_eq!((made.len(), made[0].len(), made[0][1]), (1, 172, 0x88), "a marker: another stream begins");
    assert_eq!(turner.hear(&packet(8, 3, 320, &[0xD5; 160]), now), Said::Pass { number: 8, sequence: 3, law: None });
    assert!(!turner.active());
    // What was never offered to a caller is not decoded for it.
    assert!(!plan(&a, &b).is_some_and(|t| t.knows(9)));
}

#[test]
fn packet_times_are_kept_and_old_packets_dropped() {
    let (a, b) = (sound(&[OPUS], true, None), sound(&[LAW], false, Some(40)));
    let mut turner = plan(&a, &b).unwrap();
    let mut encoder =
        media_hub::audio::Encoder::new(media_core::Codec::Opus, &media_hub::audio::OpusSettings::default()).unwrap();
    let (now, mut out) = (Instant::now(), Vec::new());
    for n in 0..20u16 {
        let bytes = encoder.encode(&[0.1; BLOCK]).unwrap();
        turner.hear(&packet(111, n, u32::from(n) * 960, &bytes), now);
        out.extend(turner.made());
        // The same again, and an old one.
        assert_eq!(turner.hear(&packet(111, n, u32::from(n) * 960, &bytes), now), Said::Nothing);
    }
    assert_eq!((out.len(), out[0].len()), (10, 12 + 320));
    let stamp = |p: &[u8]| u32::from_be_bytes(p[4..8].try_into().unwrap());
    assert!(out.windows(2).all(|p| stamp(&p[1]).wrapping_sub(stamp(&p[0])) == 320));
    // Nothing that comes from outside ends it.
    let mut state = 1u32;
    for n in 0..2000u32 {
        let bytes: Vec<u8> = (0..n % 90)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) as u8
            })
            .collect();
        let _ = turner.hear(&packet((n % 128) as u8, state as u16, state, &bytes), now);
    }
}

#[test]
fn a_packet_is_turned_in_little_time() {
    for (from, to, payload) in
        [(LAW, OPUS, 160), (OPUS, LAW, 0), ((9, "G722", 8000), LAW, 160), (LAW, (9, "G722", 8000), 160)]
    {
        let mut turner = plan(&sound(&[from], true, None), &sound(&[to], false, None)).unwrap();
        let settings = media_hub::audio::OpusSettings::default();
        let mut encoder = media_hub::audio::Encoder::new(media_core::Codec::Opus, &settings).unwrap();
        let voice: media_hub::audio::Block = std::array::from_fn(|i| (i as f32 * 0.06).sin() * 0.3);
        let (mut spent, now) = (Duration::ZERO, Instant::now());
        let step = if from.2 == 8000 { 160 } else { 960 };
        for n in 0..500u16 {
            let bytes = match payload {
                0 => encoder.encode(&voice).unwrap().to_vec(),
                n => (0..n).map(|i| (i * 37) as u8).collect(),
            };
            let start = Instant::now();
            assert_eq!(turner.hear(&packet(from.0, n, u32::from(n) * step, &bytes), now), Said::Made);
            spent += start.elapsed();
        }
        println!("{} to {}: {:.0} us a packet", from.1, to.1, spent.as_secs_f64() * 1e6 / 500.0);
    }
}
