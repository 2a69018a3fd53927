//! The mixing itself: gains, gates, sums and limiters; no clock, no I/O.

use std::collections::{HashMap, HashSet};

use super::leveller::Leveller;
use super::meter::{Level, Meter, dbov};
use super::{BLOCK, Block};

/// A voice below this level for half a second is closed out of the mix, so that forty open microphones do not sum to a roar,
/// and so that those listeners can share one encoder.
const GATE: f32 = -60.0;
const GATE_HOLD: u32 = 25;
/// Blocks after which a member who was silent hears the mix of all.
const LISTENER_AFTER: u32 = 100;
/// Gains change over 5 ms.
const RAMP: usize = 240;
/// The limiter's ceiling.
const CEILING: f32 = 0.97;
/// Loudest gain that can be asked for.
const GAIN_MOST_DB: f32 = 20.0;

/// Whether a voice may hold an echo of the others: its owner's loudspeaker says what they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Echo {
    /// It cancels its own echo, or has no loudspeaker.
    #[default]
    None,
    /// While another voice is in the mix, and for so many blocks after, this one is kept out.
    Half(u32),
    /// Kept out now, and for so many blocks after that changes: somebody talks to its loudspeaker past this mix.
    Closed(u32),
}

/// A voice that is turned down further than this comes out of no loudspeaker loud enough to come back.
const ECHO_LEAST_GAIN: f32 = 0.03;

struct Voice {
    echo: Echo,
    /// Blocks for which it is still kept out.
    ducked: u32,
    /// It talks and is heard: half-duplex voices give way. Steady noise is no talk, see [`Meter`].
    leads: bool,
    goal: f32,
    muted: bool,
    /// Gain at the end of the last block.
    gain: f32,
    open: bool,
    quiet: u32,
    /// Blocks since the voice was last in the mix.
    idle: u32,
    meter: Meter,
    leveller: Leveller,
    own: Box<Block>,
    /// `own` is this tick's sound; `adds`: it is in the mix of all.
    sounds: bool,
    adds: bool,
    /// Where it talks and hears; 0 is the conference itself.
    room: u16,
    /// The only one who hears it.
    whispers: Option<String>,
    limiter: Limiter,
}

impl Voice {
    fn aside(&self) -> bool {
        self.room != 0 || self.whispers.is_some()
    }
}

/// The mix of one conference. Each tick: `begin`, `offer` for each member, then `all` and `without`.
pub struct MixCore {
    voices: HashMap<String, Voice>,
    sum: Box<Block>,
    speaking: u32,
    limiter: Limiter,
    /// Somebody is in a side room or whispers; and to whom.
    aside: bool,
    whispered_to: HashSet<String>,
    /// The loudness that all voices are brought to, LUFS.
    loudness: Option<f32>,
}

impl Default for MixCore {
    fn default() -> Self {
        Self::new()
    }
}

impl MixCore {
    pub fn new() -> Self {
        MixCore {
            voices: HashMap::new(),
            sum: Box::new([0.0; BLOCK]),
            speaking: 0,
            limiter: Limiter::new(),
            aside: false,
            whispered_to: HashSet::new(),
            loudness: None,
        }
    }

    /// The loudness to which each voice is brought, in LUFS (-40 to -10); none leaves them as they come. The volume of a member
    /// counts on top of it.
    pub fn set_loudness(&mut self, target_lufs: Option<f32>) {
        self.loudness = target_lufs.filter(|l| l.is_finite()).map(|l| l.clamp(-40.0, -10.0));
    }

    /// A member who is there already stays as it is.
    pub fn add(&mut self, member: &str) {
        self.voices.entry(member.to_owned()).or_insert_with(|| Voice {
            echo: Echo::None,
            ducked: 0,
            leads: false,
            goal: 1.0,
            muted: false,
            gain: 0.0,
            open: false,
            quiet: 0,
            idle: LISTENER_AFTER,
            meter: Meter::new(),
            leveller: Leveller::new(),
            own: Box::new([0.0; BLOCK]),
            sounds: false,
            adds: false,
            room: 0,
            whispers: None,
            limiter: Limiter::new(),
        });
    }

    pub fn remove(&mut self, member: &str) {
        self.voices.remove(member);
        self.count_asides();
    }

    /// Puts a member into a side room, where those of the same number hear each other and nobody else does, or back (0). Who
    /// `whispers` to a member goes on hearing its room, and is heard by that member alone.
    pub fn set_side(&mut self, member: &str, room: u16, whispers: Option<&str>) {
        if let Some(voice) = self.voices.get_mut(member) {
            voice.room = room;
            voice.whispers = whispers.map(str::to_owned);
        }
        self.count_asides();
    }

    /// Whether the member is in a side room, or whispers.
    pub fn aside(&self, member: &str) -> bool {
        self.voices.get(member).is_some_and(Voice::aside)
    }

    fn count_asides(&mut self) {
        self.aside = self.voices.values().any(Voice::aside);
        self.whispered_to = self.voices.values().filter_map(|v| v.whispers.clone()).collect();
    }

    /// How loud all hear this member: -60 dB and below is silence, at most +20 dB.
    pub fn set_gain(&mut self, member: &str, db: f32, muted: bool) {
        if let Some(voice) = self.voices.get_mut(member) {
            let db = if db.is_finite() { db.min(GAIN_MOST_DB) } else { 0.0 };
            voice.goal = if db <= -60.0 { 0.0 } else { 10f32.powf(db / 20.0) };
            voice.muted = muted;
        }
    }

    /// Sets whether the member's sound may hold an echo of the others.
    pub fn set_echo(&mut self, member: &str, echo: Echo) {
        if let Some(voice) = self.voices.get_mut(member) {
            voice.echo = echo;
        }
    }

    /// Whether the member is kept out of the mix now, because of what its loudspeaker says.
    pub fn ducked(&self, member: &str) -> bool {
        self.voices.get(member).is_some_and(|v| v.ducked > 0)
    }

    /// Who gives way to whom in the tick that begins. A voice that is kept out leads nobody: two cameras that hear each
    /// other's loudspeakers do not shut each other up, the one that spoke first goes on.
    fn duck(&mut self) {
        if self.voices.values().all(|v| v.echo == Echo::None && v.ducked == 0) {
            return;
        }
        let mut leaders = self.voices.values().filter(|v| v.leads && v.ducked == 0).count();
        for voice in self.voices.values_mut() {
            let leads = voice.leads && voice.ducked == 0;
            let others = leaders - usize::from(leads);
            let hold = match voice.echo {
                Echo::Closed(blocks) => blocks.max(1),
                Echo::Half(blocks) if others > 0 => blocks.max(1),
                Echo::Half(_) | Echo::None => 0,
            };
            if hold > 0 {
                // From now on this one is out: it is no reason for the next one.
                leaders -= usize::from(leads);
                voice.ducked = voice.ducked.max(hold);
            } else {
                voice.ducked = voice.ducked.saturating_sub(1);
            }
        }
    }

    /// Whether the sound of this member matters now; a muted one need not be decoded.
    pub fn wants(&self, member: &str) -> bool {
        self.voices.get(member).is_some_and(|v| !v.muted || v.gain > 0.0)
    }

    /// The member was heard of late: its sound goes before that of those who were silent.
    pub fn open(&self, member: &str) -> bool {
        self.voices.get(member).is_some_and(|v| v.open)
    }

    /// Starts a tick.
    pub fn begin(&mut self) {
        self.duck();
        self.sum.fill(0.0);
        self.speaking = 0;
        for voice in self.voices.values_mut() {
            voice.sounds = false;
            voice.adds = false;
            voice.idle = voice.idle.saturating_add(1);
        }
    }

    /// Adds what `member` says in this tick; none when there is nothing.
    pub fn offer(&mut self, member: &str, block: Option<&Block>) {
        let Some(voice) = self.voices.get_mut(member) else { return };
        let level = block.map_or(-127.0, |b| dbov(b.as_slice()));
        let shut = voice.muted || voice.ducked > 0;
        voice.meter.block(if shut { -127.0 } else { level });
        voice.leads = !shut && !voice.aside() && voice.goal >= ECHO_LEAST_GAIN && voice.meter.level().talking;
        if level >= GATE {
            voice.open = true;
            voice.quiet = 0;
        } else {
            voice.quiet = voice.quiet.saturating_add(1);
            if voice.quiet > GATE_HOLD {
                voice.open = false;
            }
        }
        let even = match (block, self.loudness) {
            (Some(block), Some(target)) => {
                let talking = !shut && level >= GATE && voice.meter.level().talking;
                let db = if talking || voice.open {
                    voice.leveller.block(block, talking, voice.meter.floor(), target)
                } else {
                    voice.leveller.gain_db()
                };
                10f32.powf(db / 20.0)
            }
            _ => 1.0,
        };
        let goal = if shut || !voice.open { 0.0 } else { voice.goal * even };
        let from = std::mem::replace(&mut voice.gain, goal);
        let Some(block) = block else { return };
        // A loud block behind a gate that opens begins at once: its beginning is faded in over the ramp.
        if from == 0.0 && goal == 0.0 {
            return;
        }
        for (i, (own, sample)) in voice.own.iter_mut().zip(block).enumerate() {
            let gain = if i < RAMP { from + (goal - from) * (i as f32 / RAMP as f32) } else { goal };
            *own = sample * gain;
        }
        voice.sounds = true;
        voice.idle = 0;
        if !voice.aside() {
            voice.adds = true;
            self.speaking += 1;
            add(&mut self.sum, &voice.own);
        }
    }

    /// The mix of all. False: nobody speaks, `out` is digital silence.
    pub fn all(&mut self, out: &mut Block) -> bool {
        if self.speaking == 0 {
            out.fill(0.0);
            self.limiter.rest();
            return false;
        }
        out.copy_from_slice(&*self.sum);
        self.limiter.apply(out);
        true
    }

    /// The mix without `member`. False: nobody else speaks, `out` is digital silence.
    pub fn without(&mut self, member: &str, out: &mut Block) -> bool {
        if self.aside {
            return self.without_asides(member, out);
        }
        let Some(voice) = self.voices.get_mut(member) else {
            out.fill(0.0);
            return false;
        };
        if self.speaking == u32::from(voice.adds) {
            out.fill(0.0);
            voice.limiter.rest();
            return false;
        }
        out.copy_from_slice(&*self.sum);
        if voice.adds {
            for (sum, own) in out.iter_mut().zip(voice.own.iter()) {
                *sum -= own;
            }
        }
        voice.limiter.apply(out);
        true
    }

    /// As [`Self::without`], where somebody is in a side room or whispers.
    fn without_asides(&mut self, member: &str, out: &mut Block) -> bool {
        out.fill(0.0);
        let Some(room) = self.voices.get(member).map(|v| v.room) else { return false };
        let mut heard = false;
        for (_, voice) in self.voices.iter().filter(|(name, voice)| voice.sounds && name.as_str() != member) {
            let here = match &voice.whispers {
                Some(to) => to == member,
                None => voice.room == room,
            };
            if here {
                add(out, &voice.own);
                heard = true;
            }
        }
        if let Some(voice) = self.voices.get_mut(member) {
            if heard {
                voice.limiter.apply(out);
            } else {
                voice.limiter.rest();
            }
        }
        heard
    }

    /// Whether the member must be given a mix of its own: it was in the mix during the last 2 s, or hears what others do not.
    pub fn contributed(&self, member: &str) -> bool {
        let apart = |v: &Voice| v.room != 0 || self.whispered_to.contains(member);
        self.voices.get(member).is_some_and(|v| v.idle < LISTENER_AFTER || self.aside && apart(v))
    }

    pub fn level(&self, member: &str) -> Level {
        self.voices.get(member).map_or(Level::SILENT, |v| v.meter.level())
    }

    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.voices.keys().map(String::as_str)
    }
}

fn add(sum: &mut Block, own: &Block) {
    for (sum, own) in sum.iter_mut().zip(own.iter()) {
        *sum += own;
    }
}

/// Keeps a sum below overload: falls within 1 ms, recovers in about 300 ms, and what is still too loud in the first
/// millisecond is rounded off.
struct Limiter {
    gain: f32,
}

impl Limiter {
    fn new() -> Self {
        Limiter { gain: 1.0 }
    }

    fn rest(&mut self) {
        self.gain = 1.0;
    }

    fn apply(&mut self, x: &mut Block) {
        let peak = x.iter().fold(0.0f32, |p, s| p.max(s.abs()));
        let needed = if peak > CEILING { CEILING / peak } else { 1.0 };
        if needed == 1.0 && self.gain > 0.9999 {
            self.gain = 1.0;
            return;
        }
        let from = self.gain;
        let (to, over) = if needed < from { (needed, 48) } else { (from + (needed - from) * 0.065, BLOCK) };
        for (i, s) in x.iter_mut().enumerate() {
            let gain = if i < over { from + (to - from) * (i as f32 / over as f32) } else { to };
            *s = soft(*s * gain);
        }
        self.gain = to;
    }
}

/// Leaves up to the ceiling as it is and rounds off above; never reaches 1.
fn soft(s: f32) -> f32 {
    let a = s.abs();
    if a <= CEILING {
        s
    } else {
        s.signum() * (CEILING + (0.999 - CEILING) * (1.0 - (-(a - CEILING) / (1.0 - CEILING)).exp()))
    }
}

#[cfg(test)]
#[path = "mix_core_tests.rs"]
mod tests;
