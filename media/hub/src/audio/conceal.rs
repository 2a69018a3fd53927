//! Concealment of missing sound by repeating the last pitch period with a fade (after the idea of G.711 Appendix I).

const HISTORY: usize = 1920;
const SHORTEST: usize = 120;
const LONGEST: usize = 720;
/// Samples at full level, then a fade to silence until `GONE`.
const FULL: usize = 720;
const GONE: usize = 3360;
/// Cross-fade back into fresh sound.
const HEAL: usize = 240;

/// Remembers the end of what was decoded and goes on from it.
pub struct Concealer {
    history: Vec<f32>,
    /// The pitch period while concealing.
    period: usize,
    made: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Concealer { history: Vec::with_capacity(2 * HISTORY), period: 0, made: 0 }
    }
}

impl Concealer {
    pub fn new() -> Self {
        Concealer::default()
    }

    /// Fresh sound that was appended.
    pub fn note(&mut self, fresh: &[f32]) {
        self.history.extend_from_slice(&fresh[fresh.len().saturating_sub(HISTORY)..]);
        let extra = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..extra);
        self.made = 0;
    }

    pub fn reset(&mut self) {
        self.history.clear();
        self.made = 0;
    }

    /// Nothing more comes: the fade is over or there is no past.
    pub fn spent(&self) -> bool {
        self.made >= GONE || self.history.len() < LONGEST + 480
    }

    /// Appends `n` samples of continuation.
    pub fn fill(&mut self, n: usize, out: &mut Vec<f32>) {
        out.reserve(n);
        for _ in 0..n {
            let sample = self.next();
            out.push(sample);
        }
    }

    /// Cross-fades the beginning of fresh sound with the continuation. To be called before `note`.
    pub fn heal(&mut self, fresh: &mut [f32]) {
        if self.made == 0 {
            return;
        }
        let n = fresh.len().min(HEAL);
        for (i, sample) in fresh[..n].iter_mut().enumerate() {
            let w = (i + 1) as f32 / (n + 1) as f32;
            *sample = *sample * w + self.next() * (1.0 - w);
        }
    }

    fn next(&mut self) -> f32 {
        if self.spent() {
            self.made = self.made.saturating_add(1);
            return 0.0;
        }
        if self.made == 0 {
            self.period = pitch(&self.history);
        }
        let gain = if self.made < FULL { 1.0 } else { (GONE - self.made) as f32 / (GONE - FULL) as f32 };
        let at = self.history.len() - self.period + self.made % self.period;
        self.made += 1;
        self.history[at] * gain
    }
}

/// The lag at which the end of `x` resembles what was before it most.
fn pitch(x: &[f32]) -> usize {
    const WINDOW: usize = 480;
    let end = &x[x.len() - WINDOW..];
    let score = |lag: usize, step: usize| {
        let past = &x[x.len() - WINDOW - lag..x.len() - lag];
        let (mut cross, mut energy) = (0.0f32, 1e-9f32);
        for i in (0..WINDOW).step_by(step) {
            cross += end[i] * past[i];
            energy += past[i] * past[i];
        }
        cross / energy.sqrt()
    };
    let coarse = best((SHORTEST..=LONGEST).step_by(4), |lag| score(lag, 3));
    best(coarse.saturating_sub(4).max(SHORTEST)..=(coarse + 4).min(LONGEST), |lag| score(lag, 1))
}

fn best(lags: impl Iterator<Item = usize>, score: impl Fn(usize) -> f32) -> usize {
    let mut top = (SHORTEST, f32::MIN);
    for lag in lags {
        let s = score(lag);
        if s > top.1 {
            top = (lag, s);
        }
    }
    top.0
}
