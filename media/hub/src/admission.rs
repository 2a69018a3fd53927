//! Live at once: whether a joining or switching viewer should get the current group of pictures replayed.

use std::time::Duration;

/// The current group of pictures of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GopInfo {
    /// Pictures since and with the last key frame.
    pub pictures: usize,
    pub bytes: usize,
    /// Since the key frame came.
    pub age: Duration,
    /// Between the last two key frames; none before the second.
    pub key_interval: Option<Duration>,
    pub width: u32,
    pub height: u32,
}

/// What to do for one who joins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Send the group of pictures so far, paced, then go on live.
    FromKeyFrame,
    /// Ask for a key frame and wait for it.
    WaitForKeyFrame,
}

impl GopInfo {
    /// Decode time of one picture in an office browser without hardware decoder (measured: `docs/design/hub.md`).
    fn decode_time(&self) -> Duration {
        match u64::from(self.width) * u64::from(self.height) {
            0..=300_000 => Duration::from_millis(3),
            300_001..=1_000_000 => Duration::from_millis(5),
            1_000_001..=2_200_000 => Duration::from_millis(9),
            _ => Duration::from_millis(25),
        }
    }

    /// Replay only when fast-forwarding through the backlog costs well below (half of) the wait for the next key frame.
    /// `sharing` is how many replays run at the same viewer or time: they share one decoder.
    pub fn admit(&self, sharing: u32) -> Replay {
        let cost = self.decode_time() * (self.pictures as u32) * sharing.max(1);
        // A camera whose interval is unknown is taken for a slow one.
        let interval = self.key_interval.unwrap_or(Duration::from_secs(10)).max(self.age);
        let wait = interval.saturating_sub(self.age);
        // A very short backlog is always worth it: it is live within a few frame times.
        if cost <= Duration::from_millis(150) || cost * 2 <= wait {
            Replay::FromKeyFrame
        } else {
            Replay::WaitForKeyFrame
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gop(pictures: usize, age_ms: u64, interval_s: u64, width: u32, height: u32) -> GopInfo {
        GopInfo {
            pictures,
            bytes: 0,
            age: Duration::from_millis(age_ms),
            key_interval: Some(Duration::from_secs(interval_s)),
            width,
            height,
        }
    }

    #[test]
    fn replays_a_young_group() {
        assert_eq!(gop(50, 2000, 4, 640, 360).admit(1), Replay::FromKeyFrame);
    }

    #[test]
    fn waits_when_the_next_key_frame_is_near() {
        assert_eq!(gop(95, 3800, 4, 640, 360).admit(1), Replay::WaitForKeyFrame);
    }

    #[test]
    fn waits_when_decoding_the_backlog_would_take_longer() {
        assert_eq!(gop(250, 10_000, 20, 1920, 1080).admit(6), Replay::WaitForKeyFrame);
    }

    #[test]
    fn a_few_pictures_are_always_replayed() {
        assert_eq!(gop(10, 400, 1, 640, 360).admit(1), Replay::FromKeyFrame);
    }
}
