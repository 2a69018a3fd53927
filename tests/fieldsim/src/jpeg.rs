//! A small JPEG encoder: baseline, gray, the tables of ITU-T T.81 annex K.

const QUANT: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];
const DC_COUNTS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const AC_COUNTS: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D];
const AC_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
    0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
    0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A,
    0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65,
    0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
    0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9,
    0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA,
    0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA,
    0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

/// Code and length for each symbol.
fn codes(counts: &[u8; 16], values: &[u8]) -> [(u16, u8); 256] {
    let mut out = [(0, 0); 256];
    let (mut code, mut at) = (0u16, 0);
    for (n, count) in counts.iter().enumerate() {
        for _ in 0..*count {
            out[usize::from(values[at])] = (code, n as u8 + 1);
            code += 1;
            at += 1;
        }
        code <<= 1;
    }
    out
}

struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u8,
}

impl Bits {
    fn put(&mut self, value: u32, length: u8) {
        self.held = self.held << length | value & ((1 << length) - 1);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xFF {
                self.out.push(0);
            }
        }
    }

    /// A coefficient's own bits behind the code of its size.
    fn number(&mut self, value: i32, size: u8) {
        let bits = if value < 0 { value - 1 } else { value };
        self.put(bits as u32, size);
    }
}

fn size(value: i32) -> u8 {
    (32 - value.unsigned_abs().leading_zeros()) as u8
}

fn dct(block: &[f32; 64]) -> [f32; 64] {
    let mut cosines = [[0f32; 8]; 8];
    for (u, line) in cosines.iter_mut().enumerate() {
        let scale = if u == 0 { (0.125f32).sqrt() } else { 0.5 };
        for (x, c) in line.iter_mut().enumerate() {
            *c = scale * ((2 * x + 1) as f32 * u as f32 * std::f32::consts::PI / 16.0).cos();
        }
    }
    let (mut rows, mut out) = ([0f32; 64], [0f32; 64]);
    for y in 0..8 {
        for u in 0..8 {
            rows[y * 8 + u] = (0..8).map(|x| block[y * 8 + x] * cosines[u][x]).sum();
        }
    }
    for u in 0..8 {
        for v in 0..8 {
            out[v * 8 + u] = (0..8).map(|y| rows[y * 8 + u] * cosines[v][y]).sum();
        }
    }
    out
}

/// A gray picture of `width` x `height`, both up to 65535.
pub fn encode(luma: &[u8], width: usize, height: usize) -> Vec<u8> {
    let quant = QUANT.map(|q| (u16::from(q) / 4).max(1));
    let mut out = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 16];
    out.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    out.extend([0xFF, 0xDB, 0, 67, 0]);
    out.extend(ZIGZAG.map(|n| quant[n] as u8));
    out.extend([0xFF, 0xC0, 0, 11, 8]);
    out.extend((height as u16).to_be_bytes());
    out.extend((width as u16).to_be_bytes());
    out.extend([1, 1, 0x11, 0]);
    out.extend([0xFF, 0xC4, 0, 31, 0x00]);
    out.extend(DC_COUNTS);
    out.extend(DC_VALUES);
    out.extend([0xFF, 0xC4, 0, 181, 0x10]);
    out.extend(AC_COUNTS);
    out.extend(AC_VALUES);
    out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0x00, 0, 63, 0]);
    let (dc, ac) = (codes(&DC_COUNTS, &DC_VALUES), codes(&AC_COUNTS, &AC_VALUES));
    let mut bits = Bits { out, held: 0, count: 0 };
    let mut before = 0;
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            let mut block = [0f32; 64];
            for (n, cell) in block.iter_mut().enumerate() {
                // The edge is repeated to fill the last blocks. Video range to full range.
                let (x, y) = ((left + n % 8).min(width - 1), (top + n / 8).min(height - 1));
                let full = (f32::from(luma[y * width + x]) - 16.0) * 255.0 / 219.0;
                *cell = full.clamp(0.0, 255.0) - 128.0;
            }
            let frequencies = dct(&block);
            let value = |n: usize| (frequencies[ZIGZAG[n]] / f32::from(quant[ZIGZAG[n]])).round() as i32;
            let first = value(0);
            let (difference, length) = (first - before, size(first - before));
            before = first;
            let (code, long) = dc[usize::from(length)];
            bits.put(code.into(), long);
            bits.number(difference, length);
            let mut zeros = 0u8;
            for n in 1..64 {
                let v = value(n);
                if v == 0 {
                    zeros += 1;
                    continue;
                }
                while zeros > 15 {
                    bits.put(ac[0xF0].0.into(), ac[0xF0].1);
                    zeros -= 16;
                }
                let length = size(v);
                let (code, long) = ac[usize::from(zeros << 4 | length)];
                bits.put(code.into(), long);
                bits.number(v, length);
                zeros = 0;
            }
            if zeros > 0 {
                bits.put(ac[0].0.into(), ac[0].1);
            }
        }
    }
    bits.put(0x7F, 7);
    let mut out = bits.out;
    out.extend([0xFF, 0xD9]);
    out
}

#[cfg(test)]
mod tests {
    /// The encoder is proved by foreign decoders (ffmpeg, Chromium) in the interop test; here only its frame.
    #[test]
    fn begins_and_ends_as_a_jpeg() {
        let picture: Vec<u8> = (0..100 * 75).map(|n| (n * 7 % 219 + 16) as u8).collect();
        let jpeg = super::encode(&picture, 100, 75);
        assert!(jpeg.starts_with(&[0xFF, 0xD8, 0xFF, 0xE0]) && jpeg.ends_with(&[0xFF, 0xD9]));
        assert!(jpeg.len() > 1000);
    }
}
