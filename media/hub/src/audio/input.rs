//! The adaptive buffer of one member's voice: frames in at any time, 20 ms out at each tick.
//!
//! Frames are decoded as they come. The buffer holds 40 to 200 ms: as much as the observed jitter asks for. A gap in the
//! time stamps is filled (Opus by its own forward error correction and concealment, others by repeated pitch periods); a
//! frame that is late at its tick is concealed and then makes the buffer longer; drift of the sender's clock, and delay
//! that is no longer needed, are trimmed by pitch periods. Nothing grows without bound: above half a second is cut.

use std::time::{Duration, Instant};

use media_core::{Codec, Frame, TrackInfo, time::rescale};

use super::conceal::Concealer;
use super::stretch;
use super::{BLOCK, Block, Comfort, Decoder, RATE};

const MS: usize = 48;
const LEAST: usize = 40 * MS;
const MOST: usize = 200 * MS;
/// The buffer's hard bound.
const BOUND: usize = 500 * MS;
/// A gap up to this is loss and is filled; a longer one is a pause.
const LOSS: i64 = 200 * MS as i64;
/// Time stamps this near to the expected one follow without a gap.
const NEAR: i64 = 5 * MS as i64;
/// Ticks without a frame after which the voice counts as paused.
const PAUSED_AFTER: u32 = 4;
/// Ticks for which the noise of a pause goes on without a word of the far end: 30 s.
const COMFORT_MOST: u32 = 1500;

/// What the buffer of an input did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InputStats {
    pub frames: u64,
    /// Frames that could not be decoded.
    pub bad: u64,
    /// 48 kHz samples that were made up for missing ones.
    pub concealed: u64,
    /// Samples taken out and put in against drift and jitter.
    pub trimmed: u64,
    pub inserted: u64,
    /// Milliseconds held now, and wanted.
    pub depth_ms: u32,
    pub target_ms: u32,
}

/// The buffer of one member.
pub struct Input {
    track: Option<TrackInfo>,
    decoder: Option<Decoder>,
    sound: Vec<f32>,
    fresh: Vec<f32>,
    /// Time stamp at 48 kHz of what follows the end of `sound`.
    tail: Option<i64>,
    epoch: Option<u32>,
    concealer: Concealer,
    /// Samples made up at ticks since the last frame came.
    owed: usize,
    playing: bool,
    misses: u32,
    /// Ticks of comfort noise since the last frame.
    rested: u32,
    noise: Vec<f32>,
    /// The last of that noise: it goes on while the speech after a pause gathers in the buffer.
    bridge: Option<Box<Block>>,
    old: u32,
    jitter: Jitter,
    /// Samples of one frame.
    frame: usize,
    /// Mean of the samples held before each tick.
    depth: f32,
    since_trim: u32,
    stats: InputStats,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    pub fn new() -> Self {
        Input {
            track: None,
            decoder: None,
            sound: Vec::new(),
            fresh: Vec::new(),
            tail: None,
            epoch: None,
            concealer: Concealer::new(),
            owed: 0,
            playing: false,
            misses: 0,
            rested: 0,
            noise: Vec::new(),
            bridge: None,
            old: 0,
            jitter: Jitter::default(),
            frame: BLOCK,
            depth: 0.0,
            since_trim: 0,
            stats: InputStats::default(),
        }
    }

    /// Says which track the frames are of; none when the source has no sound. An unchanged track changes nothing.
    pub fn set_track(&mut self, track: Option<&TrackInfo>) {
        if self.track.as_ref() == track {
            return;
        }
        self.track = track.cloned();
        self.decoder = track.and_then(|t| match Decoder::new(t) {
            Ok(decoder) => Some(decoder),
            Err(error) => {
                tracing::warn!(codec = %t.codec, %error, "a source's sound cannot be decoded");
                None
            }
        });
        self.restart();
    }

    fn restart(&mut self) {
        self.tail = None;
        self.owed = 0;
        self.jitter = Jitter::default();
    }

    /// The samples that should be held before a tick, on average.
    fn target(&self) -> usize {
        (30 * MS + self.frame / 2 + self.jitter.peak()).clamp(LEAST, MOST)
    }

    /// Takes a frame of the track in the order of the stream.
    pub fn push(&mut self, epoch: u32, frame: &Frame) {
        let Some(track) = &self.track else { return };
        if frame.track != track.id {
            return;
        }
        if frame.codec == Codec::ComfortNoise {
            if let Some(decoder) = &mut self.decoder {
                decoder.describe(&frame.payload);
                self.rested = 0;
            }
            return;
        }
        if frame.codec != track.codec {
            return;
        }
        let pts = rescale(frame.pts, track.clock_rate, RATE);
        if self.epoch.replace(epoch) != Some(epoch) {
            self.restart();
        }
        let mut gap = self.tail.map_or(0, |tail| pts.saturating_sub(tail));
        if gap < -NEAR {
            // Old: its place was given out. Many in a row are a clock that was set back.
            self.old += 1;
            if self.old < 5 && gap > -(RATE as i64) {
                return;
            }
            self.restart();
            gap = 0;
        }
        self.old = 0;
        let Some(decoder) = &mut self.decoder else { return };
        self.rested = 0;
        let rested = decoder.comfort() == Comfort::Resting;
        if !self.playing && (gap > LOSS || rested) {
            self.sound.clear();
        }
        // In a pause nothing was lost: the noise was made at the ticks.
        if gap > NEAR && gap <= LOSS && !rested {
            let missing = (gap as usize).saturating_sub(self.owed);
            self.fresh.clear();
            let got = decoder.recover(missing, &frame.payload, &mut self.fresh);
            self.concealer.heal(&mut self.fresh);
            if got > 0 {
                self.concealer.note(&self.fresh);
            }
            if missing > got {
                self.concealer.fill(missing - got, &mut self.fresh);
            }
            self.stats.concealed += missing as u64;
            self.sound.append(&mut self.fresh);
        }
        self.fresh.clear();
        if let Err(error) = decoder.decode(&frame.payload, &mut self.fresh) {
            self.stats.bad += 1;
            tracing::trace!(%error, "a frame of sound was skipped");
            return;
        }
        if !self.fresh.iter().all(|s| s.is_finite()) {
            self.stats.bad += 1;
            return;
        }
        self.stats.frames += 1;
        self.owed = 0;
        let n = self.fresh.len();
        self.frame = n.clamp(120, 150 * MS);
        self.tail = Some(pts.saturating_add(n as i64));
        self.jitter.note(pts, frame.received);
        self.concealer.heal(&mut self.fresh);
        self.concealer.note(&self.fresh);
        if rested && !self.playing && decoder.comfort() == Comfort::Resting {
            // The pause goes on: it is heard already.
            return;
        }
        self.sound.append(&mut self.fresh);
        if self.sound.len() > BOUND {
            let target = self.target();
            self.stats.trimmed += (self.sound.len() - target) as u64;
            stretch::cut(&mut self.sound, target);
            self.depth = target as f32;
        }
    }

    /// Fills `out` with the next 20 ms. False: there is nothing, `out` is silence.
    pub fn pull(&mut self, out: &mut Block) -> bool {
        let target = self.target();
        if !self.playing {
            // As much as lets the shortest depth before a tick be one block and the jitter.
            let start = (20 * MS + self.frame + self.jitter.peak()).clamp(LEAST, MOST + self.frame);
            if self.sound.len() < start {
                out.fill(0.0);
                return self.comfort(out);
            }
            self.playing = true;
            self.bridge = None;
            self.misses = 0;
            self.depth = target as f32;
        }
        self.depth += (self.sound.len() as f32 - self.depth) / 32.0;
        self.trim(target);
        let have = self.sound.len().min(BLOCK);
        let rests = self.decoder.as_ref().is_some_and(|d| d.comfort() == Comfort::Resting);
        if have < BLOCK && rests {
            // The far end is silent by its own word; the next speech gathers in the buffer anew.
            self.playing = false;
            out[..have].copy_from_slice(&self.sound);
            self.sound.clear();
            let mut rest: Block = [0.0; BLOCK];
            self.comfort(&mut rest);
            out[have..].copy_from_slice(&rest[..BLOCK - have]);
            return true;
        }
        if have < BLOCK {
            let missing = BLOCK - have;
            self.concealer.fill(missing, &mut self.sound);
            self.owed += missing;
            self.stats.concealed += missing as u64;
            self.misses += 1;
            if self.misses >= PAUSED_AFTER && self.concealer.spent() {
                self.playing = false;
            }
        } else {
            self.misses = 0;
        }
        out.copy_from_slice(&self.sound[..BLOCK]);
        self.sound.drain(..BLOCK);
        true
    }

    /// Fills `out` with the noise of the far end's pause. False: there is none.
    fn comfort(&mut self, out: &mut Block) -> bool {
        self.rested = self.rested.saturating_add(1);
        let Some(decoder) = self.decoder.as_mut().filter(|_| self.rested <= COMFORT_MOST) else { return false };
        if decoder.comfort() != Comfort::Resting {
            let Some(noise) = self.bridge.as_ref().filter(|_| self.rested < PAUSED_AFTER + 4) else { return false };
            out.copy_from_slice(&noise[..]);
            return true;
        }
        while self.noise.len() < BLOCK {
            if decoder.go_on(BLOCK, &mut self.noise) == 0 {
                return false;
            }
        }
        out.copy_from_slice(&self.noise[..BLOCK]);
        self.noise.drain(..BLOCK);
        **self.bridge.get_or_insert_with(|| Box::new([0.0; BLOCK])) = *out;
        out.iter().all(|s| s.is_finite())
    }

    fn trim(&mut self, target: usize) {
        self.since_trim = self.since_trim.saturating_add(1);
        let excess = self.depth - target as f32;
        let hurry = excess > 100.0 * MS as f32;
        if self.since_trim < 5 && !hurry {
            return;
        }
        // Only what is held now can be worked on.
        let moved = if excess > 15.0 * MS as f32 && self.sound.len() >= BLOCK + stretch::NEEDS {
            let n = stretch::shrink(&mut self.sound);
            self.stats.trimmed += n as u64;
            -(n as f32)
        } else if excess < -12.0 * MS as f32 && self.sound.len() >= stretch::NEEDS {
            let n = stretch::grow(&mut self.sound);
            self.stats.inserted += n as u64;
            n as f32
        } else {
            return;
        };
        self.depth += moved;
        self.since_trim = 0;
    }

    /// Forgets what is held, as for a member that is muted.
    pub fn clear(&mut self) {
        self.sound.clear();
        self.playing = false;
        self.concealer.reset();
        self.tail = None;
        self.owed = 0;
    }

    pub fn stats(&self) -> InputStats {
        InputStats { depth_ms: (self.sound.len() / MS) as u32, target_ms: (self.target() / MS) as u32, ..self.stats }
    }
}

/// How late frames come, against the earliest of the last 4 to 8 seconds.
#[derive(Default)]
struct Jitter {
    origin: Option<(Instant, i64)>,
    window: Option<Instant>,
    least: [f64; 2],
    peak: f64,
    last: Option<Instant>,
}

const WINDOW: Duration = Duration::from_secs(4);
/// Half-life of a seen delay.
const FORGET: f64 = 10.0;

impl Jitter {
    fn note(&mut self, pts: i64, received: Instant) {
        let (start, zero) = *self.origin.get_or_insert((received, pts));
        let arrival = signed_seconds(start, received);
        let transit = arrival - pts.saturating_sub(zero) as f64 / f64::from(RATE);
        match self.window {
            None => {
                self.window = Some(received);
                self.least = [transit; 2];
            }
            Some(at) if received.saturating_duration_since(at) > WINDOW => {
                self.window = Some(received);
                self.least = [transit, self.least[0]];
            }
            Some(_) => self.least[0] = self.least[0].min(transit),
        }
        let late = transit - self.least[0].min(self.least[1]);
        let since = self.last.map_or(0.0, |last| received.saturating_duration_since(last).as_secs_f64());
        self.last = Some(received);
        self.peak = (self.peak * 0.5f64.powf(since / FORGET)).max(late);
    }

    fn peak(&self) -> usize {
        ((self.peak * f64::from(RATE)) as usize).min(MOST)
    }
}

fn signed_seconds(from: Instant, to: Instant) -> f64 {
    if to >= from { (to - from).as_secs_f64() } else { -(from - to).as_secs_f64() }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
