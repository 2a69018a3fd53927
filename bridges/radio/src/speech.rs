//! Speech on its way to the radio: kept from the press until the radio really sends, then played out without a gap; what it is late
//! by is worked off in pauses. No clock: one packet in, one out, 20 ms each.

use std::collections::VecDeque;

use bytes::Bytes;
use media_core::g711;

/// Milliseconds of a packet.
pub(crate) const PACKET: u32 = 20;
/// Packets that a talk may be late by without being shortened.
const SLACK: usize = 3;
/// Quiet packets in a row that stay of a pause while it is shortened.
const PAUSE: u32 = 3;
/// Packets from before the beginning of speech: the soft onset of a word is below the threshold.
const PREROLL: usize = 5;
/// Digital silence, the smallest step of A-law, and the comfort noise of conferences.
const NOTHING: f32 = -60.0;

/// Loudness of G.711 in dB below overload; -127 is silence (the scale of RFC 6465).
pub(crate) fn level(alaw: bool, payload: &[u8]) -> f32 {
    if payload.is_empty() {
        return -127.0;
    }
    let decode = if alaw { g711::alaw_decode } else { g711::ulaw_decode };
    let power: f64 = payload.iter().map(|b| (f64::from(decode(*b)) / 32_768.0).powi(2)).sum();
    let db = 10.0 * (power / payload.len() as f64).max(1e-13).log10();
    db.max(-127.0) as f32
}

#[derive(Debug)]
struct Kept {
    payload: Bytes,
    quiet: bool,
}

#[derive(Debug)]
pub(crate) struct Speech {
    kept: VecDeque<Kept>,
    before: VecDeque<(Bytes, f32)>,
    most: usize,
    /// Quiet packets given out in a row.
    quiet: u32,
}

impl Speech {
    /// `most`: milliseconds that are kept.
    pub fn new(most: u32) -> Speech {
        Speech {
            kept: VecDeque::new(),
            before: VecDeque::new(),
            most: (most / PACKET).clamp(1, 100) as usize,
            quiet: 0,
        }
    }

    /// Notes a packet that nobody has to send yet.
    pub fn foresee(&mut self, payload: Bytes, level: f32) {
        if self.before.len() >= PREROLL {
            self.before.pop_front();
        }
        self.before.push_back((payload, level));
    }

    /// The transmission begins: what came just before belongs to it, but for silence.
    pub fn begin(&mut self, threshold: f32) {
        self.quiet = 0;
        let mut before = std::mem::take(&mut self.before);
        while before.front().is_some_and(|(_, level)| *level < NOTHING) {
            before.pop_front();
        }
        for (payload, level) in before {
            self.push(payload, level < threshold);
        }
    }

    /// Keeps a packet; true when the oldest one had to go for it.
    pub fn push(&mut self, payload: Bytes, quiet: bool) -> bool {
        let full = self.kept.len() >= self.most;
        if full {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { payload, quiet });
        full
    }

    /// The next packet to send. Of pauses a part is left out while the talk is late.
    pub fn pop(&mut self) -> Option<Bytes> {
        loop {
            let next = self.kept.pop_front()?;
            self.quiet = if next.quiet { self.quiet.saturating_add(1) } else { 0 };
            if self.quiet <= PAUSE || self.kept.len() < SLACK {
                return Some(next.payload);
            }
        }
    }

    /// Milliseconds that are kept.
    #[cfg(test)]
    pub fn late(&self) -> u32 {
        self.kept.len() as u32 * PACKET
    }

    /// Whether speech is among what is kept.
    pub fn has_speech(&self) -> bool {
        self.kept.iter().any(|k| !k.quiet)
    }

    /// Gives up what is kept: milliseconds of speech in it.
    pub fn give_up(&mut self) -> u32 {
        self.before.clear();
        let loud = self.kept.iter().filter(|k| !k.quiet).count() as u32;
        self.kept.clear();
        loud * PACKET
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn packet(n: u8) -> Bytes {
        Bytes::from(vec![n; 160])
    }

    #[test]
    fn nothing_of_the_beginning_is_lost_and_silence_before_it_is_left_out() {
        let mut s = Speech::new(2000);
        for n in 0..8 {
            s.foresee(packet(n), if n < 6 { -127.0 } else { -55.0 });
        }
        s.begin(-45.0);
        s.push(packet(8), false);
        let given: Vec<u8> = std::iter::from_fn(|| s.pop()).map(|p| p[0]).collect();
        assert_eq!(given, [6, 7, 8], "the soft onset, no silence");
    }

    /// 600 ms late after a grant: a pause of 1 s catches all of it up, every loud packet is there in order.
    #[test]
    fn lateness_is_worked_off_in_pauses() {
        let mut s = Speech::new(2000);
        let mut given = Vec::new();
        for n in 0..30u8 {
            s.push(packet(n), false);
        }
        assert_eq!(s.late(), 600);
        let mut late = Vec::new();
        for n in 30..200u8 {
            let pause = (80..130).contains(&n);
            s.push(packet(n), pause);
            given.extend(s.pop().map(|p| p[0]));
            late.push(s.late());
        }
        assert_eq!(late[45], 600, "not while there is speech");
        assert!(late.last().unwrap() <= &60, "{late:?}");
        let loud: Vec<u8> = given.iter().copied().filter(|n| !(80..130).contains(n)).collect();
        let wanted: Vec<u8> = (0..80).chain(130..200).collect();
        assert_eq!(loud, wanted[..loud.len()]);
        assert!(wanted.len() - loud.len() <= 3);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut s = Speech::new(200);
        let lost = (0..15).filter(|n| s.push(packet(*n), *n % 2 == 0)).count();
        assert_eq!((lost, s.late(), s.give_up()), (5, 200, 100));
        assert!(s.pop().is_none());
    }

    #[test]
    fn loudness() {
        assert!(level(true, &[g711::silence(true); 160]) < NOTHING);
        assert_eq!(level(true, &[]), -127.0);
        let tone: Vec<u8> = (0..160)
            .map(|n| g711::alaw_encode(((f64::from(n) * 0.1 * std::f64::consts::TAU).sin() * 8000.0) as i16))
            .collect();
        assert!((level(true, &tone) + 15.25).abs() < 0.3);
    }
}
