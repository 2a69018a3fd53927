//! Opus packets (RFC 6716 section 3): playing time and silence.

/// A 20 ms packet of silence (full band CELT, mono).
pub const SILENCE_20MS: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Playing time in ticks of 48 kHz; None for an empty or malformed packet or one over 120 ms.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3F),
    };
    let total = frame * count;
    (total > 0 && total <= 5760).then_some(total)
}

/// Whether the packet is coded in stereo.
pub fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|t| t & 4 != 0)
}

/// A packet of at most 2 bytes: discontinuous transmission, no sound in it.
pub fn is_dtx(packet: &[u8]) -> bool {
    packet.len() <= 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn toc_durations() {
        assert_eq!(duration(&SILENCE_20MS), Some(960));
        assert_eq!(duration(&[0x18]), Some(2880));
        assert_eq!(duration(&[0x79, 0]), Some(1920));
        assert_eq!(duration(&[0x83, 48]), Some(5760));
        assert_eq!(duration(&[0x83, 49]), None);
        assert_eq!(duration(&[0x83]), None);
        assert_eq!(duration(&[]), None);
    }
}
