//! Keys heard in the sound itself (ITU-T Q.23, Q.24): Goertzel filters over blocks of 12.75 ms at 8 kHz.
//!
//! A key counts when two blocks in a row hold the same pair and nothing else of weight; what a voice makes of the eight frequencies
//! has harmonics and other energy beside them.

const BLOCK: usize = 102;
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Mean square of the weakest pair: -36 dBm0 or so.
const WEAKEST: f32 = 2500.0;
/// The high tone may be stronger by 8 dB, the low one by 6 dB (networks attenuate the high one more, phones raise it).
const TWIST: f32 = 6.3;
const REVERSE_TWIST: f32 = 4.0;
/// Each tone is 8 dB above the others of its group.
const APART: f32 = 6.3;
/// The share of the pair in all the energy of the block.
const SHARE: f32 = 0.77;
/// The second harmonics are weaker than this share of their tone.
const HARMONIC: f32 = 0.1;
/// From one block to the next a tone keeps its level within this factor.
const STEADY: f32 = 1.5;

#[derive(Debug, Clone, Copy)]
struct Goertzel {
    k: f32,
    a: f32,
    b: f32,
}

impl Goertzel {
    fn new(hz: f32) -> Goertzel {
        Goertzel { k: 2.0 * (std::f32::consts::TAU * hz / 8000.0).cos(), a: 0.0, b: 0.0 }
    }

    fn take(&mut self, x: f32) {
        let new = x + self.k * self.a - self.b;
        self.b = self.a;
        self.a = new;
    }

    /// The mean square of the tone in the block; starts anew.
    fn power(&mut self) -> f32 {
        let p = self.a * self.a + self.b * self.b - self.k * self.a * self.b;
        (self.a, self.b) = (0.0, 0.0);
        2.0 * p.max(0.0) / (BLOCK * BLOCK) as f32
    }
}

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Began(char),
    Ended(char),
}

/// A block that holds a pair, and the mean squares of its tones.
#[derive(Debug, Clone, Copy)]
struct Hit {
    key: char,
    row: f32,
    column: f32,
}

impl Hit {
    /// The same key at the same level: a voice changes from block to block.
    fn goes_on(&self, old: &Hit) -> bool {
        let steady = |a: f32, b: f32| a < b * STEADY && b < a * STEADY;
        self.key == old.key && steady(self.row, old.row) && steady(self.column, old.column)
    }
}

/// Listens for keys in sound at 8 kHz.
#[derive(Debug, Clone)]
pub struct ToneDetector {
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    /// At twice the frequencies of the columns; those of the rows lie too near the columns.
    harmonics: [Goertzel; 4],
    energy: f32,
    samples: usize,
    /// The last two blocks.
    last: [Option<Hit>; 2],
    now: Option<char>,
}

impl Default for ToneDetector {
    fn default() -> Self {
        ToneDetector {
            rows: ROWS.map(Goertzel::new),
            columns: COLUMNS.map(Goertzel::new),
            harmonics: COLUMNS.map(|hz| Goertzel::new(2.0 * hz)),
            energy: 0.0,
            samples: 0,
            last: [None; 2],
            now: None,
        }
    }
}

impl ToneDetector {
    /// The key that is heard at this moment.
    pub fn sounding(&self) -> Option<char> {
        self.now
    }

    /// Takes sound; at most one thing is told for each 12.75 ms.
    pub fn push(&mut self, sound: &[i16], mut tell: impl FnMut(Tone)) {
        for sample in sound {
            let x = f32::from(*sample);
            self.energy += x * x;
            let all = self.rows.iter_mut().chain(&mut self.columns).chain(&mut self.harmonics);
            all.for_each(|g| g.take(x));
            self.samples += 1;
            if self.samples == BLOCK {
                let key = self.block();
                self.judge(key, &mut tell);
            }
        }
    }

    /// Sound was missing here.
    pub fn reset(&mut self, mut tell: impl FnMut(Tone)) {
        if let Some(key) = self.now {
            tell(Tone::Ended(key));
        }
        *self = ToneDetector::default();
    }

    fn block(&mut self) -> Option<Hit> {
        let total = std::mem::take(&mut self.energy) / BLOCK as f32;
        self.samples = 0;
        let rows = self.rows.each_mut().map(Goertzel::power);
        let columns = self.columns.each_mut().map(Goertzel::power);
        let harmonics = self.harmonics.each_mut().map(Goertzel::power);
        let (r, row) = strongest(&rows)?;
        let (c, column) = strongest(&columns)?;
        let twisted = column > row * TWIST || row > column * REVERSE_TWIST;
        let pure = row + column >= total * SHARE;
        let harmonic = harmonics[c] > column * HARMONIC;
        let key = KEYS[r][c];
        (row + column >= WEAKEST && !twisted && pure && !harmonic).then_some(Hit { key, row, column })
    }

    fn judge(&mut self, hit: Option<Hit>, tell: &mut impl FnMut(Tone)) {
        let [last, _] = self.last;
        let is = |h: Option<Hit>, key: char| h.is_some_and(|h| h.key == key);
        if let Some(old) = self.now.filter(|old| !is(hit, *old) && !is(last, *old)) {
            self.now = None;
            tell(Tone::Ended(old));
        }
        if let (Some(hit), Some(last), None) = (hit, last, self.now)
            && hit.goes_on(&last)
        {
            self.now = Some(hit.key);
            tell(Tone::Began(hit.key));
        }
        self.last = [hit, last];
    }
}

/// The strongest of a group, if it stands out.
fn strongest(powers: &[f32; 4]) -> Option<(usize, f32)> {
    let (at, best) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let alone = powers.iter().enumerate().all(|(i, p)| i == at || p * APART < best);
    alone.then_some((at, best))
}

/// The two frequencies of a key; none for what has no tones.
pub fn frequencies(key: char) -> Option<(f32, f32)> {
    let key = key.to_ascii_uppercase();
    (0..16).find(|i| KEYS[i / 4][i % 4] == key).map(|i| (ROWS[i / 4], COLUMNS[i % 4]))
}

/// The sound of a key at 8 kHz, with 2 ms of fade at both ends; empty for what has no tones.
pub fn sound(key: char, milliseconds: u32) -> Vec<i16> {
    let Some((low, high)) = frequencies(key) else { return Vec::new() };
    let n = milliseconds.min(60_000) * 8;
    let wave = |hz: f32, i: u32| (std::f32::consts::TAU * (hz * i as f32 / 8000.0).fract()).sin();
    (0..n)
        .map(|i| {
            let edge = (i.min(n - i) as f32 / 16.0).min(1.0);
            ((wave(low, i) * 5000.0 + wave(high, i) * 6300.0) * edge) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::g711;

    struct Noise(u32);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
        }
    }

    fn pair(low: f32, high: f32, ms: u32, off: f32, (la, ha): (f32, f32)) -> Vec<i16> {
        let wave = |hz: f32, i: u32| (std::f32::consts::TAU * (hz * off * i as f32 / 8000.0).fract()).sin();
        (0..ms * 8).map(|i| (wave(low, i) * la + wave(high, i) * ha) as i16).collect()
    }

    /// What is heard of a sound with silence (or a little noise) around it, through A-law.
    fn heard(sound: &[i16], lead: usize) -> String {
        let mut noise = Noise(7);
        let mut all: Vec<i16> = (0..lead + 400).map(|_| (noise.next() * 40.0) as i16).collect();
        all.extend(sound.iter().map(|s| s.saturating_add((noise.next() * 40.0) as i16)));
        all.extend([0; 800]);
        let (mut law, mut linear) = (Vec::new(), Vec::new());
        g711::encode(true, &all, &mut law);
        g711::decode(true, &law, &mut linear);
        let (mut out, mut d) = (String::new(), ToneDetector::default());
        for part in linear.chunks(160) {
            d.push(part, |tone| match tone {
                Tone::Began(key) => out.push(key),
                Tone::Ended(_) => out.push('.'),
            });
        }
        out
    }

    #[test]
    fn all_keys_of_40_and_50_ms_at_any_place_are_heard_once() {
        for ms in [40, 50, 100] {
            for key in KEYS.iter().flatten() {
                for lead in (0..BLOCK).step_by(6) {
                    assert_eq!(heard(&sound(*key, ms), lead), format!("{key}."), "{ms} ms after {lead}");
                }
            }
        }
    }

    #[test]
    fn shorter_than_20_ms_is_no_key_and_a_pause_of_50_ms_parts_two() {
        for lead in (0..BLOCK).step_by(6) {
            assert_eq!(heard(&sound('5', 18), lead), "");
            let mut twice = sound('8', 50);
            twice.extend([0; 400]);
            twice.extend(sound('8', 50));
            assert_eq!(heard(&twice, lead), "8.8.", "{lead}");
        }
    }

    #[test]
    fn twist_level_and_frequency() {
        let hear = |off, amplitudes| {
            let mut all = String::new();
            for key in KEYS.iter().flatten() {
                let (low, high) = frequencies(*key).unwrap();
                all.push_str(&heard(&pair(low, high, 60, off, amplitudes), 33));
            }
            all.replace('.', "").len()
        };
        // 1.5 % off is a key, 3.5 % is none.
        assert_eq!(
            [hear(1.0, (5000.0, 5000.0)), hear(1.015, (5000.0, 5000.0)), hear(0.985, (5000.0, 5000.0))],
            [16; 3]
        );
        assert_eq!([hear(1.035, (5000.0, 5000.0)), hear(0.965, (5000.0, 5000.0))], [0; 2]);
        // The high tone 7 dB above, the low one 4 dB; beyond 10 dB it is none.
        assert_eq!([hear(1.0, (2240.0, 5000.0)), hear(1.0, (5000.0, 3150.0))], [16; 2]);
        assert_eq!([hear(1.0, (1580.0, 5000.0)), hear(1.0, (5000.0, 1580.0))], [0; 2]);
        // Down to -30 dBm0 or so, and as loud as it can be.
        assert_eq!([hear(1.0, (200.0, 200.0)), hear(1.0, (15_000.0, 15_000.0))], [16; 2]);
        assert_eq!(hear(1.0, (20.0, 20.0)), 0);
    }

    #[test]
    fn a_voice_and_noise_press_no_keys() {
        let mut d = ToneDetector::default();
        let (mut keys, mut noise) = (0, Noise(3));
        let mut count =
            |sound: &[i16], d: &mut ToneDetector| d.push(sound, |t| keys += usize::from(matches!(t, Tone::Began(_))));
        // 10 minutes of something like speech: a pitch that wanders from 90 to 280 Hz, its harmonics weighted by formants that
        // wander too, syllables, and breath.
        let (mut pitch, mut f1, mut f2) = (140.0f32, 500.0f32, 1500.0f32);
        let mut phase = 0.0f32;
        for block in 0..60_000u32 {
            pitch = (pitch + noise.next() * 4.0).clamp(90.0, 280.0);
            f1 = (f1 + noise.next() * 40.0).clamp(300.0, 900.0);
            f2 = (f2 + noise.next() * 60.0).clamp(900.0, 2300.0);
            let loud = if block / 12 % 5 < 4 { 4000.0 } else { 200.0 };
            let weights: Vec<f32> = (1..16)
                .map(|h| {
                    let hz = pitch * h as f32;
                    let formant = |f: f32, w: f32| 1.0 / (1.0 + ((hz - f) / w).powi(2));
                    formant(f1, 90.0) + 0.6 * formant(f2, 120.0) + 0.3 * formant(3000.0, 150.0) + 0.02
                })
                .collect();
            let sound: Vec<i16> = (0..80)
                .map(|_| {
                    phase = (phase + pitch / 8000.0).fract();
                    let voice: f32 = weights
                        .iter()
                        .enumerate()
                        .map(|(h, w)| w * (std::f32::consts::TAU * phase * (h + 1) as f32).sin())
                        .sum();
                    ((voice + noise.next() * 0.05) * loud) as i16
                })
                .collect();
            count(&sound, &mut d);
        }
        // A minute of white noise.
        for _ in 0..3000 {
            let sound: Vec<i16> = (0..160).map(|_| (noise.next() * 8000.0) as i16).collect();
            count(&sound, &mut d);
        }
        println!("{keys} keys in ten minutes of voice and one of noise");
        assert!(keys <= 1, "{keys}");
    }
}
