//! G.711: both laws, both ways.

pub fn alaw(sample: i16) -> u8 {
    let (sign, magnitude) =
        if sample >= 0 { (0x80u8, i32::from(sample) >> 3) } else { (0, (-i32::from(sample) - 1) >> 3) };
    let magnitude = magnitude.min(4095);
    let value = if magnitude < 32 {
        (magnitude >> 1) as u8
    } else {
        let segment = 27 - (magnitude as u32).leading_zeros();
        ((segment << 4) as u8) | ((magnitude >> segment) & 15) as u8
    };
    (sign | value) ^ 0x55
}

pub fn from_alaw(byte: u8) -> i16 {
    let v = byte ^ 0x55;
    let (segment, low) = ((v >> 4) & 7, i32::from(v & 15));
    let magnitude = if segment == 0 { low * 16 + 8 } else { (low * 16 + 264) << (segment - 1) };
    (if v & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

pub fn ulaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80u8, -i32::from(sample)) } else { (0, i32::from(sample)) };
    let magnitude = magnitude.min(32_635) + 132;
    let segment = 24 - (magnitude as u32).leading_zeros();
    let low = ((magnitude >> (segment + 3)) & 15) as u8;
    !(sign | (segment << 4) as u8 | low)
}

pub fn from_ulaw(byte: u8) -> i16 {
    let v = !byte;
    let magnitude = ((i32::from(v & 15) * 8 + 132) << ((v >> 4) & 7)) - 132;
    (if v & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // ITU-T G.711 tables 1a and 2a: code words of the extremes, of zero and of some steps between.
        assert_eq!(
            [alaw(0), alaw(-1), alaw(32767), alaw(-32768), alaw(8), alaw(16)],
            [0xD5, 0x55, 0xAA, 0x2A, 0xD5, 0xD4]
        );
        assert_eq!([ulaw(0), ulaw(32767), ulaw(-32768), ulaw(-4), ulaw(1000)], [0xFF, 0x80, 0x00, 0x7E, 0xCE]);
        assert_eq!([from_alaw(0xD5), from_alaw(0x55), from_alaw(0xAA), from_alaw(0x2A)], [8, -8, 32256, -32256]);
        assert_eq!([from_ulaw(0xFF), from_ulaw(0x80), from_ulaw(0x00)], [0, 32124, -32124]);
    }

    #[test]
    fn every_code_word_survives() {
        for b in 0..=255u8 {
            assert_eq!(alaw(from_alaw(b)), b, "A-law {b:02x}");
            if b != 0x7F {
                assert_eq!(ulaw(from_ulaw(b)), b, "mu-law {b:02x}");
            }
        }
    }
}
