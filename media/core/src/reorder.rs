//! RTP order repair.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtp::SeqExtender;

/// A step of the sequence number beyond this, seen on two packets in a row, is a restart of the sender.
const BIG_JUMP: u64 = 1000;

/// What [`Reorder::poll`] gives, in sequence order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered<T> {
    Packet {
        sequence: u64,
        item: T,
    },
    /// `count` packets from `first` on did not come in time.
    Lost {
        first: u64,
        count: u64,
    },
    /// The sender restarted (new SSRC or sequence): what follows has no relation to what came before.
    Reset,
}

/// What became of a pushed packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Taken,
    Duplicate,
    /// Its place was already given out or declared lost.
    Late,
    /// Far from the sequence; kept aside until the next packet confirms a restart.
    Suspect,
}

/// Counters of a [`Reorder`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReorderStats {
    pub received: u64,
    pub lost: u64,
    pub duplicate: u64,
    pub late: u64,
    pub reordered: u64,
    pub resets: u64,
}

/// Puts RTP packets into order: holds at most `window` places and waits at most `wait` for a missing one.
#[derive(Debug)]
pub struct Reorder<T> {
    window: usize,
    wait: Duration,
    ssrc: Option<u32>,
    seq: SeqExtender,
    next: u64,
    slots: VecDeque<Option<(T, Instant)>>,
    suspect: Option<(u32, u16, T, Instant)>,
    ready: VecDeque<Ordered<T>>,
    stats: ReorderStats,
}

impl<T> Reorder<T> {
    /// `window` in packets (1 to 4096), `wait` as the longest time a gap holds up what is behind it.
    pub fn new(window: usize, wait: Duration) -> Self {
        Reorder {
            window: window.clamp(1, 4096),
            wait,
            ssrc: None,
            seq: SeqExtender::new(),
            next: 0,
            slots: VecDeque::new(),
            suspect: None,
            ready: VecDeque::new(),
            stats: ReorderStats::default(),
        }
    }

    pub fn stats(&self) -> ReorderStats {
        self.stats
    }

    /// SSRC being followed.
    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    pub fn push(&mut self, ssrc: u32, sequence: u16, now: Instant, item: T) -> Pushed {
        self.stats.received += 1;
        let Some(current) = self.ssrc else {
            self.start(ssrc, sequence, now, item);
            return Pushed::Taken;
        };
        let far = {
            let at = self.seq.clone().extend(sequence);
            at.abs_diff(self.next) > BIG_JUMP + self.window as u64
        };
        if ssrc != current || far {
            // One stray packet must not throw the window away: two that fit each other must come in a row.
            if let Some((s, q, first, at)) = self.suspect.take()
                && s == ssrc
                && sequence.wrapping_sub(q) == 1
            {
                self.drain_all();
                self.ready.push_back(Ordered::Reset);
                self.stats.resets += 1;
                self.start(s, q, at, first);
                return self.place(sequence, now, item);
            }
            self.suspect = Some((ssrc, sequence, item, now));
            return Pushed::Suspect;
        }
        self.place(sequence, now, item)
    }

    fn start(&mut self, ssrc: u32, sequence: u16, now: Instant, item: T) {
        self.ssrc = Some(ssrc);
        self.seq.reset();
        self.next = self.seq.extend(sequence);
        self.slots.clear();
        self.slots.push_back(Some((item, now)));
    }

    fn place(&mut self, sequence: u16, now: Instant, item: T) -> Pushed {
        self.suspect = None;
        let at = self.seq.extend(sequence);
        let Some(index) = at.checked_sub(self.next) else {
            self.stats.late += 1;
            return Pushed::Late;
        };
        let index = index as usize;
        if index < self.slots.len() {
            if self.slots[index].is_some() {
                self.stats.duplicate += 1;
                return Pushed::Duplicate;
            }
            self.stats.reordered += 1;
            self.slots[index] = Some((item, now));
            return Pushed::Taken;
        }
        while self.slots.len() < index {
            self.slots.push_back(None);
        }
        self.slots.push_back(Some((item, now)));
        Pushed::Taken
    }

    fn drain_all(&mut self) {
        while let Some(o) = self.take_front(true) {
            self.ready.push_back(o);
        }
    }

    fn take_front(&mut self, force: bool) -> Option<Ordered<T>> {
        match self.slots.front()? {
            Some(_) => {
                let (item, _) = self.slots.pop_front()??;
                let sequence = self.next;
                self.next += 1;
                Some(Ordered::Packet { sequence, item })
            }
            None if force || self.slots.len() > self.window => {
                let first = self.next;
                while let Some(None) = self.slots.front() {
                    self.slots.pop_front();
                    self.next += 1;
                }
                self.stats.lost += self.next - first;
                Some(Ordered::Lost { first, count: self.next - first })
            }
            None => None,
        }
    }

    /// The next packet or loss; call until None after each push and at [`Reorder::next_timeout`].
    pub fn poll(&mut self, now: Instant) -> Option<Ordered<T>> {
        if let Some(o) = self.ready.pop_front() {
            return Some(o);
        }
        let expired = self.next_timeout().is_some_and(|t| t <= now);
        self.take_front(expired)
    }

    /// When a gap in front will be given up; None when nothing waits.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.slots.front() {
            Some(None) => {
                self.slots.iter().flatten().map(|(_, at)| *at).next().and_then(|at| at.checked_add(self.wait))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn drain(r: &mut Reorder<u32>, now: Instant) -> Vec<Ordered<u32>> {
        std::iter::from_fn(|| r.poll(now)).collect()
    }

    #[test]
    fn order_loss_duplicates_and_restart() {
        let t = Instant::now();
        let ms = |n| t + Duration::from_millis(n);
        let mut r = Reorder::new(8, Duration::from_millis(50));
        r.push(1, 65_534, t, 0);
        r.push(1, 0, ms(1), 2);
        assert_eq!(r.push(1, 0, ms(1), 2), Pushed::Duplicate);
        assert_eq!(drain(&mut r, ms(2)).len(), 1);
        r.push(1, 65_535, ms(3), 1);
        assert_eq!(drain(&mut r, ms(3)).len(), 2);
        r.push(1, 3, ms(10), 5);
        assert!(drain(&mut r, ms(10)).is_empty());
        assert_eq!(r.next_timeout(), Some(ms(60)));
        assert_eq!(
            drain(&mut r, ms(60)),
            vec![Ordered::Lost { first: 131_073, count: 2 }, Ordered::Packet { sequence: 131_075, item: 5 }]
        );
        assert_eq!(r.push(1, 1, ms(61), 9), Pushed::Late);
        // a stray packet, then a true restart
        assert_eq!(r.push(7, 500, ms(62), 90), Pushed::Suspect);
        assert_eq!(r.push(1, 4, ms(63), 6), Pushed::Taken);
        assert_eq!(r.push(7, 900, ms(64), 91), Pushed::Suspect);
        assert_eq!(r.push(7, 901, ms(65), 92), Pushed::Taken);
        let got = drain(&mut r, ms(65));
        assert_eq!(got.len(), 4);
        assert_eq!(got[1], Ordered::Reset);
        // window by count
        for i in 0..9u16 {
            r.push(7, 903 + i, ms(66), 100 + u32::from(i));
        }
        assert_eq!(drain(&mut r, ms(66))[0], Ordered::Lost { first: 65_536 + 902, count: 1 });
    }
}
