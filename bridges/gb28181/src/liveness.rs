//! Who is alive: one heap for all devices, no task and no timer of their own (reference section 5). No clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a device went off line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// No message of any kind for so long.
    Silent(Duration),
    /// Its registration lapsed.
    Expired,
}

#[derive(Debug, Clone, Copy)]
struct Life {
    seen: Instant,
    /// Silence that is allowed.
    patience: Duration,
    expires: Option<Instant>,
}

impl Life {
    fn due(&self) -> Instant {
        let silent = self.seen + self.patience;
        self.expires.map_or(silent, |e| e.min(silent))
    }
}

/// The watch over all devices that are on line. One map entry and one heap entry for each: about 150 bytes.
#[derive(Debug, Default)]
pub struct Liveness {
    lives: HashMap<Arc<str>, Life>,
    heap: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
}

impl Liveness {
    pub fn new() -> Liveness {
        Liveness::default()
    }

    /// Devices watched.
    pub fn len(&self) -> usize {
        self.lives.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Begins to watch a device, or goes on with new terms.
    pub fn watch(&mut self, id: &str, now: Instant, patience: Duration, expires: Option<Instant>) {
        let life = Life { seen: now, patience, expires };
        match self.lives.get_mut(id) {
            Some(old) => {
                // The heap holds the old due time. If the new one is earlier it must be in there too; a later one is
                // found out when the old one comes up.
                let earlier = life.due() < old.due();
                *old = life;
                if earlier && let Some((key, _)) = self.lives.get_key_value(id) {
                    self.heap.push(Reverse((life.due(), key.clone())));
                }
            }
            None => {
                let key: Arc<str> = Arc::from(id);
                self.heap.push(Reverse((life.due(), key.clone())));
                self.lives.insert(key, life);
            }
        }
    }

    /// A sign of life; false when the device is not watched.
    pub fn seen(&mut self, id: &str, now: Instant) -> bool {
        self.lives.get_mut(id).map(|life| life.seen = now).is_some()
    }

    pub fn forget(&mut self, id: &str) {
        // Its heap entry is passed over when it comes up.
        self.lives.remove(id);
    }

    /// When to call [`Liveness::tick`] at the latest.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the devices that are gone now.
    pub fn tick(&mut self, now: Instant) -> Vec<(Arc<str>, Gone)> {
        let mut out = Vec::new();
        while let Some(Reverse((at, _))) = self.heap.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((_, id))) = self.heap.pop() else { break };
            let Some(life) = self.lives.get(&id).copied() else { continue };
            if life.due() > now {
                // Only one entry per device: a second one, left by an earlier due time, would multiply.
                self.heap.push(Reverse((life.due(), id)));
                continue;
            }
            let silent = now.saturating_duration_since(life.seen) >= life.patience;
            self.lives.remove(&id);
            out.push((id, if silent { Gone::Silent(life.patience) } else { Gone::Expired }));
        }
        // Doubles come from shortened terms; clear them out before they add up.
        if self.heap.len() > 2 * self.lives.len() + 64 {
            self.heap = self.lives.iter().map(|(id, life)| Reverse((life.due(), id.clone()))).collect();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn three_missed_then_off_line_and_any_message_revives() {
        let mut l = Liveness::new();
        let t = Instant::now();
        l.watch("a", t, 180 * S, Some(t + 3600 * S));
        assert_eq!(l.next(), Some(t + 180 * S));
        assert!(l.seen("a", t + 100 * S));
        assert_eq!(l.tick(t + 180 * S), vec![]);
        assert_eq!(l.next(), Some(t + 280 * S));
        assert_eq!(l.tick(t + 280 * S), vec![("a".into(), Gone::Silent(180 * S))]);
        assert!(!l.seen("a", t + 281 * S) && l.is_empty());
    }

    #[test]
    fn a_lapsed_registration_and_shorter_terms() {
        let mut l = Liveness::new();
        let t = Instant::now();
        l.watch("a", t, 180 * S, Some(t + 60 * S));
        assert_eq!(l.tick(t + 60 * S), vec![("a".into(), Gone::Expired)]);
        l.watch("b", t, 180 * S, None);
        l.watch("b", t, 15 * S, None);
        assert_eq!(l.tick(t + 15 * S).len(), 1);
        assert_eq!(l.tick(t + 1000 * S), vec![]);
    }

    #[test]
    fn fifty_thousand_are_cheap() {
        let mut l = Liveness::new();
        let t = Instant::now();
        for n in 0..50_000u32 {
            l.watch(&format!("3402000000132{n:07}"), t, 180 * S, Some(t + 3600 * S));
        }
        for round in 1..5u32 {
            for n in 0..50_000u32 {
                l.seen(&format!("3402000000132{n:07}"), t + round * 60 * S);
            }
            assert!(l.tick(t + round * 60 * S).is_empty());
        }
        assert!(l.heap.len() <= 50_064);
        assert_eq!(l.tick(t + 10_000 * S).len(), 50_000);
    }
}
