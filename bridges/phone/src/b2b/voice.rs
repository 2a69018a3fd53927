//! What a caller hears of us while he waits: spoken prompts and tones, as A-law at 8 kHz. `prompts/make.sh` makes the spoken ones.

use bytes::Bytes;
use media_core::g711;

/// A language of the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Zh,
    En,
}

macro_rules! spoken {
    ($name:literal) => {
        [
            include_bytes!(concat!("../../prompts/zh/", $name, ".al")).as_slice(),
            include_bytes!(concat!("../../prompts/en/", $name, ".al")).as_slice(),
        ]
    };
}

static HOLD: [&[u8]; 2] = spoken!("hold");
static PLACE: [&[u8]; 2] = spoken!("place");
static BEHIND: [&[u8]; 2] = spoken!("behind");
static MORE: [&[u8]; 2] = spoken!("more");
static NUMBERS: [[&[u8]; 2]; 10] = [
    spoken!("1"),
    spoken!("2"),
    spoken!("3"),
    spoken!("4"),
    spoken!("5"),
    spoken!("6"),
    spoken!("7"),
    spoken!("8"),
    spoken!("9"),
    spoken!("10"),
];

fn of(clip: &[&'static [u8]; 2], language: Language) -> &'static [u8] {
    match language {
        Language::Zh => clip[0],
        Language::En => clip[1],
    }
}

/// "Please hold", and where the caller stands, from 1.
pub(crate) fn announcement(languages: &[Language], hold: bool, position: usize) -> Bytes {
    let mut out = Vec::new();
    for language in languages {
        if hold {
            out.extend_from_slice(of(&HOLD, *language));
        }
        let number = position.checked_sub(1).and_then(|n| NUMBERS.get(n)).unwrap_or(&MORE);
        for clip in [&PLACE, number, &BEHIND] {
            out.extend_from_slice(of(clip, *language));
        }
    }
    Bytes::from(out)
}

/// Parts of (frequency in Hz, milliseconds); 0 Hz is a pause.
pub(crate) fn tone(parts: &[(f32, u32)]) -> Bytes {
    let mut samples: Vec<i16> = Vec::new();
    for (hz, ms) in parts {
        let n = ms * 8;
        for i in 0..n {
            // 5 ms of fade at both ends.
            let edge = (i.min(n - i) as f32 / 40.0).min(1.0);
            let x = std::f32::consts::TAU * hz * i as f32 / 8000.0;
            samples.push((x.sin() * edge * 6000.0) as i16);
        }
    }
    let mut out = Vec::with_capacity(samples.len());
    g711::encode(true, &samples, &mut out);
    Bytes::from(out)
}

/// The tones of a key.
pub(crate) fn key(key: char, ms: u32) -> Bytes {
    let mut out = Vec::new();
    g711::encode(true, &media_core::tones::sound(key, ms), &mut out);
    Bytes::from(out)
}

/// The ring-back tone of Chinese networks: 450 Hz, 1 s on and 4 s off.
pub(crate) fn ring_back() -> Bytes {
    tone(&[(450.0, 1000), (0.0, 4000)])
}

/// Somebody comes into the call: both hear it first.
pub(crate) fn intrusion() -> Bytes {
    tone(&[(1400.0, 200), (0.0, 100), (1400.0, 200), (0.0, 100), (1400.0, 200)])
}
