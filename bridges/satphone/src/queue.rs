//! Messages that wait for their turn: a card may send once in so many seconds, and the terminal says after each one what became of
//! it. Pure: a time in, what to send out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::content::Feedback;
use crate::faults::Reason;

/// Times that one piece is sent anew after the terminal said that it was too early.
const TRIES: u32 = 3;

/// A message on its way to a user.
#[derive(Debug, Clone)]
pub struct Item {
    /// Of the hall's books.
    pub message: String,
    /// The far end, as the hall names it.
    pub to: String,
    /// The receiver's card number.
    pub user: String,
    /// What is left to be sent.
    pub pieces: VecDeque<String>,
    tries: u32,
}

impl Item {
    pub fn new(message: String, to: String, user: String, pieces: Vec<String>) -> Item {
        Item { message, to, user, pieces: pieces.into(), tries: 0 }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The network has taken all of it.
    Delivered,
    Failed(Reason),
}

/// The queue of one terminal.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Item>,
    /// Sent, and not heard of yet, until when.
    under_way: Option<(Item, Instant)>,
    next_at: Instant,
    period: Duration,
    patience: Duration,
    most: usize,
}

impl Queue {
    pub fn new(now: Instant, period: Duration, patience: Duration, most: usize) -> Queue {
        Queue { waiting: VecDeque::new(), under_way: None, next_at: now, period, patience, most }
    }

    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.under_way.is_some())
    }

    /// Takes a message; gives how long it waits, about.
    pub fn push(&mut self, now: Instant, item: Item) -> Result<Duration, Reason> {
        if self.len() >= self.most {
            return Err(Reason::QueueFull);
        }
        let before: usize = self.waiting.iter().map(|i| i.pieces.len()).sum();
        let busy = self.under_way.as_ref().map_or(0, |(i, _)| i.pieces.len());
        let turns = u32::try_from(before + busy).unwrap_or(u32::MAX);
        let first = self.next_at.saturating_duration_since(now).max(match self.under_way {
            Some(_) => self.period,
            None => Duration::ZERO,
        });
        self.waiting.push_back(item);
        Ok(first + self.period.saturating_mul(turns))
    }

    /// What is to be sent now: (user, piece).
    pub fn next(&mut self, now: Instant) -> Option<(String, String)> {
        if self.under_way.is_some() || now < self.next_at {
            return None;
        }
        let item = self.waiting.pop_front()?;
        let piece = item.pieces.front().cloned()?;
        let user = item.user.clone();
        self.next_at = now + self.period;
        self.under_way = Some((item, now + self.patience));
        Some((user, piece))
    }

    /// When to look again; none: nothing is waited for.
    pub fn due(&self) -> Option<Instant> {
        match &self.under_way {
            Some((_, until)) => Some(*until),
            None => (!self.waiting.is_empty()).then_some(self.next_at),
        }
    }

    /// The terminal said what became of the last piece. Gives the message of which all is known now.
    pub fn feedback(&mut self, now: Instant, said: &Feedback) -> Option<(Item, Outcome)> {
        let (mut item, _) = self.under_way.take()?;
        let remaining = Duration::from_secs(u64::from(said.remaining));
        if said.good {
            item.pieces.pop_front();
            item.tries = 0;
            self.next_at = self.next_at.max(now + remaining);
            if item.pieces.is_empty() {
                return Some((item, Outcome::Delivered));
            }
            // The rest of a message goes before others: a piece alone is of no use.
            self.waiting.push_front(item);
            return None;
        }
        item.tries += 1;
        if said.remaining > 0 && item.tries < TRIES {
            // Too early: the terminal's own clock is the better one.
            self.next_at = now + remaining;
            self.waiting.push_front(item);
            return None;
        }
        Some((item, Outcome::Failed(Reason::Refused)))
    }

    /// The terminal said nothing within its time.
    pub fn tick(&mut self, now: Instant) -> Option<(Item, Outcome)> {
        let (_, until) = self.under_way.as_ref()?;
        if now < *until {
            return None;
        }
        let (item, _) = self.under_way.take()?;
        Some((item, Outcome::Failed(Reason::NoFeedback)))
    }

    /// The terminal is gone: what was sent may have arrived, what waits goes on waiting for it.
    pub fn lost(&mut self) -> Option<(Item, Outcome)> {
        self.under_way.take().map(|(item, _)| (item, Outcome::Failed(Reason::TerminalDown)))
    }

    /// Gives up all that waits.
    pub fn clear(&mut self) -> Vec<Item> {
        let sent = self.under_way.take().map(|(item, _)| item);
        sent.into_iter().chain(self.waiting.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn item(message: &str, pieces: &[&str]) -> Item {
        let pieces = pieces.iter().map(|p| (*p).to_owned()).collect();
        Item::new(message.into(), format!("satphone:bd/{message}"), "77".into(), pieces)
    }

    fn said(good: bool, remaining: u32) -> Feedback {
        Feedback { good, reason: String::new(), remaining }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_in_a_period_and_told_how_long_it_waits() {
        let start = Instant::now();
        let at = |s: u32| start + SECOND * s;
        let mut q = Queue::new(start, SECOND * 60, SECOND * 15, 3);
        assert_eq!(q.push(start, item("a", &["1", "2"])), Ok(Duration::ZERO));
        assert_eq!(q.next(start), Some(("77".into(), "1".into())));
        assert_eq!(q.push(start, item("b", &["x"])), Ok(SECOND * 180), "both pieces of a, and then its own turn");
        assert_eq!(q.push(start, item("c", &["y"])).unwrap(), SECOND * 240);
        assert_eq!(q.push(start, item("d", &["z"])), Err(Reason::QueueFull));
        assert_eq!(q.next(at(1)), None, "nothing while the terminal has not spoken");
        assert!(q.feedback(at(2), &said(true, 0)).is_none());
        assert_eq!((q.next(at(59)), q.due()), (None, Some(at(60))));
        assert_eq!(q.next(at(60)), Some(("77".into(), "2".into())), "the rest of a before b");
        let (done, outcome) = q.feedback(at(61), &said(true, 0)).unwrap();
        assert_eq!((done.message.as_str(), outcome), ("a", Outcome::Delivered));
        // Too early by the terminal's clock: again when it says, three times at most.
        assert_eq!(q.next(at(120)).unwrap().1, "x");
        assert!(q.feedback(at(121), &said(false, 9)).is_none());
        assert_eq!(q.next(at(129)), None);
        assert_eq!(q.next(at(130)).unwrap().1, "x");
        assert!(q.feedback(at(131), &said(false, 9)).is_none());
        assert_eq!(q.next(at(140)).unwrap().1, "x");
        let (failed, outcome) = q.feedback(at(141), &said(false, 9)).unwrap();
        assert_eq!((failed.message.as_str(), outcome), ("b", Outcome::Failed(Reason::Refused)));
        // Silence.
        assert_eq!(q.next(at(200)).unwrap().1, "y");
        assert!(q.tick(at(214)).is_none());
        assert_eq!(q.tick(at(215)).unwrap().1, Outcome::Failed(Reason::NoFeedback));
        assert_eq!((q.len(), q.due()), (0, None));
        assert!(q.feedback(at(216), &said(true, 0)).is_none(), "late words are about nothing");
        q.push(at(300), item("e", &["1"])).unwrap();
        q.push(at(300), item("f", &["1"])).unwrap();
        q.next(at(300)).unwrap();
        assert_eq!(q.lost().unwrap().0.message, "e");
        assert_eq!(q.clear().len(), 1);
    }
}
