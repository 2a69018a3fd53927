//! Tones that tell a caller what to do, as G.711 packets of 20 ms.

use media_core::{Codec, g711};

/// What a tone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Enter the PIN: two rising tones.
    EnterPin,
    /// That was wrong: two low tones, then as `EnterPin`.
    Again,
    /// Refused: three low tones.
    Refused,
    /// The floor is granted: talk.
    TalkPermit,
    /// The floor is refused or taken away.
    TalkDenied,
    /// The request waits.
    TalkQueued,
}

/// Parts of (frequency in Hz, milliseconds); 0 Hz is a pause.
fn parts(prompt: Prompt) -> &'static [(f32, u32)] {
    match prompt {
        Prompt::EnterPin => &[(0.0, 200), (620.0, 200), (820.0, 300)],
        Prompt::Again => &[(350.0, 200), (0.0, 100), (350.0, 200), (0.0, 400), (620.0, 200), (820.0, 300)],
        Prompt::Refused => &[(350.0, 200), (0.0, 100), (350.0, 200), (0.0, 100), (350.0, 400), (0.0, 60)],
        Prompt::TalkPermit => &[(1000.0, 60), (0.0, 40), (1000.0, 60)],
        Prompt::TalkDenied => &[(350.0, 400)],
        Prompt::TalkQueued => &[(620.0, 100)],
    }
}

/// The packets of a tone in `codec` (G.711).
pub(crate) fn packets(prompt: Prompt, codec: Codec) -> Vec<Vec<u8>> {
    let a_law = codec == Codec::G711A;
    let mut samples: Vec<i16> = Vec::new();
    for (hz, ms) in parts(prompt) {
        let n = ms * 8;
        for i in 0..n {
            // 5 ms of fade at both ends.
            let edge = (i.min(n - i) as f32 / 40.0).min(1.0);
            let x = std::f32::consts::TAU * hz * i as f32 / 8000.0;
            samples.push((x.sin() * edge * 6000.0) as i16);
        }
    }
    samples
        .chunks(160)
        .map(|chunk| {
            let mut out = Vec::with_capacity(160);
            g711::encode(a_law, chunk, &mut out);
            out.resize(160, g711::silence(a_law));
            out
        })
        .collect()
}
