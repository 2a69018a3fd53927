//! The estimate of how a call sounds: a simplified E-model (ITU-T G.107).
//!
//! Of the full model only the delay impairment Id and the equipment impairment Ie-eff are kept (R = 93.2 - Id - Ie-eff); the
//! one-way delay is guessed from the jitter, as nothing measures it here. Good for comparing legs and for finding bad ones,
//! not for a contract.

/// Ie and Bpl of ITU-T G.113 appendix I, as far as it gives them; wideband codecs are counted as G.711 with concealment.
fn impairment(codec: &str) -> (f32, f32) {
    match codec.to_ascii_uppercase().as_str() {
        "G729" => (11.0, 19.0),
        "G723" => (15.0, 16.1),
        "GSM" => (20.0, 10.0),
        // Without concealment 4.3; every phone of today conceals.
        _ => (0.0, 25.1),
    }
}

/// MOS from 1 to 4.41 by codec, loss in percent (0 to 100) and jitter in milliseconds.
pub(crate) fn estimate(codec: &str, loss_percent: f32, jitter_ms: f32) -> f32 {
    let (ie, bpl) = impairment(codec);
    let loss = loss_percent.clamp(0.0, 100.0);
    // 20 ms of packet, 20 ms of network and phone, and a jitter buffer of twice the jitter.
    let delay = 40.0 + 2.0 * jitter_ms.clamp(0.0, 1000.0);
    let id = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let ie_eff = ie + (95.0 - ie) * loss / (loss + bpl);
    let r = (93.2 - id - ie_eff).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn worse_paths_sound_worse() {
        assert!((4.3..4.45).contains(&estimate("PCMA", 0.0, 2.0)));
        assert!(estimate("PCMA", 5.0, 2.0) < 4.1);
        assert!(estimate("G729", 0.0, 2.0) < estimate("PCMA", 0.0, 2.0));
        assert!(estimate("PCMA", 0.0, 200.0) < estimate("PCMA", 0.0, 20.0));
        assert!((1.0..1.8).contains(&estimate("GSM", 100.0, 500.0)));
    }
}
