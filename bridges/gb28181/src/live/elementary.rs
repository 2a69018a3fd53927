//! An elementary stream without container: payload types 98 and 100 of the profile (reference section 17.1; RFC 6184, RFC 7798).

use std::collections::VecDeque;
use std::time::Instant;

use media_core::Codec;
use media_core::nal_rtp::NalDepacketizer;
use media_core::ps::PsVideo;
use media_core::rtp::{Stamp, TimestampExtender};

/// From RTP payloads to pictures in the form that the program stream gives too.
#[derive(Debug)]
pub struct Elementary {
    codec: Codec,
    depacketizer: NalDepacketizer,
    clock: TimestampExtender,
    offset: i64,
    last: Option<i64>,
    key_seen: bool,
    damaged: bool,
    /// Pictures before the first key frame.
    pub held: u64,
    ready: VecDeque<PsVideo>,
}

impl Elementary {
    pub fn new(codec: Codec) -> Elementary {
        Elementary {
            codec,
            depacketizer: NalDepacketizer::new(codec),
            clock: TimestampExtender::new(90_000),
            offset: 0,
            last: None,
            key_seen: false,
            damaged: false,
            held: 0,
            ready: VecDeque::new(),
        }
    }

    /// Packets are missing before the next one. The picture they belong to is dropped; those behind it go on.
    pub fn lost(&mut self) {
        self.depacketizer.lost();
        self.damaged = true;
    }

    pub fn waits_for_key(&self) -> bool {
        self.damaged || self.held > 0 && !self.key_seen
    }

    pub fn has_parameter_sets(&self) -> bool {
        self.depacketizer.info().is_some()
    }

    pub fn poll(&mut self) -> Option<PsVideo> {
        self.ready.pop_front()
    }

    pub fn push(&mut self, payload: &[u8], timestamp: u32, marker: bool, received: Instant) {
        if self.depacketizer.push(payload, timestamp, marker, received).is_err() {
            self.damaged = true;
        }
        while let Some(frame) = self.depacketizer.poll() {
            let raw = match self.clock.extend(frame.timestamp) {
                Stamp::Continuous(t) => t,
                Stamp::Discontinuity { ticks, .. } => {
                    self.offset = self.last.map_or(0, |last| last + 3600 - ticks);
                    ticks
                }
            };
            let pts = raw + self.offset;
            self.last = Some(pts);
            self.key_seen |= frame.key;
            self.damaged &= !frame.key;
            if !self.key_seen {
                self.held += 1;
                continue;
            }
            let info = self.depacketizer.info().unwrap_or_default();
            self.ready.push_back(PsVideo {
                codec: self.codec,
                payload: frame.payload,
                pts,
                key: frame.key,
                received: frame.received,
                width: info.width,
                height: info.height,
            });
        }
    }
}
