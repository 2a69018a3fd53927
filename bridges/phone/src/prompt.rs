//! Tones that tell a caller what to do, as packets of 20 ms.

use bytes::Bytes;
use media_core::Codec;
use media_hub::audio::{BLOCK, Block, Encoder, OpusSettings, RATE, usual_mode};

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

/// The packets of a tone in `codec` and its mode; none for a codec that is not encoded here.
pub(crate) fn packets(prompt: Prompt, codec: Codec, mode: Option<u8>) -> Vec<Bytes> {
    let mut samples: Vec<f32> = Vec::new();
    for (hz, ms) in parts(prompt) {
        let n = ms * RATE / 1000;
        for i in 0..n {
            // 5 ms of fade at both ends.
            let edge = (i.min(n - i) as f32 / 240.0).min(1.0);
            let x = std::f32::consts::TAU * hz * i as f32 / RATE as f32;
            samples.push(x.sin() * edge * 6000.0 / 32768.0);
        }
    }
    let Ok(mut encoder) = Encoder::with_mode(codec, mode.unwrap_or(usual_mode(codec)), &OpusSettings::default()) else {
        return Vec::new();
    };
    samples
        .chunks(BLOCK)
        .filter_map(|chunk| {
            let mut block: Block = [0.0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            encoder.encode(&block).ok()
        })
        .collect()
}
