//! Loudness evened out: a slow gain for each voice towards one loudness, so that a quiet telephone and a shouting radio are
//! heard alike. Measured as ITU-R BS.1770 does (K-weighting), over speech only.

/// Speech that the measure remembers, in blocks of 20 ms: 8 s, so that a sentence does not move it.
const MEMORY: f32 = 400.0;
/// Speech after which the gain begins to move, and until which it may move fast: the first words of a voice.
const FIRST: u32 = 10;
const SETTLING: u32 = 75;
/// The most that the gain changes in a block, dB: 3 dB a second, which changes no word against the next; in the first words
/// 30 dB a second, but only for a voice that is further off than any sentence swings.
const SLOW: f32 = 0.06;
const FAST: f32 = 0.6;
const FAR: f32 = 8.0;
/// A gain that is right within `STILL` dB stays, until it is not; then it moves until it is within `SETTLED`.
const STILL: f32 = 1.0;
const SETTLED: f32 = 0.2;
/// Bounds of the gain, dB.
const MOST: f32 = 18.0;
const LEAST: f32 = -20.0;
/// Steady noise of a voice is never raised above this, dB below overload.
const NOISE_MOST: f32 = -52.0;
/// Blocks this much below the mean are pauses between words and do not count (R128's relative gate), dB.
const RELATIVE: f32 = 10.0;

/// A filter of second order, transposed direct form.
#[derive(Debug, Clone)]
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    z: [f32; 2],
}

impl Biquad {
    fn step(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.z[0];
        self.z[0] = self.b[1] * x - self.a[0] * y + self.z[1];
        self.z[1] = self.b[2] * x - self.a[1] * y;
        y
    }
}

/// The gain of one voice.
#[derive(Debug, Clone)]
pub(crate) struct Leveller {
    shelf: Biquad,
    high_pass: Biquad,
    /// Mean power of the speech heard of late, and how many blocks of it there were.
    power: f32,
    heard: u32,
    gain_db: f32,
    moving: bool,
}

impl Leveller {
    pub fn new() -> Self {
        Leveller {
            // BS.1770-4 tables 1 and 2, for 48 kHz.
            shelf: Biquad { b: [1.535_124_9, -2.691_696_2, 1.198_392_8], a: [-1.690_659_3, 0.732_480_8], z: [0.0; 2] },
            high_pass: Biquad { b: [1.0, -2.0, 1.0], a: [-1.990_047_5, 0.990_072_25], z: [0.0; 2] },
            power: 0.0,
            heard: 0,
            gain_db: 0.0,
            moving: false,
        }
    }

    /// The gain in dB that stands.
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }

    /// Takes a block of the voice as it came. `talking`: it is speech; `floor_dbov`: the steady noise of this voice. Gives the gain
    /// in dB for it. In pauses the gain stays, so that no noise is pumped up.
    pub fn block(&mut self, block: &[f32], talking: bool, floor_dbov: f32, target_lufs: f32) -> f32 {
        let mut sum = 0.0f32;
        for x in block {
            let y = self.high_pass.step(self.shelf.step(*x));
            sum += y * y;
        }
        let power = sum / block.len().max(1) as f32;
        if !power.is_finite() {
            *self = Leveller { power: self.power, heard: self.heard, gain_db: self.gain_db, ..Leveller::new() };
            return self.gain_db;
        }
        let pause = self.heard > 0 && power < self.power * 10f32.powf(-RELATIVE / 10.0);
        if !talking || pause {
            return self.gain_db;
        }
        self.heard = self.heard.saturating_add(1);
        self.power += (power - self.power) / (self.heard as f32).min(MEMORY);
        if self.heard < FIRST {
            return self.gain_db;
        }
        let loudness = -0.691 + 10.0 * self.power.max(1e-12).log10();
        let most = MOST.min((NOISE_MOST - floor_dbov).max(0.0));
        let wanted = (target_lufs - loudness).clamp(LEAST, most);
        let off = wanted - self.gain_db;
        self.moving = off.abs() > if self.moving { SETTLED } else { STILL };
        if self.moving {
            let step = if self.heard < SETTLING && off.abs() > FAR { FAST } else { SLOW };
            self.gain_db += off.clamp(-step, step);
        }
        self.gain_db
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::audio::testkit::tone_at;
    use crate::audio::{BLOCK, Block, MixCore};

    /// Words of 300 ms of harmonics with pauses of 200 ms between them, over noise.
    fn voice(tick: usize, dbov: f32, noise_dbov: f32) -> Block {
        let mut block: Block = tone_at(0.0, 0, BLOCK, 0.0).try_into().unwrap();
        if tick % 25 < 15 {
            for h in 1..9 {
                let part = tone_at(140.0 * h as f32, tick * BLOCK, BLOCK, 1.0 / h as f32);
                block.iter_mut().zip(part).for_each(|(b, s)| *b += s);
            }
            // The mean power of those harmonics is 0.76.
            block.iter_mut().for_each(|b| *b *= 10f32.powf(dbov / 20.0) / 0.87);
        }
        let mut x = 0x1234_5678u32 ^ (tick as u32).wrapping_mul(2_654_435_761);
        for b in &mut block {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            *b += (x as f32 / u32::MAX as f32 * 2.0 - 1.0) * 1.73 * 10f32.powf(noise_dbov / 20.0);
        }
        block
    }

    /// What all hear of one voice from tick 300 on, and the mean of its pauses.
    fn heard(dbov: f32, noise: f32, volume: f32, target: Option<f32>) -> (Vec<f32>, f32) {
        let mut core = MixCore::new();
        core.set_loudness(target);
        core.add("a");
        core.set_gain("a", volume, false);
        let (mut all, mut pauses) = (Vec::new(), Vec::new());
        let mut out: Block = [0.0; BLOCK];
        for tick in 0..800 {
            core.begin();
            core.offer("a", Some(&voice(tick, dbov, noise)));
            core.all(&mut out);
            if tick >= 300 {
                all.extend_from_slice(&out);
                if (18..24).contains(&(tick % 25)) {
                    pauses.extend_from_slice(&out);
                }
            }
        }
        (all, 20.0 * crate::audio::testkit::rms(&pauses).max(1e-9).log10())
    }

    /// As FFmpeg's ebur128 measures it: the integrated loudness of the sound.
    fn lufs(sound: &[f32], name: &str) -> f32 {
        let path = std::env::temp_dir().join(format!("skybridge-loudness-{}-{name}.raw", std::process::id()));
        let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        let run = std::process::Command::new("ffmpeg")
            .args(["-hide_banner", "-nostats", "-f", "f32le", "-ar", "48000", "-ac", "1", "-i"])
            .arg(&path)
            .args(["-af", "ebur128", "-f", "null", "-"])
            .output()
            .expect("ffmpeg is installed");
        let _ = std::fs::remove_file(&path);
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        let summary = text.rsplit("Integrated loudness:").next().unwrap();
        summary.split("I:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_quiet_telephone_and_a_shouting_radio_come_out_alike() {
        let bare = [heard(-35.0, -75.0, 0.0, None), heard(-6.0, -50.0, 0.0, None)].map(|h| lufs(&h.0, "bare"));
        assert!(bare[1] - bare[0] > 25.0, "as they come: {bare:?}");
        let even =
            [heard(-35.0, -75.0, 0.0, Some(-23.0)), heard(-6.0, -50.0, 0.0, Some(-23.0))].map(|h| lufs(&h.0, "even"));
        println!("as they come {bare:?} LUFS, evened out {even:?} LUFS");
        assert!((even[0] - even[1]).abs() < 3.0, "{even:?}");
        assert!(even.iter().all(|l| (l + 23.0).abs() < 3.0), "{even:?}");
    }

    #[test]
    fn a_sentence_keeps_its_shape() {
        // Syllables that swing by 20 dB, sentences of 3 s, pauses of 1 s; voices of the usual loudness and far from it.
        for dbov in [-38.0, -26.0, -20.0, -6.0] {
            let mut core = MixCore::new();
            core.set_loudness(Some(-23.0));
            core.add("a");
            let mut out: Block = [0.0; BLOCK];
            let mut gains = Vec::new();
            for tick in 0..1500 {
                let swing = [0.0, -14.0, 4.0, -6.0, -16.0, 2.0][tick / 12 % 6];
                let level = if tick % 200 < 150 { dbov + swing } else { -75.0 };
                // Without its own pauses: what is compared is the gain.
                let block = voice(tick % 15, level, -80.0);
                core.begin();
                core.offer("a", Some(&block));
                core.all(&mut out);
                let ratio = crate::audio::testkit::rms(&out) / crate::audio::testkit::rms(&block);
                let level = if tick % 200 < 150 { 20.0 * ratio.max(1e-6).log10() } else { f32::NAN };
                gains.push(level);
            }
            let swing = |part: &[f32]| {
                let (low, high) = part.iter().fold((99f32, -99f32), |(l, h), g| (l.min(*g), h.max(*g)));
                high - low
            };
            // After the first words no second of a sentence is changed by more than that (the ramp in a block apart), and later
            // none at all that one could hear.
            for sentence in gains[200..].chunks_exact(200) {
                let worst = sentence[..150].windows(50).map(swing).fold(0.0, f32::max);
                assert!(worst < 3.2, "{dbov}: {worst} dB in a second");
            }
            let late = gains[600..].chunks_exact(200).map(|s| swing(&s[5..150])).fold(0.0, f32::max);
            println!("{dbov} dBov: {late:.2} dB within a sentence");
            assert!(late < 1.5, "{dbov}: {late} dB within a sentence");
            if (-27.0..=-19.0).contains(&dbov) {
                let first = swing(&gains[5..100]);
                assert!(first < 6.0, "a voice that is about right is not moved fast: {first}");
            }
        }
    }

    #[test]
    fn noise_is_not_pumped_up_and_the_volume_by_hand_counts() {
        // A quiet voice on a noisy line: raised only as far as the noise allows.
        let (_, pauses) = heard(-35.0, -58.0, 0.0, Some(-23.0));
        // The floor of the noise is found within some seconds.
        assert!(pauses < NOISE_MOST + 3.0, "{pauses}");
        let (plain, louder) = (heard(-30.0, -75.0, 0.0, Some(-23.0)), heard(-30.0, -75.0, 6.0, Some(-23.0)));
        let more = lufs(&louder.0, "louder") - lufs(&plain.0, "plain");
        assert!((more - 6.0).abs() < 1.0, "{more}");
        // Noise alone is no voice: its gain stays where it was.
        let mut leveller = Leveller::new();
        for tick in 0..500 {
            assert_eq!(leveller.block(&voice(20, -20.0, -55.0), false, -55.0, -23.0), 0.0, "{tick}");
        }
        assert!(leveller.block(&[f32::NAN; BLOCK], true, -90.0, -23.0).is_finite());
    }
}
