//! Gathers an answer that comes in several messages (GB/T 28181-2022 clause 9.5 and annex; reference section 11). No clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::catalog::{Item, Piece};

/// Time limits of one gathering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the question to the first piece: lower platforms are slow.
    pub first: Duration,
    /// From one piece to the next.
    pub idle: Duration,
    pub total: Duration,
    /// Items kept.
    pub items: usize,
}

/// The pieces of one catalog.
#[derive(Debug)]
pub struct Gather {
    limits: Limits,
    began: Instant,
    last: Option<Instant>,
    sum: Option<usize>,
    /// With repeats.
    counted: usize,
    order: Vec<Item>,
    place: HashMap<String, usize>,
    overflow: bool,
}

/// What was gathered.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    pub items: Vec<Item>,
    /// All that was announced came. If not, missing channels must not be deleted.
    pub complete: bool,
    /// What the last message announced.
    pub announced: Option<usize>,
}

impl Gather {
    pub fn new(now: Instant, limits: Limits) -> Gather {
        Gather {
            limits,
            began: now,
            last: None,
            sum: None,
            counted: 0,
            order: Vec::new(),
            place: HashMap::new(),
            overflow: false,
        }
    }

    /// Takes a message in; true when everything announced is there.
    pub fn add(&mut self, now: Instant, piece: Piece) -> bool {
        self.last = Some(now);
        // The sum may change between messages: the last word counts.
        self.sum = piece.sum.or(self.sum);
        self.counted += piece.items.len() + piece.bad;
        for item in piece.items {
            match self.place.get(&item.id) {
                Some(at) => {
                    if let Some(slot) = self.order.get_mut(*at) {
                        *slot = item;
                    }
                }
                None if self.order.len() >= self.limits.items => self.overflow = true,
                None => {
                    self.place.insert(item.id.clone(), self.order.len());
                    self.order.push(item);
                }
            }
        }
        self.done()
    }

    fn done(&self) -> bool {
        self.sum.is_some_and(|sum| self.order.len() >= sum)
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        let next = match self.last {
            None => self.began + self.limits.first,
            Some(last) => last + self.limits.idle,
        };
        next.min(self.began + self.limits.total)
    }

    /// Whether anything came.
    pub fn any(&self) -> bool {
        self.last.is_some()
    }

    /// Ends the gathering. Repeated items count towards the sum here: a device that lists one channel twice will never
    /// send another.
    pub fn finish(self) -> Gathered {
        let complete = self.last.is_some() && !self.overflow && self.sum.is_none_or(|sum| self.counted >= sum);
        Gathered { complete, announced: self.sum, items: self.order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        first: Duration::from_secs(30),
        idle: Duration::from_secs(5),
        total: Duration::from_secs(120),
        items: 20_000,
    };

    fn item(n: usize) -> Item {
        Item {
            id: format!("340200000013100{n:05}"),
            name: String::new(),
            manufacturer: String::new(),
            model: String::new(),
            online: None,
            parent: None,
            above: Vec::new(),
            mobile: false,
            ptz_type: None,
            single_stream: false,
            longitude: None,
            latitude: None,
        }
    }

    fn piece(sum: usize, numbers: impl IntoIterator<Item = usize>) -> Piece {
        Piece { sum: Some(sum), items: numbers.into_iter().map(item).collect(), bad: 0 }
    }

    #[test]
    fn twelve_thousand_in_pieces_of_four() {
        let start = Instant::now();
        let mut g = Gather::new(start, LIMITS);
        for n in 0..3000 {
            let now = start + Duration::from_millis(n as u64 * 30);
            assert_eq!(g.add(now, piece(12_000, n * 4..n * 4 + 4)), n == 2999);
        }
        let all = g.finish();
        assert!(all.complete && all.items.len() == 12_000);
    }

    #[test]
    fn a_lost_piece_makes_it_partial_after_the_idle_time() {
        let start = Instant::now();
        let mut g = Gather::new(start, LIMITS);
        assert_eq!(g.deadline(), start + Duration::from_secs(30));
        let later = start + Duration::from_secs(2);
        assert!(!g.add(later, piece(4, 0..2)));
        assert_eq!(g.deadline(), later + Duration::from_secs(5));
        let much_later = start + Duration::from_secs(118);
        assert!(!g.add(much_later, piece(4, 0..1)));
        assert_eq!(g.deadline(), start + Duration::from_secs(120));
        let got = g.finish();
        assert!(!got.complete && got.items.len() == 2 && got.announced == Some(4));
    }

    #[test]
    fn sums_that_change_doubles_and_nothing() {
        let now = Instant::now();
        let mut g = Gather::new(now, LIMITS);
        assert!(!g.add(now, piece(5, 0..2)));
        assert!(g.add(now, piece(3, 2..3)));
        let mut doubled = Gather::new(now, LIMITS);
        assert!(!doubled.add(now, piece(3, [0, 1, 1])));
        assert!(doubled.finish().complete);
        let mut empty = Gather::new(now, LIMITS);
        assert!(empty.add(now, piece(0, [])));
        assert!(!Gather::new(now, LIMITS).finish().complete);
        let mut silent = Gather::new(now, LIMITS);
        assert!(!silent.add(now, Piece { sum: None, items: vec![item(1)], bad: 0 }));
        assert!(silent.finish().complete);
    }
}
