//! What was sent, so that a NACK can be answered (RFC 4585 6.2.1, RFC 4588).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_core::Frame;

/// Packets held: a whole replayed group of pictures and more.
pub const CAPACITY: usize = 4096;
/// One packet is not sent again within this time: the NACK crossed the answer.
const AGAIN_AFTER: Duration = Duration::from_millis(25);
/// Answers to NACKs for one packet at most.
const MAX_RESENDS: u8 = 8;

/// One packet that was sent. Its bytes are made again from the shared frame.
#[derive(Clone)]
pub struct Sent {
    pub frame: Arc<Frame>,
    pub cut: u16,
    pub marker: bool,
    pub timestamp: u32,
    /// Payload type of the retransmission.
    pub rtx_pt: u8,
    resends: u8,
    resent: Option<Instant>,
}

/// The last packets of one viewer, by sequence number.
#[derive(Default)]
pub struct Store {
    entries: VecDeque<Sent>,
    /// Sequence number of the first entry.
    first: u16,
}

impl Store {
    /// Notes a packet. Sequence numbers rise by one; a jump forgets what was before.
    pub fn push(&mut self, seq: u16, frame: Arc<Frame>, cut: u16, marker: bool, timestamp: u32, rtx_pt: u8) {
        if seq != self.first.wrapping_add(self.entries.len() as u16) {
            self.entries.clear();
        }
        if self.entries.is_empty() {
            self.first = seq;
        }
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.entries.push_back(Sent { frame, cut, marker, timestamp, rtx_pt, resends: 0, resent: None });
    }

    /// The packet with this number if it is held and due to be sent again.
    pub fn take(&mut self, seq: u16, now: Instant) -> Option<Sent> {
        let entry = self.entries.get_mut(usize::from(seq.wrapping_sub(self.first)))?;
        let soon = entry.resent.is_some_and(|at| now.saturating_duration_since(at) < AGAIN_AFTER);
        if soon || entry.resends >= MAX_RESENDS {
            return None;
        }
        entry.resends += 1;
        entry.resent = Some(now);
        Some(entry.clone())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use media_core::{Codec, TrackId};

    #[test]
    fn holds_the_last_packets_over_the_wrap() {
        let now = Instant::now();
        let frame = Arc::new(Frame::new(TrackId::VIDEO, Codec::H264, 0, true, now, Bytes::new()));
        let mut s = Store::default();
        let first = 65_000u16;
        for i in 0..6000u32 {
            s.push(first.wrapping_add(i as u16), frame.clone(), i as u16, false, i, 97);
        }
        assert_eq!(s.len(), CAPACITY);
        assert!(s.take(first.wrapping_add(6000), now).is_none(), "not sent yet");
        assert!(s.take(first.wrapping_add(5999 - CAPACITY as u16), now).is_none(), "too old");
        let old = s.take(first.wrapping_add(6000 - CAPACITY as u16), now).unwrap();
        assert_eq!(old.timestamp, 6000 - CAPACITY as u32);
        let p = s.take(first.wrapping_add(4000), now).unwrap();
        assert_eq!((p.cut, p.timestamp), (4000, 4000));
        assert!(s.take(first.wrapping_add(4000), now + Duration::from_millis(10)).is_none(), "just sent again");
        let mut answered = 1;
        for i in 1..40 {
            answered += usize::from(s.take(first.wrapping_add(4000), now + Duration::from_millis(30 * i)).is_some());
        }
        assert_eq!(answered, usize::from(MAX_RESENDS));
    }

    #[test]
    fn a_jump_forgets() {
        let now = Instant::now();
        let frame = Arc::new(Frame::new(TrackId::VIDEO, Codec::H264, 0, true, now, Bytes::new()));
        let mut s = Store::default();
        s.push(5, frame.clone(), 0, true, 1, 97);
        s.push(9, frame, 0, true, 1, 97);
        assert!(s.take(5, now).is_none());
        assert!(s.take(9, now).is_some());
    }
}
