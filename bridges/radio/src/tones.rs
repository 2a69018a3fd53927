//! The tones that a radio hears of us, in packets of 20 ms.

use std::collections::VecDeque;
use std::f32::consts::TAU;

use bytes::Bytes;
use media_core::g711;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// You may talk: two short high ones.
    Permit,
    /// You were not heard: three low ones.
    Deny,
}

/// Samples of a packet.
const SAMPLES: usize = 160;
const LEVEL: f32 = 6000.0;

fn law(alaw: bool, samples: &[i16]) -> Bytes {
    let mut out = Vec::with_capacity(samples.len());
    g711::encode(alaw, samples, &mut out);
    out.into()
}

pub(crate) fn silence(alaw: bool) -> Bytes {
    Bytes::from(vec![g711::silence(alaw); SAMPLES])
}

fn sine(hz: f32, from: usize, level: f32) -> Vec<i16> {
    (from..from + SAMPLES).map(|n| ((TAU * hz * n as f32 / 8000.0).sin() * level) as i16).collect()
}

/// What opens a radio that is keyed by loudness, before the speech.
pub(crate) fn pilot(alaw: bool) -> Bytes {
    law(alaw, &sine(1000.0, 0, LEVEL / 2.0))
}

/// The packets of a tone.
pub(crate) fn packets(tone: Tone, alaw: bool) -> VecDeque<Bytes> {
    // (hertz, packets); 0 is silence.
    let parts: &[(f32, usize)] = match tone {
        Tone::Permit => &[(1250.0, 3), (0.0, 2), (1250.0, 3)],
        Tone::Deny => &[(350.0, 8), (0.0, 4), (350.0, 8), (0.0, 4), (350.0, 8)],
    };
    let mut out = VecDeque::new();
    for (hz, count) in parts {
        for n in 0..*count {
            out.push_back(if *hz > 0.0 { law(alaw, &sine(*hz, n * SAMPLES, LEVEL)) } else { silence(alaw) });
        }
    }
    out
}
