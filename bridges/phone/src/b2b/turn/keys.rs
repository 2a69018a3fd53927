//! Keys that come as sound or as SIP INFO and go on as telephone events: packets of theirs take the place of sound.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media_core::dtmf::{TelephoneEvent, event_of};
use media_core::g711;
use media_core::tones::{Tone, ToneDetector};

use super::Sort;

/// Keys that may wait for their turn, and for how long.
const WAITING: usize = 16;
const FORGOTTEN: Duration = Duration::from_secs(3);
/// How long a key had sounded when it was heard.
const LEAD_MS: u32 = 25;
const SHORTEST_MS: u32 = 40;
/// The end is told so often (RFC 4733 2.5.1.4).
const ENDS: u8 = 3;

struct Waiting {
    key: char,
    /// None: until it is released.
    ms: Option<u32>,
    since: Instant,
}

struct Pressing {
    event: u8,
    key: char,
    stamp: Option<u32>,
    ms: u32,
    left: Option<u32>,
    ended: bool,
    ends: u8,
}

/// A packet of a key.
pub(super) struct Slot {
    pub stamp: u32,
    pub marker: bool,
    pub payload: [u8; 4],
}

/// Makes telephone events of keys.
#[derive(Default)]
pub(super) struct Presser {
    waiting: VecDeque<Waiting>,
    now: Option<Pressing>,
}

impl Presser {
    pub fn queue(&mut self, key: char, held: Duration, now: Instant) {
        let ms = (held.as_millis().min(8000) as u32).max(SHORTEST_MS);
        self.wait(Waiting { key, ms: Some(ms), since: now });
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(waiting);
        }
    }

    fn began(&mut self, key: char) {
        self.wait(Waiting { key, ms: None, since: Instant::now() });
    }

    fn ended(&mut self, key: char) {
        if let Some(p) = self.now.as_mut().filter(|p| p.key == key && p.left.is_none() && !p.ended) {
            p.left = Some(0);
        } else if let Some(w) = self.waiting.iter_mut().rfind(|w| w.key == key && w.ms.is_none()) {
            w.ms = Some(SHORTEST_MS);
        }
    }

    /// What takes the place of a packet of sound that lasts so long; none when the sound goes on itself.
    pub fn slot(&mut self, stamp: u32, ms: u32, rate: u32, now: Instant) -> Option<Slot> {
        if self.now.is_none() && self.waiting.is_empty() {
            return None;
        }
        if self.now.is_none() {
            self.waiting.retain(|w| now.saturating_duration_since(w.since) < FORGOTTEN);
            let Waiting { key, ms, .. } = self.waiting.pop_front()?;
            let event = event_of(key)?;
            let lead = if ms.is_none() { LEAD_MS } else { 0 };
            self.now = Some(Pressing { event, key, stamp: None, ms: lead, left: ms, ended: false, ends: 0 });
        }
        let p = self.now.as_mut()?;
        let marker = p.stamp.is_none();
        let stamp = *p.stamp.get_or_insert(stamp);
        if !p.ended {
            // A key that is over already still lasts as long as this packet.
            p.ms += ms;
            p.left = p.left.map(|left| left.saturating_sub(ms));
            p.ended = p.left == Some(0) || p.ms >= 8000;
        }
        let duration = (u64::from(p.ms) * u64::from(rate) / 1000).min(0xFFFF) as u16;
        let payload = TelephoneEvent { event: p.event, end: p.ended, volume: 10, duration }.to_bytes();
        if p.ended {
            p.ends += 1;
            if p.ends >= ENDS {
                self.now = None;
            }
        }
        Some(Slot { stamp, marker, payload })
    }
}

/// Listens for keys in the sound.
#[derive(Default)]
pub(super) struct Listener {
    detector: ToneDetector,
    linear: Vec<i16>,
    /// A key that came as telephone event just now.
    known: Option<(char, Instant)>,
}

impl Listener {
    pub fn hear_law(&mut self, law: Sort, payload: &[u8], presser: &mut Presser) {
        self.linear.clear();
        g711::decode(law == Sort::Law { a: true }, payload, &mut self.linear);
        self.listen(presser);
    }

    /// Sound of 48 kHz: keys lie far below 4 kHz, so that means of six samples are good enough.
    pub fn hear_wide(&mut self, sound: &[f32], presser: &mut Presser) {
        self.linear.clear();
        let (sixes, _) = sound.as_chunks::<6>();
        self.linear.extend(sixes.iter().map(|six| (six.iter().sum::<f32>() * 32767.0 / 6.0) as i16));
        self.listen(presser);
    }

    pub fn known(&mut self, key: char) {
        self.known = Some((key, Instant::now()));
    }

    fn listen(&mut self, presser: &mut Presser) {
        let known = self.known.filter(|(_, at)| at.elapsed() < Duration::from_secs(1)).map(|(key, _)| key);
        self.detector.push(&self.linear, |tone| match tone {
            Tone::Began(key) if known == Some(key) => {}
            Tone::Began(key) => presser.began(key),
            Tone::Ended(key) => presser.ended(key),
        });
    }
}
