//! The bounded ring of one stream. Only fast operations belong here: they run under the stream's lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::{Frame, MediaKind};

/// One entry of a ring.
#[derive(Debug, Clone)]
pub struct Item {
    /// Rises by one with each frame of the stream, over all tracks.
    pub seq: u64,
    /// Rises when the time line or the source behind the stream changes (a program was switched, a device restarted its
    /// clock): `pts` of two items compare only within one epoch.
    pub epoch: u32,
    pub frame: Arc<Frame>,
}

/// Bounds of a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimits {
    pub bytes: usize,
    pub age: Duration,
}

#[derive(Debug)]
pub(crate) struct Ring {
    items: VecDeque<Item>,
    /// Sequence number that the next item gets.
    next: u64,
    bytes: usize,
    limits: RingLimits,
    /// The newest key frame that is still in the ring.
    key: Option<u64>,
    key_at: Option<Instant>,
    pub key_interval: Option<Duration>,
    pictures_since_key: usize,
    bytes_since_key: usize,
}

impl Ring {
    pub fn new(limits: RingLimits) -> Self {
        Ring {
            items: VecDeque::new(),
            next: 0,
            bytes: 0,
            limits,
            key: None,
            key_at: None,
            key_interval: None,
            pictures_since_key: 0,
            bytes_since_key: 0,
        }
    }

    pub fn push(&mut self, epoch: u32, frame: Arc<Frame>) {
        let size = frame.payload.len();
        if frame.kind() == MediaKind::Video {
            if frame.key {
                if let Some(last) = self.key_at {
                    self.key_interval = Some(frame.received.saturating_duration_since(last));
                }
                self.key = Some(self.next);
                self.key_at = Some(frame.received);
                self.pictures_since_key = 0;
                self.bytes_since_key = 0;
            }
            self.pictures_since_key += 1;
        }
        self.bytes_since_key += size;
        self.bytes += size;
        self.items.push_back(Item { seq: self.next, epoch, frame });
        self.next += 1;
        self.trim();
    }

    fn trim(&mut self) {
        let Some(newest) = self.items.back().map(|i| i.frame.received) else { return };
        while let Some(front) = self.items.front() {
            let old = newest.saturating_duration_since(front.frame.received) > self.limits.age;
            // The current group of pictures stays even when it is old: who joins needs it. Only the byte bound ends it.
            let keep = !old || self.key.is_some_and(|k| front.seq >= k);
            if self.bytes <= self.limits.bytes && keep {
                break;
            }
            if self.key == Some(front.seq) {
                self.key = None;
            }
            self.bytes -= front.frame.payload.len();
            self.items.pop_front();
        }
    }

    /// Forgets all frames, as when the source changed and nothing old may be shown to a joiner.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.key = None;
        self.key_at = None;
        self.key_interval = None;
        self.pictures_since_key = 0;
        self.bytes_since_key = 0;
    }

    pub fn first_seq(&self) -> u64 {
        self.items.front().map_or(self.next, |i| i.seq)
    }

    pub fn next_seq(&self) -> u64 {
        self.next
    }

    pub fn key_seq(&self) -> Option<u64> {
        self.key
    }

    pub fn get(&self, seq: u64) -> Option<&Item> {
        let index = seq.checked_sub(self.first_seq())?;
        self.items.get(usize::try_from(index).ok()?)
    }

    /// (pictures, bytes, instant of the key frame) of the current group.
    pub fn group(&self) -> Option<(usize, usize, Instant)> {
        self.key?;
        Some((self.pictures_since_key, self.bytes_since_key, self.key_at?))
    }

    pub fn newest(&self) -> Option<Instant> {
        self.items.back().map(|i| i.frame.received)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use media_core::{Codec, TrackId};

    use super::*;

    fn frame(at: Instant, key: bool, size: usize) -> Arc<Frame> {
        Arc::new(Frame::new(TrackId::VIDEO, Codec::H264, 0, key, at, Bytes::from(vec![0; size])))
    }

    #[test]
    fn keeps_the_current_group_beyond_the_age_limit() {
        let t0 = Instant::now();
        let mut ring = Ring::new(RingLimits { bytes: 1 << 20, age: Duration::from_secs(2) });
        for n in 0..250u64 {
            ring.push(0, frame(t0 + Duration::from_millis(40 * n), n == 100, 10));
        }
        assert_eq!(ring.first_seq(), 100);
        assert_eq!(ring.group().unwrap().0, 150);
    }

    #[test]
    fn the_byte_limit_ends_even_the_current_group() {
        let t0 = Instant::now();
        let mut ring = Ring::new(RingLimits { bytes: 1000, age: Duration::from_secs(2) });
        for n in 0..50u64 {
            ring.push(0, frame(t0, n == 0, 100));
        }
        assert_eq!(ring.key_seq(), None);
        assert_eq!(ring.next_seq() - ring.first_seq(), 10);
        assert!(ring.get(0).is_none());
    }

    #[test]
    fn measures_the_key_interval() {
        let t0 = Instant::now();
        let mut ring = Ring::new(RingLimits { bytes: 1 << 20, age: Duration::from_secs(2) });
        for n in 0..201u64 {
            ring.push(0, frame(t0 + Duration::from_millis(40 * n), n % 100 == 0, 10));
        }
        assert_eq!(ring.key_interval, Some(Duration::from_secs(4)));
    }
}
