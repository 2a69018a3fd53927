//! Even packets out of uneven frames: no I/O, no clock. Whoever owns it asks for a packet each `packet` of time.

use std::collections::VecDeque;

use media_core::g711;

/// Bytes (at 8 kHz one is 1/8 ms) of sound that wait before the first packet, so that a frame that is late by a tick is not heard.
const RESERVE: usize = 320;
/// Sound that may wait at most: what is beyond is late and is left out.
const MOST: usize = 1600;

/// What became of the sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paced {
    /// Packets of silence because there was nothing to send.
    pub silent: u64,
    /// Times the sound ran dry in the middle.
    pub dry: u64,
    /// Bytes left out because they were late.
    pub dropped: u64,
}

/// A queue of G.711 A-law.
#[derive(Debug)]
pub struct Pacer {
    packet: usize,
    queue: VecDeque<u8>,
    flowing: bool,
    stats: Paced,
}

impl Pacer {
    /// `packet`: bytes of one packet.
    pub fn new(packet: usize) -> Pacer {
        Pacer { packet: packet.max(1), queue: VecDeque::with_capacity(MOST), flowing: false, stats: Paced::default() }
    }

    /// Takes sound in.
    pub fn push(&mut self, sound: &[u8]) {
        self.queue.extend(sound);
        if self.queue.len() > MOST.max(self.packet + RESERVE) {
            let late = self.queue.len() - (self.packet + RESERVE);
            self.queue.drain(..late);
            self.stats.dropped += late as u64;
        }
    }

    /// The next packet: always whole, silence where there is no sound.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let enough = if self.flowing { self.packet } else { self.packet + RESERVE };
        if self.queue.len() >= enough {
            self.flowing = true;
            out.extend(self.queue.drain(..self.packet));
            return;
        }
        if self.flowing {
            // The last of it, then silence until the reserve stands again.
            self.stats.dry += 1;
            self.flowing = false;
            out.extend(self.queue.drain(..));
        } else {
            self.stats.silent += 1;
        }
        out.resize(self.packet, g711::silence(true));
    }

    /// Forgets what waits: another source is heard from now on.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.flowing = false;
    }

    pub fn stats(&self) -> Paced {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_in_even_out_and_jitter_of_a_tick_is_not_heard() {
        let mut p = Pacer::new(160);
        let mut out = Vec::new();
        let mut heard = Vec::new();
        // Frames come at 0, 0, 3, 3, 4, 5, 8, 8, 8 ... : never more than two ticks late.
        let late = [2, 0, 0, 2, 1, 1, 0, 0, 3, 1];
        let mut number = 0u8;
        for tick in 0..100 {
            for _ in 0..late[tick % 10] {
                number = number.wrapping_add(1);
                p.push(&[number; 160]);
            }
            p.take(&mut out);
            assert_eq!(out.len(), 160);
            heard.extend(out.iter().step_by(160).copied());
        }
        let first = heard.iter().position(|b| *b == 1);
        assert!(first.is_some_and(|f| f <= 4), "{heard:?}");
        let sound: Vec<u8> = heard.into_iter().skip(first.unwrap_or(0)).collect();
        assert!(sound.windows(2).all(|w| w[1] == w[0].wrapping_add(1)), "{sound:?}");
        assert_eq!(p.stats().dry, 0);
    }

    #[test]
    fn silence_before_and_behind_and_late_sound_is_left_out() {
        let mut p = Pacer::new(320);
        let mut out = Vec::new();
        p.take(&mut out);
        assert_eq!(out, vec![0xD5; 320]);
        p.push(&[1; 640]);
        p.take(&mut out);
        p.take(&mut out);
        p.push(&[2; 100]);
        p.take(&mut out);
        assert_eq!((out[99], out[100], out.len()), (2, 0xD5, 320));
        assert_eq!(p.stats(), Paced { silent: 1, dry: 1, dropped: 0 });
        p.push(&[3; 5000]);
        assert_eq!(p.stats().dropped, 5000 - 640);
        p.clear();
        p.take(&mut out);
        assert_eq!(out, vec![0xD5; 320]);
    }
}
