//! G.711 A-law and mu-law, bit-exact with the ITU-T Software Tool Library (G.191), 16-bit linear samples.

const ALAW_TO_LINEAR: [i16; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let ix = ((i as i32) ^ 0x55) & 0x7F;
        let exp = ix >> 4;
        let mut m = ix & 0x0F;
        if exp > 0 {
            m += 16;
        }
        m = (m << 4) + 8;
        if exp > 1 {
            m <<= exp - 1;
        }
        t[i] = if i > 127 { m as i16 } else { -m as i16 };
        i += 1;
    }
    t
};

const ULAW_TO_LINEAR: [i16; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let m = !(i as i32);
        let exp = (m >> 4) & 7;
        let step = 4 << (exp + 1);
        let v = (0x80 << exp) + step * (m & 0x0F) + step / 2 - 4 * 33;
        t[i] = if i < 128 { -v as i16 } else { v as i16 };
        i += 1;
    }
    t
};

/// One A-law byte to a linear sample.
pub fn alaw_decode(b: u8) -> i16 {
    ALAW_TO_LINEAR[usize::from(b)]
}

/// One mu-law byte to a linear sample.
pub fn ulaw_decode(b: u8) -> i16 {
    ULAW_TO_LINEAR[usize::from(b)]
}

/// One linear sample to A-law.
pub fn alaw_encode(sample: i16) -> u8 {
    let s = i32::from(sample);
    let mut ix = (if s < 0 { !s } else { s }) >> 4;
    if ix > 15 {
        let mut exp = 1;
        while ix > 31 {
            ix >>= 1;
            exp += 1;
        }
        ix = ix - 16 + (exp << 4);
    }
    if s >= 0 {
        ix |= 0x80;
    }
    (ix as u8) ^ 0x55
}

/// One linear sample to mu-law.
pub fn ulaw_encode(sample: i16) -> u8 {
    let s = i32::from(sample);
    let abs = (((if s < 0 { !s } else { s }) >> 2) + 33).min(0x1FFF);
    let segment = 32 - ((abs >> 6) as u32).leading_zeros() as i32 + 1;
    let low = 0x0F - ((abs >> segment) & 0x0F);
    let b = ((8 - segment) << 4) | low;
    (if s >= 0 { b | 0x80 } else { b }) as u8
}

/// Appends decoded samples.
pub fn decode(alaw: bool, data: &[u8], out: &mut Vec<i16>) {
    let table = if alaw { &ALAW_TO_LINEAR } else { &ULAW_TO_LINEAR };
    out.extend(data.iter().map(|b| table[usize::from(*b)]));
}

/// Appends encoded samples.
pub fn encode(alaw: bool, samples: &[i16], out: &mut Vec<u8>) {
    let f = if alaw { alaw_encode } else { ulaw_encode };
    out.extend(samples.iter().map(|s| f(*s)));
}

/// The byte of silence.
pub fn silence(alaw: bool) -> u8 {
    if alaw { 0xD5 } else { 0xFF }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn reference_values() {
        assert_eq!([0xD5, 0x55, 0xAA, 0x2A, 0x80].map(alaw_decode), [8, -8, 32256, -32256, 5504]);
        assert_eq!([0xFF, 0x7F, 0x80, 0x00, 0xEF].map(ulaw_decode), [0, 0, 32124, -32124, 132]);
        assert_eq!([0, -1, 32767, -32768].map(alaw_encode), [0xD5, 0x55, 0xAA, 0x2A]);
        assert_eq!([0, -1, 32767, -32768].map(ulaw_encode), [0xFF, 0x7F, 0x80, 0x00]);
    }

    #[test]
    fn codes_survive_and_error_is_bounded() {
        for b in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(b)), b);
            assert_eq!(ulaw_encode(ulaw_decode(b)), if b == 0x7F { 0xFF } else { b });
        }
        for s in i16::MIN..=i16::MAX {
            let (a, u) = (i32::from(alaw_decode(alaw_encode(s))), i32::from(ulaw_decode(ulaw_encode(s))));
            let s = i32::from(s);
            let bound = (s.abs() / 16).max(16);
            assert!((a - s).abs() <= bound, "A {s} {a}");
            assert!((u - s).abs() <= bound.max(4) + 660, "mu {s} {u}");
        }
    }
}
