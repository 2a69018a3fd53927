//! A camera turns, and its lens moves, until it is told to stop: the gateway says so itself when the orders cease (reference section 7.4). No clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bridge_core::ChannelId;

/// Time from the last repeat of an order to the stop that we send ourselves.
pub const LEASE: Duration = Duration::from_secs(2);

/// What moves: each has a stop of its own (annex A.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Motion {
    /// Pan, tilt and zoom.
    Turn,
    /// Focus and iris.
    Lens,
}

/// Channels that move now, and until when they may. At most two entries for each channel that an operator can name.
#[derive(Debug, Default)]
pub struct Holds(HashMap<(ChannelId, Motion), Instant>);

impl Holds {
    /// An order to move was given.
    pub fn moving(&mut self, channel: &ChannelId, motion: Motion, now: Instant) {
        self.0.insert((channel.clone(), motion), now + LEASE);
    }

    /// A stop was given.
    pub fn stopped(&mut self, channel: &ChannelId, motion: Motion) {
        self.0.remove(&(channel.clone(), motion));
    }

    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes out the channels that must be stopped now.
    pub fn due(&mut self, now: Instant) -> Vec<(ChannelId, Motion)> {
        let out: Vec<_> = self.0.iter().filter(|(_, at)| **at <= now).map(|(c, _)| c.clone()).collect();
        for channel in &out {
            self.0.remove(channel);
        }
        out
    }

    /// Takes out all: the gateway ends.
    pub fn all(&mut self) -> Vec<(ChannelId, Motion)> {
        self.0.drain().map(|(c, _)| c).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_runs_from_the_last_repeat() {
        let (mut h, t) = (Holds::default(), Instant::now());
        let c = ChannelId("gb28181:1/2".into());
        h.moving(&c, Motion::Turn, t);
        h.moving(&c, Motion::Turn, t + Duration::from_secs(1));
        h.moving(&c, Motion::Lens, t + Duration::from_secs(9));
        assert!(h.due(t + Duration::from_millis(2900)).is_empty());
        assert_eq!(h.due(t + Duration::from_secs(3)), vec![(c.clone(), Motion::Turn)]);
        h.moving(&c, Motion::Turn, t);
        h.stopped(&c, Motion::Turn);
        assert_eq!(h.all(), vec![(c.clone(), Motion::Lens)], "the stop of one does not stop the other");
        assert_eq!(h.next(), None);
    }
}
