//! Level and talker detection of one voice.

/// What a member's voice does now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Mean power in dB below overload: 0 is a full-scale square wave, -127 is silence (the scale of RFC 6465).
    pub dbov: f32,
    /// The member talks; goes on for 400 ms after the last word.
    pub talking: bool,
}

impl Level {
    pub const SILENT: Level = Level { dbov: -127.0, talking: false };
}

/// A block louder than this, and by `MARGIN` louder than the noise floor, is speech.
const SPEECH: f32 = -50.0;
const MARGIN: f32 = 9.0;
/// The floor follows steady noise up to here: beyond it is never taken for noise.
const FLOOR_MOST: f32 = -45.0;
/// Blocks of speech in a row that make a talker, and of quiet that end it.
const ON_AFTER: u32 = 3;
const OFF_AFTER: u32 = 20;
/// A talker stays one down to this much below the threshold.
const HYSTERESIS: f32 = 4.0;

#[derive(Debug)]
pub(crate) struct Meter {
    shown: f32,
    floor: f32,
    loud: u32,
    quiet: u32,
    talking: bool,
}

impl Meter {
    pub fn new() -> Self {
        Meter { shown: -127.0, floor: -70.0, loud: 0, quiet: 0, talking: false }
    }

    /// Takes the level of one block of 20 ms.
    pub fn block(&mut self, dbov: f32) {
        self.shown = dbov.max(self.shown - 1.5).max(-127.0);
        // The floor falls at once and rises by 1 dB a second.
        self.floor = if dbov < self.floor { dbov.max(-90.0) } else { (self.floor + 0.02).min(FLOOR_MOST) };
        let threshold = SPEECH.max(self.floor + MARGIN);
        if dbov >= threshold || (self.talking && dbov >= threshold - HYSTERESIS) {
            self.loud = self.loud.saturating_add(1);
            self.quiet = 0;
            if self.loud >= ON_AFTER {
                self.talking = true;
            }
        } else {
            self.quiet = self.quiet.saturating_add(1);
            self.loud = 0;
            if self.quiet >= OFF_AFTER {
                self.talking = false;
            }
        }
    }

    /// The steady noise of the voice, dB below overload.
    pub fn floor(&self) -> f32 {
        self.floor
    }

    pub fn level(&self) -> Level {
        Level { dbov: self.shown, talking: self.talking }
    }
}

/// Level of a block; -127 for silence.
pub(crate) fn dbov(samples: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (chunks, rest) = samples.as_chunks::<8>();
    for chunk in chunks {
        for (sum, s) in sums.iter_mut().zip(chunk) {
            *sum += s * s;
        }
    }
    let power = (sums.iter().sum::<f32>() + rest.iter().map(|s| s * s).sum::<f32>()) / samples.len().max(1) as f32;
    if power.is_finite() { (10.0 * power.max(1e-13).log10()).max(-127.0) } else { -127.0 }
}
