//! Trimming of a buffer of sound by whole periods, without a click (the idea of WSOLA): against clock drift and to follow
//! the jitter target.

/// Cross-fade, 5 ms.
const FADE: usize = 240;
const SHORTEST: usize = 120;
/// At most 10 ms at once.
const LONGEST: usize = 480;
/// Sound that must be there for an operation.
pub(crate) const NEEDS: usize = FADE + LONGEST;

/// The lag at which `x` is most like itself.
fn lag(x: &[f32]) -> usize {
    let score = |lag: usize, step: usize| {
        let (mut cross, mut energy) = (0.0f32, 1e-9f32);
        for i in (0..FADE).step_by(step) {
            cross += x[i] * x[i + lag];
            energy += x[i + lag] * x[i + lag];
        }
        cross / energy.sqrt()
    };
    let mut top = (LONGEST, 1e-4f32);
    for lag in (SHORTEST..=LONGEST).step_by(5) {
        let s = score(lag, 3);
        if s > top.1 {
            top = (lag, s);
        }
    }
    let (from, to) = (top.0.saturating_sub(5).max(SHORTEST), (top.0 + 5).min(LONGEST));
    top.1 = f32::MIN;
    for lag in from..=to {
        let s = score(lag, 1);
        if s >= top.1 {
            top = (lag, s);
        }
    }
    top.0
}

/// Takes 2.5 to 10 ms out at the front; returns how many samples, 0 if there is too little sound.
pub(crate) fn shrink(x: &mut Vec<f32>) -> usize {
    if x.len() < NEEDS {
        return 0;
    }
    let n = lag(x);
    for i in 0..FADE {
        let w = (i as f32 + 0.5) / FADE as f32;
        x[i + n] = x[i] * (1.0 - w) + x[i + n] * w;
    }
    x.drain(..n);
    n
}

/// Puts 2.5 to 10 ms in at the front; returns how many samples.
pub(crate) fn grow(x: &mut Vec<f32>) -> usize {
    if x.len() < NEEDS {
        return 0;
    }
    let n = lag(x);
    let mut head = x[..n + FADE].to_vec();
    for i in 0..FADE {
        let w = (i as f32 + 0.5) / FADE as f32;
        head[n + i] = x[n + i] * (1.0 - w) + x[i] * w;
    }
    x.splice(..FADE, head);
    n
}

/// Cuts the front so that `keep` samples stay, with a cross-fade.
pub(crate) fn cut(x: &mut Vec<f32>, keep: usize) {
    let keep = keep.max(FADE);
    if x.len() <= keep + FADE {
        return;
    }
    let n = x.len() - keep;
    for i in 0..FADE {
        let w = (i as f32 + 0.5) / FADE as f32;
        x[i + n] = x[i] * (1.0 - w) + x[i + n] * w;
    }
    x.drain(..n);
}
