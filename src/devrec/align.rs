//! Going on with a fetch that broke: which pictures of a new session are already there, and where the new ones belong. Pure.
//!
//! The stamps of two sessions need not agree, and a device may begin at a key frame before the moment asked for. But what it has
//! recorded stays the same: pictures whose bytes are those of pictures that are there tie the sessions together exactly. Where a
//! device's bytes differ each time, the asked moment ties them, at a key frame.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

/// Pictures that are remembered: a minute and more.
const KNOWN: usize = 4000;
/// So many known pictures in a row with one offset are no chance.
const RUN: u32 = 5;
/// Offsets that differ by less (5 ms) are one.
const SLACK: i64 = 450;
/// Offsets that are followed at once.
const CANDIDATES: usize = 64;

/// A picture that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub hash: u64,
    /// Ticks of 90 kHz from the beginning of the stretch.
    pub at: i64,
    pub key: bool,
    /// Where it stands in the stage's file.
    pub place: u64,
}

/// The last pictures that are there, in order.
#[derive(Debug, Clone, Default)]
pub struct Tail(VecDeque<Known>);

impl Tail {
    pub fn push(&mut self, known: Known) {
        if self.0.len() >= KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(known);
    }

    pub fn last(&self) -> Option<Known> {
        self.0.back().copied()
    }

    /// Longest distance of two key frames, in ticks.
    pub fn key_interval(&self) -> i64 {
        let keys: Vec<i64> = self.0.iter().filter(|k| k.key).map(|k| k.at).collect();
        let after = self.0.back().zip(keys.last()).map_or(0, |(last, key)| last.at - key);
        keys.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0).max(after)
    }

    /// Usual distance of two pictures.
    pub fn step(&self) -> i64 {
        let mut steps: Vec<i64> =
            self.0.iter().rev().take(50).zip(self.0.iter().rev().skip(1)).map(|(b, a)| b.at - a.at).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(3600).max(1)
    }

    /// Forgets what lies at or behind a moment; gives where in the file that begins.
    pub fn cut(&mut self, at: i64) -> Option<u64> {
        let mut place = None;
        while let Some(last) = self.0.back().filter(|k| k.at >= at) {
            place = Some(last.place);
            self.0.pop_back();
        }
        place
    }
}

/// The same for the same bytes, in every run of the program.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What to do with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is there, or it is not known yet where it belongs.
    Skip,
    /// It is new and belongs there (ticks from the beginning of the stretch).
    Keep(i64),
    /// It is a key frame that belongs there; what is there from that moment on must be taken away first.
    Cut(i64),
    /// Nothing fits: ask once more, tied by time.
    Lost,
}

struct Candidate {
    offset: i64,
    count: u32,
}

/// Ties one session to what is there.
pub struct Align {
    known: HashMap<u64, Vec<i64>>,
    /// The last picture that is there, in the order in which they were sent, and the latest moment that is there: with B pictures
    /// they differ.
    last: Option<i64>,
    latest: i64,
    /// The pictures that come now are behind the last one that is there.
    passed: bool,
    step: i64,
    /// Moment that was asked for, in ticks from the beginning of the stretch.
    asked: i64,
    by_time: bool,
    /// Media time without a tie after which it is given up.
    patience: i64,
    first: Option<i64>,
    offset: Option<i64>,
    candidates: Vec<Candidate>,
}

impl Align {
    /// `asked`: the moment that the session was asked to begin at. `by_time`: do not look for known pictures.
    pub fn new(tail: &Tail, asked: i64, by_time: bool) -> Align {
        let mut known: HashMap<u64, Vec<i64>> = HashMap::new();
        for k in &tail.0 {
            known.entry(k.hash).or_default().push(k.at);
        }
        let last = tail.last().map(|k| k.at);
        Align {
            known,
            last,
            latest: tail.0.iter().map(|k| k.at).max().unwrap_or(0),
            passed: false,
            step: tail.step(),
            asked,
            by_time,
            patience: last.map_or(0, |l| l - asked).max(0) + tail.key_interval() + 10 * 90_000,
            first: None,
            offset: None,
            candidates: Vec::new(),
        }
    }

    /// A picture came.
    pub fn picture(&mut self, pts: i64, hash: u64, key: bool) -> Verdict {
        let first = *self.first.get_or_insert(pts);
        let Some(last) = self.last else {
            // Nothing is there: the first picture is the beginning.
            let offset = *self.offset.get_or_insert(self.asked - first);
            return Verdict::Keep(pts + offset);
        };
        if self.offset.is_none() && self.by_time {
            let at = pts + self.asked - first;
            if !key {
                return Verdict::Skip;
            }
            self.offset = Some(self.asked - first);
            self.passed = true;
            return if at <= last { Verdict::Cut(at) } else { Verdict::Keep(at) };
        }
        if self.offset.is_none() {
            self.look(pts, hash, first, last);
        }
        match self.offset {
            Some(offset) if self.passed => Verdict::Keep(pts + offset),
            Some(offset) => {
                let at = pts + offset;
                // What was sent behind the last one is new, whatever its moment.
                let beyond = at > self.latest + self.step / 2;
                self.passed = beyond || (at - last).abs() <= SLACK;
                if beyond { Verdict::Keep(at) } else { Verdict::Skip }
            }
            None if pts - first > self.patience => Verdict::Lost,
            None => Verdict::Skip,
        }
    }

    fn look(&mut self, pts: i64, hash: u64, first: i64, last: i64) {
        let expected = self.asked - first;
        match self.known.get(&hash) {
            Some(times) => {
                for at in times {
                    let offset = at - pts;
                    let known = self.candidates.iter().position(|c| (c.offset - offset).abs() <= SLACK);
                    if let Some(found) = known.and_then(|n| self.candidates.get_mut(n)) {
                        found.count += 1;
                        found.offset = offset;
                    } else if self.candidates.len() < CANDIDATES {
                        self.candidates.push(Candidate { offset, count: 1 });
                    }
                }
                self.choose(RUN, expected);
            }
            // The first new picture behind a short run of known ones.
            None => {
                let behind = self.candidates.iter().any(|c| c.count >= 2 && pts + c.offset > last);
                if behind {
                    self.choose(2, expected);
                }
            }
        }
    }

    /// Of those with enough pictures, the one nearest to what was asked for: still scenes repeat themselves.
    fn choose(&mut self, enough: u32, expected: i64) {
        let good = self.candidates.iter().filter(|c| c.count >= enough);
        self.offset = good.min_by_key(|c| (c.offset - expected).abs()).map(|c| c.offset);
    }

    /// Where a sound belongs; none while it is not known, or when it is there already. `audio_end`: end of the sound that is there.
    pub fn sound(&self, pts_90k: i64, audio_end: Option<i64>) -> Option<i64> {
        let at = pts_90k + self.offset?;
        // Sound that lies a moment before the first picture belongs to the beginning.
        (at >= audio_end.unwrap_or(0) && at >= 0).then_some(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn tail(frames: i64) -> Tail {
        let mut tail = Tail::default();
        for n in 0..frames {
            tail.push(Known { hash: n as u64 + 1000, at: n * 3600, key: n % 25 == 0, place: n as u64 * 100 });
        }
        tail
    }

    #[test]
    fn a_first_session_begins_at_the_beginning() {
        let mut a = Align::new(&Tail::default(), 0, false);
        assert_eq!(a.sound(77, None), None);
        assert_eq!(a.picture(500_000, 1, true), Verdict::Keep(0));
        assert_eq!(a.picture(503_600, 2, false), Verdict::Keep(3600));
        assert_eq!(a.sound(503_600, None), Some(3600));
        assert_eq!(a.sound(499_000, None), None);
    }

    #[test]
    fn known_pictures_tie_exactly_whatever_the_stamps_and_the_start() {
        let t = tail(100);
        assert_eq!((t.key_interval(), t.step()), (90_000, 3600));
        for (base, start) in [(0i64, 50i64), (77_000_000, 50), (123, 25)] {
            // Asked for second 2; the device begins at frame `start`.
            let mut a = Align::new(&t, 180_000, false);
            let mut kept = Vec::new();
            for n in start..130 {
                if let Verdict::Keep(at) = a.picture(base + (n - start) * 3600, n as u64 + 1000, n % 25 == 0) {
                    kept.push(at);
                }
            }
            assert_eq!(kept, (100..130).map(|n| n * 3600).collect::<Vec<_>>(), "start {start}");
        }
    }

    #[test]
    fn a_still_scene_is_tied_where_it_was_asked_for() {
        // Groups that repeat byte for byte.
        let mut t = Tail::default();
        for n in 0..200i64 {
            t.push(Known { hash: (n % 25) as u64, at: n * 3600, key: n % 25 == 0, place: 0 });
        }
        let mut a = Align::new(&t, 5 * 90_000, false);
        let kept: Vec<i64> = (125..230i64)
            .filter_map(|n| match a.picture((n - 125) * 3600, (n % 25) as u64, n % 25 == 0) {
                Verdict::Keep(at) => Some(at),
                _ => None,
            })
            .collect();
        assert_eq!(kept, (200..230).map(|n| n * 3600).collect::<Vec<_>>());
    }

    #[test]
    fn pictures_out_of_order_are_kept_once() {
        // I P B B as sent: moments 0 3 1 2, 6 4 5, ...
        let sent: Vec<i64> =
            (0..40i64).map(|n| if n == 0 { 0 } else { (n - 1) / 3 * 3 + [3, 1, 2][((n - 1) % 3) as usize] }).collect();
        for there in [20usize, 21, 22] {
            let mut t = Tail::default();
            for n in &sent[..there] {
                t.push(Known { hash: *n as u64 + 7, at: n * 3600, key: *n == 0, place: 0 });
            }
            let mut a = Align::new(&t, 0, false);
            let kept: Vec<i64> = sent
                .iter()
                .filter_map(|n| match a.picture(n * 3600 + 55, *n as u64 + 7, *n == 0) {
                    Verdict::Keep(at) => Some(at / 3600),
                    _ => None,
                })
                .collect();
            assert_eq!(kept, sent[there..], "{there} are there");
        }
    }

    #[test]
    fn a_short_tail_is_enough() {
        let mut t = Tail::default();
        for n in 0..3i64 {
            t.push(Known { hash: n as u64 + 1, at: n * 3600, key: n == 0, place: 0 });
        }
        let mut a = Align::new(&t, 0, false);
        let got: Vec<Verdict> = (0..5i64).map(|n| a.picture(n * 3600, n as u64 + 1, n == 0)).collect();
        assert_eq!(got[3..], [Verdict::Keep(10_800), Verdict::Keep(14_400)]);
    }

    #[test]
    fn other_bytes_are_lost_and_then_tied_by_time_at_a_key_frame() {
        let mut t = tail(100);
        let mut a = Align::new(&t, 180_000, false);
        let mut n = 50i64;
        let verdict = loop {
            match a.picture(n * 3600, 999_999 + n as u64, n % 25 == 0) {
                Verdict::Skip if n < 2000 => n += 1,
                other => break other,
            }
        };
        assert_eq!(verdict, Verdict::Lost);
        let mut a = Align::new(&t, 180_000, true);
        assert_eq!(a.picture(0, 1, true), Verdict::Cut(180_000));
        assert_eq!(t.cut(180_000), Some(5000));
        assert_eq!(t.last().map(|k| k.at), Some(49 * 3600));
        assert_eq!(a.picture(3600, 2, false), Verdict::Keep(183_600));
    }
}
