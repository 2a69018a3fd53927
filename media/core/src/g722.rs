//! ITU-T G.722 at 64 kbit/s (mode 1): wide-band sound, 16,000 samples a second, two of them in a byte. In RTP its clock is 8000 by an
//! old mistake that must be kept (RFC 3551 4.5.2).

const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const WH: [i32; 3] = [0, -214, 798];
const RH2: [usize; 4] = [2, 1, 2, 1];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
const ILN: [u8; 31] = [
    0, 63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
];
const ILP: [u8; 31] = [
    0, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34,
    33, 32,
];

fn saturate(x: i32) -> i32 {
    x.clamp(-32768, 32767)
}

/// One of the two bands: its predictor (block 4) and its scale factor (block 3).
#[derive(Debug, Clone)]
struct Band {
    s: i32,
    sz: i32,
    r: [i32; 3],
    a: [i32; 3],
    p: [i32; 3],
    d: [i32; 7],
    b: [i32; 7],
    nb: i32,
    det: i32,
}

impl Band {
    fn new(det: i32) -> Band {
        Band { s: 0, sz: 0, r: [0; 3], a: [0; 3], p: [0; 3], d: [0; 7], b: [0; 7], nb: 0, det }
    }

    /// LOGSCL and SCALEL, or LOGSCH and SCALEH.
    fn scale(&mut self, step: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, most);
        let table = ILB[(self.nb >> 6 & 31) as usize];
        let shift = shift - (self.nb >> 11);
        self.det = if shift < 0 { table << -shift } else { table >> shift } << 2;
    }

    fn low(&mut self, code: usize) {
        self.scale(WL[RL42[code & 15]], 18_432, 8);
    }

    fn high(&mut self, code: usize) {
        self.scale(WH[RH2[code & 3]], 22_528, 10);
    }

    fn adapt(&mut self, d: i32) {
        self.d[0] = d;
        self.r[0] = saturate(self.s + d);
        self.p[0] = saturate(self.sz + d);
        let sign = |x: i32| x >> 15;
        let same = |x: i32, y: i32| sign(x) == sign(y);
        // UPPOL2
        let wd = saturate(self.a[1] << 2);
        let mut a2 = if same(self.p[0], self.p[1]) { (-wd).min(32_767) } else { wd } >> 7;
        a2 += if same(self.p[0], self.p[2]) { 128 } else { -128 };
        a2 += (self.a[2] * 32_512) >> 15;
        let a2 = a2.clamp(-12_288, 12_288);
        // UPPOL1
        let step = if same(self.p[0], self.p[1]) { 192 } else { -192 };
        let bound = saturate(15_360 - a2);
        let a1 = saturate(step + ((self.a[1] * 32_640) >> 15)).clamp(-bound, bound);
        // UPZERO
        let step = if d == 0 { 0 } else { 128 };
        for i in 1..7 {
            let step = if same(self.d[i], d) { step } else { -step };
            self.b[i] = saturate(step + ((self.b[i] * 32_640) >> 15));
        }
        // DELAYA
        self.d.copy_within(0..6, 1);
        self.r.copy_within(0..2, 1);
        self.p.copy_within(0..2, 1);
        (self.a[1], self.a[2]) = (a1, a2);
        // FILTEP and FILTEZ
        let pole = |i: usize| (self.a[i] * saturate(2 * self.r[i])) >> 15;
        let sp = saturate(pole(1) + pole(2));
        self.sz = saturate((1..7).map(|i| (self.b[i] * saturate(2 * self.d[i])) >> 15).sum());
        self.s = saturate(sp + self.sz);
    }
}

/// The two filters of the QMF: the sums over the odd and over the even taps.
fn filter(x: &[i32; 24]) -> (i32, i32) {
    let (mut first, mut second) = (0, 0);
    for i in 0..12 {
        first += x[2 * i] * QMF[i];
        second += x[2 * i + 1] * QMF[11 - i];
    }
    (first, second)
}

fn shift(x: &mut [i32; 24], two: [i32; 2]) {
    x.copy_within(2.., 0);
    [x[22], x[23]] = two;
}

/// Encodes one stream.
#[derive(Debug, Clone)]
pub struct Encoder {
    low: Band,
    high: Band,
    x: [i32; 24],
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { low: Band::new(32), high: Band::new(8), x: [0; 24] }
    }
}

impl Encoder {
    /// Appends a byte for each two samples; an odd one at the end is left out.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        let (pairs, _) = samples.as_chunks::<2>();
        out.extend(pairs.iter().map(|pair| self.pair(*pair)));
    }

    fn pair(&mut self, pair: [i16; 2]) -> u8 {
        shift(&mut self.x, pair.map(i32::from));
        let (odd, even) = filter(&self.x);
        let magnitude = |x: i32| if x >= 0 { x } else { !x };
        let el = saturate(((even + odd) >> 14) - self.low.s);
        let size = magnitude(el);
        let at = (1..30).find(|i| size < (Q6[*i] * self.low.det) >> 12).unwrap_or(30);
        let low = if el < 0 { ILN[at] } else { ILP[at] };
        let code = usize::from(low >> 2);
        let d = (self.low.det * QM4[code]) >> 15;
        self.low.low(code);
        self.low.adapt(d);
        let eh = saturate(((even - odd) >> 14) - self.high.s);
        let large = magnitude(eh) >= (564 * self.high.det) >> 12;
        let high: u8 = match (eh < 0, large) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        let d = (self.high.det * QM2[usize::from(high)]) >> 15;
        self.high.high(usize::from(high));
        self.high.adapt(d);
        high << 6 | low
    }
}

/// Decodes one stream.
#[derive(Debug, Clone)]
pub struct Decoder {
    low: Band,
    high: Band,
    x: [i32; 24],
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { low: Band::new(32), high: Band::new(8), x: [0; 24] }
    }
}

impl Decoder {
    /// Appends two samples for each byte.
    pub fn decode(&mut self, data: &[u8], out: &mut Vec<i16>) {
        for byte in data {
            out.extend(self.byte(*byte));
        }
    }

    fn byte(&mut self, byte: u8) -> [i16; 2] {
        let (low, high) = (usize::from(byte & 0x3F), usize::from(byte >> 6));
        let bound = |x: i32| x.clamp(-16_384, 16_383);
        let rlow = bound(self.low.s + ((self.low.det * QM6[low]) >> 15));
        let d = (self.low.det * QM4[low >> 2]) >> 15;
        self.low.low(low >> 2);
        self.low.adapt(d);
        let d = (self.high.det * QM2[high]) >> 15;
        let rhigh = bound(d + self.high.s);
        self.high.high(high);
        self.high.adapt(d);
        shift(&mut self.x, [rlow + rhigh, rlow - rhigh]);
        let (second, first) = filter(&self.x);
        [first, second].map(|x| saturate(x >> 11) as i16)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn tone(hz: f64, amplitude: f64) -> Vec<i16> {
        (0..16_000).map(|i| ((std::f64::consts::TAU * hz * f64::from(i) / 16_000.0).sin() * amplitude) as i16).collect()
    }

    #[test]
    fn tones_of_both_bands_survive() {
        for hz in [300.0, 1000.0, 3000.0, 5000.0, 6500.0] {
            let sent = tone(hz, 9000.0);
            let (mut bytes, mut heard) = (Vec::new(), Vec::new());
            Encoder::default().encode(&sent, &mut bytes);
            Decoder::default().decode(&bytes, &mut heard);
            assert_eq!((bytes.len(), heard.len()), (8000, 16_000));
            // The filters delay by 22 samples.
            let (mut signal, mut noise) = (0.0, 0.0);
            for (a, b) in sent[2000..].iter().zip(&heard[2022..]) {
                signal += f64::from(*a).powi(2);
                noise += (f64::from(*a) - f64::from(*b)).powi(2);
            }
            let db = 10.0 * (signal / noise).log10();
            println!("{hz}: {db:.1} dB");
            assert!(db > 15.0, "{hz}: {db}");
        }
    }

    /// FFmpeg 5.1 gives these bytes and samples for the same sound, told by their FNV-1a.
    #[test]
    fn it_is_bit_exact_with_another_one() {
        let fnv = |bytes: &mut dyn Iterator<Item = u8>| {
            bytes.fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3))
        };
        let sent: Vec<i16> = (0..16_000i64).map(|i| ((i * 1103 + i * i % 977) % 20_000 - 10_000) as i16).collect();
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(&sent, &mut bytes);
        Decoder::default().decode(&bytes, &mut heard);
        assert_eq!(fnv(&mut bytes.iter().copied()), 0xF0FC_8E84_1B34_2596);
        assert_eq!(fnv(&mut heard.iter().flat_map(|s| s.to_le_bytes())), 0x6522_864B_7C31_1468);
    }

    #[test]
    fn nothing_overflows() {
        let mut state = 1u32;
        let noise: Vec<i16> = (0..40_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state & 0x100 == 0 { i16::MAX } else { i16::MIN }
            })
            .collect();
        let mut bytes = Vec::new();
        Encoder::default().encode(&noise, &mut bytes);
        let mut heard = Vec::new();
        Decoder::default().decode(&bytes, &mut heard);
        let any: Vec<u8> = noise.iter().enumerate().map(|(i, s)| (i as u8).wrapping_mul(77) ^ (*s as u8)).collect();
        Decoder::default().decode(&any, &mut heard);
    }
}
