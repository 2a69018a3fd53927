//! Bit rate and frame rate of a stream over the last two seconds.

use std::time::{Duration, Instant};

const SLOTS: usize = 8;
const SLOT: Duration = Duration::from_millis(250);

/// Counts in eight slots of a quarter second.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    slots: [(u64, u32); SLOTS],
    newest: usize,
    slot_start: Option<Instant>,
    filled: usize,
}

impl Rate {
    pub fn add(&mut self, now: Instant, bytes: usize, picture: bool) {
        self.advance(now);
        let slot = &mut self.slots[self.newest];
        slot.0 += bytes as u64;
        slot.1 += u32::from(picture);
    }

    fn advance(&mut self, now: Instant) {
        let Some(mut start) = self.slot_start else {
            self.slot_start = Some(now);
            return;
        };
        let mut steps = 0;
        while now.saturating_duration_since(start) >= SLOT {
            start += SLOT;
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = (0, 0);
            self.filled = (self.filled + 1).min(SLOTS - 1);
            steps += 1;
            if steps >= SLOTS {
                start = now;
                break;
            }
        }
        self.slot_start = Some(start);
    }

    /// (bits per second, pictures per second) over the whole slots of the window; the running slot is left out.
    pub fn read(&mut self, now: Instant) -> (u64, f32) {
        self.advance(now);
        if self.filled == 0 {
            return (0, 0.0);
        }
        let (mut bytes, mut pictures) = (0, 0);
        for back in 1..=self.filled {
            let slot = self.slots[(self.newest + SLOTS - back) % SLOTS];
            bytes += slot.0;
            pictures += slot.1;
        }
        let seconds = self.filled as f64 * SLOT.as_secs_f64();
        ((bytes as f64 * 8.0 / seconds) as u64, (f64::from(pictures) / seconds) as f32)
    }
}
